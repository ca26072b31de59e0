//! A case on the first core: compiled, loaded, executed, and compared.
//!
//! Next: `model.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use super::bench::Bench;
use super::cases::Case;
use crate::hlo::Module;
use crate::runtime::{Model, RuntimeError, Tensor, TensorSet, execute};

/// A program with its tensors.
pub(super) struct Loaded {
    pub(super) inputs: TensorSet,
    pub(super) outputs: TensorSet,
}

impl Loaded {
    /// Compiles a module and loads it; what is donated is one tensor on both sides.
    pub(super) fn new(bench: &Bench<'_>, module: &Module) -> Result<Self, String> {
        let Bench { compiler, asked, .. } = bench;
        let bytes = module.write();
        let neff = compiler.module(module.name(), &bytes, (bench.chip, bench.lnc), asked.cache);
        let (file, _) = neff.map_err(|error| error.to_string())?;
        let neff = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::load(bench, module, &neff).map_err(|error| error.to_string())
    }

    fn load(bench: &Bench<'_>, module: &Module, neff: &[u8]) -> Result<Self, RuntimeError> {
        let runtime = &bench.runtime;
        let model: Rc<Model> = Model::load(runtime, module.name(), neff, 0)?;
        let mut named = BTreeMap::new();
        let (mut inputs, mut outputs) = (TensorSet::inputs(&model)?, TensorSet::outputs(&model)?);
        for parameter in module.parameters() {
            let tensor = Tensor::new(runtime, Some(0), parameter.shape.bytes(), parameter.name)?;
            inputs.insert(parameter.name, &tensor)?;
            named.insert(parameter.instruction, tensor);
        }
        let parameters: Vec<usize> = module.parameters().map(|p| p.instruction).collect();
        for (i, result) in module.results().enumerate() {
            let alias = module.aliases().iter().find(|alias| alias.result == i);
            let lies_in = alias.and_then(|alias| named.get(parameters.get(alias.parameter)?));
            let tensor = match lies_in {
                Some(tensor) => tensor.clone(),
                None => Tensor::new(runtime, Some(0), result.shape.bytes(), result.name)?,
            };
            outputs.insert(result.name, &tensor)?;
        }
        Ok(Self { inputs, outputs })
    }

    /// Writes what a step is given, and executes it.
    pub(super) fn step(&mut self, step: &[(&'static str, Vec<u8>)]) -> Result<(), RuntimeError> {
        for (name, bytes) in step {
            if let Some(tensor) = self.inputs.tensor(name) {
                tensor.write(0, bytes)?;
            }
        }
        // What is no number differs from what is expected.
        execute(&self.inputs, &mut self.outputs).map(|_| ())
    }

    /// A result of f32.
    fn read(&self, name: &str) -> Result<Vec<f64>, RuntimeError> {
        let Some(tensor) = self.outputs.tensor(name) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; tensor.bytes()];
        tensor.read(0, &mut bytes)?;
        let numbers = bytes.as_chunks::<4>().0.iter();
        Ok(numbers.map(|number| f32::from_le_bytes(*number).into()).collect())
    }
}

/// Runs a case; tells the largest error in units of what is allowed.
///
/// # Errors
/// What differs, or what compiler or runtime said.
pub(super) fn agrees(bench: &Bench<'_>, case: &Case) -> Result<f64, String> {
    let mut loaded = Loaded::new(bench, &case.module)?;
    for step in &case.steps {
        loaded.step(step).map_err(|error| error.to_string())?;
    }
    let mut worst = 0.0_f64;
    for (name, expect, allowed) in &case.results {
        let found = loaded.read(name).map_err(|error| error.to_string())?;
        worst = worst.max(compare(name, &found, expect, *allowed)?);
    }
    Ok(worst)
}

/// The largest error in units of what is allowed.
fn compare(name: &str, found: &[f64], expect: &[f64], allowed: f64) -> Result<f64, String> {
    if found.len() != expect.len() {
        return Err(format!("{name} has {} numbers, not {}", found.len(), expect.len()));
    }
    let largest = expect.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let mut worst = 0.0_f64;
    for (i, (found, expect)) in found.iter().zip(expect).enumerate() {
        let error = (found - expect).abs() / (largest * allowed);
        if error.is_nan() || error > 1.0 {
            return Err(format!("{name}[{i}] is {found}, not {expect}"));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_its_place() {
        let told = |found: &[f64]| compare("y", found, &[1.0, -8.0, 0.0], 1e-2);
        assert_eq!(told(&[1.0, -8.0, 0.04]), Ok(0.5));
        for (found, expect) in [
            (&[1.0, -8.0, 0.09][..], "y[2] is 0.09, not 0"),
            (&[f64::NAN, -8.0, 0.0], "y[0] is NaN, not 1"),
            (&[1.0, f64::INFINITY, 0.0], "y[1] is inf, not -8"),
            (&[1.0], "y has 1 numbers, not 3"),
        ] {
            assert_eq!(told(found), Err(expect.to_owned()));
        }
    }
}
