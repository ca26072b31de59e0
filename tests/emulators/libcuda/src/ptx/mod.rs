//! PTX: text → tokens → statements → code.
//!
//! `lexer` and `syntax` know the grammar, `forms` every instruction form that can be executed,
//! `assemble` turns the statements of a kernel into code: registers become places in the register
//! files, immediate values constants there. **Source**: PTX ISA 7.4.

mod assemble;
mod forms;
mod lexer;
mod syntax;

pub use forms::forms;

use crate::exec::{Code, Constant, Special};

/// Why a module is refused.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PtxError {
    /// Its line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub what: String,
}

/// A module that was read.
#[derive(Debug)]
pub struct Module {
    /// PTX ISA version.
    pub version: (u32, u32),
    /// The `80` of `sm_80`.
    pub target: u32,
    /// Its kernels.
    pub kernels: Vec<Kernel>,
}

impl Module {
    /// Reads a module's text.
    ///
    /// # Errors
    /// The first line that cannot be executed here, and why.
    pub fn parse(text: &str) -> Result<Self, PtxError> {
        let tokens = lexer::tokens(text)?;
        let module = syntax::module(&tokens)?;
        let kernels = module.kernels.iter().map(|kernel| assemble::kernel(kernel, &module));
        Ok(Self {
            version: module.version,
            target: module.target,
            kernels: kernels.collect::<Result<_, _>>()?,
        })
    }

    /// The kernel of that name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

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
