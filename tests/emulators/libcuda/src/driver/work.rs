//! What streams, events and graphs hold: plain data.
//!
//! Next: `queue`, how it gets done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;

use crate::{Grid, Module};

/// Something that a device does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A kernel with its parameters' bytes.
    Kernel { module: Arc<Module>, index: usize, grid: Grid, params: Vec<u8> },
    /// Bytes of the host to a device.
    ToDevice { to: u64, from: Source },
    /// Bytes of a device to the host.
    ToHost { to: usize, from: u64, bytes: usize },
    /// Bytes of a device to the same or another one.
    Copy { to: u64, from: u64, bytes: usize },
    /// A pattern, again and again.
    Fill { to: u64, pattern: Vec<u8>, count: usize },
    /// An allocation goes.
    Free(u64),
    /// An event happens.
    Record(usize),
    /// A function of the host, with its argument.
    Host(usize, usize),
    /// A graph, as one.
    Graph(Arc<[Node]>),
    /// Nothing: what comes later waits for what this waits for.
    Wait,
}

/// Bytes of the host.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Read when the copy was asked for.
    Held(Arc<[u8]>),
    /// Read when the copy is made: address, bytes.
    Host(usize, usize),
}

/// An operation of a graph, and the earlier ones it waits for.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) device: usize,
    pub(super) op: Op,
    pub(super) after: Vec<usize>,
}

/// A place in a stream: it is passed once all up to the ticket is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) stream: usize,
    pub(super) ticket: u64,
}

/// Work in a stream.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) op: Op,
    pub(super) ticket: u64,
    /// Of other streams.
    pub(super) after: Vec<Mark>,
}

/// A stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) device: usize,
    /// The context's default stream: it and blocking streams wait for each other.
    pub(super) is_legacy: bool,
    pub(super) is_blocking: bool,
    pub(super) priority: i32,
    /// It goes once its work is done.
    pub(super) is_destroyed: bool,
    pub(super) queue: VecDeque<Work>,
    /// The capture it takes part in, and the nodes that its next one waits for.
    pub(super) capture: Option<(usize, Vec<usize>)>,
}

impl Stream {
    /// One that waits for the default stream.
    pub(super) const fn of(device: usize) -> Self {
        Self {
            device,
            is_legacy: false,
            is_blocking: true,
            priority: 0,
            is_destroyed: false,
            queue: VecDeque::new(),
            capture: None,
        }
    }
}

/// What an event was recorded as last.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    /// In a stream; when it happened, if it has.
    At(Mark, Option<u64>),
    /// In a capture, after these nodes.
    Captured(usize, Vec<usize>),
}

/// An event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) device: usize,
    pub(super) is_timed: bool,
    pub(super) last: Option<Recorded>,
}

/// Streams that record a graph instead of working.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    /// The stream that began it.
    pub(super) origin: usize,
    /// Which threads may not make calls that could wait for it.
    pub(super) mode: Mode,
    pub(super) thread: ThreadId,
    pub(super) is_valid: bool,
    pub(super) nodes: Vec<Node>,
}

/// How a capture guards against calls that it cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No thread may make them.
    Global,
    /// The thread that began it may not.
    Thread,
    /// Any may.
    Relaxed,
}

/// A graph that can be launched.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub(super) nodes: Arc<[Node]>,
    /// Its last launch: the next one waits for it.
    pub(super) last: Option<Mark>,
}
