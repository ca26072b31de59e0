//! What a model computes: an HLO module, and its tensors as the runtime tells them.
//!
//! Next: `state.rs`.

use gimbal_hlo::{Argument, Buffer, DType, Data, Error, Exchange, Module, Named, Shape};
use neuron_sys::{Dtype, NAME_BYTES, Status};

use crate::refusal::{Answer, refuse};

/// A tensor that a program takes or gives.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Its name.
    pub(crate) name: String,
    /// Its type and sizes.
    pub(crate) shape: Shape,
}

/// An output that lies in an input's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias {
    /// Which output.
    pub(crate) output: usize,
    /// Which input.
    pub(crate) input: usize,
}

/// A module that can be run.
#[derive(Debug)]
pub(crate) struct Program {
    module: Module,
    /// What it takes, in order.
    pub(crate) inputs: Vec<Port>,
    /// What it gives, in order.
    pub(crate) outputs: Vec<Port>,
    /// Which lie in which.
    pub(crate) aliases: Vec<Alias>,
    /// How many ranks run it together.
    pub(crate) ranks: u32,
}

impl Port {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.shape.bytes()
    }

    /// Its type, as the runtime calls it.
    pub(crate) fn dtype(&self) -> Dtype {
        match self.shape.dtype {
            DType::Pred => Dtype::UINT8,
            DType::S32 => Dtype::INT32,
            DType::U32 => Dtype::UINT32,
            DType::F32 => Dtype::FLOAT32,
            DType::Bf16 => Dtype::BFLOAT16,
        }
    }
}

impl Program {
    /// Reads a module.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let module = Module::read(bytes).map_err(|error| error.to_string())?;
        let port = |named: Named<'_>| match named.name.len() < NAME_BYTES {
            true if named.shape.bytes() > 0 => {
                Ok(Port { name: named.name.to_owned(), shape: named.shape.clone() })
            }
            _ => Err(format!("tensor {:?} of {}", named.name, named.shape)),
        };
        let inputs = module.parameters().map(port).collect::<Result<_, _>>()?;
        let outputs = module.results().map(port).collect::<Result<_, _>>()?;
        let alias = |a: &gimbal_hlo::Alias| Alias { output: a.result, input: a.parameter };
        let aliases = module.aliases().iter().map(alias).collect();
        let ranks =
            u32::try_from(module.ranks()).map_err(|_| "more ranks than cores".to_owned())?;
        Ok(Self { module, inputs, outputs, aliases, ranks })
    }

    /// Computes; tells what does not lie in an input.
    pub(crate) fn run(
        &self,
        arguments: Vec<Argument<'_>>,
        ranks: Option<(&Exchange, usize)>,
    ) -> Answer<Vec<Option<Buffer>>> {
        let made = match ranks {
            None => self.module.run(arguments),
            Some((exchange, rank)) => self.module.run_rank(arguments, exchange, rank),
        };
        made.or_else(|error| {
            let status = match error {
                Error::Outside { .. } => Status::EXEC_OOB,
                Error::Ranks(_) => Status::EXEC_HW_ERR_COLLECTIVES,
                Error::Arguments(_) => Status::EXEC_BAD_INPUT,
            };
            refuse(status, error.to_string())
        })
    }
}

/// Some element is not a number.
pub(crate) fn has_nan(buffer: &Buffer) -> bool {
    match buffer.data() {
        Data::F32(floats) => floats.iter().any(|float| float.is_nan()),
        // Exponent of ones, and some other bit.
        Data::Bf16(bits) => bits.iter().any(|bits| bits & 0x7FFF > 0x7F80),
        Data::Pred(_) | Data::S32(_) | Data::U32(_) => false,
    }
}
