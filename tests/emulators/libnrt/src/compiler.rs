//! A fake neuronx-cc: checks its arguments and the module as the real one is documented to, and packs the module as a
//! NEFF that only the emulated runtime can load. Nothing is compiled.
//!
//! What is not documented of the real one it refuses: a program that passes here gives no argument that was not looked
//! up. **Source** of arguments: AWS Neuron's documentation, `compiler/neuronx-cc/api-reference-guide`.

use std::fs;
use std::path::{Path, PathBuf};

use gimbal_neuron::hlo::{self, Module, Target, lint};
use gimbal_neuron::neff::{File, Header, Package, pack};

use crate::neff::MODULE;

/// What `--version` says.
pub const VERSION: &str = "NeuronX Compiler version 2.28.7631.0+FAKE";

/// Why nothing was compiled, and how the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 1 of arguments, 70 of the module: as the real one's.
    pub code: u8,
    /// What is said on stderr.
    pub why: String,
}

/// What is to be compiled, and how.
struct Job {
    module: PathBuf,
    output: PathBuf,
    target: Target,
    lnc: u32,
    package: Package,
}

/// Does what the arguments say, and tells what is said on stdout.
///
/// # Errors
/// An argument is not known or missing, or the module would be refused.
pub fn run(arguments: &[String]) -> Result<String, Refused> {
    match arguments {
        [only] if only == "--version" => Ok(VERSION.to_owned()),
        [command, rest @ ..] if command == "compile" => {
            compile(&job(rest).map_err(|why| usage(&why))?)
        }
        _ => Err(usage(&format!("not `compile MODULE …` and not `--version`: {arguments:?}"))),
    }
}

fn usage(why: &str) -> Refused {
    Refused { code: 1, why: format!("FAKE neuronx-cc: {why}") }
}

fn job(arguments: &[String]) -> Result<Job, String> {
    // `--key=value` is `--key value`.
    let split = |argument: &String| match argument.split_once('=') {
        Some((key, value)) if key.starts_with("--") => vec![key.to_owned(), value.to_owned()],
        _ => vec![argument.clone()],
    };
    let mut words = arguments.iter().flat_map(split);
    let (mut module, mut output, mut target, mut lnc) = (None, None, None, None);
    let (mut framework, mut cast, mut package) = (None, None, Package::Gzip);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word}: its value is missing"));
        match word.as_str() {
            "--framework" => framework = Some(one_of(&word, value()?, &["XLA"])?),
            "--target" => target = Some(compiled_for(&word, value()?)?),
            "--model-type" => drop(one_of(&word, value()?, &["generic", "transformer"])?),
            "--auto-cast" => cast = Some(one_of(&word, value()?, &["none"])?),
            "--optlevel" => drop(one_of(&word, value()?, &["1", "2", "3"])?),
            "-O1"
            | "-O2"
            | "-O3"
            | "--enable-mixed-precision-accumulation"
            | "--enable-saturate-infinity" => {}
            "--enable-fast-loading-neuron-binaries" => package = Package::Plain,
            "--lnc" | "--logical-nc-config" => {
                lnc = Some(if one_of(&word, value()?, &["1", "2"])? == "1" { 1 } else { 2 });
            }
            "--output" => output = Some(value()?.into()),
            _ if word.starts_with('-') => return Err(format!("{word} is not known")),
            _ if module.is_none() => module = Some(word.into()),
            _ => return Err(format!("{word}: a second module")),
        }
    }
    let missing = |what: &str| format!("{what} is missing");
    framework.ok_or_else(|| missing("--framework XLA"))?;
    // Without it products of f32 are computed in bf16.
    cast.ok_or_else(|| missing("--auto-cast none"))?;
    let target = target.ok_or_else(|| missing("--target"))?;
    Ok(Job {
        module: module.ok_or_else(|| missing("the module"))?,
        output: output.ok_or_else(|| missing("--output"))?,
        target,
        lnc: lnc.unwrap_or(if target == Target::Trn2 { 2 } else { 1 }),
        package,
    })
}

fn one_of(key: &str, value: String, allowed: &[&str]) -> Result<String, String> {
    match allowed.contains(&value.as_str()) {
        true => Ok(value),
        false => Err(format!("{key} {value}: not {}", allowed.join(", "))),
    }
}

fn compiled_for(key: &str, value: String) -> Result<Target, String> {
    let name = one_of(key, value, &["inf2", "trn1", "trn1n", "trn2"])?;
    let name = if name == "trn1n" { "trn1" } else { &name };
    let found = Target::ALL.into_iter().find(|target| target.name() == name);
    found.ok_or_else(|| format!("{key} {name}: not known"))
}

fn compile(job: &Job) -> Result<String, Refused> {
    let refuse = |why: String| Refused { code: 70, why };
    if job.lnc != 1 && job.target != Target::Trn2 {
        let why = format!("[NCC_EARG001] --lnc {} of {}: 1 only", job.lnc, job.target.name());
        return Err(refuse(why));
    }
    let at =
        |path: &Path, why: &dyn std::fmt::Display| usage(&format!("{}: {why}", path.display()));
    let bytes = fs::read(&job.module).map_err(|error| at(&job.module, &error))?;
    let proto = hlo::decode(&bytes).map_err(|error| refuse(error.to_string()))?;
    let findings: Vec<String> =
        lint(&proto, job.target).iter().map(|finding| format!("[{finding}]")).collect();
    if !findings.is_empty() {
        return Err(refuse(findings.join("\n")));
    }
    // What could not be run is not packed.
    let module = Module::from_proto(&proto).map_err(|error| refuse(error.to_string()))?;
    let header = Header {
        package: job.package,
        version: [2, 0],
        compiler: VERSION.to_owned(),
        cores: job.lnc,
        uuid: [0; 16],
        name: module.name().chars().take(60).collect(),
        cores_wanted: 1,
        features: 0,
        lnc: job.lnc,
    };
    let files = [
        File { path: "neff.json".to_owned(), bytes: b"{\"emulated\":true}".to_vec() },
        File { path: MODULE.to_owned(), bytes },
    ];
    let neff = pack(&header, &files).map_err(|error| refuse(error.to_string()))?;
    fs::write(&job.output, neff).map_err(|error| at(&job.output, &error))?;
    Ok("FAKE neuronx-cc: nothing was compiled. Compiler status PASS".to_owned())
}
