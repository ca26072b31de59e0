//! `gimbal pack`: the packed weights that `serve` would write at its first start, written now.

use std::path::Path;
use std::time::Instant;

use gimbal_hal::Packed;
use gimbal_settings::Settings;

use crate::boot::Devices;
use crate::config::Process;
use crate::failure::Failure;
use crate::logging;
use crate::print;

/// Runs the command: prints the file, its bytes and what was done.
pub(crate) fn run(settings: &Settings, model: &Path) -> Result<(), Failure> {
    logging::start(settings, Some("warn"));
    let process = Process::of(settings);
    if process.packed_cache.is_none() {
        return Err(Failure::usage("no folder to pack into; set --packed-cache FOLDER"));
    }
    let started = Instant::now();
    let devices = Devices::here(&process)?;
    let Packed { path, bytes, was_there } = devices.plan(None, settings, model)?.pack(settings)?;
    let done = match was_there {
        true => "was there".to_owned(),
        false => format!("written in {:.1} s", started.elapsed().as_secs_f64()),
    };
    let line = format!("{}  {bytes} bytes, {done}\n", path.display());
    print::stdout(line)
}
