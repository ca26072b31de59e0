//! The process that holds one device for another one: `remote.rs` seen from the other side.
//!
//! It ends with its parent: whoever closes the socket ends it, even while a step hangs in a driver.
//! Next: `group.rs`.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gimbal_batch::Batch;
use gimbal_batch::wire::{self, Fault, PREFIX_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Backend, DeviceError};

/// Bytes of the first message, at most.
const OPENING_BYTES_MAX: u32 = 1 << 20;
/// How long a device is waited for before new steps are looked for.
const COLLECT_SLICE: Duration = Duration::from_millis(20);

/// Reads the first message, opens a backend of it, and runs its steps until the socket is closed. A
/// device that cannot be opened or fails is told, and ends this.
///
/// # Errors
/// The socket failed or what came from it is no message.
pub fn run(
    mut stream: UnixStream,
    open: impl FnOnce(&[u8]) -> Result<Box<dyn Backend>, DeviceError>,
) -> io::Result<()> {
    let mut opening = Vec::new();
    if !read_frame(&mut stream, &mut opening, |prefix| {
        Some(u32::from_le_bytes(prefix)).filter(|bytes| *bytes <= OPENING_BYTES_MAX)
    })? {
        return Ok(());
    }
    let mut out = Vec::new();
    let mut backend = match guarded(|| open(&opening)) {
        Ok(backend) => backend,
        Err(fault) => return tell_fault(&mut stream, &fault, &mut out),
    };
    wire::write_hello(backend.limits(), &mut out).map_err(invalid)?;
    stream.write_all(&out)?;
    let limits = backend.limits().clone();
    let (mut batch, mut frame, mut queued) = (Batch::default(), Vec::new(), 0);
    loop {
        let is_room = queued < limits.depth;
        if queued == 0 || is_room && has_bytes(&stream)? {
            if !read_frame(&mut stream, &mut frame, |prefix| {
                wire::frame_bytes(prefix).ok().and_then(|bytes| u32::try_from(bytes).ok())
            })? {
                return Ok(());
            }
            let step = wire::read_submit(&frame, &limits, &mut batch).map_err(invalid)?;
            if let Err(fault) = guarded(|| backend.submit(step, &batch)) {
                return tell_fault(&mut stream, &fault, &mut out);
            }
            queued += 1;
            continue;
        }
        match guarded(|| match backend.collect(COLLECT_SLICE) {
            Err(DeviceError::Timeout { .. }) => Ok(None),
            other => other.map(Some),
        }) {
            Ok(None) => {}
            Ok(Some((step, outcome))) => {
                wire::write_answer(step, &outcome, &mut out).map_err(invalid)?;
                stream.write_all(&out)?;
                queued -= 1;
            }
            Err(fault) => return tell_fault(&mut stream, &fault, &mut out),
        }
    }
}

/// Waits until the other end of the socket is closed, whatever else happens meanwhile; for a thread
/// that then ends the process.
pub fn until_closed(stream: &UnixStream) {
    loop {
        // Without an event that is asked for, only the end is told.
        let mut socket = [PollFd::new(stream, PollFlags::empty())];
        match poll(&mut socket, None) {
            Ok(_) if socket[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// True if something can be read now, the end included.
fn has_bytes(stream: &UnixStream) -> io::Result<bool> {
    let mut socket = [PollFd::new(stream, PollFlags::IN)];
    match poll(&mut socket, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads a frame without its length; false if the socket was closed before it began.
fn read_frame(
    stream: &mut UnixStream,
    frame: &mut Vec<u8>,
    bytes: impl FnOnce([u8; PREFIX_BYTES]) -> Option<u32>,
) -> io::Result<bool> {
    let mut prefix = [0; PREFIX_BYTES];
    match stream.read_exact(&mut prefix[..1]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    stream.read_exact(&mut prefix[1..])?;
    let bytes = bytes(prefix).ok_or_else(|| invalid("a message of an illegal length"))?;
    frame.resize(bytes as usize, 0);
    stream.read_exact(frame)?;
    Ok(true)
}

fn tell_fault(stream: &mut UnixStream, fault: &Fault, out: &mut Vec<u8>) -> io::Result<()> {
    wire::write_fault(fault, out).map_err(invalid)?;
    stream.write_all(out)
}

/// Calls the device; a panic in it is told as a bug.
fn guarded<T>(call: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(Fault::from),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Fault::Bug { why: text.unwrap_or_else(|| "panic".to_owned()) })
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
