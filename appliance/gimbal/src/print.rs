//! What commands print on stdout, and how a message for people reaches stderr.
//!
//! Neither may panic or fail because nobody reads. Next: `failure.rs`.

use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Prints what a command was asked for. A reader that has left (`| head`) is no failure.
pub(crate) fn stdout(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::unavailable(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells somebody who may not be there.
pub(crate) fn stderr(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}
