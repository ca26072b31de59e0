//! A kernel: what `ptx` makes and `exec` runs.

use crate::exec::{Code, Constant, Special};

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its first byte among those of all.
    pub offset: usize,
    /// Its bytes.
    pub size: usize,
}

/// A kernel that can be launched.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Its parameters in their order.
    pub params: Vec<Param>,
    /// Bytes of shared memory that it declares; what a launch asks for comes after them.
    pub shared: usize,
    /// Threads of a block, where it promises a bound.
    pub threads_max: Option<u32>,
    /// The instruction forms it has, each once.
    pub forms: Vec<String>,
    pub(crate) code: Vec<Code>,
    /// Sizes of the register files: of 32 bits, of 64, predicates.
    pub(crate) files: [usize; 3],
    pub(crate) constants: Vec<Constant>,
    pub(crate) specials: Vec<Special>,
}

impl Kernel {
    /// Bytes of all parameters.
    #[must_use]
    pub fn param_bytes(&self) -> usize {
        self.params.last().map_or(0, |last| last.offset + last.size)
    }
}
