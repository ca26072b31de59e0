//! A module → messages, as XLA and neuronx-cc read them.
//!
//! Names of inputs and outputs stand in the attributes that neuronx-cc reads: `neff_input_names` of each
//! parameter, `neff_output_names` of the root. Next: `read.rs`.

use std::collections::BTreeMap;

use prost::Message;

use super::module::Module;
use super::op::{Binary, Literal, Op};
use super::proto::{
    AliasEntry, DotDimensions, FrontendAttributes, GatherDimensions, HloComputation,
    HloInstruction, HloModule, InputOutputAlias, LiteralProto, ProgramShape, ReplicaGroup,
    ScatterDimensions, ShapeProto, SliceDimensions, primitive,
};
use super::shape::{DType, Shape};

/// The attribute of a parameter.
pub(super) const INPUT_NAMES: &str = "neff_input_names";
/// The attribute of the root, with commas between names.
pub(super) const OUTPUT_NAMES: &str = "neff_output_names";
/// The name of the computation that is run.
const ENTRY: &str = "main";
/// Of an alias: the result must lie there.
const MUST_ALIAS: i32 = 2;

impl Module {
    /// Its bytes. The same module has the same bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    /// Its messages.
    #[must_use]
    pub fn proto(&self) -> HloModule {
        let mut called = Called::default();
        let mut instructions: Vec<HloInstruction> = Vec::new();
        // Ids of the entry's begin behind those of any computation that it calls.
        let first = 1_000;
        for (i, instruction) in self.instructions.iter().enumerate() {
            let id = first + i as i64;
            let operands = instruction.operands.iter().map(|at| first + *at as i64).collect();
            let name = format!("{}.{id}", instruction.op.opcode());
            let mut message = written(&instruction.op, &instruction.shape, &mut called);
            if let Op::Parameter(number) = instruction.op {
                message.frontend_attributes =
                    Some(attribute(INPUT_NAMES, &self.parameters[number].0));
            }
            message.shape = Some(instruction.shape.proto());
            instructions.push(HloInstruction { id, name, operand_ids: operands, ..message });
        }
        let root = self.root(first);
        let parameters = self.parameters().map(|named| named.shape.proto()).collect();
        let names = self.parameters.iter().map(|(name, _)| name.clone()).collect();
        let shape = ProgramShape { parameters, result: root.shape.clone(), parameter_names: names };
        let (root_id, id) = (root.id, called.computations.len() as i64 + 1);
        instructions.push(root);
        let entry = HloComputation {
            name: ENTRY.to_owned(),
            instructions,
            program_shape: Some(shape.clone()),
            id,
            root_id,
        };
        let mut computations = called.computations;
        computations.push(entry);
        HloModule {
            name: self.name.clone(),
            entry_computation_name: ENTRY.to_owned(),
            computations,
            host_program_shape: Some(shape),
            id: 1,
            entry_computation_id: id,
            input_output_alias: self.alias_proto(),
        }
    }

    /// The tuple of all results.
    fn root(&self, first: i64) -> HloInstruction {
        let id = first + self.instructions.len() as i64;
        let names: Vec<&str> = self.results.iter().map(|(name, _)| name.as_str()).collect();
        HloInstruction {
            id,
            name: format!("tuple.{id}"),
            opcode: "tuple".to_owned(),
            shape: Some(ShapeProto {
                element_type: primitive::TUPLE,
                tuple_shapes: self.results().map(|named| named.shape.proto()).collect(),
                ..ShapeProto::default()
            }),
            operand_ids: self.results.iter().map(|(_, at)| first + *at as i64).collect(),
            frontend_attributes: Some(attribute(OUTPUT_NAMES, &names.join(","))),
            ..HloInstruction::default()
        }
    }

    fn alias_proto(&self) -> Option<InputOutputAlias> {
        let entry = |alias: &super::Alias| AliasEntry {
            output_shape_index: vec![alias.result as i64],
            parameter_number: alias.parameter as i64,
            parameter_shape_index: Vec::new(),
            kind: MUST_ALIAS,
        };
        let entries: Vec<AliasEntry> = self.aliases.iter().map(entry).collect();
        (!entries.is_empty()).then_some(InputOutputAlias { entries })
    }
}

fn attribute(name: &str, value: &str) -> FrontendAttributes {
    FrontendAttributes { map: BTreeMap::from([(name.to_owned(), value.to_owned())]) }
}

fn longs(numbers: &[usize]) -> Vec<i64> {
    numbers.iter().map(|number| *number as i64).collect()
}

/// An instruction with its attributes, without id, name, shape and operands.
fn written(op: &Op, shape: &Shape, called: &mut Called) -> HloInstruction {
    let mut message =
        HloInstruction { opcode: op.opcode().to_owned(), ..HloInstruction::default() };
    let scalar = Shape::scalar(shape.dtype);
    match op {
        Op::Parameter(number) => message.parameter_number = *number as i64,
        Op::Constant(literal) => message.literal = Some(literal_proto(literal)),
        Op::Iota { dim, .. } | Op::Concatenate(dim) => message.dimensions = vec![*dim as i64],
        Op::Broadcast { map, .. } => message.dimensions = longs(map),
        Op::Transpose(order) => message.dimensions = longs(order),
        Op::Slice(slices) => {
            let slice = |slice: &super::Slice| SliceDimensions {
                start: slice.start as i64,
                limit: slice.limit as i64,
                stride: slice.stride as i64,
            };
            message.slice_dimensions = slices.iter().map(slice).collect();
        }
        Op::Compare(direction) => message.comparison_direction = direction.name().to_owned(),
        Op::Dot(dot) => {
            message.dot_dimension_numbers = Some(DotDimensions {
                lhs_contracting_dimensions: longs(&dot.contracting[0]),
                rhs_contracting_dimensions: longs(&dot.contracting[1]),
                lhs_batch_dimensions: longs(&dot.batch[0]),
                rhs_batch_dimensions: longs(&dot.batch[1]),
            });
        }
        Op::Reduce { by, dims } => {
            message.dimensions = longs(dims);
            message.called_computation_ids = vec![called.id(Some(*by), &scalar)];
        }
        Op::Gather(gather) => {
            message.gather_dimension_numbers = Some(GatherDimensions {
                offset_dims: longs(&gather.offset_dims),
                collapsed_slice_dims: longs(&gather.collapsed),
                start_index_map: longs(&gather.index_map),
                index_vector_dim: gather.index_dim as i64,
            });
            message.gather_slice_sizes = longs(&gather.sizes);
        }
        Op::Scatter(scatter) => {
            message.scatter_dimension_numbers = Some(ScatterDimensions {
                update_window_dims: longs(&scatter.window_dims),
                inserted_window_dims: longs(&scatter.inserted),
                scatter_dims_to_operand_dims: longs(&scatter.index_map),
                index_vector_dim: scatter.index_dim as i64,
            });
            message.called_computation_ids = vec![called.id(None, &scalar)];
        }
        Op::AllReduce { by, ranks } => {
            message.replica_groups = groups(*ranks);
            message.called_computation_ids = vec![called.id(Some(*by), &scalar)];
        }
        Op::AllGather { dim, ranks } => {
            message.replica_groups = groups(*ranks);
            message.dimensions = vec![*dim as i64];
        }
        Op::Reshape(_) | Op::Convert(_) | Op::Unary(_) | Op::Binary(_) | Op::Select => {}
    }
    message
}

fn groups(ranks: usize) -> Vec<ReplicaGroup> {
    vec![ReplicaGroup { replica_ids: (0..ranks as i64).collect() }]
}

fn literal_proto(literal: &Literal) -> LiteralProto {
    let bits = literal.bits.iter().copied();
    let mut message =
        LiteralProto { shape: Some(literal.shape.proto()), ..LiteralProto::default() };
    match literal.shape.dtype {
        DType::Pred => message.preds = bits.map(|bits| bits != 0).collect(),
        DType::S32 => message.s32s = bits.map(u32::cast_signed).collect(),
        DType::U32 => message.u32s = bits.collect(),
        DType::F32 => message.f32s = bits.map(f32::from_bits).collect(),
        DType::Bf16 => {
            message.bf16s = bits.flat_map(|bits| bits.to_le_bytes().into_iter().take(2)).collect();
        }
    }
    message
}

/// Computations that combine two values, each written once.
#[derive(Default)]
struct Called {
    computations: Vec<HloComputation>,
    known: Vec<(Option<Binary>, Shape)>,
}

impl Called {
    /// The id of the computation that combines two such scalars; `None` takes the second one.
    fn id(&mut self, by: Option<Binary>, scalar: &Shape) -> i64 {
        let wanted = (by, scalar.clone());
        if let Some(at) = self.known.iter().position(|known| *known == wanted) {
            return at as i64 + 1;
        }
        self.known.push(wanted);
        let id = self.known.len() as i64;
        let instruction = |at: i64, opcode: &str| HloInstruction {
            id: id * 10 + at,
            name: format!("{opcode}.{}", id * 10 + at),
            opcode: opcode.to_owned(),
            shape: Some(scalar.proto()),
            ..HloInstruction::default()
        };
        let second = HloInstruction { parameter_number: 1, ..instruction(1, "parameter") };
        let mut instructions = vec![instruction(0, "parameter"), second];
        let mut root_id = id * 10 + 1;
        if let Some(by) = by {
            root_id += 1;
            let operand_ids = vec![id * 10, id * 10 + 1];
            instructions.push(HloInstruction { operand_ids, ..instruction(2, by.opcode()) });
        }
        let name = by.map_or("assign", Binary::opcode);
        let shape = ProgramShape {
            parameters: vec![scalar.proto(); 2],
            result: Some(scalar.proto()),
            parameter_names: vec!["x".to_owned(), "y".to_owned()],
        };
        self.computations.push(HloComputation {
            name: format!("{name}.{}", scalar.dtype.name()),
            instructions,
            program_shape: Some(shape),
            id,
            root_id,
        });
        id
    }
}
