//! `gimbal licenses` and `gimbal sbom`: what a released binary is made of.

use clap::Command;

use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::print;

/// The commands and the files they print.
const COMMANDS: [(&str, &str, &str); 2] = [
    ("licenses", "licenses.txt", "Prints the licences of everything in this binary"),
    ("sbom", "sbom.json", "Prints the bill of materials of this binary (CycloneDX 1.5, JSON)"),
];

/// The commands.
pub(super) fn commands() -> [Command; 2] {
    COMMANDS.map(|(name, _, about)| Command::new(name).about(about))
}

/// Runs the command of that name; `None` where there is none.
pub(super) fn run(command: &str) -> Option<Result<(), Failure>> {
    let (_, file, _) = COMMANDS.iter().find(|(name, _, _)| *name == command)?;
    Some(print(file))
}

fn print(file: &str) -> Result<(), Failure> {
    let found = Bundle::of_this_binary().and_then(|bundle| bundle.file(file));
    let bytes = found.ok_or_else(|| {
        Failure::unavailable(format!(
            "this build has no {file}; `cargo xtask dist` makes one that has"
        ))
    })?;
    let bytes = bytes.map_err(anyhow::Error::from)?;
    print::stdout(bytes)
}
