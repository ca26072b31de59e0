//! The machine that is emulated: a file in TOML, named by `GIMBAL_TEST_CUDA`.
//!
//! Next: `state`, what the driver knows of it while it runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::code::Code;

/// Names the file.
const VARIABLE: &str = "GIMBAL_TEST_CUDA";
/// How every device's name begins: nobody shall take it for one.
pub(super) const MARKER: &str = "EMULATED ";

/// Devices, all alike, and their driver.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Machine {
    /// The device's name; `EMULATED ` comes before it.
    pub(super) name: String,
    /// Compute capability: `86` is 8.6.
    pub(super) sm: u32,
    /// Bytes of each device's memory.
    pub(super) memory: u64,
    /// The newest CUDA version that the driver knows: `12090` is 12.9.
    pub(super) driver: i32,
    /// Multiprocessors.
    pub(super) multiprocessors: i32,
    /// Devices; with 0, `cuInit` finds none.
    pub(super) devices: u32,
    /// Which of the streams that could go on does.
    pub(super) order: Order,
    /// Which of a block's warps begins.
    pub(super) warps: Order,
    /// Threads of this machine that run a kernel's blocks; 0 is all.
    pub(super) workers: usize,
    /// Percent of the time in which devices are busy, if they tell.
    pub(super) busy_percent: Option<u32>,
    /// How warm devices are, if they tell.
    pub(super) celsius: Option<u32>,
    /// Errors that memory could not correct, if devices tell.
    pub(super) ecc_errors: Option<u64>,
    /// Bytes of each device's memory that other processes have.
    pub(super) others: u64,
    /// The manifest that says of which PTX a cubin was made; its path counts from this file's folder.
    pub(super) cubins: Option<PathBuf>,
    /// A file beside which each process keeps an account: `PATH.PID`, its path counts from this file's folder.
    pub(super) account: Option<PathBuf>,
    /// Calls that fail.
    pub(super) fail: Vec<Failure>,
}

/// An order that a program must not depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// The one that was made first.
    First,
    /// The one that was made last.
    Last,
}

/// A call that fails by script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    /// The function's symbol, such as `cuMemAlloc_v2`.
    pub(super) call: String,
    /// Which of its calls, from 1.
    pub(super) at: u32,
    /// What it answers: a `CUresult`.
    pub(super) code: i32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            name: "GPU".to_owned(),
            sm: 80,
            memory: 8 << 30,
            driver: 12090,
            multiprocessors: 16,
            devices: 1,
            order: Order::First,
            warps: Order::First,
            workers: 0,
            busy_percent: None,
            celsius: None,
            ecc_errors: None,
            others: 0,
            cubins: None,
            account: None,
            fail: Vec::new(),
        }
    }
}

impl Machine {
    /// The one that the environment names, or one device of 8.0.
    pub(super) fn load() -> Result<Self, String> {
        let Some(path) = std::env::var_os(VARIABLE) else { return Ok(Self::default()) };
        let at = |error: &dyn std::fmt::Display| {
            format!("{VARIABLE}={}: {error}", path.to_string_lossy())
        };
        let text = std::fs::read_to_string(&path).map_err(|error| at(&error))?;
        let mut machine = Self::read(&text).map_err(|error| at(&error))?;
        let folder = Path::new(&path).parent().unwrap_or(Path::new(""));
        machine.account = machine.account.map(|account| folder.join(account));
        machine.cubins = machine.cubins.map(|manifest| folder.join(manifest));
        Ok(machine)
    }

    fn read(text: &str) -> Result<Self, String> {
        let machine: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if limits(machine.sm).is_none() {
            return Err(format!("sm = {}: not 75, 80, 86, 89, 90, 100, 103 or 120", machine.sm));
        }
        if machine.others > machine.memory {
            return Err(format!("others = {}: more than memory", machine.others));
        }
        match machine.fail.iter().find(|f| f.at == 0 || Code::of(f.code).is_none_or(|c| c.0 == 0)) {
            Some(wrong) => {
                Err(format!("{wrong:?}: calls count from 1, and the code must be known"))
            }
            None => Ok(machine),
        }
    }

    /// The name that devices tell.
    pub(super) fn marked_name(&self) -> String {
        format!("{MARKER}{}", self.name)
    }

    /// The bytes by which a device is known; none for one that cannot be counted.
    pub(super) fn uuid(&self, device: usize) -> Option<[u8; 16]> {
        let mut uuid = *b"EMULATED-CUDA-00";
        uuid[15] = u8::try_from(device).ok()?;
        Some(uuid)
    }

    /// The newest PTX ISA that the driver reads.
    ///
    /// **Source**: PTX ISA 9.1, release history.
    pub(super) fn ptx_newest(&self) -> (u32, u32) {
        let minor = u32::try_from(self.driver % 1000 / 10).unwrap_or(0);
        match self.driver / 1000 {
            ..11 => (6, 5),
            11 => (7, minor.min(8)),
            // 12.6 has that of 12.5.
            12 => (8, if minor < 6 { minor } else { minor - 1 }),
            _ => (9, minor),
        }
    }
}

/// What a compute capability allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Threads of a multiprocessor.
    pub(super) threads: i32,
    /// Blocks of a multiprocessor.
    pub(super) blocks: i32,
    /// Bytes of shared memory of a multiprocessor.
    pub(super) shared: i32,
    /// Bytes of shared memory that a block may have, when it asks for them.
    pub(super) shared_block: i32,
    /// Bytes of a block's shared memory that the driver keeps.
    pub(super) shared_kept: i32,
}

/// **Source**: CUDA C++ Programming Guide, technical specifications per compute capability.
pub(super) const fn limits(sm: u32) -> Option<Limits> {
    let (threads, blocks, shared, kept) = match sm {
        75 => (1024, 16, 64, 0),
        80 => (2048, 32, 164, 1),
        86 => (1536, 16, 100, 1),
        89 => (1536, 24, 100, 1),
        90 | 100 | 103 => (2048, 32, 228, 1),
        120 => (1536, 24, 100, 1),
        _ => return None,
    };
    Some(Limits {
        threads,
        blocks,
        shared: shared << 10,
        shared_block: (shared - kept) << 10,
        shared_kept: kept << 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let cases = [
            ("sm = 70", "sm = 70"),
            ("memroy = 1", "unknown field `memroy`"),
            ("order = \"random\"", "unknown variant"),
            ("memory = 1\nothers = 2", "more than memory"),
            ("fail = [{ call = \"cuInit\", at = 0, code = 1 }]", "count from 1"),
            ("fail = [{ call = \"cuInit\", at = 1, code = 12345 }]", "must be known"),
            ("fail = [{ call = \"cuInit\", at = 1, code = 0 }]", "must be known"),
        ];
        for (text, expect) in cases {
            let error = Machine::read(text).expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        }
    }

    #[test]
    fn a_driver_reads_ptx_of_its_age() {
        for (driver, expect) in [
            (10020, (6, 5)),
            (11040, (7, 4)),
            (11080, (7, 8)),
            (12020, (8, 2)),
            (12050, (8, 5)),
            (12060, (8, 5)),
            (12070, (8, 6)),
            (12090, (8, 8)),
            (13010, (9, 1)),
        ] {
            let machine = Machine { driver, ..Machine::default() };
            assert_eq!(machine.ptx_newest(), expect, "{driver}");
        }
    }
}
