//! The processors that are emulated, and the tables of kernels that each must run.

use std::path::Path;
use std::process::Command;

use super::LIBRARIES;

/// A processor.
#[derive(Debug)]
pub(super) struct Level {
    /// Its name in qemu.
    pub(super) cpu: &'static str,
    /// Tables of kernels that run on it, slowest first, as the setting `kernels` names them.
    pub(super) tables: &'static [&'static str],
}

/// The cores of Graviton (no dot products of bytes), Graviton2 (dot products) and Graviton3 (products of
/// matrices; also SVE, which no table uses). Those of Graviton4 and 5 have the tables of the last.
pub(super) const LEVELS: [Level; 3] = [
    Level { cpu: "cortex-a72", tables: &["scalar"] },
    Level { cpu: "neoverse-n1", tables: &["scalar", "neon"] },
    Level { cpu: "neoverse-v1", tables: &["scalar", "neon", "i8mm"] },
];

impl Level {
    /// The table that runs unless another is set.
    pub(super) fn table(&self) -> &'static str {
        self.tables.last().copied().unwrap_or("scalar")
    }

    /// The words that run a program on it.
    pub(super) fn runner<'a>(&'a self, emulator: &'a str) -> [&'a str; 5] {
        [emulator, "-cpu", self.cpu, "-L", LIBRARIES]
    }

    /// A program on it. The file has a runtime of its own; one that is named is for this machine.
    pub(super) fn command(&self, emulator: &str, program: &Path) -> Command {
        let [emulator, flags @ ..] = self.runner(emulator);
        let mut command = Command::new(emulator);
        command.env_remove("GIMBAL_ONNXRUNTIME").args(flags).arg(program);
        command
    }
}
