//! What instructions do: XLA's operations, as far as they are lowered to and interpreted.
//!
//! **Source**: openxla.org/xla/operation_semantics. Next: `infer.rs`.

use super::shape::{DType, Shape};

/// One operation with its attributes; operands stand beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A value from outside, by its number.
    Parameter(usize),
    /// Values that are known.
    Constant(Literal),
    /// Counts along a dimension.
    Iota {
        /// What is made.
        shape: Shape,
        /// Along which dimension.
        dim: usize,
    },
    /// Repeats a value along new dimensions.
    Broadcast {
        /// Sizes of what is made.
        dims: Vec<usize>,
        /// Which of them each of the operand's dimensions is.
        map: Vec<usize>,
    },
    /// The same elements in other dimensions.
    Reshape(Vec<usize>),
    /// Dimensions in another order: which of the operand's each is.
    Transpose(Vec<usize>),
    /// Some elements of each dimension.
    Slice(Vec<Slice>),
    /// Operands one after the other, along a dimension.
    Concatenate(usize),
    /// Elements of another type.
    Convert(DType),
    /// A function of each element.
    Unary(Unary),
    /// A function of each two elements.
    Binary(Binary),
    /// Whether each two elements are so.
    Compare(Direction),
    /// Of each two elements the second operand's where the first is true, else the third's.
    Select,
    /// Sums of products.
    Dot(Dot),
    /// Dimensions combined to one element each, beginning with the second operand.
    Reduce {
        /// How two are combined.
        by: Binary,
        /// Which dimensions.
        dims: Vec<usize>,
    },
    /// Slices of the first operand, where the second says.
    Gather(Gather),
    /// The first operand with windows of the third where the second says.
    Scatter(Scatter),
    /// Elements of all ranks, combined.
    AllReduce {
        /// How two are combined.
        by: Binary,
        /// Which ranks: `0..ranks`.
        ranks: usize,
    },
    /// Values of all ranks one after the other, along a dimension.
    AllGather {
        /// Along which dimension.
        dim: usize,
        /// Which ranks: `0..ranks`.
        ranks: usize,
    },
}

impl Op {
    /// XLA's name.
    #[must_use]
    pub const fn opcode(&self) -> &'static str {
        match self {
            Self::Parameter(_) => "parameter",
            Self::Constant(_) => "constant",
            Self::Iota { .. } => "iota",
            Self::Broadcast { .. } => "broadcast",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Slice(_) => "slice",
            Self::Concatenate(_) => "concatenate",
            Self::Convert(_) => "convert",
            Self::Unary(unary) => unary.opcode(),
            Self::Binary(binary) => binary.opcode(),
            Self::Compare(_) => "compare",
            Self::Select => "select",
            Self::Dot(_) => "dot",
            Self::Reduce { .. } => "reduce",
            Self::Gather(_) => "gather",
            Self::Scatter(_) => "scatter",
            Self::AllReduce { .. } => "all-reduce",
            Self::AllGather { .. } => "all-gather",
        }
    }
}

/// Values that are known, in row-major order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal {
    /// Their type and sizes.
    pub shape: Shape,
    /// Each element's bits, in the lower bytes.
    pub bits: Vec<u32>,
}

impl Literal {
    /// One float.
    #[must_use]
    pub fn f32(value: f32) -> Self {
        Self { shape: Shape::scalar(DType::F32), bits: vec![value.to_bits()] }
    }

    /// One integer.
    #[must_use]
    pub fn s32(value: i32) -> Self {
        Self { shape: Shape::scalar(DType::S32), bits: vec![value.cast_unsigned()] }
    }
}

/// What is taken of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The first element.
    pub start: usize,
    /// The first one that is not taken any more.
    pub limit: usize,
    /// From one to the next; at least 1.
    pub stride: usize,
}

/// Functions of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`.
    Negate,
    /// `e^x`.
    Exponential,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// The hyperbolic tangent.
    Tanh,
}

impl Unary {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Negate, Self::Exponential, Self::Rsqrt, Self::Tanh];

    /// XLA's name.
    #[must_use]
    pub const fn opcode(self) -> &'static str {
        match self {
            Self::Negate => "negate",
            Self::Exponential => "exponential",
            Self::Rsqrt => "rsqrt",
            Self::Tanh => "tanh",
        }
    }
}

/// Functions of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `x + y`; of integers without their carry.
    Add,
    /// `x - y`; of integers without their borrow.
    Subtract,
    /// `x · y`; of integers their lower half.
    Multiply,
    /// `x / y`.
    Divide,
    /// The larger one; not a number, if one is not.
    Maximum,
    /// The smaller one; not a number, if one is not.
    Minimum,
    /// Both.
    And,
}

impl Binary {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Maximum,
        Self::Minimum,
        Self::And,
    ];

    /// XLA's name.
    #[must_use]
    pub const fn opcode(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::And => "and",
        }
    }

    /// True where elements may be combined in any order.
    #[must_use]
    pub const fn is_combining(self) -> bool {
        matches!(self, Self::Add | Self::Multiply | Self::Maximum | Self::Minimum)
    }
}

/// How two elements are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `x < y`.
    Lt,
    /// `x <= y`.
    Le,
    /// `x > y`.
    Gt,
    /// `x >= y`.
    Ge,
    /// `x == y`.
    Eq,
    /// `x != y`.
    Ne,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Lt, Self::Le, Self::Gt, Self::Ge, Self::Eq, Self::Ne];

    /// XLA's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lt => "LT",
            Self::Le => "LE",
            Self::Gt => "GT",
            Self::Ge => "GE",
            Self::Eq => "EQ",
            Self::Ne => "NE",
        }
    }
}

/// Which dimensions of a product's sides meet. It makes `[batch, lhs's others, rhs's others]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dot {
    /// Summed over, of each side.
    pub contracting: [Vec<usize>; 2],
    /// One product for each, of each side.
    pub batch: [Vec<usize>; 2],
    /// What it makes; sums are formed in f32.
    pub dtype: DType,
}

/// Which slices of an operand are taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    /// Of the result: where in the slice.
    pub offset_dims: Vec<usize>,
    /// Of the operand: slices have one element and the result has no such dimension.
    pub collapsed: Vec<usize>,
    /// Of the operand: what the numbers of an index count.
    pub index_map: Vec<usize>,
    /// Of the indices: along which an index lies. Behind the last one, an index is one number.
    pub index_dim: usize,
    /// Of each dimension of the operand: how many elements a slice has.
    pub sizes: Vec<usize>,
}

/// Where windows are written. A later one is written over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scatter {
    /// Of the updates: where in the window.
    pub window_dims: Vec<usize>,
    /// Of the operand: windows have one element and the updates have no such dimension.
    pub inserted: Vec<usize>,
    /// Of the operand: what the numbers of an index count.
    pub index_map: Vec<usize>,
    /// Of the indices: along which an index lies. Behind the last one, an index is one number.
    pub index_dim: usize,
}
