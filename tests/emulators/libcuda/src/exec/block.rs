//! A block: its warps run in turn, each to the next barrier.

use super::code::{Constant, Where};
use super::grid::{Dim, Fault, Grid};
use super::memory::{Memory, View};
use super::registers::put;
use super::shared::Shared;
use super::warp::{Pause, Warp};
use crate::kernel::Kernel;

/// A block of a launch; one after another reuses it.
pub(super) struct Block<'a> {
    kernel: &'a Kernel,
    grid: Grid,
    memory: View,
    warps: Vec<Warp>,
    shared: Shared,
}

impl<'a> Block<'a> {
    pub(super) fn new(kernel: &'a Kernel, grid: Grid, params: &[u8], memory: &Memory) -> Self {
        let threads = grid.threads.iter().product::<u32>();
        let warps = (0..threads.div_ceil(32)).map(|index| {
            let warp = Warp::new(index, kernel.files);
            for constant in &kernel.constants {
                fill(&warp, *constant, params);
            }
            warp
        });
        let shared = Shared::new(kernel.shared + grid.shared);
        Self { kernel, grid, memory: memory.view(), warps: warps.collect(), shared }
    }

    /// Runs the block at that place of the grid to its end.
    pub(super) fn run(&mut self, at: Dim) -> Result<(), Box<Fault>> {
        let threads = self.grid.threads.iter().product::<u32>();
        self.shared.begin();
        for warp in &mut self.warps {
            warp.begin(threads - warp.index * 32);
            for special in &self.kernel.specials {
                let told = |lane| tells(special.what, warp.index, lane, at, self.grid);
                put(warp.word(special.place), told);
            }
        }
        loop {
            let (mut waiting, mut ended) = (0, 0);
            for i in 0..self.warps.len() {
                let last = self.warps.len() - 1;
                let warp = &mut self.warps[if self.grid.is_reversed { last - i } else { i }];
                let pause = warp.run(self.kernel, &mut self.memory, &mut self.shared);
                match pause.map_err(|stop| stop.fault(self.kernel, at, warp.index))? {
                    Pause::Barrier => waiting += 1,
                    Pause::End => ended += 1,
                }
            }
            if waiting == 0 {
                return Ok(());
            }
            // Warps that ended count as arrived, as on a device.
            debug_assert_eq!(waiting + ended, self.warps.len());
            self.shared.pass_barrier();
        }
    }
}

fn fill(warp: &Warp, constant: Constant, params: &[u8]) {
    match constant {
        Constant::Word(place, value) => put(warp.word(place), |_| value),
        Constant::Double(place, value) => put(warp.double(place), |_| value),
        Constant::Param { place, is_double, offset, size, is_signed } => {
            let value = extended(&params[offset..offset + size], is_signed);
            if is_double {
                put(warp.double(place), |_| value);
            } else {
                #[expect(clippy::cast_possible_truncation, reason = "a word's bits")]
                let value = value as u32;
                put(warp.word(place), |_| value);
            }
        }
    }
}

/// Up to eight bytes, least first, as 64 bits.
pub(super) fn extended(bytes: &[u8], is_signed: bool) -> u64 {
    let is_negative = is_signed && bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut all = if is_negative { [0xff; 8] } else { [0; 8] };
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// What a special register of a lane holds.
fn tells(what: Where, warp: u32, lane: usize, block: Dim, grid: Grid) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "below 32")]
    let lane = lane as u32;
    let thread = warp * 32 + lane;
    let [x, y, _] = grid.threads;
    match what {
        Where::Thread(0) => thread % x,
        Where::Thread(1) => thread / x % y,
        Where::Thread(_) => thread / (x * y),
        Where::Threads(axis) => grid.threads[axis],
        Where::Block(axis) => block[axis],
        Where::Blocks(axis) => grid.blocks[axis],
        Where::Lane => lane,
        Where::Warp => warp,
    }
}
