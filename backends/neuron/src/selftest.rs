//! `gimbal selftest --neuron`: small programs through neuronx-cc and libnrt, against the processor, and how fast they
//! are. The only thing that may call a chip verified.
//!
//! Reading order: `bench` (with what), `cases` (programs of a few instructions), `run` (a case on a core), `model` (steps of a model made in
//! memory, compiled and served as any other), `timing`, `report`.
//!
//! # Invariants
//! - No model is read and no network asked; what is computed depends on seeds alone.
//! - A case that was not run is not in the report. On an emulated runtime nothing is verified and nothing timed.

mod bench;
mod cases;
mod model;
mod noise;
mod report;
mod run;
mod timing;

use std::sync::Arc;

use crate::compile::NeuronxCc;
use crate::probe::{self, Facts};
use crate::runtime::{Installed, Runtime};

use bench::Bench;

pub use bench::Asked;
pub use report::{Report, Row, Time, Verdict};

/// Tests the first core, and two together; `told` hears of each row as soon as it is known.
///
/// # Errors
/// There is no device, no runtime or no compiler, and what can be done about it.
pub fn run(asked: Asked<'_>, told: &mut dyn FnMut(&Report, &Row)) -> Result<Report, String> {
    let (facts, runtime) = open(&asked)?;
    let compiler = NeuronxCc::find(asked.neuronx_cc, asked.search, asked.root)
        .map_err(|why| format!("the selftest compiles small programs of its own, and {why}"))?;
    let is_emulated = runtime.is_emulated();
    let chip = match &facts {
        Some(facts) => facts.chip,
        None => {
            let chip = runtime.chip().map_err(|error| error.to_string())?;
            chip.ok_or("an emulated runtime without a chip")?
        }
    };
    let lnc = probe::lnc(chip, asked.environment).map_err(|why| why.to_string())?;
    let [major, minor] = runtime.version();
    let mut report = Report {
        device: match is_emulated {
            true => format!("EMULATED {}", chip.product()),
            false => chip.product().to_owned(),
        },
        instance: facts.as_ref().and_then(|facts| facts.product.clone()),
        driver: facts.as_ref().and_then(|facts| facts.driver.clone()),
        runtime: format!("{major}.{minor}, {}", runtime.detail()),
        compiler: compiler.version.clone(),
        cores: runtime.cores(),
        lnc,
        is_emulated,
        rows: Vec::new(),
    };
    let mut add = |row: Row| {
        told(&report, &row);
        report.rows.push(row);
    };
    if let Some(facts) = &facts {
        add(cores(facts, &runtime));
    }
    let bench = Bench { runtime, compiler, chip, lnc, asked };
    for case in cases::all() {
        let outcome = run::agrees(&bench, &case);
        add(Row::judged(case.name, is_emulated, outcome));
    }
    let mut all = vec![1];
    all.extend((bench.runtime.cores() > 1).then_some(2));
    for ranks in all {
        let name = match ranks {
            1 => "steps of a model made in memory",
            _ => "steps of it by two ranks",
        };
        let (outcome, time) = match model::agrees(&bench, ranks) {
            Ok((worst, time)) => (Ok(worst), Some(time)),
            Err(why) => (Err(why), None),
        };
        add(Row::judged(name, is_emulated, outcome));
        if let Some(time) = time.filter(|_| !asked.is_quick) {
            add(Row::timed(&format!("one of those steps, ranks = {ranks}"), is_emulated, time));
        }
    }
    if !asked.is_quick {
        timing::rows(&bench, is_emulated).into_iter().for_each(add);
    }
    Ok(report)
}

/// What the machine's files say, but of an emulated runtime, and the runtime.
fn open(asked: &Asked<'_>) -> Result<(Option<Facts>, Arc<Runtime>), String> {
    let installed = Installed::find(asked.libnrt);
    let facts = match &installed {
        Ok(installed) if installed.is_emulated => None,
        // Whether there is a chip at all is worth more than which library is missing.
        _ => Some(probe::probe(asked.root, asked.environment).map_err(|why| why.to_string())?),
    };
    let installed = installed.map_err(|error| error.to_string())?;
    let runtime = Runtime::open(Some(&installed.path)).map_err(|error| error.to_string())?;
    Ok((facts, runtime))
}

/// Files and runtime tell of the same cores.
fn cores(facts: &Facts, runtime: &Runtime) -> Row {
    let (visible, found) = (facts.visible.len(), runtime.cores() as usize);
    let outcome = match visible == found {
        true => Ok(0.0),
        false => Err(format!("{visible} by the kernel's files, and libnrt has {found}")),
    };
    Row::judged("cores by files and by libnrt", false, outcome)
}
