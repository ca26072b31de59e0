//! Chromium, for the tests of the dashboard and its picture: installed where we may, else named.
//!
//! It is the one thing that `cargo xtask test` does without: its tests skip aloud.

use crate::apt;
use crate::command::succeeds;

/// Debian's package, and the program in it.
const CHROMIUM: &str = "chromium";

/// True when it is there, if need be after installing it as root.
pub(crate) fn ensure() -> bool {
    if is_there() {
        return true;
    }
    eprintln!("installing {CHROMIUM}, for the tests of the dashboard");
    if let Err(error) = apt::install(&[CHROMIUM]) {
        warn(&format!("{error:#}"));
        return false;
    }
    is_there()
}

fn is_there() -> bool {
    succeeds(CHROMIUM, &["--version"])
}

fn warn(why: &str) {
    eprintln!(
        "\nWARNING: no {CHROMIUM}: {why}\n  The tests of the dashboard in a browser are skipped.\n  \
         Install it: apt-get install {CHROMIUM}\n"
    );
}
