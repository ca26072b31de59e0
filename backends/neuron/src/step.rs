//! The `Backend`: each step runs the smallest compiled shape that holds it, on all ranks at once.
//!
//! Tokens are drawn on the device; rank 0's are those that count. Next: `../lib.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gimbal_batch::{
    Answer, Batch, Bucket, Kv, Limits, Outcome, Prefill, RowFault, Sampling, SeqSlot, Shape,
    StepId, TokenId, Want,
};
use gimbal_hal::sample::Sampler;
use gimbal_hal::{Backend, DeviceError};

use crate::bundle::{self, Bundle};
use crate::compile::BLOCK_TOKENS;
use crate::hlo::DType;
use crate::lower::{Draw, Part, Pick, Wants, inputs};
use crate::rank::{Job, Rank};
use crate::runtime::Runtime;

/// What programs of a bundle draw by: see `lower/draws.rs`.
const SAMPLING: Sampling = Sampling {
    random: true,
    top_k_max: u32::MAX,
    penalties: false,
    masks: false,
    ends_max: 0,
    logprobs_max: 0,
    scores_max: 0,
    rows: false,
    drafts: false,
};

/// How long each rank is waited for, in turns, while all load.
const LOOK: Duration = Duration::from_millis(10);

/// A compiled model on one logical core, or on several that hold a part each.
#[derive(Debug)]
pub struct NeuronBackend {
    limits: Limits,
    ranks: Vec<Rank>,
    /// Of each program.
    wants: Vec<Wants>,
    sampler: Sampler,
    queued: Option<Queued>,
}

/// A step that the device has.
#[derive(Debug)]
struct Queued {
    step: StepId,
    /// Of each output: slot, position, whether it is the slot's newest row, and which of the results.
    asked: Vec<(SeqSlot, u32, bool, usize)>,
    /// Rank 0's tokens, when they have come, and how many ranks have answered.
    ids: Vec<i32>,
    answered: usize,
}

/// What a bundle's programs allow, of a model with so many tokens.
///
/// # Errors
/// Its programs do not fit one another.
pub fn limits(bundle: &Bundle, vocab: u32) -> Result<Limits, String> {
    let buckets = bundle.manifest.programs.iter().map(bucket).collect();
    Ok(limits_of(buckets, kv(bundle)?, vocab))
}

/// What programs of these shapes allow.
pub(crate) fn limits_of(mut buckets: Vec<Bucket>, kv: Kv, vocab: u32) -> Limits {
    buckets.sort_unstable();
    let most = |of: fn(&Bucket) -> u32| buckets.iter().map(of).max().unwrap_or(0);
    let sequences_max = most(|bucket| bucket.sequences);
    let context = most(|bucket| bucket.context);
    Limits {
        kv,
        sequences_max,
        context_tokens_max: context.min(kv.blocks.saturating_mul(kv.block_tokens)),
        shape: Shape::Buckets(buckets),
        prefill: Prefill::Chunked,
        vocab,
        adapters_max: 0,
        inject_width: 0,
        depth: 1,
        sampling: SAMPLING,
        batch_invariant: false,
    }
}

/// Blocks of the cache, but for that of padding: as the first layer's keys have them.
fn kv(bundle: &Bundle) -> Result<Kv, String> {
    let programs = &bundle.manifest.programs;
    let slots = |program: &bundle::Program| {
        let keys = program.inputs.iter().find(|input| input.name == "keys.0");
        keys.and_then(|keys| keys.shape.first().copied())
    };
    let first = programs.first().and_then(slots).ok_or("no program has keys.0")?;
    if let Some(other) = programs.iter().find(|program| slots(program) != Some(first)) {
        return Err(format!("{}: another KV cache than the first program's", other.neff.file));
    }
    let blocks = u32::try_from(first / u64::from(BLOCK_TOKENS)).unwrap_or(u32::MAX);
    match blocks.checked_sub(1).filter(|blocks| *blocks > 0) {
        Some(blocks) => Ok(Kv { blocks, block_tokens: BLOCK_TOKENS }),
        None => Err(format!("keys.0 of {first} places: no block of {BLOCK_TOKENS} tokens")),
    }
}

const fn bucket(program: &bundle::Program) -> Bucket {
    let bundle::Program { sequences, rows_each, context, .. } = program;
    Bucket { sequences: *sequences, rows_each: *rows_each, context: *context }
}

impl NeuronBackend {
    /// Loads a bundle onto the first cores of the process, a rank to each.
    ///
    /// # Errors
    /// A program cannot be loaded, or there is too little memory or another contract than is known.
    pub fn open(
        runtime: &Arc<Runtime>,
        bundle: &Bundle,
        limits: Limits,
    ) -> Result<Self, DeviceError> {
        let lost = |why: String| DeviceError::Lost { why };
        let begin = |rank| {
            Rank::begin(runtime, bundle, rank).map_err(|error| lost(format!("a thread: {error}")))
        };
        let ranks = (0..bundle.manifest.ranks).map(begin).collect::<Result<Vec<_>, _>>()?;
        // One that cannot be loaded is told at once: the others may wait for it.
        let mut late: Vec<&Rank> = ranks.iter().collect();
        while !late.is_empty() {
            let mut later = Vec::new();
            for rank in late {
                if rank.answer(LOOK)?.is_none() {
                    later.push(rank);
                }
            }
            late = later;
        }
        let outputs = |program: &bundle::Program| {
            let ids = program.outputs.iter().find(|output| output.name == "ids");
            let count = ids.and_then(|ids| u32::try_from(*ids.shape.first()?).ok());
            count.ok_or_else(|| DeviceError::Model {
                why: format!("{}: no program of gimbal compile: it has no ids", program.neff.file),
            })
        };
        let wants = |program: &bundle::Program| {
            Ok(Wants {
                bucket: bucket(program),
                kv: limits.kv,
                context_tokens_max: limits.context_tokens_max,
                dtype: DType::Bf16,
                outputs: outputs(program)?,
                has_logits: false,
                has_draws: true,
            })
        };
        let wants = bundle.manifest.programs.iter().map(wants);
        let wants = wants.collect::<Result<_, DeviceError>>()?;
        let sampler = Sampler::new(limits.sequences_max);
        Ok(Self { limits, ranks, wants, sampler, queued: None })
    }

    /// The program of the smallest shape that holds a batch.
    fn program(&self, batch: &Batch) -> usize {
        let Shape::Buckets(buckets) = &self.limits.shape else { return 0 };
        let bucket = Bucket::smallest(buckets, &batch.parts);
        self.wants.iter().position(|wants| Some(wants.bucket) == bucket).unwrap_or(0)
    }
}

impl Backend for NeuronBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.queued.is_none(), "depth is 1");
        batch.check(&self.limits).expect("the scheduler makes legal batches");
        let mut ids = Vec::new();
        self.sampler.begin(batch, &mut ids);
        let ids: Vec<u32> = ids.into_iter().map(TokenId::get).collect();
        let blocks: Vec<Vec<u32>> = batch
            .parts
            .iter()
            .map(|part| batch.table(part).iter().map(|block| block.0).collect())
            .collect();
        let (mut parts, mut picks, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let (mut outputs, mut first) = (batch.outputs.iter().peekable(), 0);
        for (i, (part, blocks)) in (0_u32..).zip(batch.parts.iter().zip(&blocks)) {
            let end = first + part.rows;
            let tokens = &ids[first as usize..end as usize];
            parts.push(Part { tokens, start: part.start, blocks });
            while let Some(output) = outputs.next_if(|output| output.row < end) {
                assert!(output.want == Want::Sample, "nothing else is within the limits");
                let row = output.row - first;
                let position = part.start + row;
                let params = self.sampler.history(part.slot).2;
                picks.push(Pick { part: i, row, draw: Draw::new(params, position) });
                asked.push((part.slot, position, row + 1 == part.rows, 0));
            }
            first = end;
        }
        let program = self.program(batch);
        let made = inputs(&self.wants[program], &parts, &picks)
            .map_err(|why| DeviceError::Lost { why: format!("a bug: {why}") })?;
        for (asked, result) in asked.iter_mut().zip(&made.results) {
            asked.3 = *result;
        }
        let inputs = Arc::new(made);
        for rank in &self.ranks {
            rank.queue(Job { program, inputs: inputs.clone() })?;
        }
        self.queued = Some(Queued { step, asked, ids: Vec::new(), answered: 0 });
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let queued = self.queued.as_mut().expect("a step is queued");
        let until = Instant::now() + timeout;
        while let Some(rank) = self.ranks.get(queued.answered) {
            let left = until.saturating_duration_since(Instant::now());
            let Some(ids) = rank.answer(left)? else {
                return Err(DeviceError::Timeout { step: queued.step, waited: timeout });
            };
            if queued.answered == 0 {
                queued.ids = ids;
            }
            queued.answered += 1;
        }
        let Queued { step, asked, ids, .. } = self.queued.take().expect("it was looked at");
        let vocab = self.limits.vocab;
        let sampler = &mut self.sampler;
        let answer = |(slot, position, is_newest, result): (SeqSlot, u32, bool, usize)| {
            // The number of tokens stands for logits that are no numbers.
            let id = ids.get(result).and_then(|id| u32::try_from(*id).ok());
            let id = id.filter(|id| *id < vocab).ok_or(RowFault::NotFinite)?;
            let token = TokenId::new(id);
            if is_newest {
                sampler.tell(slot, position, token);
            }
            Ok(Answer::Sample { token, logprob: 0.0, top: Vec::new() })
        };
        Ok((step, asked.into_iter().map(answer).collect()))
    }
}
