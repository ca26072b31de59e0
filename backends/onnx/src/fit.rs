//! Whether a model runs on this CPU, with which limits, and why.
//!
//! Decides from shapes and sizes alone; no weight is read. Next: `step.rs` keeps the promise.

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_cpu::{
    BLOCK, BLOCK_TOKENS, HEAD_DIM_MAX, KernelChoice, LANES, Packing, TILE_QUERIES_MAX,
    packed_bytes, packed_type,
};
use gimbal_hal::{Claim, DeviceInfo, Fit, Kind, Placement, Profile, Reads, Unfit};
use gimbal_model::Model;
use gimbal_model::fuse::{Fused, fuse};
use gimbal_model::graph::{Graph, Op, State, WeightId};

/// Bytes for the process beside weights, KV and scratch (binary, ONNX Runtime, tokenizer).
const PROCESS_BYTES: u64 = 64 << 20;

/// Fits a model to the CPU.
pub(crate) fn fit(
    device: &DeviceInfo,
    model: &Model,
    profile: &Profile,
    kernels: KernelChoice,
) -> Result<Fit, Unfit> {
    let fused = computable(&model.graph)?;
    let mut why = Vec::new();
    let packing = packing(device, kernels, &mut why)?;
    let context = profile.context_tokens(model, &mut why)?;
    let rows_max = profile.rows_max.max(profile.sequences_max);
    let packed = packed_bytes(model, &fused, profile.quantize, packing);
    let weights = packed + looked_up_bytes(model, &fused, profile);
    let fixed = weights + scratch_bytes(model, u64::from(rows_max)) + PROCESS_BYTES;
    let per_block = profile.kv_dtype.bytes_per_token(&model.graph) * BLOCK_TOKENS as u64;
    let least = u64::from(context).div_ceil(BLOCK_TOKENS as u64) * per_block;
    let have = device.memory_bytes;
    if fixed + least > have {
        let what = format!(
            "{weights} for weights, {least} for the KV of one sequence of {context} tokens, \
             {} for scratch and the process",
            fixed - weights
        );
        let setting = "max_model_len";
        let (need_bytes, have_why) = (fixed + least, device.memory_why.clone());
        return Err(Unfit::Memory { need_bytes, have_bytes: have, have_why, what, setting });
    }
    let (kv_bytes, reason) = kv_bytes(device, profile, (fixed, least, context))?;
    why.push(format!(
        "memory = {have} bytes {}: the strictest limit there is; what others take meanwhile is lost \
         to keys and values, which are touched as sequences need them",
        device.memory_why
    ));
    let blocks = u32::try_from(kv_bytes / per_block).unwrap_or(u32::MAX);
    let dtype = profile.kv_dtype.name();
    why.push(format!(
        "kv = {blocks} blocks of {BLOCK_TOKENS} tokens in {dtype}, {kv_bytes} bytes: {reason}"
    ));
    let rest = weights - packed;
    why.push(format!("weights = {packed} bytes packed for the kernels, {rest} read from the file"));
    let limits = Limits {
        kv: Kv { blocks, block_tokens: u32::try_from(BLOCK_TOKENS).unwrap_or(u32::MAX) },
        shape: Shape::Varlen { rows_max },
        prefill: Prefill::Chunked,
        sequences_max: profile.sequences_max,
        context_tokens_max: context,
        vocab: u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX),
        adapters_max: 0,
        inject_width: 0,
        depth: 1,
        sampling: Sampling::HOST,
        batch_invariant: true,
    };
    Ok(Fit {
        replicas: vec![Placement { devices: vec![device.clone()] }],
        claims: vec![Claim { device: device.id.clone(), bytes: fixed + kv_bytes, is_sole: false }],
        kind: Kind::Generate(limits),
        reads: Some(Reads {
            weights: fused.iter().flat_map(Fused::matrices).map(|id| elements(model, id)).sum(),
            weight_bytes: packed,
            kv_bytes_per_token: profile.kv_dtype.bytes_per_token(&model.graph),
        }),
        profile: profile.clone(),
        why,
    })
}

/// How weights are packed for the kernels that will run.
fn packing(
    device: &DeviceInfo,
    choice: KernelChoice,
    why: &mut Vec<String>,
) -> Result<Packing, Unfit> {
    let (kernels, reason) = choice.table().map_err(|why| Unfit::Setting {
        setting: "kernels",
        value: choice.name().to_owned(),
        why,
    })?;
    // Of a machine that is only planned for nothing is known.
    if !device.features.is_empty() {
        why.push(format!("kernels = {}: {reason}", kernels.name()));
    }
    Ok(kernels.packing())
}

/// Bytes for keys and values, and why so many: what is set, or what all sequences can use of half of
/// the memory that the model leaves.
fn kv_bytes(
    device: &DeviceInfo,
    profile: &Profile,
    (fixed, least, context): (u64, u64, u32),
) -> Result<(u64, String), Unfit> {
    let have = device.memory_bytes;
    let full = least * u64::from(profile.sequences_max);
    match profile.kv_bytes {
        Some(set) if set < least || fixed + set > have => {
            let why = format!(
                "it must lie between {least} (one sequence) and {} bytes, which is what the model \
                 leaves of {have} bytes {}",
                have - fixed,
                device.memory_why
            );
            Err(Unfit::Setting { setting: "kv_cache_bytes", value: set.to_string(), why })
        }
        Some(set) => Ok((set, "as set".to_owned())),
        None => {
            let half = (have - fixed) / 2;
            let bytes = full.min(half).max(least);
            let n = profile.sequences_max;
            let reason = format!(
                "least of {n} sequences of {context} tokens ({full}) and half of {}",
                have - fixed
            );
            Ok((bytes, reason))
        }
    }
}

/// Checks what the kernels take for granted.
fn computable(graph: &Graph) -> Result<Vec<Fused>, Unfit> {
    let unfit = |what: String| Unfit::Op { platform: "onnx", what };
    let fused = fuse(graph).map_err(unfit)?;
    for w in graph.weights.iter().filter(|w| w.inp > 1) {
        if !w.inp.is_multiple_of(BLOCK) {
            return Err(unfit(format!(
                "{} with {} columns: not a multiple of {BLOCK}",
                w.name, w.inp
            )));
        }
    }
    for node in &graph.nodes {
        let Op::Attend { state, heads, .. } = node.op else { continue };
        let State::Kv { kv_heads, head_dim, .. } = graph.states[state.0];
        if !head_dim.is_multiple_of(LANES) || head_dim > HEAD_DIM_MAX {
            return Err(unfit(format!(
                "heads of {head_dim} columns: not a multiple of {LANES} up to {HEAD_DIM_MAX}"
            )));
        }
        if heads / kv_heads > TILE_QUERIES_MAX {
            return Err(unfit(format!(
                "{heads} heads over {kv_heads} kv heads: more than {TILE_QUERIES_MAX} each"
            )));
        }
    }
    Ok(fused)
}

/// Bytes of an embedding that is looked up in the file: one that is not also the output projection, or
/// is packed as another type there.
fn looked_up_bytes(model: &Model, fused: &[Fused], profile: &Profile) -> u64 {
    let packed: Vec<_> = fused.iter().flat_map(Fused::matrices).collect();
    let tables = fused.iter().filter_map(|node| match node {
        Fused::Embed { table, .. } => Some(*table),
        _ => None,
    });
    let bytes = |id: WeightId| {
        let tensor = model.weights.get(&model.graph.weights[id.0].name)?;
        let is_same = packed_type(tensor.dtype, profile.quantize) == tensor.dtype;
        (!packed.contains(&id) || !is_same).then_some(tensor.bytes.len() as u64)
    };
    tables.filter_map(bytes).sum()
}

fn elements(model: &Model, id: WeightId) -> u64 {
    let weight = &model.graph.weights[id.0];
    (weight.out * weight.inp) as u64
}

/// Bytes of activations for `rows` rows: about three f32 copies of the widest values.
fn scratch_bytes(model: &Model, rows: u64) -> u64 {
    let graph = &model.graph;
    let widest = 2 * graph.widest() + 4 * graph.hidden().max(graph.attention());
    rows * 8 * widest as u64 + 4 * graph.vocab() as u64 * rows.min(64)
}
