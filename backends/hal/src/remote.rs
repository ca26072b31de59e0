//! A device in a process of its own: a driver that crashes or hangs costs a reopening, not the server.
//!
//! The child is started with one end of a socket as its standard input; what crosses it stands in
//! `gimbal_batch::wire`, but for the first message, which is the caller's own. Its standard error
//! becomes lines of the caller's log. Next: `worker.rs`, the other end.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gimbal_batch::wire::{self, PREFIX_BYTES, Reply, WireError};
use gimbal_batch::{Batch, Limits, Outcome, StepId};

use crate::{Backend, DeviceError};

/// Time for a child to take a step's bytes; a socket holds several steps.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Time for a child to end by itself when its socket is closed, after which it is killed.
const END_TIME: Duration = Duration::from_secs(2);
/// How often a child that should end is looked at.
const END_POLL: Duration = Duration::from_millis(5);
/// Bytes of a line of a child's standard error; the rest of a longer one is dropped.
const LINE_BYTES_MAX: u64 = 4096;

/// Told of each line of a child's standard error, with its process id.
pub type Told = Box<dyn FnMut(u32, &str) + Send>;

/// A backend in another process.
#[derive(Debug)]
pub struct Remote {
    limits: Limits,
    /// A step that takes longer means that the child hangs.
    patience: Duration,
    peer: Peer,
    /// Steps that were not answered yet, the oldest first: results that each wants, and since when.
    queued: VecDeque<Queued>,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Queued {
    step: StepId,
    outputs: usize,
    /// Since when nothing was before it.
    since: Instant,
}

/// The other end.
#[derive(Debug)]
struct Peer {
    stream: UnixStream,
    child: Option<Child>,
    /// The last line it wrote to its standard error.
    last: Arc<Mutex<String>>,
    /// A frame, as far as it has come, its length included.
    frame: Vec<u8>,
    filled: usize,
}

impl Remote {
    /// Starts a child and waits until its device is open. `opening` is the first message: what the
    /// child's own code makes a backend of. `patience` is how long a step may take.
    ///
    /// # Errors
    /// The child could not be started, or said why its device cannot be opened, or ended, or said what
    /// is no message of ours.
    pub fn start(
        command: &mut Command,
        opening: &[u8],
        patience: Duration,
        told: Told,
    ) -> Result<Self, DeviceError> {
        let lost = |what: &str, e: io::Error| DeviceError::Lost { why: format!("{what}: {e}") };
        let (ours, theirs) = UnixStream::pair().map_err(|e| lost("no socket for a worker", e))?;
        let theirs = Stdio::from(OwnedFd::from(theirs));
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| lost("a worker cannot be started", e))?;
        // The command holds the child's end too; the child's death must be seen.
        command.stdin(Stdio::null());
        let last = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            let (pid, last) = (child.id(), Arc::clone(&last));
            let thread = std::thread::Builder::new().name("worker-log".to_owned());
            let tell = thread.spawn(move || tell(stderr, pid, &last, told));
            tell.map_err(|e| lost("no thread for a worker's log", e))?;
        }
        Self::greet(ours, Some(child), last, opening, patience)
    }

    /// The same over a socket whose other end runs `worker::run`, wherever that is.
    ///
    /// # Errors
    /// As `start`.
    pub fn over(
        stream: UnixStream,
        opening: &[u8],
        patience: Duration,
    ) -> Result<Self, DeviceError> {
        Self::greet(stream, None, Arc::default(), opening, patience)
    }

    fn greet(
        stream: UnixStream,
        child: Option<Child>,
        last: Arc<Mutex<String>>,
        opening: &[u8],
        patience: Duration,
    ) -> Result<Self, DeviceError> {
        let mut peer = Peer { stream, child, last, frame: Vec::new(), filled: 0 };
        let length = u32::try_from(opening.len()).unwrap_or(u32::MAX).to_le_bytes();
        let timeout = peer.stream.set_write_timeout(Some(WRITE_TIME));
        let sent = timeout.and_then(|()| peer.stream.write_all(&[&length[..], opening].concat()));
        sent.map_err(|e| peer.lost(&e))?;
        // How long a model may take to open is nobody's to know; a child that ends is seen.
        let limits = match peer.read(None)? {
            Some(frame) => match wire::read_reply(frame) {
                Ok(Reply::Hello(limits)) => limits,
                Ok(Reply::Fault(fault)) => return Err(fault.into()),
                Ok(Reply::Answer(_)) => return Err(peer.broken("an answer before it was open")),
                Err(error) => return Err(peer.broken(&error.to_string())),
            },
            None => return Err(peer.broken("silence")),
        };
        Ok(Self { limits, patience, peer, queued: VecDeque::new(), out: Vec::new() })
    }
}

impl Backend for Remote {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.queued.len() < self.limits.depth as usize, "at most `depth` steps");
        wire::write_submit(step, batch, &mut self.out).map_err(|error| DeviceError::Lost {
            why: format!("a step cannot be sent: {error}"),
        })?;
        let sent = self.peer.stream.write_all(&self.out);
        sent.map_err(|error| self.peer.lost(&error))?;
        let (outputs, since) = (batch.outputs.len(), Instant::now());
        self.queued.push_back(Queued { step, outputs, since });
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let oldest = self.queued.front().expect("a step is queued");
        let (step, outputs, waited) = (oldest.step, oldest.outputs, oldest.since.elapsed());
        let Some(frame) = self.peer.read(Some(timeout))? else {
            if waited <= self.patience {
                return Err(DeviceError::Timeout { step, waited });
            }
            let why = format!("no answer for {} s", waited.as_secs());
            return Err(self.peer.broken(&why));
        };
        let answered = wire::read_reply(frame).and_then(|reply| match reply {
            Reply::Answer(answers) => Ok(Ok((answers.step, answers.outcome(outputs)?))),
            Reply::Fault(fault) => Ok(Err(DeviceError::from(fault))),
            Reply::Hello(_) => Err(WireError::Tag { what: "second greeting", found: 0 }),
        });
        let (found, outcome) = match answered {
            Ok(answered) => answered?,
            Err(error) => return Err(self.peer.broken(&error.to_string())),
        };
        if found != step {
            return Err(self.peer.broken(&format!("step {} instead of {}", found.0, step.0)));
        }
        self.queued.pop_front();
        if let Some(next) = self.queued.front_mut() {
            next.since = Instant::now();
        }
        Ok((step, outcome))
    }
}

impl Peer {
    /// The next frame without its length; `None` if it is not there in time.
    fn read(&mut self, timeout: Option<Duration>) -> Result<Option<&[u8]>, DeviceError> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        if self.filled > 0 && self.filled == self.frame.len() {
            self.filled = 0;
        }
        if self.filled == 0 {
            self.frame.resize(PREFIX_BYTES, 0);
        }
        loop {
            while self.filled < self.frame.len() {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                // A time of zero would be none at all.
                let left = left.map(|left| left.max(Duration::from_micros(50)));
                let read = self.stream.set_read_timeout(left);
                let read = read.and_then(|()| self.stream.read(&mut self.frame[self.filled..]));
                match read {
                    Ok(0) => return Err(self.lost(&ErrorKind::UnexpectedEof.into())),
                    Ok(bytes) => self.filled += bytes,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        return Ok(None);
                    }
                    Err(error) => return Err(self.lost(&error)),
                }
            }
            if self.filled > PREFIX_BYTES {
                return Ok(Some(&self.frame[PREFIX_BYTES..]));
            }
            let mut prefix = [0; PREFIX_BYTES];
            prefix.copy_from_slice(&self.frame[..PREFIX_BYTES]);
            match wire::frame_bytes(prefix) {
                Ok(bytes) => self.frame.resize(PREFIX_BYTES + bytes, 0),
                Err(error) => return Err(self.broken(&error.to_string())),
            }
        }
    }

    /// It said what it must not say, or nothing: nothing more is heard of it.
    fn broken(&mut self, what: &str) -> DeviceError {
        let name = self.name();
        self.end(Duration::ZERO);
        DeviceError::Lost { why: format!("{name} gave {what}") }
    }

    /// The socket failed, which is what a child's death looks like.
    fn lost(&mut self, error: &io::Error) -> DeviceError {
        let name = self.name();
        let ended = self.end(END_TIME);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = if last.is_empty() { last } else { format!("; it last said: {last}") };
        let what = ended.unwrap_or_else(|| error.to_string());
        DeviceError::Lost { why: format!("{name} is gone ({what}){last}") }
    }

    fn name(&self) -> String {
        self.child.as_ref().map_or("the worker".to_owned(), |c| format!("worker {}", c.id()))
    }

    /// Waits for the child's end, kills it if that takes too long, and says how it ended.
    fn end(&mut self, time: Duration) -> Option<String> {
        // An error means that the other end is gone already.
        drop(self.stream.shutdown(std::net::Shutdown::Both));
        let mut child = self.child.take()?;
        let until = Instant::now() + time;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status.to_string()),
                Ok(None) if Instant::now() < until => std::thread::sleep(END_POLL),
                Ok(None) => break,
                Err(error) => return Some(error.to_string()),
            }
        }
        // A child that cannot be killed has ended meanwhile; waiting takes its entry away.
        drop(child.kill());
        child.wait().ok().map(|status| status.to_string())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end(END_TIME);
    }
}

/// Hands on the lines of a child's standard error until it is closed.
fn tell(stderr: ChildStderr, pid: u32, last: &Mutex<String>, mut told: Told) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            text.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
            told(pid, text);
        }
    }
}
