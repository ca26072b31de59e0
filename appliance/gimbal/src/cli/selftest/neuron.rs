//! `gimbal selftest --neuron`: small programs through neuronx-cc and libnrt on the first cores that are here.
//!
//! Its JSON is written down in `docs/json.md`. Next: `backends/neuron/src/selftest.rs`.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use gimbal_bench::Environment;
use gimbal_neuron::probe;
use gimbal_neuron::selftest::{Asked, Report, Row, Verdict, run as test};
use gimbal_settings::Settings;
use serde_json::{Value, json};

use super::super::compile;
use crate::config::Process;
use crate::failure::Failure;
use crate::print;

/// Runs the command.
pub(super) fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let process = Process::of(settings);
    let is_json = matches.get_flag("json");
    let compiler = settings.text("neuronx_cc").map(PathBuf::from);
    let (search, own) = (std::env::var_os("PATH"), probe::Environment::of_process());
    let name = format!("gimbal-selftest-{}", std::process::id());
    let asked = Asked {
        libnrt: process.libnrt.as_deref(),
        neuronx_cc: compiler.as_deref(),
        search: search.as_deref(),
        root: Path::new("/"),
        environment: &own,
        cache: &compile::cache()?,
        bundle: &std::env::temp_dir().join(name),
        is_quick: matches.get_flag("quick"),
    };
    let mut is_first = true;
    let mut told = |report: &Report, row: &Row| {
        // People see rows as they come; the device is named once.
        if !is_json {
            let head = if is_first { head(report) } else { String::new() };
            drop(print::stdout(head + &line(row)));
        }
        is_first = false;
    };
    let report = test(asked, &mut told).map_err(Failure::unavailable)?;
    let environment = Environment::here("gimbal selftest --neuron".to_owned());
    if is_json {
        print::stdout(format!("{:#}\n", as_json(&environment, &report)))?;
    } else {
        print::stdout(format!("date         {}\n", environment.date))?;
    }
    match report.failed().count() {
        0 => Ok(()),
        failed => {
            Err(Failure::unavailable(format!("{failed} rows failed; this device must not serve")))
        }
    }
}

fn head(report: &Report) -> String {
    let Report { device, instance, driver, runtime, compiler, cores, lnc, is_emulated, .. } =
        report;
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
    let mut text = format!(
        "device       {device}\nmachine      {}\ndriver       {}\nlibnrt       {runtime}\nneuronx-cc   \
         {compiler}\ncores        {cores}, each of {lnc} physical ones\n",
        told(instance),
        told(driver)
    );
    if *is_emulated {
        text += "emulated     no chip is here: nothing below tells how one computes, and nothing is timed\n";
    }
    text
}

fn line(row: &Row) -> String {
    let (verdict, why) = match &row.verdict {
        Verdict::Verified => ("verified", None),
        Verdict::Emulated => ("emulated", None),
        Verdict::Measured => ("measured", None),
        Verdict::Failed(why) => ("FAILED", Some(why)),
    };
    let mut text = format!("{verdict:<12} {}", row.name);
    if let Some(worst) = row.worst {
        text += &format!(": error at most {:.0} % of what is allowed", worst * 100.0);
    }
    if let Some(time) = row.time {
        text += &format!(": {:.1} us", time.seconds * 1e6);
        if time.bytes > 0 {
            text += &format!(", {:.2} GB/s", time.bytes as f64 / time.seconds / 1e9);
        }
    }
    if let Some(why) = why {
        text += &format!(": {why}");
    }
    text + "\n"
}

fn as_json(environment: &Environment, report: &Report) -> Value {
    json!({
        "date": environment.date,
        "gimbal": env!("CARGO_PKG_VERSION"),
        "cpu": environment.cpu,
        "system": environment.system,
        "devices": [report],
    })
}

#[cfg(test)]
mod tests {
    use gimbal_neuron::selftest::Time;

    use super::*;

    fn row(verdict: Verdict, worst: Option<f64>, time: Option<Time>) -> Row {
        Row { name: "a product".to_owned(), verdict, worst, time }
    }

    #[test]
    fn rows_are_shown_for_people_and_their_keys_are_written_down() {
        let time = Time { seconds: 1e-4, bytes: 1 << 20 };
        let rows = vec![
            row(Verdict::Verified, Some(0.25), None),
            row(Verdict::Measured, None, Some(time)),
            row(Verdict::Failed("y[3] is 1, not 2".to_owned()), None, None),
        ];
        let shown: Vec<String> = rows.iter().map(line).collect();
        assert_eq!(
            shown,
            [
                "verified     a product: error at most 25 % of what is allowed\n",
                "measured     a product: 100.0 us, 10.49 GB/s\n",
                "FAILED       a product: y[3] is 1, not 2\n",
            ]
        );
        let report = Report {
            device: "EMULATED Inferentia2".to_owned(),
            instance: None,
            driver: None,
            runtime: "2.34, EMULATOR".to_owned(),
            compiler: "2.28+FAKE".to_owned(),
            cores: 2,
            lnc: 1,
            is_emulated: true,
            rows,
        };
        assert!(head(&report).contains("no chip is here"));
        let json = as_json(&Environment::here(String::new()), &report);
        let docs = include_str!("../../../docs/json.md");
        let (_, docs) = docs.split_once("`gimbal selftest --neuron --json`").expect("a section");
        let mut keys: Vec<&String> = json.as_object().expect("one").keys().collect();
        keys.extend(json["devices"][0].as_object().expect("one").keys());
        for row in json["devices"][0]["rows"].as_array().expect("rows") {
            keys.extend(row.as_object().expect("one").keys());
        }
        for key in keys {
            assert!(docs.contains(&format!("{key}`")), "{key}");
        }
    }
}
