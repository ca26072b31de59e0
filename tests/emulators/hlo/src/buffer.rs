//! Values as they lie in memory: row-major, and bytes of this machine's order.
//!
//! Next: `run.rs`.

use gimbal_neuron::hlo::{DType, Literal, Shape};
use half::bf16;

/// Elements by their type.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A byte each; any but 0 is true.
    Pred(Vec<u8>),
    /// Integers.
    S32(Vec<i32>),
    /// Integers without a sign.
    U32(Vec<u32>),
    /// Floats.
    F32(Vec<f32>),
    /// Bits of bf16.
    Bf16(Vec<u16>),
}

/// Does the same with elements of any type.
macro_rules! each {
    ($data:expr, $elements:ident => $made:expr) => {
        match $data {
            $crate::Data::Pred($elements) => $crate::Data::Pred($made),
            $crate::Data::S32($elements) => $crate::Data::S32($made),
            $crate::Data::U32($elements) => $crate::Data::U32($made),
            $crate::Data::F32($elements) => $crate::Data::F32($made),
            $crate::Data::Bf16($elements) => $crate::Data::Bf16($made),
        }
    };
}
pub(crate) use each;

impl Data {
    /// So many zeros.
    #[must_use]
    pub fn zeros(dtype: DType, elements: usize) -> Self {
        match dtype {
            DType::Pred => Self::Pred(vec![0; elements]),
            DType::S32 => Self::S32(vec![0; elements]),
            DType::U32 => Self::U32(vec![0; elements]),
            DType::F32 => Self::F32(vec![0.0; elements]),
            DType::Bf16 => Self::Bf16(vec![0; elements]),
        }
    }

    /// What elements are.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        match self {
            Self::Pred(_) => DType::Pred,
            Self::S32(_) => DType::S32,
            Self::U32(_) => DType::U32,
            Self::F32(_) => DType::F32,
            Self::Bf16(_) => DType::Bf16,
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn elements(&self) -> usize {
        match self {
            Self::Pred(elements) => elements.len(),
            Self::S32(elements) => elements.len(),
            Self::U32(elements) => elements.len(),
            Self::F32(elements) => elements.len(),
            Self::Bf16(elements) => elements.len(),
        }
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Pred(elements) => elements,
            Self::S32(elements) => bytemuck::cast_slice(elements),
            Self::U32(elements) => bytemuck::cast_slice(elements),
            Self::F32(elements) => bytemuck::cast_slice(elements),
            Self::Bf16(elements) => bytemuck::cast_slice(elements),
        }
    }

    /// Their bytes, to be written.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pred(elements) => elements,
            Self::S32(elements) => bytemuck::cast_slice_mut(elements),
            Self::U32(elements) => bytemuck::cast_slice_mut(elements),
            Self::F32(elements) => bytemuck::cast_slice_mut(elements),
            Self::Bf16(elements) => bytemuck::cast_slice_mut(elements),
        }
    }

    /// All elements as f32: exactly, but integers beyond 2^24.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Pred(elements) => elements.iter().map(|x| f32::from(u8::from(*x != 0))).collect(),
            Self::S32(elements) => elements.iter().map(|x| *x as f32).collect(),
            Self::U32(elements) => elements.iter().map(|x| *x as f32).collect(),
            Self::F32(elements) => elements.clone(),
            Self::Bf16(elements) => elements.iter().map(|x| widened(*x)).collect(),
        }
    }

    /// Floats as elements of a type; `None` where that is no type of floats.
    #[must_use]
    pub fn of_f32(dtype: DType, floats: Vec<f32>) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32(floats)),
            DType::Bf16 => Some(Self::Bf16(floats.into_iter().map(narrowed).collect())),
            _ => None,
        }
    }

    pub(crate) fn literal(literal: &Literal) -> Self {
        let bits = literal.bits.iter().copied();
        match literal.shape.dtype {
            DType::Pred => Self::Pred(bits.map(|bits| u8::from(bits != 0)).collect()),
            DType::S32 => Self::S32(bits.map(u32::cast_signed).collect()),
            DType::U32 => Self::U32(bits.collect()),
            DType::F32 => Self::F32(bits.map(f32::from_bits).collect()),
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the element")]
            DType::Bf16 => Self::Bf16(bits.map(|bits| bits as u16).collect()),
        }
    }
}

/// A value with its type and sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub(crate) shape: Shape,
    pub(crate) data: Data,
}

impl Buffer {
    /// Zeros.
    #[must_use]
    pub fn zeros(shape: &Shape) -> Self {
        Self { shape: shape.clone(), data: Data::zeros(shape.dtype, shape.elements()) }
    }

    /// These elements; `None` where they are others than the shape says.
    #[must_use]
    pub fn new(shape: &Shape, data: Data) -> Option<Self> {
        let is_fitting = data.dtype() == shape.dtype && data.elements() == shape.elements();
        is_fitting.then(|| Self { shape: shape.clone(), data })
    }

    /// Type and sizes.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Elements.
    #[must_use]
    pub const fn data(&self) -> &Data {
        &self.data
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// Bytes, to be written.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.bytes_mut()
    }
}

/// An element of bf16 as f32, exactly.
pub(crate) const fn widened(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// The nearest element of bf16, ties to even.
pub(crate) fn narrowed(x: f32) -> u16 {
    bf16::from_f32(x).to_bits()
}
