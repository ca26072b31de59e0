//! `gimbal import`: another server's configuration as our YAML, on stdout.

use clap::{Arg, ArgMatches, Command};

use super::layers;
use crate::failure::Failure;
use crate::print;

/// The command.
pub(super) fn command() -> Command {
    let about =
        "Shows what another server's configuration means here, as YAML, and what is ignored";
    Command::new("import").about(about).arg(Arg::new("FILE").required(true).help(
        "LMI's serving.properties, a .env of variables, a .json with SageMaker's Environment, or \
         vLLM's .yaml",
    ))
}

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let path: String = matches.get_one("FILE").cloned().unwrap_or_default();
    let bytes = std::fs::read(&path);
    let bytes = bytes.map_err(|error| Failure::no_input(format!("{path}: {error}")))?;
    let yaml = gimbal_settings::import(&path, &bytes, layers::PATHS)?;
    print::stdout(yaml)
}
