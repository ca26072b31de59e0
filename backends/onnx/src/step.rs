//! The `Backend`: a step is stored by `submit` and computed by `collect`.
//!
//! Depth is 1: on a CPU there is no device to overlap with. Sampling is the hal's host sampler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{Answer, Batch, Limits, Outcome, RowFault, Shape, StepId, TokenId, Want};
use gimbal_cpu::{Cpu, Executor, Stored};
use gimbal_hal::sample::Sampler;
use gimbal_hal::{Backend, DeviceError, Fit, Profile};
use gimbal_model::Model;
use gimbal_model::fuse::fuse;

use crate::session::Session;

/// What a platform opens a model with.
pub(crate) struct Resources<'a> {
    pub(crate) cpu: Arc<Cpu>,
    /// ONNX Runtime; `None` leaves it to the loader.
    pub(crate) library: Option<&'a Path>,
    /// Folder for packed weights.
    pub(crate) packed_cache: Option<&'a Path>,
}

/// A model on the CPU.
pub(crate) struct CpuBackend {
    limits: Limits,
    cpu: Arc<Cpu>,
    session: Session,
    sampler: Sampler,
    /// The weights, and who writes them to their file.
    _stored: Stored,
    queued: Option<StepId>,
    batch: Batch,
    ids: Vec<TokenId>,
    /// The thread that computes has said so to the kernel.
    is_settled: bool,
}

impl CpuBackend {
    /// Packs the weights, or maps them packed, and makes the session.
    pub(crate) fn open(
        fit: &Fit,
        model: &Arc<Model>,
        Resources { cpu, library, packed_cache }: Resources<'_>,
    ) -> Result<Self, DeviceError> {
        let refused = |why: String| DeviceError::Model { why };
        let fused = fuse(&model.graph).map_err(refused)?;
        let limits = fit.limits().ok_or_else(|| refused("it does not generate".to_owned()))?;
        let Profile { quantize, kv_dtype, .. } = &fit.profile;
        let stored = gimbal_cpu::open(model, &fused, *quantize, packed_cache, &cpu);
        let stored = stored.map_err(|e| refused(format!("packing: {e}")))?;
        let blocks = limits.kv.blocks as usize;
        let Shape::Varlen { rows_max } = limits.shape else {
            return Err(refused("the CPU has no compiled shapes".to_owned()));
        };
        let (kv, rows) = ((*kv_dtype, blocks), rows_max as usize);
        let executor = Executor::new(model, &fused, &stored, kv, rows, cpu.clone())
            .map_err(|e| refused(format!("the KV cache: {e}")))?;
        let session = Session::open(library, &fused, executor)?;
        Ok(Self {
            limits: limits.clone(),
            cpu,
            session,
            sampler: Sampler::new(limits.sequences_max),
            _stored: stored,
            queued: None,
            batch: Batch::default(),
            ids: Vec::new(),
            is_settled: false,
        })
    }

    fn compute(&mut self) -> Result<Outcome, DeviceError> {
        self.sampler.begin(&self.batch, &mut self.ids);
        self.session.executor().begin(&self.batch, &self.ids);
        let turn = self.cpu.turn();
        self.session.run(&self.ids)?;
        let mut executor = self.session.executor();
        let vocab = executor.columns().1;
        let scores = executor.take_scores().into_iter();
        let rows = executor.logits().chunks_exact_mut(vocab);
        let answers = answers(&self.batch, &mut self.sampler, rows, scores);
        // Not before the tokens are chosen: another model's step has a thread for each CPU, and would
        // wait at every barrier for the one that this thread is on.
        drop(turn);
        Ok(answers)
    }
}

/// One answer for each output: as it was scored, or from one row of logits.
fn answers<'a>(
    batch: &Batch,
    sampler: &mut Sampler,
    mut rows: impl Iterator<Item = &'a mut [f32]>,
    mut scores: impl Iterator<Item = Result<Answer, RowFault>>,
) -> Outcome {
    let mut outputs = batch.outputs.iter().peekable();
    let (mut outcome, mut first) = (Outcome::with_capacity(batch.outputs.len()), 0);
    for part in &batch.parts {
        while let Some(output) = outputs.next_if(|o| o.row < first + part.rows) {
            if let Want::Score { .. } = output.want {
                outcome.push(scores.next().expect("the head scores each row that is to be"));
                continue;
            }
            let logits = rows.next().expect("the head makes one row for each other output");
            outcome.push(sampler.answer(part, output.row - first, output, logits));
        }
        first += part.rows;
    }
    outcome
}

impl Backend for CpuBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.queued.is_none(), "depth is 1");
        batch.check(&self.limits).expect("the scheduler makes legal batches");
        self.batch.clone_from(batch);
        self.queued = Some(step);
        Ok(())
    }

    /// Computes the step; a computation cannot be interrupted, so `timeout` is not used.
    fn collect(&mut self, _timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        if !std::mem::replace(&mut self.is_settled, true) {
            gimbal_cpu::settle();
        }
        let step = self.queued.take().expect("a step is queued");
        Ok((step, self.compute()?))
    }
}
