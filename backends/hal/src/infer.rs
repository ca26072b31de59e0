//! Models that do not generate: tensors in, tensors out, batched on axis 0.
//!
//! No batching happens here; the engine joins requests. Next: `platform.rs`.

use crate::{Backend, DeviceError};

/// A model that maps tensors to tensors.
pub trait Infer: Send {
    /// Names, types and shapes of inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Runs the model once.
    ///
    /// # Errors
    /// The device failed; the inputs are not consumed.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, DeviceError>;
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Inputs, in order.
    pub inputs: Vec<Port>,
    /// Outputs, in order.
    pub outputs: Vec<Port>,
    /// Largest size of axis 0, where it is dynamic.
    pub batch_max: Option<u32>,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the model file.
    pub name: String,
    /// Dimensions; `None` is dynamic.
    pub shape: Vec<Option<u32>>,
    /// Element type by its Open Inference Protocol name (`FP32`, `INT64`, …).
    pub datatype: &'static str,
}

/// A tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Dimensions.
    pub shape: Vec<u32>,
    /// Elements.
    pub data: TensorData,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

/// An opened model.
pub enum Servable {
    /// It generates, step by step.
    Generate(Box<dyn Backend>),
    /// It maps tensors to tensors.
    Infer(Box<dyn Infer>),
}

impl std::fmt::Debug for Servable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Generate(backend) => f.debug_tuple("Generate").field(backend.limits()).finish(),
            Self::Infer(infer) => f.debug_tuple("Infer").field(infer.signature()).finish(),
        }
    }
}
