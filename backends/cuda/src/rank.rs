//! A model's part on one device: its memory, and what is queued there.
//!
//! Next: `step.rs`.

use std::collections::HashMap;
use std::time::Duration;

use gimbal_hal::DeviceError;
use gimbal_model::{Model, Shards};

use crate::driver::{Device, Event, Graph, Memory, Pinned};
use crate::launch::{Drawn, Launch};
use crate::program::{Program, SLAB_ROWS, Shape, Stages};
use crate::weights::upload;

/// Steps that may be queued: one runs while the host makes the next.
pub(crate) const DEPTH: usize = 2;

/// One of the devices that hold a model.
#[derive(Debug)]
pub(crate) struct Rank {
    program: Program,
    /// Of each queued step the words, as the device copies them.
    words: [Pinned<u32>; DEPTH],
    /// Of each the tokens, as the device leaves them.
    drawn: [Pinned<u32>; DEPTH],
    /// Of each: its answers are there.
    done: [Event; DEPTH],
    /// A slab of logits, as the device leaves them: of the step whose tokens the host chooses.
    logits: Pinned<f32>,
    /// Launches by the shape of their step.
    graphs: HashMap<Shape, Graph>,
    /// This rank's part is with all others.
    sent: Event,
    _memory: Memory,
    device: Device,
}

impl Rank {
    /// Takes memory for a program, and writes the weights. `program` makes it from its address on.
    ///
    /// # Errors
    /// The device has less memory than was promised, or is lost; a weight does not fit its type.
    pub(crate) fn open(
        device: Device,
        model: &Model,
        shards: &Shards,
        program: impl Fn(u64) -> Result<Program, String>,
    ) -> Result<Self, DeviceError> {
        let made = |base| program(base).map_err(|why| DeviceError::Model { why });
        let bytes = made(0)?.bytes.total();
        let bytes = usize::try_from(bytes).map_err(|_| DeviceError::Model {
            why: format!("{bytes} bytes are more than this machine counts"),
        })?;
        let memory = device.allocate(bytes)?;
        let program = made(memory.address())?;
        upload(&device, model, shards, &program)?;
        let slab = SLAB_ROWS * program.vocab();
        Ok(Self {
            words: each(|| device.pinned(program.words_max()[0] as usize))?,
            drawn: each(|| device.pinned(program.sizes.rows as usize * Drawn::WORDS))?,
            done: each(|| device.event())?,
            logits: device.pinned(slab as usize)?,
            graphs: HashMap::new(),
            sent: device.event()?,
            program,
            _memory: memory,
            device,
        })
    }

    pub(crate) const fn program(&self) -> &Program {
        &self.program
    }

    /// Queues the words of the step at one of `DEPTH` places; those before were read when their step was collected.
    pub(crate) fn queue_words(&mut self, place: usize, words: &[u32]) -> Result<(), DeviceError> {
        let pinned = &mut self.words[place][..words.len()];
        pinned.copy_from_slice(words);
        self.device.bind()?;
        // SAFETY: the words are not written to before the step was collected, and outlive the stream.
        unsafe { self.device.copy_in(self.program.inputs, pinned) }
    }

    /// Queues the launches of a shape that were recorded, or records them first.
    pub(crate) fn replay(&mut self, shape: Shape) -> Result<(), DeviceError> {
        if !self.graphs.contains_key(&shape) {
            let graph = self.device.capture(|| {
                self.run_all(&self.program.body(shape))?;
                let mut slabs = Program::slabs(shape);
                slabs.try_for_each(|slab| self.run_all(&self.program.head(shape, slab)))
            })?;
            self.graphs.insert(shape, graph);
        }
        match self.graphs.get(&shape) {
            // SAFETY: as in `run`: the launches are this program's.
            Some(graph) => unsafe { graph.launch() },
            None => Ok(()),
        }
    }

    fn run_all(&self, stages: &Stages) -> Result<(), DeviceError> {
        stages.stages().iter().try_for_each(|launches| self.run(launches))
    }

    /// Queues launches of this rank's program.
    pub(crate) fn run(&self, launches: &[Launch]) -> Result<(), DeviceError> {
        self.device.bind()?;
        for launch in launches {
            // SAFETY: the program's addresses lie in `_memory`, which is as large as the program; a batch
            // within the limits has no more rows, blocks or tokens than that has room for, and no slab more
            // outputs.
            unsafe { self.device.launch(launch) }?;
        }
        Ok(())
    }

    /// Queues this rank's part of exchange `turn` to another rank.
    pub(crate) fn send(&self, other: &Self, turn: usize, rows: u32) -> Result<(), DeviceError> {
        let rank = self.program.rank;
        let [from, to] = [self, other].map(|on| on.program.part(turn, rank, rows));
        let bytes = usize::try_from(self.program.part_bytes(rows)).unwrap_or(usize::MAX);
        self.device.bind()?;
        // SAFETY: both places are parts of their programs, which have room for so many rows; ranks end
        // together, after their streams have settled.
        unsafe { self.device.copy_to(&other.device, to, from, bytes) }
    }

    /// Marks that all others have this rank's part.
    pub(crate) fn mark_sent(&self) -> Result<(), DeviceError> {
        self.device.bind()?;
        self.sent.record()
    }

    /// Lets what follows wait for another rank's part.
    pub(crate) fn receive(&self, other: &Self) -> Result<(), DeviceError> {
        self.device.bind()?;
        self.device.wait_for(&other.sent)
    }

    /// Queues the copy of a slab's logits to the host, and marks the end of the step at a place.
    pub(crate) fn queue_logits(&mut self, place: usize, outputs: usize) -> Result<(), DeviceError> {
        self.device.bind()?;
        let count = outputs * self.program.vocab() as usize;
        if count > 0 {
            // SAFETY: nobody reads the logits before `done` was passed, and they outlive the stream.
            unsafe { self.device.copy_out(self.program.logits, &mut self.logits[..count]) }?;
        }
        self.done[place].record()
    }

    /// The same of the tokens of all outputs.
    pub(crate) fn queue_drawn(&mut self, place: usize, outputs: usize) -> Result<(), DeviceError> {
        self.device.bind()?;
        if outputs > 0 {
            let drawn = &mut self.drawn[place][..outputs * Drawn::WORDS];
            // SAFETY: nobody reads them before `done` was passed, and they outlive the stream.
            unsafe { self.device.copy_out(self.program.choice.drawn, drawn) }?;
        }
        self.done[place].record()
    }

    /// Waits until the step at a place has come to its end; false if it has not within the time.
    pub(crate) fn wait(&self, place: usize, timeout: Duration) -> Result<bool, DeviceError> {
        self.done[place].wait(timeout)
    }

    /// What was drawn for the outputs of the step at a place, after `wait`.
    pub(crate) fn drawn(&self, place: usize) -> impl Iterator<Item = Drawn> {
        let words = self.drawn[place].as_chunks::<{ Drawn::WORDS }>().0;
        words.iter().copied().map(Drawn::read)
    }

    /// The slab's logits, `[outputs, columns]`, after `wait`.
    pub(crate) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Waits for all that was queued; a device that is lost does nothing.
    pub(crate) fn settle(&self) {
        let _ = self.device.settle();
    }
}

/// One for each step that may be queued.
fn each<T>(make: impl Fn() -> Result<T, DeviceError>) -> Result<[T; DEPTH], DeviceError> {
    Ok([make()?, make()?])
}
