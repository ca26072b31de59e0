//! Getting done what streams hold. Nothing runs until somebody waits or asks; then the stream that the
//! machine's `order` prefers goes first, whatever was waited for: legal, and the worst for a program that
//! forgot an event.
//!
//! Work waits only for what was put into streams before it, so there is always one that can go on. Next:
//! `capture`, streams that record.

use super::code::{CAPTURE_IMPLICIT, Code, ILLEGAL_ADDRESS, INVALID_HANDLE};
use super::machine::Order;
use super::state::{Device, Driver, tell};
use super::work::{Mark, Node, Op, Recorded, Source, Work};
use super::{border, work};
use crate::{Grid, Memory, launch};

impl Driver {
    /// Puts work into a stream, after what it waits for; or into the graph that the stream records, which
    /// is no place to wait for.
    pub(super) fn enqueue(
        &mut self,
        key: usize,
        op: Op,
        mut after: Vec<Mark>,
    ) -> Result<Option<Mark>, Code> {
        let stream = self.streams.get(&key).ok_or(INVALID_HANDLE)?;
        if stream.capture.is_some() {
            self.record(key, op)?;
            return Ok(None);
        }
        let others = || self.streams.iter().filter(|(_, other)| other.device == stream.device);
        if stream.is_legacy {
            let mut blocking = others().filter(|(_, other)| other.is_blocking);
            if let Some(id) = blocking.find_map(|(_, other)| Some(other.capture.as_ref()?.0)) {
                self.invalidate(id);
                return Err(CAPTURE_IMPLICIT);
            }
            after.extend(others().filter(|(_, o)| o.is_blocking).filter_map(last));
        } else if stream.is_blocking {
            after.extend(others().filter(|(_, other)| other.is_legacy).filter_map(last));
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let stream = self.streams.get_mut(&key).ok_or(INVALID_HANDLE)?;
        stream.queue.push_back(Work { op, ticket, after });
        Ok(Some(Mark { stream: key, ticket }))
    }

    /// The place behind all that a stream holds now; none if that is nothing.
    pub(super) fn last(&self, key: usize) -> Option<Mark> {
        last((&key, self.streams.get(&key)?))
    }

    /// Whether all up to a place is done.
    pub(super) fn is_done(&self, mark: Mark) -> bool {
        let front = self.streams.get(&mark.stream).and_then(|stream| stream.queue.front());
        front.is_none_or(|work| work.ticket > mark.ticket)
    }

    /// Works until all up to the places is done.
    pub(super) fn finish(&mut self, marks: &[Mark]) {
        while !marks.iter().all(|mark| self.is_done(*mark)) && self.step() {}
    }

    /// Works until a device has nothing to do; what ended its context, if that happened.
    pub(super) fn finish_device(&mut self, device: usize) -> Result<(), Code> {
        let streams = self.streams.iter().filter(|(_, stream)| stream.device == device);
        let marks: Vec<Mark> = streams.filter_map(last).collect();
        self.finish(&marks);
        self.healthy(device)
    }

    /// Does one piece of work of any stream; whether there was one.
    pub(super) fn step(&mut self) -> bool {
        let Some(key) = self.runnable() else { return false };
        let Some(stream) = self.streams.get_mut(&key) else { return false };
        let Some(work) = stream.queue.front().cloned() else { return false };
        let device = stream.device;
        self.clock += 1;
        let outcome = match work.op {
            Op::Record(event) => {
                self.happen(event, work.ticket);
                Ok(())
            }
            op => self.execute(device, &op),
        };
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.queue.pop_front();
        }
        if let Err(what) = outcome {
            self.fail(device, &what);
        }
        let is_gone =
            |(_, stream): &(&usize, &work::Stream)| stream.is_destroyed && stream.queue.is_empty();
        let gone = self.streams.iter().filter(is_gone).map(|(key, _)| *key);
        for key in gone.collect::<Vec<_>>() {
            self.remove_stream(key);
        }
        true
    }

    fn runnable(&self) -> Option<usize> {
        let is_ready = |stream: &&work::Stream| {
            stream.queue.front().is_some_and(|work| work.after.iter().all(|m| self.is_done(*m)))
        };
        let mut ready = self.streams.iter().filter(|(_, stream)| is_ready(stream));
        let found = match self.machine.order {
            Order::First => ready.next(),
            Order::Last => ready.next_back(),
        };
        found.map(|(key, _)| *key)
    }

    /// A device's context is over, and all that it had to do.
    fn fail(&mut self, device: usize, what: &str) {
        tell(&format!("device {device}: {what}"));
        self.devices[device].fault = Some(ILLEGAL_ADDRESS);
        for stream in self.streams.values_mut().filter(|stream| stream.device == device) {
            stream.queue.clear();
        }
    }

    /// An event happens, if it was not recorded again.
    fn happen(&mut self, event: usize, ticket: u64) {
        let clock = self.clock;
        let last = self.events.get_mut(&event).and_then(|event| event.last.as_mut());
        if let Some(Recorded::At(mark, time)) = last
            && mark.ticket == ticket
        {
            *time = Some(clock);
        }
    }

    fn execute(&mut self, device: usize, op: &Op) -> Result<(), String> {
        match op {
            Op::Kernel { module, index, grid, params } => {
                let workers = match self.machine.workers {
                    0 => std::thread::available_parallelism().map_or(1, usize::from),
                    count => count,
                };
                let is_reversed = self.machine.warps == Order::Last;
                let grid = Grid { workers, is_reversed, ..*grid };
                let memory = &self.devices[device].memory;
                launch(&module.kernels[*index], grid, params, memory)
                    .map_err(|fault| fault.to_string())
            }
            Op::ToDevice { to, from: Source::Held(bytes) } => self.memory(*to)?.write(*to, bytes),
            Op::ToDevice { to, from: Source::Host(from, bytes) } => {
                self.memory(*to)?.write(*to, &border::read(*from, *bytes))
            }
            Op::ToHost { to, from, bytes } => {
                let mut read = vec![0; *bytes];
                self.memory(*from)?.read(*from, &mut read)?;
                border::write(*to, &read);
                Ok(())
            }
            Op::Copy { to, from, bytes } => {
                self.memory(*to)?.copy(*to, self.memory(*from)?, *from, *bytes)
            }
            Op::Fill { to, pattern, count } => {
                self.memory(*to)?.write(*to, &pattern.repeat(*count))
            }
            Op::Free(address) => match self.free(*address) {
                true => Ok(()),
                false => Err(format!("{address:#x} is freed and was not allocated")),
            },
            Op::Host(function, argument) => {
                border::call_host(*function, *argument);
                Ok(())
            }
            Op::Graph(nodes) => self.execute_graph(nodes),
            Op::Record(_) | Op::Wait => Ok(()),
        }
    }

    /// A graph's nodes: of those that could be next the one that `order` prefers.
    fn execute_graph(&mut self, nodes: &[Node]) -> Result<(), String> {
        let mut is_done = vec![false; nodes.len()];
        for _ in 0..nodes.len() {
            let is_ready =
                |i: &usize| !is_done[*i] && nodes[*i].after.iter().all(|before| is_done[*before]);
            let next = match self.machine.order {
                Order::First => (0..nodes.len()).find(is_ready),
                Order::Last => (0..nodes.len()).rev().find(is_ready),
            };
            // A node waits for earlier ones only.
            let Some(next) = next else { return Err("a graph in a circle".to_owned()) };
            self.execute(nodes[next].device, &nodes[next].op)?;
            is_done[next] = true;
        }
        Ok(())
    }

    /// The memory that an address lies in.
    fn memory(&self, address: u64) -> Result<&Memory, String> {
        let mut memories = self.devices.iter().map(|device| &device.memory);
        let found = memories.find(|memory| memory.allocation(address).is_some());
        found.ok_or_else(|| format!("{address:#x} lies outside of what is allocated"))
    }

    /// Gives an allocation back; whether there was one.
    pub(super) fn free(&mut self, address: u64) -> bool {
        self.devices.iter_mut().any(|Device { memory, used, .. }| {
            match memory.allocation(address) {
                Some((start, bytes)) if start == address => {
                    *used -= bytes as u64;
                    memory.free(address)
                }
                _ => false,
            }
        })
    }
}

fn last((key, stream): (&usize, &work::Stream)) -> Option<Mark> {
    stream.queue.back().map(|work| Mark { stream: *key, ticket: work.ticket })
}
