//! Whether a model runs on these devices, with which limits, and why.
//!
//! Decides from shapes and sizes alone: the program of `program.rs`, laid out at address 0, says what it
//! takes. Next: `weights.rs`.

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_hal::{Claim, DeviceInfo, Dtype, Fit, Kind, KvDtype, Placement, Profile, Reads, Unfit};
use gimbal_model::fuse::{Fused, fuse};
use gimbal_model::weights::DType;
use gimbal_model::{Model, Shards, ranks_possible, shard};

use crate::launch::{Type, Weights};
use crate::probe::NAME;
use crate::program::{BLOCK_TOKENS, Bytes, Program, Sizes, Source};
use crate::quants;
use crate::rank::DEPTH;

/// What a context, our modules and the driver's own buffers take beside what is allocated. Not measured on
/// a device: NVIDIA's tools show 250 to 500 MB of an idle context.
const CONTEXT_BYTES: u64 = 512 << 20;

/// Fits a model to devices: a copy to each, or to as few together as hold it.
pub(crate) fn fit(devices: &[DeviceInfo], model: &Model, profile: &Profile) -> Result<Fit, Unfit> {
    let fused = fuse(&model.graph).map_err(op)?;
    if let Some(wanted) = profile.ranks {
        let possible =
            ranks_possible(&model.graph, &|name| model.weights.block(name), wanted.into());
        let fewer = possible.why.map(|why| {
            let ranks = possible.count;
            format!("tensor_parallel_degree = {ranks}, not {wanted}: {why}")
        });
        return fit_ranks(devices, model, &fused, profile, (possible.count, fewer));
    }
    let (mut ranks, mut first) = (1, None);
    loop {
        let reason = first.as_ref().map(|unfit: &Unfit| {
            format!(
                "tensor_parallel_degree = {ranks}: the fewest that hold the model; on one: {unfit}"
            )
        });
        match fit_ranks(devices, model, &fused, profile, (ranks, reason)) {
            Err(unfit @ Unfit::Memory { .. }) if ranks * 2 <= devices.len() => {
                first.get_or_insert(unfit);
                ranks *= 2;
            }
            // What is wrong with one device is said, rather than that the model does not divide.
            Err(unfit) => return Err(first.unwrap_or(unfit)),
            found => return found,
        }
    }
}

/// The same with so many devices for each copy, and why so many.
fn fit_ranks(
    devices: &[DeviceInfo],
    model: &Model,
    fused: &[Fused],
    profile: &Profile,
    (ranks, reason): (usize, Option<String>),
) -> Result<Fit, Unfit> {
    let mut why: Vec<String> = reason.into_iter().collect();
    let shards = shard(&model.graph, &|name| model.weights.block(name), ranks).map_err(op)?;
    let placed = placed(devices, profile, ranks)?;
    let all = placed.iter().flat_map(|copy| &copy.devices);
    let smallest = all.clone().min_by_key(|device| device.memory_bytes);
    let device = smallest.ok_or_else(|| op("a model without a device".to_owned()))?;
    let kind = kind(device, model, profile, &mut why)?;
    let kept = quants::of_model(model);
    let source = Source { graph: &model.graph, fused, kept: &kept, shards: &shards, kind };
    if profile.kv_dtype == KvDtype::Int8 {
        let why = "keys and values are kept in 16 bits on this platform: use f16".to_owned();
        return Err(Unfit::Setting { setting: "kv_cache_dtype", value: "int8".to_owned(), why });
    }
    let context = profile.context_tokens(model, &mut why)?;
    let rows = profile.rows_max.max(profile.sequences_max);
    let sizes = Sizes { rows, sequences: profile.sequences_max, context, blocks: 0 };
    let (blocks, bytes) = blocks(device, source, sizes, profile, &mut why)?;
    if ranks > 1 {
        why.push(format!(
            "each of {ranks} GPUs has its part of what follows, and the whole embedding"
        ));
    }
    let program = Program::new(source, 0, sizes, 0).map_err(op)?;
    let kept = program.kept(source).into_iter();
    let kept: Vec<String> = kept.map(|(name, bytes)| format!("{bytes} in {name}")).collect();
    why.push(format!(
        "weights = {} bytes ({}), activations and logits = {} for steps of {rows} rows",
        bytes.weights,
        kept.join(", "),
        bytes.work
    ));
    let limits = Limits {
        kv: Kv { blocks, block_tokens: BLOCK_TOKENS },
        shape: Shape::Varlen { rows_max: rows },
        prefill: Prefill::Chunked,
        sequences_max: profile.sequences_max,
        context_tokens_max: context,
        vocab: u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX),
        adapters_max: 0,
        inject_width: 0,
        // Tokens of several ranks are chosen by the host.
        depth: if ranks == 1 { u32::try_from(DEPTH).unwrap_or(1) } else { 1 },
        sampling: Sampling::HOST,
        // Few rows and many are multiplied by kernels that add in other orders.
        batch_invariant: false,
    };
    let claim = |device: &DeviceInfo| Claim {
        device: device.id.clone(),
        bytes: bytes.total(),
        is_sole: false,
    };
    Ok(Fit {
        claims: all.map(claim).collect(),
        replicas: placed,
        kind: Kind::Generate(limits),
        reads: Some(Reads {
            weights: weights(model, fused),
            weight_bytes: program.multiplied() * ranks as u64,
            kv_bytes_per_token: profile.kv_dtype.bytes_per_token(&model.graph),
        }),
        profile: profile.clone(),
        why,
    })
}

/// How many weights are multiplied with.
fn weights(model: &Model, fused: &[Fused]) -> u64 {
    let ids = fused.iter().flat_map(Fused::matrices);
    let weights = ids.map(|id| &model.graph.weights[id.0]);
    weights.map(|weight| (weight.out * weight.inp) as u64).sum()
}

/// What the programs that `fit` promised are made of.
pub(crate) struct Promised {
    fused: Vec<Fused>,
    kept: Vec<Weights>,
    pub(crate) shards: Shards,
    kind: Type,
    sizes: Sizes,
}

impl Promised {
    /// A rank's program, from an address on.
    pub(crate) fn program(&self, model: &Model, rank: usize, base: u64) -> Result<Program, String> {
        let Self { fused, kept, shards, kind, sizes } = self;
        let source = Source { graph: &model.graph, fused, kept, shards, kind: *kind };
        Program::new(source, rank, *sizes, base)
    }
}

/// What `fit` promised.
pub(crate) fn promised(fit: &Fit, model: &Model) -> Result<Promised, String> {
    let limits = fit.limits().ok_or("it does not generate")?;
    let Shape::Varlen { rows_max } = limits.shape else {
        return Err("a GPU has no compiled shapes".to_owned());
    };
    let copy = fit.replicas.first().ok_or("a model without a device")?;
    let device = copy.devices.first().ok_or("a model without a device")?;
    let kind = kind(device, model, &fit.profile, &mut Vec::new());
    let kind = kind.map_err(|unfit| unfit.to_string())?;
    let sizes = Sizes {
        rows: rows_max,
        sequences: limits.sequences_max,
        context: limits.context_tokens_max,
        blocks: limits.kv.blocks,
    };
    let block = |name: &str| model.weights.block(name);
    let shards = shard(&model.graph, &block, copy.devices.len())?;
    let (fused, kept) = (fuse(&model.graph)?, quants::of_model(model));
    Ok(Promised { fused, kept, shards, kind, sizes })
}

fn op(what: String) -> Unfit {
    Unfit::Op { platform: NAME, what }
}

/// The devices of each copy: as many copies as are asked for, or as there are devices for.
fn placed(
    devices: &[DeviceInfo],
    profile: &Profile,
    ranks: usize,
) -> Result<Vec<Placement>, Unfit> {
    let copies = profile.replicas.map_or(devices.len() / ranks, usize::from).max(1);
    if copies * ranks > devices.len() {
        let (setting, value) = match ranks > devices.len() {
            true => ("tensor_parallel_degree", ranks),
            false => ("replicas", copies),
        };
        let why = format!(
            "{copies} copies on {ranks} GPUs each need {}, and there are {}",
            copies * ranks,
            devices.len()
        );
        return Err(Unfit::Setting { setting, value: value.to_string(), why });
    }
    let copies = devices.chunks(ranks).take(copies);
    Ok(copies.map(|devices| Placement { devices: devices.to_vec() }).collect())
}

/// What is computed in: as set, or as most of the file is.
fn kind(
    device: &DeviceInfo,
    model: &Model,
    profile: &Profile,
    why: &mut Vec<String>,
) -> Result<Type, Unfit> {
    let capability = device.features.iter().find_map(|f| f.strip_prefix("sm_")?.parse().ok());
    let has_bf16 = capability.is_none_or(|capability: u32| capability >= 80);
    let set = |value: Dtype, why: String| Unfit::Setting {
        setting: "dtype",
        value: value.name().to_owned(),
        why,
    };
    let name = &device.name;
    let (kind, reason) = match profile.dtype {
        Some(Dtype::F16) => (Type::F16, "as set".to_owned()),
        Some(Dtype::Bf16) if has_bf16 => (Type::Bf16, "as set".to_owned()),
        Some(Dtype::Bf16) => {
            return Err(set(Dtype::Bf16, format!("{name} multiplies float16 only")));
        }
        Some(Dtype::F32) => {
            return Err(set(Dtype::F32, "kernels are for float16 and bfloat16".to_owned()));
        }
        None if !has_bf16 => (Type::F16, format!("{name} multiplies nothing else")),
        None if is_mostly(model, DType::F16) => (Type::F16, "the file is".to_owned()),
        None if is_mostly(model, DType::BF16) => (Type::Bf16, "the file is".to_owned()),
        None => (Type::Bf16, "it has the range of what the file was made of".to_owned()),
    };
    why.push(format!("dtype = {}: {reason}", kind.name()));
    Ok(kind)
}

/// True if most bytes of the weights are of that type.
fn is_mostly(model: &Model, dtype: DType) -> bool {
    let bytes = |is: bool| {
        let entries = model.weights.entries().filter(|(_, e)| (e.dtype == dtype) == is);
        entries.map(|(_, e)| e.bytes.len()).sum::<usize>()
    };
    bytes(true) > bytes(false)
}

/// Blocks of the KV cache: as set, or what all sequences can use of what the rest leaves.
fn blocks(
    device: &DeviceInfo,
    source: Source<'_>,
    sizes: Sizes,
    profile: &Profile,
    why: &mut Vec<String>,
) -> Result<(u32, Bytes), Unfit> {
    let bytes = |blocks: u32| {
        let program = Program::new(source, 0, Sizes { blocks, ..sizes }, 0);
        program.map(|program| program.bytes).map_err(op)
    };
    let (none, one) = (bytes(0)?, profile.kv_dtype.bytes_per_token(&source.shards.graph));
    let each = one * u64::from(BLOCK_TOKENS);
    let least = sizes.context.div_ceil(BLOCK_TOKENS);
    let fixed = none.total() + CONTEXT_BYTES;
    let have = device.memory_bytes;
    let need_bytes = fixed + u64::from(least) * each;
    if need_bytes > have {
        let what = format!(
            "{} for weights, {} for activations, {} for the KV of one sequence of {} tokens, \
             {CONTEXT_BYTES} for the driver's own",
            none.weights,
            none.work,
            u64::from(least) * each,
            sizes.context
        );
        let (setting, have_why) = ("max_model_len", device.memory_why.clone());
        return Err(Unfit::Memory { need_bytes, have_bytes: have, have_why, what, setting });
    }
    let room = (have - fixed) / each;
    let (blocks, reason) = match profile.kv_bytes {
        Some(set) if set / each < u64::from(least) || set / each > room => {
            let why = format!(
                "it must lie between {} (one sequence of {} tokens) and {}, which is what the rest leaves \
                 of {have} bytes {}",
                u64::from(least) * each,
                sizes.context,
                room * each,
                device.memory_why
            );
            return Err(Unfit::Setting { setting: "kv_cache_bytes", value: set.to_string(), why });
        }
        Some(set) => (set / each, "as set".to_owned()),
        None => {
            let full = u64::from(least) * u64::from(sizes.sequences);
            let reason = format!(
                "least of {} sequences of {} tokens ({full} blocks) and what the rest leaves of {have} \
                 bytes ({room} blocks); {}",
                sizes.sequences, sizes.context, device.memory_why
            );
            (full.min(room), reason)
        }
    };
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    let bytes = bytes(blocks)?;
    why.push(format!(
        "kv = {blocks} blocks of {BLOCK_TOKENS} tokens, {} bytes: {reason}",
        bytes.kv
    ));
    Ok((blocks, bytes))
}
