//! The machine that is emulated: a file in TOML, named by `GIMBAL_TEST_CUDA`.
//!
//! Next: `state`, what the driver knows of it while it runs.

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
        Self::read(&text).map_err(|error| at(&error))
    }

    fn read(text: &str) -> Result<Self, String> {
        let machine: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if limits(machine.sm).is_none() {
            return Err(format!("sm = {}: not 75, 80, 86, 89, 90, 100, 103 or 120", machine.sm));
        }
        match machine.fail.iter().find(|f| f.at == 0 || Code::of(f.code).is_none_or(|c| c.0 == 0)) {
            Some(wrong) => {
                Err(format!("{wrong:?}: calls count from 1, and the code must be known"))
            }
            None => Ok(machine),
        }
    }

    /// The newest PTX ISA that the driver reads.
    ///
    /// **Source**: PTX ISA 9.1, release history.
    pub(super) const fn ptx_newest(&self) -> (u32, u32) {
        match self.driver {
            ..11000 => (6, 5),
            11000..11010 => (7, 0),
            11010..11020 => (7, 1),
            11020..11030 => (7, 2),
            11030..11040 => (7, 3),
            11040..11050 => (7, 4),
            11050..11060 => (7, 5),
            11060..11070 => (7, 6),
            11070..11080 => (7, 7),
            11080..12000 => (7, 8),
            12000..12010 => (8, 0),
            12010..12020 => (8, 1),
            12020..12030 => (8, 2),
            12030..12040 => (8, 3),
            12040..12050 => (8, 4),
            12050..12070 => (8, 5),
            12070..12080 => (8, 6),
            12080..12090 => (8, 7),
            12090..13000 => (8, 8),
            13000..13010 => (9, 0),
            _ => (9, 1),
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
        for (driver, expect) in [(11040, (7, 4)), (12020, (8, 2)), (12090, (8, 8)), (13010, (9, 1))]
        {
            let machine = Machine { driver, ..Machine::default() };
            assert_eq!(machine.ptx_newest(), expect, "{driver}");
        }
    }
}
