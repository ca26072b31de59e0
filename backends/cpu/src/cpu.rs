//! The threads that compute and the kernels they run: one of these a process, shared by all models.
//!
//! Work takes turns on it, a step or as much of other work (packing, checking a file): the threads are
//! as many as the CPUs, and two steps at once would wait for each other at every barrier.

use crate::kernels::table::Kernels;
use crate::pool::Pool;
use crate::turns::{Turn, Turns};

/// Threads and the kernels they run.
#[derive(Debug)]
pub struct Cpu {
    pub(crate) pool: Pool,
    pub(crate) kernels: &'static Kernels,
    turns: Turns,
}

impl Cpu {
    /// So many threads and these kernels.
    #[must_use]
    pub fn new(threads: usize, kernels: &'static Kernels) -> Self {
        Self { pool: Pool::new(threads), kernels, turns: Turns::default() }
    }

    /// Waits for those who asked before; whoever has the result computes.
    #[must_use]
    pub fn turn(&self) -> Turn<'_> {
        self.turns.wait()
    }
}
