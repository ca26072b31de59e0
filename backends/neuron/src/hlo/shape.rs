//! Element types and sizes of values.
//!
//! No layouts: elements lie row-major, the last dimension's together. Next: `op.rs`.

use std::fmt;

use super::proto::{LayoutProto, ShapeProto, primitive};

/// Elements of a value, at most: what is larger is no model's.
const ELEMENTS_MAX: usize = 1 << 36;
/// Dimensions of a value, at most.
const RANK_MAX: usize = 8;

/// What elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// True or false, a byte each.
    Pred,
    /// 32 bits, signed.
    S32,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, floating.
    F32,
    /// The upper half of an `F32`.
    Bf16,
}

impl DType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pred, Self::S32, Self::U32, Self::F32, Self::Bf16];

    /// Bytes of an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Pred => 1,
            Self::Bf16 => 2,
            Self::S32 | Self::U32 | Self::F32 => 4,
        }
    }

    /// XLA's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pred => "pred",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// True for numbers with a fraction.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::Bf16)
    }

    pub(super) const fn primitive(self) -> i32 {
        match self {
            Self::Pred => primitive::PRED,
            Self::S32 => primitive::S32,
            Self::U32 => primitive::U32,
            Self::F32 => primitive::F32,
            Self::Bf16 => primitive::BF16,
        }
    }
}

/// What elements are, and how many lie in each dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// What elements are.
    pub dtype: DType,
    /// Sizes; none of a scalar.
    pub dims: Vec<usize>,
}

impl Shape {
    /// A shape of these sizes.
    #[must_use]
    pub fn new(dtype: DType, dims: &[usize]) -> Self {
        Self { dtype, dims: dims.to_vec() }
    }

    /// One element.
    #[must_use]
    pub const fn scalar(dtype: DType) -> Self {
        Self { dtype, dims: Vec::new() }
    }

    /// How many elements there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.bytes()
    }

    /// Elements from one to the next of each dimension.
    #[must_use]
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.dims.len()];
        for i in (1..self.dims.len()).rev() {
            strides[i - 1] = strides[i] * self.dims[i];
        }
        strides
    }

    /// Says why it is no shape that is computed with.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.dims.len() > RANK_MAX {
            return Err(format!("{} dimensions, {RANK_MAX} at most", self.dims.len()));
        }
        let product = self.dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        match product {
            Some(elements) if elements <= ELEMENTS_MAX => Ok(()),
            _ => Err(format!("{self}: more than 2^36 elements")),
        }
    }

    pub(super) fn proto(&self) -> ShapeProto {
        ShapeProto {
            element_type: self.dtype.primitive(),
            dimensions: self.dims.iter().map(|dim| *dim as i64).collect(),
            layout: Some(LayoutProto {
                minor_to_major: (0..self.dims.len() as i64).rev().collect(),
                ..LayoutProto::default()
            }),
            ..ShapeProto::default()
        }
    }

    /// Reads a shape that is no tuple's.
    pub(super) fn read(proto: Option<&ShapeProto>) -> Result<Self, String> {
        let proto = proto.ok_or("a shape is missing")?;
        let found = DType::ALL.into_iter().find(|dtype| dtype.primitive() == proto.element_type);
        let Some(dtype) = found else {
            return Err(format!("element type {} is not computed with", proto.element_type));
        };
        if !proto.tuple_shapes.is_empty() {
            return Err("a tuple with an element type".to_owned());
        }
        if proto.is_dynamic_dimension.iter().any(|is_dynamic| *is_dynamic) {
            return Err("a dynamic dimension".to_owned());
        }
        let size = |dim: &i64| usize::try_from(*dim).map_err(|_| format!("{dim} elements"));
        let dims: Vec<usize> = proto.dimensions.iter().map(size).collect::<Result<_, _>>()?;
        let shape = Self { dtype, dims };
        shape.check()?;
        if let Some(layout) = &proto.layout {
            let is_row_major = layout.minor_to_major.iter().copied().eq((0..)
                .take(shape.dims.len())
                .collect::<Vec<i64>>()
                .into_iter()
                .rev());
            if !is_row_major || layout.tail_padding_alignment_in_elements > 1 {
                return Err(format!("{shape} with a layout that is not row-major"));
            }
        }
        Ok(shape)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        write!(f, "{}[{}]", self.dtype.name(), dims.join(","))
    }
}
