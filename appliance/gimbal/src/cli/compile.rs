//! `gimbal compile`: a model becomes a bundle for Inferentia or Trainium, by AWS's neuronx-cc.
//!
//! No device is needed, and `serve` never compiles. Next: `backends/neuron/src/compile/mod.rs`.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};
use gimbal_batch::Bucket;
use gimbal_hal::{Artifact, Host, Unfit};
use gimbal_model::Model;
use gimbal_neuron::bundle::{Bundle, beside};
use gimbal_neuron::compile::{self, Asked, Fitted, NeuronxCc, Plan, Told, parse_buckets};
use gimbal_neuron::probe::Chip;
use gimbal_settings::Settings;
use serde_json::json;

use super::layers;
use crate::config::ModelConfig;
use crate::failure::Failure;
use crate::folder::{Folder, user_folders};
use crate::{host, logging, print};

/// What a run of neuronx-cc may take of the host's memory. AWS publishes no figure; with this one inf2.xlarge
/// (16 GiB) compiles one program at a time.
const JOB_BYTES: u64 = 8 << 30;
/// What it keeps below a user's caches.
const CACHE: [&str; 2] = ["gimbal", "neuron"];

/// Flags of this command alone.
pub(super) fn flags() -> [Arg; 8] {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        flag("target", "CHIP", "What it is to run on: inf2, trn1 or trn2")
            .required(true)
            .value_parser(target),
        flag("tp", "RANKS", "Cores that hold the model together [default: the fewest that do]")
            .value_parser(value_parser!(u16).range(1..)),
        flag("lnc", "CORES", "Physical cores of a logical one [default: 2 on trn2, else 1]")
            .value_parser(value_parser!(u32).range(1..)),
        flag(
            "buckets",
            "BUCKETS",
            "Shapes of steps, SEQUENCESxROWSxCONTEXT with commas (4x1x2048,1x128x2048) [default: by \
             max_rolling_batch_size and max_model_len]",
        )
        .value_parser(parse_buckets),
        flag("jobs", "COUNT", "Programs compiled at a time [default: by free memory and CPUs]")
            .value_parser(value_parser!(u16).range(1..)),
        flag("emit-hlo", "FOLDER", "Only write the modules that neuronx-cc would compile; needs none")
            .conflicts_with_all(["jobs", "output"]),
        flag("output", "BUNDLE", "The folder to write [default: MODEL.neuron, or MODEL/neuron]")
            .short('o'),
        Arg::new("json").long("json").num_args(0).help("Print JSON; progress goes to stderr"),
    ]
}

/// Runs the command: what is decided and what happens on stderr, what was made on stdout.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches, path: &Path) -> Result<(), Failure> {
    let settings = &layers::on("neuron", settings)?;
    logging::start(settings, Some("warn"));
    let artifact = Artifact::open(path)?;
    let Artifact::Decoder(model) = &artifact else {
        return Err(Failure::data(format!(
            "{}: {} is not compiled, only GGUF and safetensors of language models",
            path.display(),
            artifact.what()
        )));
    };
    let mut why = Vec::new();
    let asked = asked(settings, matches, model, &mut why)?;
    let modules = matches.get_one::<String>("emit-hlo");
    let output = matches.get_one::<String>("output").map(PathBuf::from);
    let output = output.unwrap_or_else(|| beside(&model.path));
    if modules.is_none() && output.symlink_metadata().is_ok() {
        let output = output.display();
        return Err(Failure::usage(format!(
            "{output} is there: remove it, or name another with -o"
        )));
    }
    let Fitted { plan, why: sized, .. } = Plan::fit(model, &asked)?;
    why.extend(sized);
    if let Some(folder) = modules {
        tell(&why);
        let files = compile::emit(model, &plan, Path::new(folder))?;
        let lines = files.iter().map(|file| format!("{}\n", file.display()));
        return print::stdout(lines.collect::<String>());
    }
    let search = std::env::var_os("PATH");
    let set = settings.text("neuronx_cc").map(PathBuf::from);
    let compiler = NeuronxCc::find(set.as_deref(), search.as_deref(), Path::new("/"))?;
    let (jobs, reason) = match matches.get_one::<u16>("jobs") {
        Some(jobs) => (usize::from(*jobs), "as asked".to_owned()),
        None => jobs(&host::host(), plan.buckets.len()),
    };
    why.push(format!("jobs = {jobs}: {reason}"));
    why.push(format!("neuronx-cc {}, {} programs", compiler.version, plan.buckets.len()));
    tell(&why);
    let cache = cache()?;
    let made = compile::compile(model, &plan, (&compiler, jobs), &cache, &output, &progress)?;
    print::stdout(summary(&made, &plan, &output, model, (&why, matches.get_flag("json"))))
}

/// What settings and flags ask for.
fn asked(
    settings: &Settings,
    matches: &ArgMatches,
    model: &Model,
    why: &mut Vec<String>,
) -> Result<Asked, Failure> {
    let ModelConfig { profile, memory_share, .. } = ModelConfig::of(settings);
    if profile.quantize.is_some() {
        let value = settings.text("quantize").unwrap_or_default().to_owned();
        let why = "weights are bf16 in a bundle".to_owned();
        return Err(Unfit::Setting { setting: "quantize", value, why }.into());
    }
    let target = *matches.get_one::<Chip>("target").unwrap_or(&Chip::Inf2);
    let lnc = matches.get_one::<u32>("lnc").copied().unwrap_or(target.lnc_max());
    if lnc > target.lnc_max() {
        let most = target.lnc_max();
        return Err(Failure::usage(format!("--lnc {lnc}: {target} has logical cores of {most}")));
    }
    let named = matches.get_one::<Vec<Bucket>>("buckets");
    let told = if named.is_some() { &mut Vec::new() } else { why };
    let mut asked = Asked::of(&profile, model, (target, lnc), told)?;
    asked.memory_share = memory_share;
    match (matches.get_one::<u16>("tp").copied(), profile.ranks) {
        (Some(tp), Some(set)) if tp != set => {
            return Err(Failure::usage(format!("--tp {tp} and tensor_parallel_degree = {set}")));
        }
        (tp, set) => asked.ranks = tp.or(set).map(usize::from),
    }
    if let Some(buckets) = named {
        let context = profile.context_tokens(model, &mut Vec::new())?;
        if let Some(bucket) = buckets.iter().find(|bucket| bucket.context > context) {
            let bucket = compile::name(*bucket);
            return Err(Failure::usage(format!(
                "--buckets {bucket}: a sequence has {context} tokens at most (max_model_len, else the \
                 model's own)"
            )));
        }
        asked.buckets.clone_from(buckets);
    }
    Ok(asked)
}

fn target(name: &str) -> Result<Chip, String> {
    match Chip::by_name(name) {
        Some(chip) if chip.is_supported() => Ok(chip),
        Some(chip) => Err(format!("{}; inf2, trn1 or trn2", chip.unsupported())),
        None => Err("no chip that is known: inf2, trn1 or trn2".to_owned()),
    }
}

/// Programs at a time: as many as there are CPUs, memory and programs for.
fn jobs(host: &Host, programs: usize) -> (usize, String) {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let room = usize::try_from(host.memory_bytes / JOB_BYTES).unwrap_or(usize::MAX);
    let jobs = room.min(host.cores as usize).min(programs).max(1);
    let why = format!(
        "{:.1} GiB of memory ({}), of which each may take {:.0} (an assumption), {} CPUs",
        gib(host.memory_bytes),
        host.memory_why,
        gib(JOB_BYTES),
        host.cores
    );
    (jobs, why)
}

/// Where compiled programs are kept: a folder that only this user can write.
pub(super) fn cache() -> Result<PathBuf, Failure> {
    let Some(base) = user_folders().next() else {
        return Err(Failure::usage("no folder for compiled programs: set HOME or XDG_CACHE_HOME"));
    };
    let path = CACHE.iter().fold(base.clone(), |path, name| path.join(name));
    match Folder::open(&base, &CACHE) {
        Ok(_) => Ok(path),
        Err(error) => Err(Failure::unavailable(format!("{}: {error}", path.display()))),
    }
}

fn tell(why: &[String]) {
    why.iter().for_each(|line| print::stderr(&format!("planned: {line}\n")));
}

fn progress(told: Told) {
    let line = match told {
        Told::Compiled { bucket, done: [done, all], took } => {
            let took = took.map_or("was kept from an earlier run".to_owned(), |took| {
                format!("compiled in {:.1} s", took.as_secs_f64())
            });
            format!("[{done}/{all}] {bucket}: {took}\n")
        }
        Told::Weights { rank, bytes } => format!("weights of rank {rank}: {bytes} bytes\n"),
        _ => return,
    };
    print::stderr(&line);
}

/// What was made, and how it is served.
fn summary(
    made: &Bundle,
    plan: &Plan,
    output: &Path,
    model: &Model,
    (why, is_json): (&[String], bool),
) -> String {
    let bytes: u64 = made.manifest.stored().map(|stored| stored.bytes).sum();
    let programs = made.manifest.programs.len();
    let kv_tokens = u64::from(plan.kv_blocks) * u64::from(compile::BLOCK_TOKENS);
    if is_json {
        let buckets: Vec<String> = plan.buckets.iter().copied().map(compile::name).collect();
        let made = json!({
            "bundle": output, "bytes": bytes, "target": plan.target, "lnc": plan.lnc,
            "ranks": plan.ranks, "buckets": buckets, "kv_tokens": kv_tokens,
            "compiler": made.manifest.compiler.version, "planned": why,
        });
        return format!("{made:#}\n");
    }
    let mut text = format!(
        "{}  {bytes} bytes: {programs} programs for {}, ranks = {}\n",
        output.display(),
        plan.target,
        plan.ranks
    );
    let place = beside(&model.path);
    let place = match output == place {
        true => String::new(),
        false => format!(", with the bundle as {}", place.display()),
    };
    text += &format!("serve it there{place}: gimbal serve {}\n", model.path.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// inf2.xlarge has 16 GiB and four CPUs, of which the system takes some.
    #[test]
    fn as_many_programs_at_a_time_as_memory_cpus_and_programs_allow() {
        let count = |gib: u64, cores: u32, programs: usize| {
            let host = Host {
                cpu: String::new(),
                features: Vec::new(),
                cores,
                memory_total_bytes: gib << 30,
                memory_bytes: gib << 30,
                memory_why: "free".to_owned(),
            };
            jobs(&host, programs)
        };
        for (gib, cores, programs, expect) in
            [(15, 4, 18, 1), (1, 4, 18, 1), (128, 4, 18, 4), (96, 192, 18, 12), (768, 192, 18, 18)]
        {
            assert_eq!(count(gib, cores, programs).0, expect, "{gib} GiB");
        }
        let why = "15.0 GiB of memory (free), of which each may take 8 (an assumption), 4 CPUs";
        assert_eq!(count(15, 4, 18).1, why);
    }
}
