//! How many cores a model needs, and how many blocks its KV cache may have: arithmetic of shapes and
//! published sizes.
//!
//! No weight is read and no device is asked, so that a model is sized for a chip that is elsewhere. What
//! neuronx-cc and the runtime really take nobody has measured. Next: `program.rs`.

use gimbal_batch::{Bucket, Kv};
use gimbal_model::{Model, Shards, ranks_possible, shard};

use super::{Asked, BLOCK_TOKENS, CompileError, Plan, name, program};
use crate::bundle::Source;
use crate::hlo::{Module, Op};
use crate::lower::Program;
use crate::probe::Chip;

/// Places of a KV cache at most: they are computed in f32, which counts so far.
const PLACES_MAX: u64 = 1 << 24;

/// What one rank takes of its core's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Memory of the core.
    pub core: u64,
    /// How much of it may be taken.
    pub usable: u64,
    /// Weights, matrices in bf16 and vectors in f32, and tables of angles.
    pub weights: u64,
    /// What the largest step has between its instructions, if nothing of it stays on the chip.
    pub work: u64,
    /// A block of keys and values.
    pub block: u64,
}

/// A plan, and why it is so.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What is to be made.
    pub plan: Plan,
    /// What a rank takes.
    pub sizes: Sizes,
    /// One line each.
    pub why: Vec<String>,
}

impl Sizes {
    /// Of a model on so many ranks.
    ///
    /// # Errors
    /// The model does not divide, or has what no program computes.
    pub fn new(model: &Model, asked: &Asked, ranks: usize) -> Result<Self, CompileError> {
        let shards = shard(&model.graph, &|name| model.weights.block(name), ranks);
        let shards = shards.map_err(CompileError::Model)?;
        let core = core_bytes(asked.target, asked.lnc);
        let mut sizes =
            Self { core, usable: share(core, asked.memory_share), weights: 0, work: 0, block: 0 };
        for bucket in &asked.buckets {
            let program = smallest(&shards, asked, *bucket)?;
            // Two blocks: one of a sequence and that of padding.
            (sizes.weights, sizes.block) =
                (bytes(&program, Source::Weights), bytes(&program, Source::State) / 2);
            sizes.work = sizes.work.max(work(&program.module));
        }
        Ok(sizes)
    }

    /// How many blocks sequences may own, and why not more.
    ///
    /// # Errors
    /// They do not hold one sequence of the longest context.
    pub fn blocks(&self, asked: &Asked, ranks: usize) -> Result<(u32, &'static str), CompileError> {
        let of = |count: fn(&Bucket) -> u32| asked.buckets.iter().map(count).max().unwrap_or(0);
        let context = of(|bucket| bucket.context);
        let one = u64::from(context.div_ceil(BLOCK_TOKENS)).max(1);
        let block = self.block.max(1);
        // Into one block more padding is written.
        let taken = self.weights + self.work + block;
        let left = self.usable.saturating_sub(taken) / block;
        if left < one {
            let Self { core, usable, weights, work, .. } = self;
            return Err(CompileError::Memory(format!(
                "{ranks} × {} need {} bytes each: {weights} of weights, {work} of work between \
                 instructions, {} of keys and values of one sequence of {context} tokens; a core \
                 has {core}, of which {usable} may be taken (device_memory_share): use more ranks \
                 (--tp), or lower --max-model-len",
                asked.target,
                taken + one * block,
                one * block,
            )));
        }
        let all = one * u64::from(of(|bucket| bucket.sequences));
        let mut found = (left, "what is left of a core's memory");
        let set = asked.kv_bytes.map(|bytes| bytes / (block * ranks as u64));
        for (most, why) in [
            (Some(all), "all sequences at full length"),
            (set, "kv_cache_bytes"),
            (Some(PLACES_MAX / u64::from(BLOCK_TOKENS) - 1), "a program counts no more places"),
        ] {
            if let Some(most) = most.filter(|most| *most < found.0) {
                found = (most, why);
            }
        }
        if found.0 < one {
            let least = one * block * ranks as u64;
            return Err(CompileError::Memory(format!(
                "one sequence of {context} tokens needs {least} bytes of keys and values: raise \
                 --kv-cache-bytes, or lower --max-model-len"
            )));
        }
        Ok((u32::try_from(found.0).unwrap_or(u32::MAX), found.1))
    }
}

impl Plan {
    /// Sizes a model for a chip: how many cores hold it, with how many blocks.
    ///
    /// # Errors
    /// No instance's cores hold it, or not so many as were asked for.
    pub fn fit(model: &Model, asked: &Asked) -> Result<Fitted, CompileError> {
        let (ranks, sizes, reason) = match asked.ranks {
            Some(ranks) => (ranks, Sizes::new(model, asked, ranks)?, "as asked".to_owned()),
            None => fewest(model, asked)?,
        };
        let (kv_blocks, bound) = sizes.blocks(asked, ranks)?;
        let Asked { target, lnc, ref buckets, .. } = *asked;
        let Sizes { core, usable, weights, work, block } = sizes;
        let tokens = u64::from(kv_blocks) * u64::from(BLOCK_TOKENS);
        let why = vec![
            format!("ranks = {ranks}: {reason}"),
            format!(
                "a core of {target} has {core} bytes, of which {usable} may be taken (device_memory_share)"
            ),
            format!(
                "each rank: weights and tables = {weights} bytes, work between instructions = {work} at most"
            ),
            format!(
                "KV cache = {tokens} tokens, {} bytes of each rank: {bound}",
                u64::from(kv_blocks) * block
            ),
        ];
        let plan = Self { target, lnc, ranks, buckets: buckets.clone(), kv_blocks };
        Ok(Fitted { plan, sizes, why })
    }
}

/// The fewest ranks that divide a model and hold it, and why not fewer.
fn fewest(model: &Model, asked: &Asked) -> Result<(usize, Sizes, String), CompileError> {
    let block = |name: &str| model.weights.block(name);
    let cores = cores_max(asked.target, asked.lnc);
    let most = ranks_possible(&model.graph, &block, cores).count;
    let (mut refused, mut tried) = (None, 0);
    for ranks in (1..=most).filter(|ranks| shard(&model.graph, &block, *ranks).is_ok()) {
        let sizes = Sizes::new(model, asked, ranks)?;
        match (sizes.blocks(asked, ranks), tried) {
            (Ok(_), 0) => return Ok((ranks, sizes, "one core holds the model".to_owned())),
            (Ok(_), _) => {
                let why = format!("the fewest that divide the model and hold it; {tried} do not");
                return Ok((ranks, sizes, why));
            }
            (Err(why), _) => (refused, tried) = (Some(why), ranks),
        }
    }
    let why = refused.map(|why| format!("; {why}")).unwrap_or_default();
    Err(CompileError::Memory(format!(
        "no instance of {} holds the model: it divides among {most} of {cores} cores at most{why}",
        asked.target
    )))
}

/// Logical cores of the largest instance.
///
/// **Source**: AWS Neuron's documentation: inf2.48xlarge, trn1.32xlarge, trn2.48xlarge.
fn cores_max(target: Chip, lnc: u32) -> usize {
    let physical = match target {
        Chip::Inf2 => 24,
        Chip::Trn1 => 32,
        _ => 128,
    };
    physical / (lnc.max(1) as usize)
}

/// Memory of a logical core: its share of the device's.
fn core_bytes(target: Chip, lnc: u32) -> u64 {
    let (cores, gib) = target.size();
    (gib << 30) * u64::from(lnc) / u64::from(cores)
}

fn share(bytes: u64, share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "a part of a u64")]
    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    let part = (bytes as f64 * share) as u64;
    part.min(bytes)
}

/// A bucket's program with the smallest cache: all else has the same sizes.
fn smallest(shards: &Shards, asked: &Asked, bucket: Bucket) -> Result<Program, CompileError> {
    let context = asked.buckets.iter().map(|bucket| bucket.context).max().unwrap_or(0);
    let kv = Kv { blocks: 1, block_tokens: BLOCK_TOKENS };
    super::lowered(shards, bucket, kv, context)
        .map_err(|why| CompileError::Model(format!("bucket {}: {why}", name(bucket))))
}

/// Bytes of a program's inputs that come from there.
fn bytes(program: &Program, from: Source) -> u64 {
    let named = program.module.parameters().zip(&program.parameters);
    let found = named.filter(|(_, parameter)| program::source(**parameter) == from);
    found.map(|(named, _)| named.shape.bytes() as u64).sum()
}

/// The most bytes that are kept between a module's instructions, in their order. What only names values
/// anew, repeats or counts them takes nothing, and what is written into a parameter lies there.
fn work(module: &Module) -> u64 {
    let instructions = module.instructions();
    let (mut root, mut last): (Vec<usize>, Vec<usize>) =
        (0..instructions.len()).map(|i| (i, i)).unzip();
    for (i, instruction) in instructions.iter().enumerate() {
        if let (Op::Reshape(_) | Op::Broadcast { .. } | Op::Scatter(_), Some(first)) =
            (&instruction.op, instruction.operands.first())
        {
            root[i] = root[*first];
        }
        for operand in &instruction.operands {
            last[root[*operand]] = i;
        }
    }
    for result in module.results() {
        last[root[result.instruction]] = instructions.len();
    }
    let takes = |i: usize| match instructions[i].op {
        _ if root[i] != i => 0,
        Op::Parameter(_) | Op::Constant(_) | Op::Iota { .. } => 0,
        _ => instructions[i].shape.bytes() as u64,
    };
    let mut ends = vec![0; instructions.len() + 1];
    let (mut live, mut most) = (0, 0);
    for i in 0..instructions.len() {
        live += takes(i);
        ends[last[i]] += takes(i);
        most = most.max(live);
        live -= ends[i];
    }
    most
}
