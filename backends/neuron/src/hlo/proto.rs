//! The messages of XLA's `HloModuleProto`, as far as our modules use them.
//!
//! **Source** of names and field numbers: openxla/xla, `xla/service/hlo.proto` and `xla/xla_data.proto`.
//! Fields that are absent here are refused where modules are read. Next: `wire.rs`.

use std::collections::BTreeMap;

use prost::Message;

/// `HloModuleProto`.
#[derive(Clone, PartialEq, Message)]
pub struct HloModule {
    /// The module's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The name of the computation that is run.
    #[prost(string, tag = "2")]
    pub entry_computation_name: String,
    /// Computations; those that are called come before those that call.
    #[prost(message, repeated, tag = "3")]
    pub computations: Vec<HloComputation>,
    /// Parameters and result of the computation that is run.
    #[prost(message, optional, tag = "4")]
    pub host_program_shape: Option<ProgramShape>,
    /// The module's id.
    #[prost(int64, tag = "5")]
    pub id: i64,
    /// The id of the computation that is run.
    #[prost(int64, tag = "6")]
    pub entry_computation_id: i64,
    /// Which results lie where a parameter lies.
    #[prost(message, optional, tag = "8")]
    pub input_output_alias: Option<InputOutputAlias>,
}

/// `HloComputationProto`.
#[derive(Clone, PartialEq, Message)]
pub struct HloComputation {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Operands come before what uses them.
    #[prost(message, repeated, tag = "2")]
    pub instructions: Vec<HloInstruction>,
    /// Parameters and result.
    #[prost(message, optional, tag = "4")]
    pub program_shape: Option<ProgramShape>,
    /// Its id.
    #[prost(int64, tag = "5")]
    pub id: i64,
    /// The id of the instruction that makes the result.
    #[prost(int64, tag = "6")]
    pub root_id: i64,
}

/// `HloInstructionProto`.
#[derive(Clone, PartialEq, Message)]
pub struct HloInstruction {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it does, by XLA's name.
    #[prost(string, tag = "2")]
    pub opcode: String,
    /// What it makes.
    #[prost(message, optional, tag = "3")]
    pub shape: Option<ShapeProto>,
    /// Of `constant`.
    #[prost(message, optional, tag = "8")]
    pub literal: Option<LiteralProto>,
    /// Of `parameter`.
    #[prost(int64, tag = "9")]
    pub parameter_number: i64,
    /// Of `broadcast`, `transpose`, `concatenate`, `iota`, `reduce` and `all-gather`.
    #[prost(int64, repeated, tag = "14")]
    pub dimensions: Vec<i64>,
    /// Of `slice`, one for each dimension.
    #[prost(message, repeated, tag = "17")]
    pub slice_dimensions: Vec<SliceDimensions>,
    /// Of `dot`.
    #[prost(message, optional, tag = "30")]
    pub dot_dimension_numbers: Option<DotDimensions>,
    /// Of `gather`.
    #[prost(message, optional, tag = "33")]
    pub gather_dimension_numbers: Option<GatherDimensions>,
    /// Of `gather`, one for each dimension of its operand.
    #[prost(int64, repeated, tag = "34")]
    pub gather_slice_sizes: Vec<i64>,
    /// Its id, the only one in the module.
    #[prost(int64, tag = "35")]
    pub id: i64,
    /// Ids of what it uses.
    #[prost(int64, repeated, tag = "36")]
    pub operand_ids: Vec<i64>,
    /// Of `reduce`, `scatter` and `all-reduce`: what combines two values.
    #[prost(int64, repeated, tag = "38")]
    pub called_computation_ids: Vec<i64>,
    /// Of `scatter`.
    #[prost(message, optional, tag = "48")]
    pub scatter_dimension_numbers: Option<ScatterDimensions>,
    /// Of collectives: which ranks exchange.
    #[prost(message, repeated, tag = "49")]
    pub replica_groups: Vec<ReplicaGroup>,
    /// Of `compare`: `LT`, `LE`, `GT`, `GE`, `EQ` or `NE`.
    #[prost(string, tag = "63")]
    pub comparison_direction: String,
    /// What neuronx-cc reads: names of the program's inputs and outputs.
    #[prost(message, optional, tag = "68")]
    pub frontend_attributes: Option<FrontendAttributes>,
}

/// `HloInputOutputAliasProto`.
#[derive(Clone, PartialEq, Message)]
pub struct InputOutputAlias {
    /// One for each result that lies where a parameter lies.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<AliasEntry>,
}

/// `AliasEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub struct AliasEntry {
    /// Which element of the result.
    #[prost(int64, repeated, tag = "1")]
    pub output_shape_index: Vec<i64>,
    /// Which parameter.
    #[prost(int64, tag = "2")]
    pub parameter_number: i64,
    /// Which element of it; empty, for parameters are no tuples here.
    #[prost(int64, repeated, tag = "3")]
    pub parameter_shape_index: Vec<i64>,
    /// 1: may, 2: must lie there.
    #[prost(int32, tag = "4")]
    pub kind: i32,
}

/// `ProgramShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct ProgramShape {
    /// One for each parameter.
    #[prost(message, repeated, tag = "1")]
    pub parameters: Vec<ShapeProto>,
    /// Of the root.
    #[prost(message, optional, tag = "2")]
    pub result: Option<ShapeProto>,
    /// One for each parameter.
    #[prost(string, repeated, tag = "3")]
    pub parameter_names: Vec<String>,
}

/// `ShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct ShapeProto {
    /// A `PrimitiveType`.
    #[prost(int32, tag = "2")]
    pub element_type: i32,
    /// Empty for a scalar and for a tuple.
    #[prost(int64, repeated, tag = "3")]
    pub dimensions: Vec<i64>,
    /// Of a tuple.
    #[prost(message, repeated, tag = "4")]
    pub tuple_shapes: Vec<Self>,
    /// In which order elements lie.
    #[prost(message, optional, tag = "5")]
    pub layout: Option<LayoutProto>,
    /// Empty, or false for every dimension.
    #[prost(bool, repeated, tag = "6")]
    pub is_dynamic_dimension: Vec<bool>,
}

/// `LayoutProto`.
#[derive(Clone, PartialEq, Message)]
pub struct LayoutProto {
    /// Dimensions from the one whose neighbours lie together on.
    #[prost(int64, repeated, tag = "1")]
    pub minor_to_major: Vec<i64>,
    /// Only to place the end of the buffer: 0 and 1 mean nothing.
    #[prost(int64, tag = "16")]
    pub tail_padding_alignment_in_elements: i64,
}

/// `LiteralProto`.
#[derive(Clone, PartialEq, Message)]
pub struct LiteralProto {
    /// Its type and sizes.
    #[prost(message, optional, tag = "1")]
    pub shape: Option<ShapeProto>,
    /// Elements of a `PRED`.
    #[prost(bool, repeated, tag = "2")]
    pub preds: Vec<bool>,
    /// Elements of an `S32`.
    #[prost(int32, repeated, tag = "4")]
    pub s32s: Vec<i32>,
    /// Elements of a `U32`.
    #[prost(uint32, repeated, tag = "6")]
    pub u32s: Vec<u32>,
    /// Elements of an `F32`.
    #[prost(float, repeated, tag = "8")]
    pub f32s: Vec<f32>,
    /// Elements of a `BF16`, two bytes each, the lower one first.
    #[prost(bytes = "vec", tag = "13")]
    pub bf16s: Vec<u8>,
}

/// `SliceDimensions`.
#[derive(Clone, PartialEq, Message)]
pub struct SliceDimensions {
    /// The first element.
    #[prost(int64, tag = "1")]
    pub start: i64,
    /// The first one that is not taken any more.
    #[prost(int64, tag = "2")]
    pub limit: i64,
    /// From one to the next.
    #[prost(int64, tag = "3")]
    pub stride: i64,
}

/// `DotDimensionNumbers`.
#[derive(Clone, PartialEq, Message)]
pub struct DotDimensions {
    /// Of the left side: summed over.
    #[prost(int64, repeated, tag = "1")]
    pub lhs_contracting_dimensions: Vec<i64>,
    /// Of the right side: summed over.
    #[prost(int64, repeated, tag = "2")]
    pub rhs_contracting_dimensions: Vec<i64>,
    /// Of the left side: one product for each.
    #[prost(int64, repeated, tag = "3")]
    pub lhs_batch_dimensions: Vec<i64>,
    /// Of the right side: one product for each.
    #[prost(int64, repeated, tag = "4")]
    pub rhs_batch_dimensions: Vec<i64>,
}

/// `GatherDimensionNumbers`.
#[derive(Clone, PartialEq, Message)]
pub struct GatherDimensions {
    /// Of the result: where in the slice.
    #[prost(int64, repeated, tag = "1")]
    pub offset_dims: Vec<i64>,
    /// Of the operand: slices have one element and the result has no such dimension.
    #[prost(int64, repeated, tag = "2")]
    pub collapsed_slice_dims: Vec<i64>,
    /// Of the operand: what the numbers of an index count.
    #[prost(int64, repeated, tag = "3")]
    pub start_index_map: Vec<i64>,
    /// Of the indices: along which an index lies.
    #[prost(int64, tag = "4")]
    pub index_vector_dim: i64,
}

/// `ScatterDimensionNumbers`.
#[derive(Clone, PartialEq, Message)]
pub struct ScatterDimensions {
    /// Of the updates: where in the window.
    #[prost(int64, repeated, tag = "1")]
    pub update_window_dims: Vec<i64>,
    /// Of the operand: windows have one element and the updates have no such dimension.
    #[prost(int64, repeated, tag = "2")]
    pub inserted_window_dims: Vec<i64>,
    /// Of the operand: what the numbers of an index count.
    #[prost(int64, repeated, tag = "3")]
    pub scatter_dims_to_operand_dims: Vec<i64>,
    /// Of the indices: along which an index lies.
    #[prost(int64, tag = "4")]
    pub index_vector_dim: i64,
}

/// `ReplicaGroup`.
#[derive(Clone, PartialEq, Message)]
pub struct ReplicaGroup {
    /// Ranks that exchange with one another.
    #[prost(int64, repeated, tag = "1")]
    pub replica_ids: Vec<i64>,
}

/// `FrontendAttributes`.
#[derive(Clone, PartialEq, Message)]
pub struct FrontendAttributes {
    /// By name.
    #[prost(btree_map = "string, string", tag = "1")]
    pub map: BTreeMap<String, String>,
}

/// `PrimitiveType`, as far as it is computed with.
pub mod primitive {
    /// True or false.
    pub const PRED: i32 = 1;
    /// 32 bits, signed.
    pub const S32: i32 = 4;
    /// 32 bits, unsigned.
    pub const U32: i32 = 8;
    /// 32 bits, floating.
    pub const F32: i32 = 11;
    /// Several values.
    pub const TUPLE: i32 = 13;
    /// The upper half of an `F32`.
    pub const BF16: i32 = 16;
}
