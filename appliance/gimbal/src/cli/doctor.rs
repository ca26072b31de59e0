//! `gimbal doctor`: what would keep this machine from serving well, and what to do about it.
//!
//! Each check is a function of a [`Case`]. `hardware` looks at the machine alone, `gpus` at
//! NVIDIA's, `neuron` at Inferentia and Trainium, `serving` at what a server needs of it. Nothing is changed; the port is bound for a moment and the library loaded.

mod gpus;
mod hardware;
mod neuron;
mod serving;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ArgMatches;
use gimbal_hal::{Probe, Reading};
use gimbal_machine::{Imds, Machine};
#[cfg(test)]
use gimbal_settings::Given;
use gimbal_settings::{Settings, Source};
use serde_json::{Value, json};

use super::layers::{self, Asked, Wanted};
use crate::boot::{self, Devices, Plan};
use crate::config::Process;
use crate::failure::Failure;
use crate::host::host;
use crate::print;

/// Looks at one thing.
type Check = fn(&Case) -> Finding;

/// Every check, in the order in which they are shown.
const CHECKS: &[(&str, Check)] = &[
    ("cpu", hardware::features),
    ("cores", hardware::cores),
    ("governor", hardware::governor),
    ("memory", hardware::memory),
    ("container_memory", hardware::container_memory),
    ("swap", hardware::swap),
    ("huge_pages", hardware::huge_pages),
    ("clock", hardware::clock),
    ("accelerators", hardware::accelerators),
    ("gpu_driver", gpus::driver),
    ("gpu_container", gpus::container),
    ("gpu_compiler", gpus::compiler),
    ("gpu_errors", gpus::errors),
    ("gpu_memory", gpus::memory),
    ("neuron", neuron::cores),
    ("metadata", hardware::metadata),
    ("settings", serving::settings),
    ("ignored_variables", serving::ignored),
    ("proxy", serving::proxy),
    ("privacy", serving::privacy),
    ("port", serving::port),
    ("open_files", serving::open_files),
    ("cache_folder", serving::cache_folder),
    ("onnxruntime", serving::library),
    ("sagemaker", serving::sagemaker),
    ("model", serving::model),
];

/// What is examined.
struct Case {
    machine: Machine,
    environment: BTreeMap<String, String>,
    /// What the platform of NVIDIA's GPUs found.
    cuda: Probe,
    /// What that of Inferentia and Trainium found.
    neuron: Probe,
    /// How the GPUs are.
    readings: Vec<Reading>,
    now: SystemTime,
    /// As `serve` would have them; the defaults where they are refused.
    settings: Settings,
    /// Why they are refused.
    refused: Option<String>,
    /// Each model's path, where there is one, and how it would run or why not.
    models: Vec<(PathBuf, Result<Vec<String>, String>)>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    status: Status,
    finding: String,
    remedy: Option<String>,
}

fn ok(finding: impl Into<String>) -> Finding {
    Finding { status: Status::Ok, finding: finding.into(), remedy: None }
}

fn warn(finding: impl Into<String>, remedy: impl Into<String>) -> Finding {
    let remedy = Some(remedy.into());
    Finding { status: Status::Warn, finding: finding.into(), remedy }
}

fn fail(finding: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { status: Status::Fail, ..warn(finding, remedy) }
}

/// Runs the command.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let case = examine(matches)?;
    let findings: Vec<_> = CHECKS.iter().map(|(name, check)| (*name, check(&case))).collect();
    let text = match matches.get_flag("json") {
        true => format!("{:#}\n", as_json(&findings)),
        false => as_text(&findings),
    };
    print::stdout(text)?;
    let failed: Vec<&str> =
        findings.iter().filter(|(_, f)| f.status == Status::Fail).map(|(n, _)| *n).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::unavailable(format!("failed: {}", failed.join(", ")))),
    }
}

fn examine(matches: &ArgMatches) -> Result<Case, Failure> {
    let (Asked { settings, models }, refused) = match layers::examine(matches) {
        Ok(asked) => (asked, None),
        Err(failure) => {
            let settings = layers::defaults()?;
            (Asked { settings, models: Vec::new() }, Some(failure.to_string()))
        }
    };
    let process = Process::of(&settings);
    let ([cuda, neuron], readings) = accelerators_here(&process)?;
    let devices = Devices::here(&process)?;
    let mut plans = Vec::new();
    let planned = |wanted: Wanted| {
        let is_named = !matches!(wanted.settings.entry("model").source, Source::Default(_));
        if !is_named && !wanted.path.exists() {
            return None;
        }
        let said = wanted.path.clone();
        let Wanted { name, path, settings, .. } = match wanted.brought() {
            Ok(wanted) => wanted,
            Err(failure) => return Some((said, Err(failure.to_string()))),
        };
        let planned = devices.plan(name.as_deref(), &settings, &path);
        let why = planned.as_ref().map(Plan::why).map_err(ToString::to_string);
        // What it claims counts for those after it.
        plans.extend(planned);
        Some((path, why))
    };
    let models = models.into_iter().filter_map(planned).collect();
    let machine = Machine::here(Imds::OnEc2);
    let text = |(n, v): (std::ffi::OsString, std::ffi::OsString)| {
        Some((n.into_string().ok()?, v.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(text).collect();
    let now = SystemTime::now();
    Ok(Case { machine, environment, cuda, neuron, readings, now, settings, refused, models })
}

/// What the vendors' libraries tell, asked in processes of their own, and how NVIDIA's devices are, asked here.
fn accelerators_here(process: &Process) -> Result<([Probe; 2], Vec<Reading>), Failure> {
    let all = boot::platforms(process)?;
    let named = |name: &str| all.iter().find(|platform| platform.name() == name);
    let probe = |name: &str| match named(name) {
        Some(platform) => boot::probe(platform.as_ref(), &host(), process),
        None => Probe::Absent { why: "not asked".to_owned() },
    };
    let readings = named("cuda").map(|cuda| cuda.readings()).unwrap_or_default();
    Ok((["cuda", "neuron"].map(probe), readings))
}

fn as_text(findings: &[(&str, Finding)]) -> String {
    findings.iter().fold(String::new(), |mut text, (name, found)| {
        // Writing to a String cannot fail.
        writeln!(text, "{:4}  {name:17}  {}", found.status.word(), found.finding).ok();
        if let Some(remedy) = &found.remedy {
            writeln!(text, "      {:17}  → {remedy}", "").ok();
        }
        text
    })
}

fn as_json(findings: &[(&str, Finding)]) -> Value {
    let count = |status| findings.iter().filter(|(_, f)| f.status == status).count();
    let one = |(name, f): &(&str, Finding)| {
        json!({
            "check": name, "status": f.status.word(), "finding": f.finding, "remedy": f.remedy,
        })
    };
    let checks: Vec<Value> = findings.iter().map(one).collect();
    json!({ "checks": checks, "failed": count(Status::Fail), "warned": count(Status::Warn) })
}

impl Case {
    /// A path of the machine.
    fn path(&self, path: &str) -> PathBuf {
        self.machine.root.join(path.trim_start_matches('/'))
    }

    fn variable(&self, name: &str) -> Option<&Path> {
        self.environment.get(name).filter(|v| !v.is_empty()).map(Path::new)
    }
}

#[cfg(test)]
impl Case {
    /// A machine of `machines/TREE.tree` with these variables, as if it served nothing yet.
    fn of(tree: &str, environment: &[(&str, &str)]) -> (crate::cli::fixture::Folder, Self) {
        let folder = crate::cli::fixture::Folder::of(tree);
        let pairs = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let around =
            gimbal_machine::Around { environment: pairs.clone().collect(), imds: Imds::Never };
        let machine = Machine::read(&folder.0, &around);
        let given = Given { environment: pairs.clone().collect(), ..Given::default() };
        let environment = pairs.collect();
        let settings = Settings::resolve(&Default::default(), &given).expect("they are right");
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let (models, readings) = (Vec::new(), Vec::new());
        let cuda = Probe::Absent { why: "libcuda.so.1: not there".to_owned() };
        let neuron = Probe::Absent { why: "no Neuron device on the PCI bus".to_owned() };
        let refused = None;
        let case =
            Self { machine, environment, cuda, neuron, readings, now, settings, refused, models };
        (folder, case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_says_something_of_every_machine() {
        for tree in ["c7g.xlarge", "container-v1", "laptop", "xeon-2-sockets"] {
            // A port that is surely free.
            let (_folder, case) = Case::of(tree, &[("GIMBAL_PORT", "0")]);
            for (name, check) in CHECKS {
                let found = check(&case);
                assert!(!found.finding.is_empty(), "{name}");
                assert_eq!(found.status == Status::Ok, found.remedy.is_none(), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn the_json_has_the_keys_that_are_written_down() {
        let findings = [("swap", warn("some", "less")), ("port", ok("free"))];
        let shown = as_json(&findings);
        let first = json!({"check": "swap", "status": "warn", "finding": "some", "remedy": "less"});
        assert_eq!(shown["checks"][0], first);
        assert_eq!(shown["checks"][1]["remedy"], Value::Null);
        assert_eq!((&shown["failed"], &shown["warned"]), (&json!(0), &json!(1)));
        let docs = include_str!("../../docs/json.md");
        for key in ["checks[].check", "].status", "].finding", "].remedy", "`failed`", "`warned`"] {
            assert!(docs.contains(key), "{key}");
        }
        assert!(as_text(&findings).contains("→ less\n"));
        let readme = include_str!("../../../../README.md");
        assert!(readme.contains(&format!("`gimbal doctor` checks {}", CHECKS.len())));
    }
}
