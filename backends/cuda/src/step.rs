//! The `Backend`: `submit` queues a step on the device, `collect` waits for its logits and chooses tokens.
//!
//! Depth is 1, and tokens are chosen by the hal's host sampler. Steps of single rows alone are padded to a few
//! shapes, and the launches of each shape are recorded when it first comes. Next: `platform.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use gimbal_batch::{Answer, Batch, Limits, Outcome, RowFault, StepId, TokenId};
use gimbal_hal::sample::Sampler;
use gimbal_hal::{Backend, DeviceError};
use gimbal_model::Model;

use crate::driver::{Device, Event, Graph, Memory, Pinned};
use crate::inputs::Inputs;
use crate::launch::Launch;
use crate::program::{Program, SLAB_ROWS, Shape};
use crate::weights::upload;

/// How long logits after the first slab are waited for.
const SLAB_TIME: Duration = Duration::from_secs(60);

/// A model on one device.
#[derive(Debug)]
pub(crate) struct CudaBackend {
    limits: Limits,
    program: Program,
    sampler: Sampler,
    inputs: Inputs,
    /// The step's words, as the device copies them.
    words: Pinned<u32>,
    /// A slab of logits, as the device leaves them.
    logits: Pinned<f32>,
    /// Launches by the shape of their step, logits of the first slab included.
    graphs: HashMap<Shape, Graph>,
    done: Event,
    queued: Option<StepId>,
    batch: Batch,
    ids: Vec<TokenId>,
    _memory: Memory,
    device: Device,
}

impl CudaBackend {
    /// Takes memory for a program, and writes the weights. `program` makes it from its address on.
    ///
    /// # Errors
    /// The device has less memory than was promised, or is lost; a weight does not fit its type.
    pub(crate) fn open(
        device: Device,
        model: &Model,
        limits: Limits,
        program: impl Fn(u64) -> Result<Program, String>,
    ) -> Result<Self, DeviceError> {
        let made = |base| program(base).map_err(|why| DeviceError::Model { why });
        let bytes = made(0)?.bytes.total();
        let bytes = usize::try_from(bytes).map_err(|_| DeviceError::Model {
            why: format!("{bytes} bytes are more than this machine counts"),
        })?;
        let memory = device.allocate(bytes)?;
        let program = made(memory.address())?;
        upload(&device, model, &program)?;
        let slab = SLAB_ROWS * program.vocab();
        Ok(Self {
            sampler: Sampler::new(limits.sequences_max),
            inputs: Inputs::default(),
            words: device.pinned(program.sizes.words_max() as usize)?,
            logits: device.pinned(slab as usize)?,
            graphs: HashMap::new(),
            done: device.event()?,
            queued: None,
            batch: Batch::default(),
            ids: Vec::new(),
            limits,
            program,
            _memory: memory,
            device,
        })
    }

    fn queue(&mut self) -> Result<(), DeviceError> {
        self.sampler.begin(&self.batch, &mut self.ids);
        let is_padded = self.inputs.read(&self.program, &self.batch, &self.ids);
        let words = self.inputs.words();
        self.words[..words.len()].copy_from_slice(words);
        self.device.bind()?;
        // SAFETY: the words are not written to before the step was collected, and outlive the stream.
        unsafe { self.device.copy_in(self.program.inputs, &self.words[..words.len()]) }?;
        let shape = self.inputs.shape;
        let first = 0..shape.outputs.min(SLAB_ROWS);
        let all = || {
            self.run(&self.program.body(shape))?;
            match first.is_empty() {
                true => Ok(()),
                false => self.run(&self.program.head(shape, first.clone())),
            }
        };
        match self.graphs.get(&shape) {
            // SAFETY: as in `run`: the launches are this program's.
            Some(graph) => unsafe { graph.launch() }?,
            None if is_padded => {
                let graph = self.device.capture(all)?;
                // SAFETY: as above.
                unsafe { graph.launch() }?;
                self.graphs.insert(shape, graph);
            }
            None => all()?,
        }
        self.queue_logits(self.wanted(first))
    }

    /// Of a slab's outputs those that the batch wants: the others are padding.
    fn wanted(&self, outputs: Range<u32>) -> usize {
        (outputs.end as usize).min(self.batch.outputs.len()) - outputs.start as usize
    }

    fn run(&self, launches: &[Launch]) -> Result<(), DeviceError> {
        for launch in launches {
            // SAFETY: the program's addresses lie in `_memory`, which is as large as the program; a batch
            // within the limits has no more rows, blocks or tokens than that has room for, and no slab more
            // outputs.
            unsafe { self.device.launch(launch) }?;
        }
        Ok(())
    }

    /// Logits of a slab to the host.
    fn queue_logits(&mut self, outputs: usize) -> Result<(), DeviceError> {
        let count = outputs * self.program.vocab() as usize;
        if count > 0 {
            // SAFETY: nobody reads the logits before `done` was passed, and they outlive the stream.
            unsafe { self.device.copy_out(self.program.logits, &mut self.logits[..count]) }?;
        }
        self.done.record()
    }

    /// Answers from the logits of all outputs, slab by slab; the first one has been made.
    fn answer(&mut self) -> Result<Outcome, DeviceError> {
        let (count, vocab) = (self.batch.outputs.len(), self.program.vocab() as usize);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut outcome = Outcome::with_capacity(count as usize);
        for first in (0..count).step_by(SLAB_ROWS as usize) {
            let slab = first..count.min(first + SLAB_ROWS);
            if first > 0 {
                self.run(&self.program.head(self.inputs.shape, slab.clone()))?;
                self.queue_logits(slab.len())?;
                if !self.done.wait(SLAB_TIME)? {
                    let why = format!("logits were not made within {SLAB_TIME:?}");
                    return Err(DeviceError::Lost { why });
                }
            }
            for (row, index) in self.logits.chunks_exact_mut(vocab).zip(slab) {
                let answer = answer(&mut self.sampler, &self.batch, index as usize, row);
                outcome.push(answer);
            }
        }
        Ok(outcome)
    }
}

/// The answer of output `index`, from its logits.
fn answer(
    sampler: &mut Sampler,
    batch: &Batch,
    index: usize,
    logits: &mut [f32],
) -> Result<Answer, RowFault> {
    let output = &batch.outputs[index];
    let mut first = 0;
    for part in &batch.parts {
        if output.row < first + part.rows {
            return sampler.answer(part, output.row - first, output, logits);
        }
        first += part.rows;
    }
    unreachable!("a legal batch wants rows that it has")
}

impl Backend for CudaBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.queued.is_none(), "depth is 1");
        batch.check(&self.limits).expect("the scheduler makes legal batches");
        self.batch.clone_from(batch);
        self.queue()?;
        self.queued = Some(step);
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let step = self.queued.expect("a step is queued");
        if !self.done.wait(timeout)? {
            return Err(DeviceError::Timeout { step, waited: timeout });
        }
        let outcome = self.answer()?;
        self.queued = None;
        Ok((step, outcome))
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        // What is queued reads and writes memory that ends with this. A device that is lost does nothing.
        let _ = self.device.settle();
    }
}
