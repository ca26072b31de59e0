//! `gimbal probe`: every platform, its devices or the reason for none.

use std::io::Write;

use clap::ArgMatches;
use gimbal_hal::{DeviceInfo, Probe};
use serde_json::{Value, json};

use crate::boot::platforms;
use crate::failure::Failure;

/// Runs the command.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let found: Vec<_> = platforms().iter().map(|p| (p.name(), p.probe())).collect();
    let mut out = std::io::stdout().lock();
    let written = if matches.get_flag("json") {
        let all: Vec<Value> = found.iter().map(|(name, probe)| as_json(name, probe)).collect();
        writeln!(out, "{:#}", json!({ "platforms": all }))
    } else {
        found.iter().try_for_each(|(name, probe)| match probe {
            Probe::Found(devices) => devices.iter().try_for_each(|d| writeln!(out, "{}", line(d))),
            Probe::Absent { why } => writeln!(out, "{name}: none ({why})"),
        })
    };
    Ok(written.map_err(anyhow::Error::from)?)
}

fn line(d: &DeviceInfo) -> String {
    let gib = d.memory_bytes as f64 / f64::from(1_u32 << 30);
    let features = d.features.join(" ");
    format!("{}:{}  {}  {} cores  {gib:.1} GiB  {features}", d.platform, d.ordinal, d.name, d.cores)
}

fn as_json(name: &str, probe: &Probe) -> Value {
    match probe {
        Probe::Absent { why } => json!({ "platform": name, "devices": [], "why": why }),
        Probe::Found(devices) => {
            let device = |d: &DeviceInfo| {
                json!({
                    "ordinal": d.ordinal, "name": d.name, "cores": d.cores,
                    "memory_bytes": d.memory_bytes, "features": d.features,
                })
            };
            let devices: Vec<Value> = devices.iter().map(device).collect();
            json!({ "platform": name, "devices": devices })
        }
    }
}
