//! `gimbal worker`: holds one device for the server that started it. Not for people.

use clap::ArgMatches;

use super::layers;
use crate::boot;
use crate::config::Process;
use crate::failure::Failure;
use crate::logging;

/// Runs the command, by flags alone.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = layers::of_flags(matches)?;
    logging::start(&settings, None);
    boot::worker::run(&Process::of(&settings))
}
