//! How a kernel is launched, and how a launch can go wrong.

/// Extents of a grid or a block: x, y, z.
pub type Dim = [u32; 3];

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Blocks.
    pub blocks: Dim,
    /// Threads of a block.
    pub threads: Dim,
    /// Bytes of shared memory beside what the kernel declares.
    pub shared: usize,
    /// Warps are run last first: what a kernel must not depend on.
    pub is_reversed: bool,
    /// Threads of this machine that run blocks.
    pub workers: usize,
}

impl Grid {
    /// So many blocks of so many threads, on one thread of this machine.
    #[must_use]
    pub const fn of(blocks: u32, threads: u32) -> Self {
        let (blocks, threads) = ([blocks, 1, 1], [threads, 1, 1]);
        Self { blocks, threads, shared: 0, is_reversed: false, workers: 1 }
    }
}

/// What a kernel did that a device would not forgive, or would not even notice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kernel}, line {line}, block {block:?}, warp {warp}, lane {lane}: {what}")]
pub struct Fault {
    /// The kernel.
    pub kernel: String,
    /// The line of the instruction in the module's text.
    pub line: u32,
    /// Where the thread is.
    pub block: Dim,
    /// Its warp in the block.
    pub warp: u32,
    /// Its lane in the warp.
    pub lane: u32,
    /// What it did.
    pub what: String,
}
