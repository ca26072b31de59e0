//! How a command fails: a message for the user and an exit code for scripts (sysexits.h).

use std::fmt;
use std::process::ExitCode;

use gimbal_hal::{DeviceError, Unfit};
use gimbal_model::{ModelError, printable};
use gimbal_neuron::compile::CompileError;
use gimbal_settings::SettingError;

use crate::{logging, print};

/// Wrong flags or settings.
const USAGE: u8 = 64;
/// A model that is broken or not supported.
const DATA: u8 = 65;
/// A model or file that is not there.
const NO_INPUT: u8 = 66;
/// A port, device or library that cannot be had.
const UNAVAILABLE: u8 = 69;
/// Anything else.
const SOFTWARE: u8 = 70;
/// Too little memory.
const MEMORY: u8 = 71;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// A failure because of how the command was called.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { code: USAGE, error: anyhow::anyhow!("{message}") }
    }

    /// A failure because something cannot be had.
    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self { code: UNAVAILABLE, error: anyhow::anyhow!("{message}") }
    }

    /// A failure because of the model's content.
    pub(crate) fn data(message: impl fmt::Display) -> Self {
        Self { code: DATA, error: anyhow::anyhow!("{message}") }
    }

    /// A failure because a file is not there.
    pub(crate) fn no_input(message: impl fmt::Display) -> Self {
        Self { code: NO_INPUT, error: anyhow::anyhow!("{message}") }
    }

    /// Says more about what was being done.
    pub(crate) fn context(self, doing: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { code: self.code, error: self.error.context(doing) }
    }

    /// Prints the message and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        logging::flush();
        print::stderr(&format!("gimbal: {self}\n"));
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names out of somebody's files may be anything; our own lines stay lines.
        let told = format!("{:#}", self.error);
        let lines: Vec<_> = told.split('\n').map(printable).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self { code: USAGE, error: error.into() }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let code = match error {
            ModelError::Missing { .. } => NO_INPUT,
            ModelError::Broken { .. } | ModelError::Unsupported { .. } => DATA,
        };
        Self { code, error: error.into() }
    }
}

impl From<Unfit> for Failure {
    fn from(error: Unfit) -> Self {
        let code = match error {
            Unfit::Memory { .. } => MEMORY,
            Unfit::Op { .. } => DATA,
            Unfit::Setting { .. } => USAGE,
            Unfit::Compiled { .. } => NO_INPUT,
        };
        Self { code, error: error.into() }
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        let code = match error {
            CompileError::Memory(_) => MEMORY,
            CompileError::Compiler(_) | CompileError::File { .. } => UNAVAILABLE,
            // A model that cannot be compiled, by us or by AWS.
            _ => DATA,
        };
        Self { code, error: error.into() }
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let code = match error {
            DeviceError::OutOfMemory { .. } => MEMORY,
            DeviceError::Model { .. } => DATA,
            DeviceError::Timeout { .. }
            | DeviceError::Lost { .. }
            | DeviceError::Library { .. } => UNAVAILABLE,
        };
        Self { code, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: SOFTWARE, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_what_it_quotes_and_keeps_its_lines() {
        let failure = Failure::data("one\ntwo \u{1b}]0;x\u{7}\r").context("a \u{202e}b");
        assert_eq!(failure.to_string(), "a \\u{202e}b: one\ntwo \\u{1b}]0;x\\u{7}\\r");
    }
}
