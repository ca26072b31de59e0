//! Streams that record a graph instead of working.
//!
//! A stream joins a capture by waiting for an event that was recorded in it; when the capture ends, the
//! stream that began it must have waited for all others. **Source**: CUDA Driver API, stream capture.
//! Next: `graph`, what becomes of it.

use std::thread;

use super::border::Out;
use super::code::{
    CAPTURE_INVALIDATED, CAPTURE_ISOLATION, CAPTURE_MERGE, CAPTURE_UNJOINED, CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Code, ILLEGAL_STATE, INVALID_HANDLE, INVALID_VALUE,
};
use super::state::{Driver, call, tell};
use super::work::{Capture, Mode, Node, Op, Recorded};

/// The last recorded nodes are reached from all others.
fn is_joined(nodes: &[Node], last: &[usize]) -> bool {
    let mut is_reached = vec![false; nodes.len()];
    let mut next = last.to_vec();
    while let Some(node) = next.pop() {
        if !std::mem::replace(&mut is_reached[node], true) {
            next.extend(&nodes[node].after);
        }
    }
    !is_reached.contains(&false)
}

impl Driver {
    /// Adds a node to the graph that a stream records.
    pub(super) fn record(&mut self, key: usize, op: Op) -> Result<(), Code> {
        let stream = self.streams.get_mut(&key).ok_or(INVALID_HANDLE)?;
        let (id, after) = stream.capture.as_mut().ok_or(ILLEGAL_STATE)?;
        let capture = self.captures.get_mut(id).ok_or(ILLEGAL_STATE)?;
        if !capture.is_valid {
            return Err(CAPTURE_INVALIDATED);
        }
        if let Op::Free(_) = op {
            tell("memory that is freed in a capture is not known here");
            capture.is_valid = false;
            return Err(CAPTURE_UNSUPPORTED);
        }
        let last = vec![capture.nodes.len()];
        let after = std::mem::replace(after, last);
        capture.nodes.push(Node { device: stream.device, op, after });
        Ok(())
    }

    pub(super) fn invalidate(&mut self, id: usize) {
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.is_valid = false;
        }
    }

    /// Whether a stream records.
    pub(super) fn is_capturing(&self, key: usize) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.capture.is_some())
    }

    /// A call that waits or may wait for a stream that records: refused, and the capture is lost.
    pub(super) fn refuse_in_capture(&mut self) -> Result<(), Code> {
        let thread = thread::current().id();
        let forbids = |capture: &&mut Capture| match capture.mode {
            Mode::Global => true,
            Mode::Thread => capture.thread == thread,
            Mode::Relaxed => false,
        };
        let mut is_refused = false;
        for capture in self.captures.values_mut().filter(forbids) {
            capture.is_valid = false;
            is_refused = true;
        }
        if is_refused { Err(CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    /// A wait for a stream: it must not record.
    pub(super) fn refuse_captured(&mut self, key: usize) -> Result<(), Code> {
        let id = self.streams.get(&key).and_then(|stream| Some(stream.capture.as_ref()?.0));
        let Some(id) = id else { return Ok(()) };
        self.invalidate(id);
        Err(CAPTURE_UNSUPPORTED)
    }

    /// A stream waits for an event, where one of them is part of a capture; false where none is.
    pub(super) fn joins(&mut self, key: usize, last: Option<&Recorded>) -> Result<bool, Code> {
        let stream = self.streams.get_mut(&key).ok_or(INVALID_HANDLE)?;
        match (last, &mut stream.capture) {
            (Some(Recorded::Captured(id, nodes)), Some((own, after))) if id == own => {
                after.extend(nodes);
                after.sort_unstable();
                after.dedup();
                Ok(true)
            }
            (Some(Recorded::Captured(..)), Some(_)) => Err(CAPTURE_MERGE),
            (Some(Recorded::Captured(id, nodes)), own @ None) if self.captures.contains_key(id) => {
                *own = Some((*id, nodes.clone()));
                Ok(true)
            }
            (Some(Recorded::Captured(..)), None) => Err(INVALID_VALUE),
            (Some(Recorded::At(..)), Some((own, _))) => {
                let own = *own;
                self.invalidate(own);
                Err(CAPTURE_ISOLATION)
            }
            // An event that was never recorded is not waited for.
            (None, Some(_)) => Ok(true),
            (_, None) => Ok(false),
        }
    }

    /// Ends the capture of a stream.
    fn end(&mut self, key: usize) -> Result<Vec<Node>, Code> {
        let stream = self.streams.get(&key).ok_or(INVALID_HANDLE)?;
        let (id, last) = stream.capture.clone().ok_or(ILLEGAL_STATE)?;
        let capture = self.captures.get(&id).ok_or(ILLEGAL_STATE)?;
        if capture.origin != key {
            return Err(CAPTURE_UNMATCHED);
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(CAPTURE_WRONG_THREAD);
        }
        let capture = self.captures.remove(&id).ok_or(ILLEGAL_STATE)?;
        let parts = self.streams.values_mut();
        for stream in parts.filter(|s| s.capture.as_ref().is_some_and(|(own, _)| *own == id)) {
            stream.capture = None;
        }
        match capture.is_valid {
            false => Err(CAPTURE_INVALIDATED),
            true if !is_joined(&capture.nodes, &last) => Err(CAPTURE_UNJOINED),
            true => Ok(capture.nodes),
        }
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: i32) -> Code {
    call("cuStreamBeginCapture_v2", |driver| {
        let mode = match mode {
            0 => Mode::Global,
            1 => Mode::Thread,
            2 => Mode::Relaxed,
            _ => return Err(INVALID_VALUE),
        };
        let key = driver.stream(stream)?;
        let id = driver.handle();
        let stream = driver.streams.get_mut(&key).ok_or(INVALID_HANDLE)?;
        if stream.is_legacy {
            return Err(CAPTURE_UNSUPPORTED);
        }
        if stream.capture.is_some() {
            return Err(ILLEGAL_STATE);
        }
        stream.capture = Some((id, Vec::new()));
        let thread = thread::current().id();
        let capture = Capture { origin: key, mode, thread, is_valid: true, nodes: Vec::new() };
        driver.captures.insert(id, capture);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamEndCapture(stream: usize, graph: Out<usize>) -> Code {
    call("cuStreamEndCapture", |driver| {
        graph.put(0)?;
        let key = driver.stream(stream)?;
        let nodes = driver.end(key)?;
        let handle = driver.handle();
        driver.graphs.insert(handle, nodes.into());
        graph.put(handle)
    })
}

/// 0, 1 while the stream records, 2 if what it records is lost.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamIsCapturing(stream: usize, status: Out<i32>) -> Code {
    call("cuStreamIsCapturing", |driver| {
        let key = driver.stream(stream)?;
        let capture = driver.streams.get(&key).and_then(|stream| stream.capture.as_ref());
        let capture = capture.and_then(|(id, _)| driver.captures.get(id));
        status.put(capture.map_or(0, |capture| if capture.is_valid { 1 } else { 2 }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_joined_if_its_end_waits_for_all() {
        let node = |after: &[usize]| Node { device: 0, op: Op::Wait, after: after.to_vec() };
        let fork = [node(&[]), node(&[0]), node(&[0])];
        assert!(!is_joined(&fork, &[1]));
        assert!(is_joined(&fork, &[1, 2]));
        assert!(is_joined(&[], &[]));
    }
}
