//! How many blocks of a kernel a multiprocessor holds at once, by arithmetic: nothing here was asked of a
//! device.
//!
//! **Source**: CUDA C++ Programming Guide, compute capabilities, technical specifications; that registers
//! are given to warps by 256, and warps to four parts of a multiprocessor, is of NVIDIA's occupancy
//! calculator. Next: `families`, the least that must fit.

use super::usage::Usage;

/// Threads of a warp.
const WARP: u32 = 32;
/// Registers of a multiprocessor, and those that a warp's are rounded up to.
const REGISTERS: u32 = 65536;
const REGISTERS_STEP: u32 = 256;
/// Parts of a multiprocessor: each has its own share of registers, and its own warps.
const PARTS: u32 = 4;
/// Bytes that a block's shared memory is rounded up to.
const SHARED_STEP: u32 = 256;

/// What a multiprocessor has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The architecture: `86` is 8.6.
    pub(super) device: u32,
    pub(super) warps: u32,
    blocks: u32,
    /// Bytes of shared memory, and of those that the driver keeps in each block.
    shared: u32,
    shared_kept: u32,
}

/// Of the architectures that there are cubins for.
pub(super) const LIMITS: [Limits; 7] = [
    limits(75, 32, 16, [64, 0]),
    limits(80, 64, 32, [164, 1]),
    limits(86, 48, 16, [100, 1]),
    limits(89, 48, 24, [100, 1]),
    limits(90, 64, 32, [228, 1]),
    limits(100, 64, 32, [228, 1]),
    limits(120, 48, 24, [100, 1]),
];

const fn limits(device: u32, warps: u32, blocks: u32, [shared, kept]: [u32; 2]) -> Limits {
    Limits { device, warps, blocks, shared: shared << 10, shared_kept: kept << 10 }
}

impl Limits {
    /// Blocks of so many threads that are there at once; 0 where one does not fit.
    pub(super) fn blocks(self, usage: Usage, threads: u32) -> u32 {
        let warps = threads.div_ceil(WARP);
        let of_warp = (usage.registers * WARP).next_multiple_of(REGISTERS_STEP);
        let by_registers = REGISTERS / PARTS / of_warp.max(1) * PARTS / warps;
        let shared = usage.shared.next_multiple_of(SHARED_STEP) + self.shared_kept;
        let by_shared = self.shared.checked_div(shared).unwrap_or(self.blocks);
        self.blocks.min(self.warps / warps).min(by_registers).min(by_shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(device: u32, registers: u32, shared: u32, threads: u32, expect: u32) {
        let limits = LIMITS.iter().find(|limits| limits.device == device).expect("known");
        let usage = Usage { registers, shared, spilled: 0 };
        assert_eq!(limits.blocks(usage, threads), expect);
    }

    #[test]
    fn the_scarcest_thing_counts() {
        // Warps; then blocks, of small ones.
        check(80, 32, 0, 256, 8);
        check(86, 40, 0, 256, 6);
        check(75, 32, 0, 32, 16);
        check(89, 32, 0, 32, 24);
        // 128 registers: 4096 a warp, 16 warps.
        check(90, 128, 0, 128, 4);
        // 90 registers are 2880, so 3072: 5 warps in each quarter.
        check(80, 90, 0, 128, 5);
        check(80, 90, 0, 256, 2);
        // 30 KiB, and one that the driver keeps from 8.0 on.
        check(75, 32, 30 << 10, 128, 2);
        check(86, 32, 30 << 10, 128, 3);
        check(80, 32, 30 << 10, 128, 5);
        // More than there is.
        check(75, 32, 65 << 10, 128, 0);
        check(80, 255, 0, 1024, 0);
    }
}
