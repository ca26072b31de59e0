//! Whether what was compiled of a model runs on these cores, how often, and why.
//!
//! A bundle has decided nearly all: shapes, ranks, and the KV cache. Next: `platform.rs`.

use std::collections::BTreeMap;

use gimbal_batch::{Kv, Limits};
use gimbal_hal::{Claim, DeviceInfo, Dtype, Fit, Kind, KvDtype, Placement, Profile, Reads, Unfit};
use gimbal_model::Model;
use gimbal_model::fuse::{Fused, fuse};

use crate::NAME;
use crate::bundle::{self, Bundle, Machine, Source};
use crate::compile::{self, Asked, BLOCK_TOKENS, Fitted, Plan};
use crate::devices::Core;
use crate::step::{limits, limits_of};

/// Fits a model by the bundle beside it; to cores that nobody has probed, as `gimbal compile` would make it.
pub(crate) fn fit(devices: &[DeviceInfo], model: &Model, profile: &Profile) -> Result<Fit, Unfit> {
    let core = core(devices)?;
    if core.runtime.is_none() && !bundle::beside(&model.path).exists() {
        return planned(devices, core, model, profile);
    }
    let bundle = open(model, core)?;
    let machine = Machine {
        chip: core.chip,
        lnc: core.lnc,
        cores: count(devices.len()),
        runtime: core.runtime,
    };
    bundle.check(&machine).map_err(|error| compiled(error.to_string()))?;
    let ranks = bundle.manifest.ranks;
    let mut why = vec![format!(
        "compiled = {} ({}, neuronx-cc {}): {ranks} ranks, {} programs",
        bundle.folder().display(),
        core.chip,
        bundle.manifest.compiler.version,
        bundle.manifest.programs.len()
    )];
    let vocab = u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX);
    let limits = limits(&bundle, vocab).map_err(compiled)?;
    let limits = asked(limits, model, profile, ranks, &mut why)?;
    let bytes = bytes(&bundle);
    why.push(format!(
        "memory = {bytes} bytes of each core: weights, the KV cache, what steps write and read, and the programs"
    ));
    made(devices, (model, profile), (ranks as usize, bytes), limits, why)
}

/// The same where nothing was compiled yet.
fn planned(
    devices: &[DeviceInfo],
    core: Core,
    model: &Model,
    profile: &Profile,
) -> Result<Fit, Unfit> {
    let mut why = vec!["nothing is compiled yet: planned as `gimbal compile` would".to_owned()];
    let mut asked = Asked::of(profile, model, (core.chip, core.lnc), &mut why)?;
    let first = devices.first().filter(|first| first.memory_total_bytes > 0);
    asked.memory_share =
        first.map_or(1.0, |core| core.memory_bytes as f64 / core.memory_total_bytes as f64);
    let Fitted { plan, sizes, why: sized } =
        Plan::fit(model, &asked).map_err(|error| compiled(error.to_string()))?;
    why.extend(sized);
    let shapes: Vec<String> = plan.buckets.iter().copied().map(compile::name).collect();
    why.push(format!("{} programs: {}", shapes.len(), shapes.join(", ")));
    let kv = Kv { blocks: plan.kv_blocks, block_tokens: BLOCK_TOKENS };
    let vocab = u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX);
    let limits = limits_of(plan.buckets, kv, vocab);
    // Into one block more padding is written.
    let bytes = sizes.weights + sizes.work + (u64::from(plan.kv_blocks) + 1) * sizes.block;
    made(devices, (model, profile), (plan.ranks, bytes), limits, why)
}

/// Copies of so many ranks, each of which takes so many bytes.
fn made(
    devices: &[DeviceInfo],
    (model, profile): (&Model, &Profile),
    (ranks, bytes): (usize, u64),
    limits: Limits,
    why: Vec<String>,
) -> Result<Fit, Unfit> {
    let replicas = placed(devices, profile, (ranks, bytes))?;
    let cores = replicas.iter().flat_map(|copy| &copy.devices);
    // A core is one process's alone.
    let claim = |core: &DeviceInfo| Claim { device: core.id.clone(), bytes, is_sole: true };
    Ok(Fit {
        claims: cores.map(claim).collect(),
        replicas,
        kind: Kind::Generate(limits),
        reads: Some(reads(model)?),
        profile: profile.clone(),
        why,
    })
}

/// What a bundle is looked for: the kind of the cores, of which a machine has one.
fn core(devices: &[DeviceInfo]) -> Result<Core, Unfit> {
    let core = devices.first().and_then(Core::of);
    core.ok_or_else(|| op("a model without a core that says what it is".to_owned()))
}

/// The bundle of a model, which was compiled of these very weights.
pub(crate) fn open(model: &Model, core: Core) -> Result<Bundle, Unfit> {
    let folder = bundle::beside(&model.path);
    let path = model.path.display();
    if !folder.exists() {
        return Err(compiled(format!(
            "nothing is compiled of the model for {}: there is no {}; make it with `gimbal compile {path} --target \
             {}`, here or on any machine that has AWS's neuronx-cc, and start `gimbal serve {path}` again",
            core.chip,
            folder.display(),
            core.chip
        )));
    }
    let bundle = Bundle::open(&folder).map_err(|error| compiled(error.to_string()))?;
    if bundle.manifest.fingerprint != bundle::fingerprint(model) {
        let folder = folder.display();
        return Err(compiled(format!(
            "{folder}: compiled of other weights than those of {path}: move it away and compile the model again"
        )));
    }
    Ok(bundle)
}

/// What programs allow, cut to what is asked; what they do not allow is refused where somebody said it.
fn asked(
    compiled: Limits,
    model: &Model,
    profile: &Profile,
    ranks: u32,
    why: &mut Vec<String>,
) -> Result<Limits, Unfit> {
    let refused = |setting, value: String, why: String| Err(Unfit::Setting { setting, value, why });
    let again = "compile the model again, with this setting";
    if profile.kv_dtype == KvDtype::Int8 {
        let why = "keys and values are kept in 16 bits on this platform: use f16".to_owned();
        return refused("kv_cache_dtype", profile.kv_dtype.name().to_owned(), why);
    }
    if let Some(dtype @ (Dtype::F16 | Dtype::F32)) = profile.dtype {
        let why = "programs multiply bfloat16".to_owned();
        return refused("dtype", dtype.name().to_owned(), why);
    }
    if let Some(set) = profile.ranks.filter(|set| u32::from(*set) != ranks) {
        let why = format!("it was compiled for {ranks}: {again}");
        return refused("tensor_parallel_degree", set.to_string(), why);
    }
    if let Some(set) = profile.kv_bytes {
        let (blocks, each) = (compiled.kv.blocks, u64::from(compiled.kv.block_tokens));
        let has = u64::from(blocks) * each * profile.kv_dtype.bytes_per_token(&model.graph);
        if set < has {
            let why = format!("a cache of {has} bytes was compiled in: {again}");
            return refused("kv_cache_bytes", set.to_string(), why);
        }
    }
    let (context, most) =
        (profile.context_tokens(model, &mut Vec::new())?, compiled.context_tokens_max);
    if profile.context_tokens_max.is_some() && context > most {
        let why = format!("programs reach {most} tokens: {again}");
        return refused("max_model_len", context.to_string(), why);
    }
    if context > most {
        why.push(format!("max_model_len = {most}, not {context}: as far as programs reach"));
    }
    let (wanted, sequences) = (profile.sequences_max, compiled.sequences_max);
    if wanted > sequences {
        why.push(format!("max_rolling_batch_size = {sequences}, not {wanted}: what programs hold"));
    }
    why.push(format!(
        "kv = {} blocks of {} tokens in bfloat16, as compiled",
        compiled.kv.blocks, compiled.kv.block_tokens
    ));
    Ok(Limits {
        context_tokens_max: context.min(most),
        sequences_max: wanted.min(sequences),
        ..compiled
    })
}

/// Bytes that each rank takes of its core.
fn bytes(bundle: &Bundle) -> u64 {
    let mut kept = BTreeMap::new();
    let mut bytes = 0_u64;
    for program in &bundle.manifest.programs {
        bytes += program.neff.bytes;
        for input in &program.inputs {
            let of_input = input.bytes().unwrap_or(u64::MAX);
            match input.from {
                Source::Step => bytes = bytes.saturating_add(of_input),
                Source::Weights | Source::State => drop(kept.insert(&input.name, of_input)),
            }
        }
        let own = program.outputs.iter().filter(|output| output.alias.is_none());
        bytes += own.filter_map(bundle::Output::bytes).sum::<u64>();
    }
    kept.into_values().fold(bytes, u64::saturating_add)
}

/// Copies on cores that follow each other: as many as are asked for, or as there are cores for.
fn placed(
    devices: &[DeviceInfo],
    profile: &Profile,
    (ranks, bytes): (usize, u64),
) -> Result<Vec<Placement>, Unfit> {
    let most = profile.replicas.map_or(usize::MAX, usize::from).max(1);
    let follow = |group: &[DeviceInfo]| {
        group.windows(2).all(|pair| u32::from(pair[0].ordinal) + 1 == u32::from(pair[1].ordinal))
    };
    let holds = |group: &[DeviceInfo]| group.iter().all(|core| core.memory_bytes >= bytes);
    let (mut copies, mut at) = (Vec::new(), 0);
    while let Some(group) = devices.get(at..at + ranks).filter(|_| copies.len() < most) {
        if follow(group) && holds(group) {
            copies.push(Placement { devices: group.to_vec() });
            at += ranks;
        } else {
            at += 1;
        }
    }
    match (copies.len(), profile.replicas) {
        (0, _) => Err(too_little(devices, (ranks, bytes))),
        (found, Some(set)) if found < usize::from(set) => Err(Unfit::Setting {
            setting: "replicas",
            value: set.to_string(),
            why: format!(
                "{ranks} cores each, and there is room for {found} copies on {} cores",
                devices.len()
            ),
        }),
        _ => Ok(copies),
    }
}

fn too_little(devices: &[DeviceInfo], (ranks, need_bytes): (usize, u64)) -> Unfit {
    let most = devices.iter().max_by_key(|device| device.memory_bytes);
    Unfit::Memory {
        need_bytes,
        have_bytes: most.map_or(0, |device| device.memory_bytes),
        have_why: most.map_or_else(String::new, |device| device.memory_why.clone()),
        what: format!(
            "on each of {ranks} cores that follow each other, as it was compiled: compile it again for more \
             ranks, or with less of the setting"
        ),
        setting: "max_model_len",
    }
}

/// What a step of single rows reads.
fn reads(model: &Model) -> Result<Reads, Unfit> {
    let fused = fuse(&model.graph).map_err(op)?;
    let ids = fused.iter().flat_map(Fused::matrices);
    let weights = ids.map(|id| &model.graph.weights[id.0]);
    let weights = weights.map(|weight| (weight.out * weight.inp) as u64).sum();
    Ok(Reads {
        weights,
        // bf16.
        weight_bytes: 2 * weights,
        kv_bytes_per_token: KvDtype::F16.bytes_per_token(&model.graph),
    })
}

fn op(what: String) -> Unfit {
    Unfit::Op { platform: NAME, what }
}

fn compiled(why: String) -> Unfit {
    Unfit::Compiled { why }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
