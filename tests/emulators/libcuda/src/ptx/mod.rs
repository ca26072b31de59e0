//! PTX: text → tokens → statements → code.
//!
//! `lexer` and `syntax` know the grammar, `forms` every instruction form that can be executed,
//! `assemble` turns the statements of a kernel into code: registers become places in the register
//! files, immediate values constants there, and `registers` makes registers share places. **Source**: PTX ISA 7.4.

mod assemble;
mod error;
mod forms;
mod lexer;
mod registers;
mod syntax;

pub use error::PtxError;
pub use forms::forms;

use crate::kernel::Kernel;

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
