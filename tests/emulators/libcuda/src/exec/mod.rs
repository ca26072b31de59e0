//! Running a kernel: blocks on the machine's threads, the warps of a block in turn, from barrier to
//! barrier.
//!
//! `grid` says how a kernel is launched, `code` is what a warp executes (`places` which registers that
//! uses), `block` its warps and their barriers, `warp` one of them (with `registers`, `lanes` for what they
//! read of each other, `access` and `runs` for memory, `matrix` for tensor cores), `memory` what the device
//! has allocated, `shared` what a block has.

mod access;
mod block;
mod code;
mod grid;
mod lanes;
mod matrix;
mod memory;
mod places;
mod registers;
mod runs;
mod shared;
mod warp;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use code::{
    Address, Atomic, Code, CompareDoubles, CompareWords, Constant, Double1, Double2, Double3,
    DoubleInsert, DoubleShift, Logic, Mma, Narrow, Op, Place, Shuffle, Space, Special, Vote, Where,
    Widen1, Widen2, Widen3, Width, Word1, Word2, Word3, Word4,
};
pub use grid::{Dim, Fault, Grid};
pub use memory::Memory;
pub(crate) use places::{File, Use};
pub(crate) use registers::{Doubles, Words, bits, put};

use crate::kernel::Kernel;
use block::Block;

/// Blocks for which a thread is worth its start.
const BLOCKS_MIN: u64 = 8;

/// Runs a kernel with its parameters' bytes to its end.
///
/// # Errors
/// The first fault of any thread.
pub fn launch(
    kernel: &Kernel,
    grid: Grid,
    params: &[u8],
    memory: &Memory,
) -> Result<(), Box<Fault>> {
    let threads = grid.threads.iter().product::<u32>();
    let most = kernel.threads_max.unwrap_or(1024).min(1024);
    if threads == 0 || threads > most || grid.blocks.contains(&0) {
        return Err(refused(kernel, format!("{threads} threads in a block, of {most} at most")));
    }
    if params.len() != kernel.param_bytes() {
        let what = format!("{} bytes of parameters, of {}", params.len(), kernel.param_bytes());
        return Err(refused(kernel, what));
    }
    let blocks = grid.blocks.iter().map(|count| u64::from(*count)).product::<u64>();
    let (next, fault) = (AtomicU64::new(0), Mutex::new(None));
    let work = || {
        let mut block = Block::new(kernel, grid, params, memory);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= blocks {
                return;
            }
            if let Err(found) = block.run(place(index, grid.blocks)) {
                next.store(blocks, Ordering::Relaxed);
                // Of several faults one is told.
                *fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(found);
            }
        }
    };
    std::thread::scope(|scope| {
        let most = usize::try_from(blocks.div_ceil(BLOCKS_MIN)).unwrap_or(1);
        for _ in 1..grid.workers.min(most) {
            scope.spawn(work);
        }
        work();
    });
    let fault = fault.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    fault.map_or(Ok(()), Err)
}

/// A block's place in the grid.
fn place(index: u64, blocks: Dim) -> Dim {
    let [x, y, _] = blocks.map(u64::from);
    let part = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    [part(index % x), part(index / x % y), part(index / (x * y))]
}

fn refused(kernel: &Kernel, what: String) -> Box<Fault> {
    let kernel = kernel.name.clone();
    Box::new(Fault { kernel, line: 0, block: [0; 3], warp: 0, lane: 0, what })
}
