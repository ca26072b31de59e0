//! The policy laboratory: what a policy is worth on a device that is only numbers.
//!
//! Reading order: `trace` (who comes when), `planner` (our scheduler, or a model of another one),
//! `vllm` (that model), `run` (events in virtual time), `meter` (what users felt), `device` (four devices),
//! `options`, `plot`.
//!
//! # Invariants
//! - Host time is part of a step's fixed cost, and one step is in flight, for every policy alike.
//! - Every policy sees the same arrivals; where clients wait for answers before they go on
//!   (`agent`), they do so under every policy.

mod device;
mod meter;
mod options;
mod planner;
mod plot;
mod run;
mod trace;
mod vllm;

use std::io::Write;

use meter::Report;
use options::Options;

type Failure = Box<dyn std::error::Error>;

/// Runs the `lab` command.
///
/// # Errors
/// An argument is wrong, or a file cannot be read or written.
pub fn run_command(arguments: &[&str], out: &mut impl Write) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let rates = if options.sweep {
        [0.25, 0.5, 0.75, 1.0, 1.25, 1.5].map(|share| share * options.rate).to_vec()
    } else {
        vec![options.rate]
    };
    writeln!(out, "SIMULATED: {} (virtual time, cost model)", options.device.about)?;
    writeln!(
        out,
        "trace {}, {} s, seed {}, limits: first token {} ms, pause {} ms, lanes {}",
        options.trace_name,
        options.seconds,
        options.seed,
        options.limits.first_token.0 / 1000,
        options.limits.pause.0 / 1000,
        options.lanes,
    )?;
    writeln!(out, "{}", Report::HEADER)?;
    let mut reports = Vec::new();
    for rate in rates {
        for policy in &options.policies {
            let report = run::run(&options, *policy, rate)?;
            writeln!(out, "{}", report.line())?;
            if let Some(line) = report.buckets() {
                writeln!(out, "{line}")?;
            }
            reports.push(report);
        }
    }
    if let Some(path) = &options.html {
        std::fs::write(path, plot::page(&options, &reports))?;
        writeln!(out, "plots: {path}")?;
    }
    Ok(())
}
