//! How long it takes to ask a chip for anything at all: an execution of nearly nothing, and copies.
//!
//! Next: `report.rs`.

use std::time::Instant;

use super::bench::Bench;
use super::cases;
use super::report::{Row, Time};
use super::run::Loaded;
use crate::runtime::{RuntimeError, Tensor};

/// How often each is done; the median counts. Where nothing is timed it is enough that it can be done.
const TIMES: [usize; 2] = [50, 3];
/// Bytes of a copy.
const COPY: usize = 64 << 20;

/// All times; what fails is a row, and ends them.
pub(super) fn rows(bench: &Bench<'_>, is_emulated: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let times = TIMES[usize::from(is_emulated)];
    let mut all = || {
        let [case, ..] = cases::all();
        let mut loaded = Loaded::new(bench, &case.module)?;
        let step = &case.steps[0];
        let said = |error: RuntimeError| error.to_string();
        let seconds = median(times, || loaded.step(step)).map_err(said)?;
        let written = step.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        rows.push(Row::timed(
            "a small product, its inputs written",
            is_emulated,
            Time { seconds, bytes: written },
        ));
        let tensor = Tensor::new(&bench.runtime, Some(0), COPY, "copy").map_err(said)?;
        let mut bytes = vec![1; COPY];
        let seconds = median(times, || tensor.write(0, &bytes)).map_err(said)?;
        rows.push(Row::timed(
            "a write to the device",
            is_emulated,
            Time { seconds, bytes: COPY as u64 },
        ));
        let seconds = median(times, || tensor.read(0, &mut bytes)).map_err(said)?;
        rows.push(Row::timed(
            "a read from the device",
            is_emulated,
            Time { seconds, bytes: COPY as u64 },
        ));
        Ok::<(), String>(())
    };
    if let Err(why) = all() {
        rows.push(Row::judged("timing", false, Err(why)));
    }
    rows
}

fn median(
    times: usize,
    mut once: impl FnMut() -> Result<(), RuntimeError>,
) -> Result<f64, RuntimeError> {
    let mut seconds = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        once()?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[times / 2])
}
