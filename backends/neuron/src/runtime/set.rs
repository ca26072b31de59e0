//! What a model is executed on: tensors by name, checked when they are put in.

use std::collections::BTreeMap;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use neuron_sys::{self as sys, Class, Status};

use super::error::{RuntimeError, check};
use super::library::{given, spelled};
use super::model::{Model, TensorFacts};
use super::tensor::Tensor;

/// Tensors of one side of a model. It keeps them and the model.
#[derive(Debug)]
pub struct TensorSet {
    handle: NonNull<sys::TensorSet>,
    is_output: bool,
    // In this order they are let go.
    tensors: BTreeMap<String, Rc<Tensor>>,
    model: Rc<Model>,
}

/// How an execution ended that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Executed {
    /// All outputs are written.
    Whole,
    /// All outputs are written, and some of them are not numbers: whoever reads a row sees whether it is one of those.
    NotNumbers,
}

impl TensorSet {
    /// For a model's inputs.
    ///
    /// # Errors
    /// The library has no room for it.
    pub fn inputs(model: &Rc<Model>) -> Result<Self, RuntimeError> {
        Self::new(model, false)
    }

    /// For a model's outputs. One that is aliased to an input is the input's tensor.
    ///
    /// # Errors
    /// The library has no room for it.
    pub fn outputs(model: &Rc<Model>) -> Result<Self, RuntimeError> {
        Self::new(model, true)
    }

    /// Puts a tensor in, in place of the one that had the name.
    ///
    /// # Errors
    /// The model has no tensor of that name on this side, or one of another size.
    pub fn insert(&mut self, name: &str, tensor: &Rc<Tensor>) -> Result<(), RuntimeError> {
        let call = "nrt_add_tensor_to_tensor_set";
        let about = || format!("{} {name:?} of {}: {tensor}", self.side(), self.model.name());
        let facts = self.facts().iter().find(|facts| facts.name == name);
        if facts.is_none_or(|facts| facts.bytes != tensor.bytes()) {
            let wanted = facts.map_or_else(
                || "the model has no such tensor".to_owned(),
                |facts| format!("it has {} bytes", facts.bytes),
            );
            let about = format!("{}, and {wanted}", about());
            return Err(RuntimeError::Call { call, about, status: Status::EXEC_BAD_INPUT });
        }
        let spelled = spelled(call, name)?;
        let function = self.model.runtime().functions().nrt_add_tensor_to_tensor_set;
        let (set, added) = (self.handle.as_ptr(), tensor.handle().as_ptr());
        // SAFETY: both handles live, and the tensor does as long as the set: it is kept below; the text ends with a
        // zero.
        let status = unsafe { function(set, spelled.as_ptr(), added) };
        check(call, status, about)?;
        self.tensors.insert(name.to_owned(), tensor.clone());
        Ok(())
    }

    /// The tensor of a name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Rc<Tensor>> {
        self.tensors.get(name)
    }

    /// Names of the model's tensors that have not been put in.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let names = self.facts().iter().map(|facts| facts.name.as_str());
        names.filter(|name| !self.tensors.contains_key(*name))
    }

    fn new(model: &Rc<Model>, is_output: bool) -> Result<Self, RuntimeError> {
        let call = "nrt_allocate_tensor_set";
        let function = model.runtime().functions().nrt_allocate_tensor_set;
        let mut handle = ptr::null_mut();
        // SAFETY: the place is this function's.
        let status = unsafe { function(&raw mut handle) };
        let about = || model.name().to_owned();
        check(call, status, about)?;
        let handle = given(call, handle, about)?;
        Ok(Self { handle, model: model.clone(), is_output, tensors: BTreeMap::new() })
    }

    fn facts(&self) -> &[TensorFacts] {
        if self.is_output { self.model.outputs() } else { self.model.inputs() }
    }

    const fn side(&self) -> &'static str {
        if self.is_output { "output" } else { "input" }
    }
}

impl Drop for TensorSet {
    fn drop(&mut self) {
        let mut handle = self.handle.as_ptr();
        let function = self.model.runtime().functions().nrt_destroy_tensor_set;
        // SAFETY: the handle lives; tensors and model go after it.
        unsafe { function(&raw mut handle) };
    }
}

/// Executes the model of both sets, and waits for it.
///
/// # Errors
/// Tensors are missing, or the runtime's status, by whose class the caller goes on.
///
/// # Panics
/// If the sets are of different models or sides: a bug of the caller.
pub fn execute(inputs: &TensorSet, outputs: &mut TensorSet) -> Result<Executed, RuntimeError> {
    let model = &inputs.model;
    assert!(Rc::ptr_eq(model, &outputs.model), "both sets are of one model");
    assert!(!inputs.is_output && outputs.is_output, "inputs come before outputs");
    let call = "nrt_execute";
    let mut missing = inputs.missing().chain(outputs.missing());
    if let Some(name) = missing.next() {
        let about = format!("{}: tensor {name:?} was not put in", model.name());
        return Err(RuntimeError::Call { call, about, status: Status::EXEC_BAD_INPUT });
    }
    drop(missing);
    let function = model.runtime().functions().nrt_execute;
    let [given, made] = [inputs.handle.as_ptr(), outputs.handle.as_ptr()];
    // SAFETY: all handles live, as do the tensors of both sets, each of the size that the model told.
    let status = unsafe { function(model.handle().as_ptr(), given, made) };
    if status.class() == Class::Numerical {
        return Ok(Executed::NotNumbers);
    }
    check(call, status, || format!("{} on core {}", model.name(), model.core()))?;
    Ok(Executed::Whole)
}
