//! `gimbal selftest --cuda`: every kernel against f64 on the devices that are there, and how fast it is.
//!
//! The same cases run on the emulated device in tests. Reading order: `bench` (a device as the cases use
//! it), `rows`, `products`, `quants`, `attention`, `sample` (the cases), `real` (a device through the driver), `timing` (against
//! the device's own copies), `step` (a decode step of a model made in memory), `report`.
//!
//! # Invariants
//! - No file is read and no network asked; what is computed depends on seeds alone.
//! - A case that was not run is not in the report.

mod attention;
mod bench;
mod products;
mod quants;
mod real;
mod report;
mod rows;
mod sample;
mod step;
mod timing;

use std::path::Path;

pub use bench::{Bench, Machine, Told};
pub use report::{Report, Row, Time, Verdict};

use crate::driver::{self, Device};
use crate::launch::Type;
use real::Real;
use timing::Clock;

/// Where the cases' numbers begin.
const SEED: u64 = 3;

/// Kernels that are tested together.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Their name, without type and size.
    pub name: &'static str,
    run: fn(&Bench<'_>) -> Told,
}

/// All of them, over odd shapes.
pub const CASES: [Case; 15] = [
    Case { name: "embed", run: rows::embed },
    Case { name: "round", run: rows::round },
    Case { name: "reduce", run: rows::reduce },
    Case { name: "rms_norm", run: rows::rms_norm },
    Case { name: "rms_norm_add", run: rows::rms_norm_add },
    Case { name: "rms_norm_groups", run: rows::rms_norm_groups },
    Case { name: "silu_mul and gelu_mul", run: rows::activate },
    Case { name: "rope_kv_write", run: rows::rope_kv_write },
    Case { name: "argmax", run: rows::argmax },
    Case { name: "sample", run: sample::sample },
    Case { name: "skinny and gemm", run: products::products },
    Case { name: "embed of blocks", run: quants::embed },
    Case { name: "skinny and gemm of blocks", run: quants::products },
    Case { name: "decode and merge", run: attention::decode },
    Case { name: "prefill", run: attention::prefill },
];

impl Case {
    /// Runs it; tells the largest error in units of what is allowed.
    ///
    /// # Errors
    /// What differs from f64, or what the device said.
    pub fn run(&self, bench: &Bench<'_>) -> Result<f64, String> {
        (self.run)(bench).map(|()| bench.worst())
    }
}

/// Tests every device; `told` hears of each row as soon as it is known. `is_quick` times nothing.
///
/// # Errors
/// No device can be opened, and why.
pub fn run(
    library: Option<&Path>,
    is_quick: bool,
    told: &mut dyn FnMut(&Report, &Row),
) -> Result<Vec<Report>, String> {
    driver::load(library).map_err(|missing| missing.to_string())?;
    let count = driver::init()?;
    if count == 0 {
        return Err("the driver knows no device".to_owned());
    }
    (0..count).map(|ordinal| device(ordinal, is_quick, told)).collect()
}

fn device(
    ordinal: u16,
    is_quick: bool,
    told: &mut dyn FnMut(&Report, &Row),
) -> Result<Report, String> {
    let open = || Device::open(ordinal).map_err(|error| error.to_string());
    let real = Real::new(open()?);
    let facts = real.device.facts();
    let dotted = |[major, minor]: [u32; 2]| format!("{major}.{minor}");
    let mut report = Report {
        device: facts.name.clone(),
        capability: dotted(facts.capability),
        driver: dotted(facts.driver),
        image: real.device.image().to_owned(),
        is_emulated: facts.name.starts_with("EMULATED"),
        rows: Vec::new(),
    };
    let mut add = |row: Row| {
        told(&report, &row);
        report.rows.push(row);
    };
    let kinds = if facts.capability < [8, 0] { &[Type::F16][..] } else { &[Type::Bf16, Type::F16] };
    let is_emulated = facts.name.starts_with("EMULATED");
    for kind in kinds {
        for case in CASES {
            let outcome = case.run(&Bench::new(&real, *kind, SEED));
            add(judged(case.name, *kind, is_emulated, outcome));
        }
        let none: step::Blocks = |_| None;
        for (name, shape, blocks) in [
            ("steps of a model made in memory", step::shape(), none),
            ("steps of one without norms before its blocks", step::without_pre_norms(), none),
            ("steps of one with blocks of several types", step::shape(), step::mixed),
        ] {
            let noise = Bench::new(&real, *kind, SEED);
            let outcome =
                open().and_then(|device| step::agrees(device, (shape, blocks), *kind, &noise));
            add(judged(name, *kind, is_emulated, outcome));
        }
    }
    if !is_quick {
        for row in timed(&real.device, kinds[0], is_emulated) {
            add(row);
        }
    }
    Ok(report)
}

fn judged(name: &str, kind: Type, is_emulated: bool, outcome: Result<f64, String>) -> Row {
    let (verdict, worst) = match outcome {
        Ok(worst) if is_emulated => (Verdict::Emulated, Some(worst)),
        Ok(worst) => (Verdict::Verified, Some(worst)),
        Err(why) => (Verdict::Failed(why), None),
    };
    let (name, dtype) = (name.to_owned(), Some(kind.name()));
    Row { name, dtype, shape: None, verdict, worst, time: None }
}

/// All times; what fails is a row, and ends them.
fn timed(device: &Device, kind: Type, is_emulated: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut all = || {
        let clock = Clock::new(device, kind, is_emulated)?;
        rows.push(clock.copy());
        rows.extend(clock.rows()?);
        rows.extend(clock.products()?);
        rows.extend(clock.attention()?);
        for sequences in [1, clock.sequences()] {
            rows.push(clock.step(sequences)?);
        }
        Ok::<(), gimbal_hal::DeviceError>(())
    };
    if let Err(error) = all() {
        rows.push(judged("timing", kind, false, Err(error.to_string())));
    }
    rows
}
