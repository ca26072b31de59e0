//! `gimbal selftest`: this machine's accelerators against the processor, and how fast they are; `--cuda`: every kernel
//! against f64 on every GPU.
//!
//! The only thing that may call a kernel verified. Its JSON is written down in `docs/json.md`. Next:
//! `selftest/neuron.rs`.

mod neuron;

use std::fmt::Write as _;

use clap::{Arg, ArgGroup, ArgMatches, Command};
use gimbal_bench::Environment;
use gimbal_cuda::selftest::{self, Report, Row, Verdict};
use serde_json::{Value, json};

use super::layers;
use crate::config::Process;
use crate::failure::Failure;
use crate::print;

/// The command and its flags.
pub(super) fn command(settings: impl Iterator<Item = Arg>) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).num_args(0);
    Command::new("selftest")
        .about("Checks this machine's accelerators against the processor, and times them; reads no model")
        .arg(flag("cuda").help("NVIDIA GPUs, all that are there: every kernel"))
        .arg(flag("neuron").help("Inferentia or Trainium: small programs on the first cores; needs neuronx-cc"))
        .group(ArgGroup::new("devices tested").args(["cuda", "neuron"]).required(true))
        .arg(flag("quick").help("Check only: nothing is timed"))
        .arg(flag("json").help("Print JSON"))
        .args(settings)
}

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = layers::resolve(matches)?.settings;
    if matches.get_flag("neuron") {
        return neuron::run(matches, &settings);
    }
    let process = Process::of(&settings);
    let is_json = matches.get_flag("json");
    let mut shown = String::new();
    let mut told = |report: &Report, row: &Row| {
        // People see rows as they come; a device is named once.
        if report.device != shown && !is_json {
            shown.clone_from(&report.device);
            drop(print::stdout(head(report)));
        }
        if !is_json {
            drop(print::stdout(line(row)));
        }
    };
    let quick = matches.get_flag("quick");
    let outcome = selftest::run(process.libcuda.as_deref(), quick, &mut told);
    let reports = outcome.map_err(Failure::unavailable)?;
    let environment = Environment::here("gimbal selftest --cuda".to_owned());
    if is_json {
        print::stdout(format!("{:#}\n", as_json(&environment, &reports)))?;
    } else {
        print::stdout(format!("date         {}\n", environment.date))?;
    }
    let failed = reports.iter().flat_map(Report::failed).count();
    match failed {
        0 => Ok(()),
        _ => Err(Failure::unavailable(format!("{failed} rows failed; this device must not serve"))),
    }
}

fn head(report: &Report) -> String {
    let Report { device, capability, driver, image, .. } = report;
    let mut text = format!(
        "device       {device}\ncapability   {capability}\ndriver       CUDA {driver}\nkernels      {image}\n"
    );
    if report.is_emulated {
        text += "emulated     no GPU is here: nothing below tells how one computes, and nothing is timed\n";
    }
    text
}

fn line(row: &Row) -> String {
    let verdict = match &row.verdict {
        Verdict::Verified => "verified",
        Verdict::Emulated => "emulated",
        Verdict::Measured => "measured",
        Verdict::Failed(_) => "FAILED",
    };
    let mut text = format!("{verdict:<12} {}", row.name);
    for word in row.dtype.iter().copied().chain(row.shape.as_deref()) {
        let _ = write!(text, ", {word}");
    }
    if let Some(worst) = row.worst {
        let _ = write!(text, ": error at most {:.0} % of what is allowed", worst * 100.0);
    }
    if let Some(time) = row.time {
        let share = time.share_of_copy * 100.0;
        let _ = write!(text, ": {:.1} us, {share:.0} % of the copy's bytes/s", time.seconds * 1e6);
        if time.flops > 0 {
            let _ = write!(text, ", {:.1} TFLOP/s", time.tflops);
        }
    }
    if let Verdict::Failed(why) = &row.verdict {
        let _ = write!(text, ": {why}");
    }
    text + "\n"
}

fn as_json(environment: &Environment, reports: &[Report]) -> Value {
    json!({
        "date": environment.date,
        "gimbal": env!("CARGO_PKG_VERSION"),
        "cpu": environment.cpu,
        "system": environment.system,
        "devices": reports,
    })
}

#[cfg(test)]
mod tests {
    use gimbal_cuda::selftest::Time;

    use super::*;

    fn row(verdict: Verdict, worst: Option<f64>, time: Option<Time>) -> Row {
        let (name, shape) = ("gemm".to_owned(), time.map(|_| "512 rows".to_owned()));
        Row { name, dtype: Some("bf16"), shape, verdict, worst, time }
    }

    #[test]
    fn rows_are_shown_for_people_and_their_keys_are_written_down() {
        let (seconds, bytes, flops) = (1e-4, 1 << 20, 1 << 30);
        let time = Time { seconds, bytes, flops, share_of_copy: 0.815, tflops: 10.7 };
        let rows = vec![
            row(Verdict::Verified, Some(0.25), None),
            row(Verdict::Measured, None, Some(time)),
            row(Verdict::Failed("[3]: 1, not 2".to_owned()), None, None),
        ];
        let shown: Vec<String> = rows.iter().map(line).collect();
        assert_eq!(
            shown,
            [
                "verified     gemm, bf16: error at most 25 % of what is allowed\n",
                "measured     gemm, bf16, 512 rows: 100.0 us, 82 % of the copy's bytes/s, 10.7 TFLOP/s\n",
                "FAILED       gemm, bf16: [3]: 1, not 2\n",
            ]
        );
        let report = Report {
            device: "EMULATED T4".to_owned(),
            capability: "7.5".to_owned(),
            driver: "11.4".to_owned(),
            image: "sm75.ptx".to_owned(),
            is_emulated: true,
            rows,
        };
        assert!(head(&report).contains("no GPU is here"));
        assert_eq!(report.failed().count(), 1);
        let json = as_json(&Environment::here(String::new()), &[report]);
        let docs = include_str!("../../docs/json.md");
        let mut keys: Vec<&String> = json.as_object().expect("one").keys().collect();
        keys.extend(json["devices"][0].as_object().expect("one").keys());
        for row in json["devices"][0]["rows"].as_array().expect("rows") {
            keys.extend(row.as_object().expect("one").keys());
        }
        keys.extend(json["devices"][0]["rows"][1]["time"].as_object().expect("one").keys());
        for key in keys {
            assert!(docs.contains(&format!("{key}`")), "{key}");
        }
    }
}
