//! What a manifest says of a program: its inputs, where each comes from, and which results lie in them.
//!
//! Next: `compiler.rs`.

use crate::bundle::{self, Dtype, Output, Source, Stored, Tensor};
use crate::hlo::DType;
use crate::lower::{Parameter, Program};

/// A program whose NEFF was stored.
///
/// # Errors
/// It has elements that no bundle has.
pub(super) fn of(program: &Program, neff: Stored) -> Result<bundle::Program, String> {
    let bucket = program.wants.bucket;
    let mut inputs = Vec::with_capacity(program.parameters.len());
    for (named, parameter) in program.module.parameters().zip(&program.parameters) {
        inputs.push(Tensor {
            name: named.name.to_owned(),
            dtype: dtype(named.shape.dtype)?,
            shape: sizes(&named.shape.dims),
            from: source(*parameter),
        });
    }
    let mut outputs = Vec::new();
    for (result, named) in program.module.results().enumerate() {
        let alias = program.module.aliases().iter().find(|alias| alias.result == result);
        outputs.push(Output {
            name: named.name.to_owned(),
            dtype: dtype(named.shape.dtype)?,
            shape: sizes(&named.shape.dims),
            alias: alias.and_then(|alias| Some(inputs.get(alias.parameter)?.name.clone())),
        });
    }
    Ok(bundle::Program {
        sequences: bucket.sequences,
        rows_each: bucket.rows_each,
        context: bucket.context,
        neff,
        inputs,
        outputs,
    })
}

/// Where a parameter comes from.
pub(super) const fn source(parameter: Parameter) -> Source {
    match parameter {
        Parameter::Weight(_) | Parameter::Cosines(_) | Parameter::Sines(_) => Source::Weights,
        Parameter::Keys(_) | Parameter::Values(_) => Source::State,
        _ => Source::Step,
    }
}

/// Elements as a bundle names them.
pub(super) fn dtype(dtype: DType) -> Result<Dtype, String> {
    match dtype {
        DType::F32 => Ok(Dtype::F32),
        DType::Bf16 => Ok(Dtype::Bf16),
        DType::S32 => Ok(Dtype::I32),
        other => Err(format!("a tensor of {}: no bundle has it", other.name())),
    }
}

fn sizes(dims: &[usize]) -> Vec<u64> {
    dims.iter().map(|size| *size as u64).collect()
}
