//! The threads that compute and the kernels they run.

use crate::kernels::table::Kernels;
use crate::pool::Pool;

/// Threads and the kernels they run.
#[derive(Debug)]
pub struct Cpu {
    pub(crate) pool: Pool,
    pub(crate) kernels: &'static Kernels,
}

impl Cpu {
    /// So many threads and these kernels.
    #[must_use]
    pub fn new(threads: usize, kernels: &'static Kernels) -> Self {
        Self { pool: Pool::new(threads), kernels }
    }
}
