//! Bytes → a module, everything checked: what it does not know is refused by name.
//!
//! Next: `../lib.rs`, or the interpreter of `tests/emulators/hlo`.

use std::collections::HashMap;

use super::infer::infer;
use super::module::{Alias, Instruction, Module};
use super::op::{Binary, Direction, Dot, Gather, Literal, Op, Scatter, Slice, Unary};
use super::proto::{HloComputation, HloInstruction, HloModule, LiteralProto, primitive};
use super::shape::{DType, Shape};
use super::wire;
use super::write::{INPUT_NAMES, OUTPUT_NAMES};

/// Why bytes are no module that is computed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are no such messages, or have fields that are not read here.
    #[error("{0}")]
    Bytes(String),
    /// The module as a whole.
    #[error("module {name:?}: {why}")]
    Module {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// One of its instructions.
    #[error("instruction {name:?} ({opcode}): {why}")]
    Instruction {
        /// Its name.
        name: String,
        /// What it is.
        opcode: String,
        /// What is wrong.
        why: String,
    },
}

impl Module {
    /// Reads a module's bytes.
    ///
    /// # Errors
    /// What is not known or does not fit, by name.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_proto(&wire::decode(bytes).map_err(Error::Bytes)?)
    }

    /// Reads a module's messages.
    ///
    /// # Errors
    /// What is not known or does not fit, by name.
    pub fn from_proto(proto: &HloModule) -> Result<Self, Error> {
        let fail = |why: String| Error::Module { name: shown(&proto.name), why };
        let entry = proto.computations.iter().find(|c| c.id == proto.entry_computation_id);
        let entry = entry.ok_or_else(|| fail("its entry computation is missing".to_owned()))?;
        let called = called(proto)?;
        if proto.computations.len() != called.len() + 1 {
            return Err(fail("two computations have the same id".to_owned()));
        }
        let mut reading = Reading { called, known: HashMap::new(), module: Self::empty(proto) };
        let root = entry.instructions.last().filter(|root| root.id == entry.root_id);
        let root = root.ok_or_else(|| fail("the root is not the last instruction".to_owned()))?;
        for instruction in &entry.instructions[..entry.instructions.len() - 1] {
            reading.instruction(instruction)?;
        }
        reading.root(root)?;
        let mut module = reading.module;
        for (number, (_, at)) in module.parameters.iter().enumerate() {
            if module.instructions.get(*at).map(|i| &i.op) != Some(&Op::Parameter(number)) {
                return Err(fail(format!("there is no parameter {number}")));
            }
        }
        module.aliases = aliases(proto).map_err(fail)?;
        module.check().map_err(fail)?;
        Ok(module)
    }

    fn empty(proto: &HloModule) -> Self {
        Self {
            name: proto.name.clone(),
            instructions: Vec::new(),
            parameters: Vec::new(),
            results: Vec::new(),
            aliases: Vec::new(),
        }
    }
}

/// What a computation that is called does: combines two, or takes the second.
type Called = HashMap<i64, (Option<Binary>, DType)>;

struct Reading {
    called: Called,
    /// Instructions by their ids.
    known: HashMap<i64, usize>,
    module: Module,
}

/// Names are outside bytes: the first letters, printable.
fn shown(name: &str) -> String {
    name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn error(proto: &HloInstruction, why: impl Into<String>) -> Error {
    Error::Instruction { name: shown(&proto.name), opcode: shown(&proto.opcode), why: why.into() }
}

/// All computations but the entry.
fn called(proto: &HloModule) -> Result<Called, Error> {
    let mut called = Called::new();
    for computation in &proto.computations {
        if computation.id == proto.entry_computation_id {
            continue;
        }
        let found = combining(computation).ok_or_else(|| Error::Module {
            name: shown(&proto.name),
            why: format!("computation {:?} combines no two scalars", shown(&computation.name)),
        })?;
        called.insert(computation.id, found);
    }
    Ok(called)
}

/// `x ∘ y` of two parameters, or y alone.
fn combining(computation: &HloComputation) -> Option<(Option<Binary>, DType)> {
    let [x, y, rest @ ..] = computation.instructions.as_slice() else { return None };
    let shapes: Option<Vec<Shape>> =
        computation.instructions.iter().map(|i| Shape::read(i.shape.as_ref()).ok()).collect();
    let shapes = shapes?;
    let is_scalar = shapes[0].dims.is_empty() && shapes.iter().all(|shape| *shape == shapes[0]);
    let is_parameter =
        |i: &HloInstruction, number| i.opcode == "parameter" && i.parameter_number == number;
    if !is_scalar || !is_parameter(x, 0) || !is_parameter(y, 1) || x.id == y.id {
        return None;
    }
    let by = match rest {
        [] if computation.root_id == y.id => None,
        [both] if computation.root_id == both.id && both.operand_ids == [x.id, y.id] => {
            Some(Binary::ALL.into_iter().find(|binary| binary.opcode() == both.opcode)?)
        }
        _ => return None,
    };
    Some((by, shapes[0].dtype))
}

fn aliases(proto: &HloModule) -> Result<Vec<Alias>, String> {
    let entries = proto.input_output_alias.iter().flat_map(|alias| &alias.entries);
    entries
        .map(|entry| {
            let result = match entry.output_shape_index.as_slice() {
                [one] => usize::try_from(*one).ok(),
                _ => None,
            };
            let parameter = usize::try_from(entry.parameter_number).ok();
            let is_known = matches!(entry.kind, 1 | 2) && entry.parameter_shape_index.is_empty();
            match (result, parameter) {
                (Some(result), Some(parameter)) if is_known => Ok(Alias { result, parameter }),
                _ => Err(format!("an alias that is not known: {entry:?}")),
            }
        })
        .collect()
}

fn sizes(numbers: &[i64]) -> Result<Vec<usize>, String> {
    let size = |n: &i64| usize::try_from(*n).map_err(|_| format!("{n} is no size or dimension"));
    numbers.iter().map(size).collect()
}

fn one(numbers: &[i64]) -> Result<usize, String> {
    match sizes(numbers)?.as_slice() {
        [one] => Ok(*one),
        many => Err(format!("{} dimensions, not 1", many.len())),
    }
}

impl Reading {
    fn instruction(&mut self, proto: &HloInstruction) -> Result<(), Error> {
        let shape = Shape::read(proto.shape.as_ref()).map_err(|why| error(proto, why))?;
        let operands = self.operands(proto)?;
        let op = self.op(proto, &shape).map_err(|why| error(proto, why))?;
        let surplus = proto.canonical(&op).map_err(|why| error(proto, why));
        surplus?;
        let at = self.module.instructions.len();
        if let Op::Parameter(number) = op {
            self.parameter(proto, number, at)?;
        } else {
            let shapes: Vec<&Shape> =
                operands.iter().map(|at| &self.module.instructions[*at].shape).collect();
            let made = infer(&op, &shapes).map_err(|why| error(proto, why))?;
            if made != shape {
                return Err(error(proto, format!("it makes {made}, not {shape}")));
            }
        }
        self.module.instructions.push(Instruction { op, operands, shape });
        match self.known.insert(proto.id, at) {
            Some(_) => Err(error(proto, format!("id {} is another's", proto.id))),
            None => Ok(()),
        }
    }

    fn operands(&self, proto: &HloInstruction) -> Result<Vec<usize>, Error> {
        let operand = |id: &i64| {
            let known = self.known.get(id).copied();
            known.ok_or_else(|| error(proto, format!("operand {id} does not come before it")))
        };
        proto.operand_ids.iter().map(operand).collect()
    }

    fn parameter(&mut self, proto: &HloInstruction, number: usize, at: usize) -> Result<(), Error> {
        if !proto.operand_ids.is_empty() {
            return Err(error(proto, "a parameter with operands"));
        }
        // Parameters are few: a number far beyond them is refused before anything is made of it.
        let parameters = &mut self.module.parameters;
        if number > parameters.len() + at + 1 {
            return Err(error(proto, format!("parameter {number}: too few come before it")));
        }
        let default = || format!("input{number}");
        let name = proto.attribute(INPUT_NAMES).map_or_else(default, str::to_owned);
        if parameters.len() <= number {
            parameters.resize_with(number + 1, || (String::new(), usize::MAX));
        }
        if parameters[number].1 != usize::MAX {
            return Err(error(proto, format!("there are two of number {number}")));
        }
        parameters[number] = (name, at);
        Ok(())
    }

    /// The tuple of all results.
    fn root(&mut self, proto: &HloInstruction) -> Result<(), Error> {
        let is_tuple =
            proto.shape.as_ref().is_some_and(|shape| shape.element_type == primitive::TUPLE);
        if proto.opcode != "tuple" || !is_tuple {
            return Err(error(proto, "the root is no tuple"));
        }
        let operands = self.operands(proto)?;
        let shapes = proto.shape.iter().flat_map(|shape| &shape.tuple_shapes);
        let shapes: Vec<Shape> = shapes
            .map(|shape| Shape::read(Some(shape)))
            .collect::<Result<_, _>>()
            .map_err(|why| error(proto, why))?;
        let made: Vec<&Shape> =
            operands.iter().map(|at| &self.module.instructions[*at].shape).collect();
        if !made.iter().copied().eq(&shapes) {
            return Err(error(proto, "its elements have other shapes than it says"));
        }
        let names: Vec<String> = match proto.attribute(OUTPUT_NAMES) {
            Some(names) => names.split(',').map(str::to_owned).collect(),
            None => (0..operands.len()).map(|i| format!("output{i}")).collect(),
        };
        if names.len() != operands.len() && !(operands.is_empty() && names == [""]) {
            let why = format!("{} names for {} results", names.len(), operands.len());
            return Err(error(proto, why));
        }
        self.module.results = names.into_iter().zip(operands).collect();
        Ok(())
    }

    fn op(&self, proto: &HloInstruction, shape: &Shape) -> Result<Op, String> {
        let dims = || shape.dims.clone();
        let opcode = proto.opcode.as_str();
        if let Some(unary) = Unary::ALL.into_iter().find(|unary| unary.opcode() == opcode) {
            return Ok(Op::Unary(unary));
        }
        if let Some(binary) = Binary::ALL.into_iter().find(|binary| binary.opcode() == opcode) {
            return Ok(Op::Binary(binary));
        }
        Ok(match opcode {
            "parameter" => Op::Parameter(one(&[proto.parameter_number])?),
            "constant" => Op::Constant(literal(proto.literal.as_ref())?),
            "iota" => Op::Iota { shape: shape.clone(), dim: one(&proto.dimensions)? },
            "broadcast" => Op::Broadcast { dims: dims(), map: sizes(&proto.dimensions)? },
            "reshape" => Op::Reshape(dims()),
            "transpose" => Op::Transpose(sizes(&proto.dimensions)?),
            "slice" => Op::Slice(slices(proto)?),
            "concatenate" => Op::Concatenate(one(&proto.dimensions)?),
            "convert" => Op::Convert(shape.dtype),
            "compare" => {
                let direction = proto.comparison_direction.as_str();
                let found = Direction::ALL.into_iter().find(|known| known.name() == direction);
                Op::Compare(found.ok_or_else(|| format!("direction {:?}", shown(direction)))?)
            }
            "select" => Op::Select,
            "dot" => Op::Dot(dot(proto, shape.dtype)?),
            "reduce" => {
                Op::Reduce { by: self.combine(proto, shape)?, dims: sizes(&proto.dimensions)? }
            }
            "gather" => Op::Gather(gather(proto)?),
            "scatter" => Op::Scatter(self.scatter(proto, shape)?),
            "all-reduce" => Op::AllReduce { by: self.combine(proto, shape)?, ranks: ranks(proto)? },
            "all-gather" => Op::AllGather { dim: one(&proto.dimensions)?, ranks: ranks(proto)? },
            _ => return Err("this opcode is not computed".to_owned()),
        })
    }

    /// What the computation that is called does with two elements.
    fn called(&self, proto: &HloInstruction, shape: &Shape) -> Result<Option<Binary>, String> {
        let [id] = proto.called_computation_ids.as_slice() else {
            return Err(format!("it calls {} computations", proto.called_computation_ids.len()));
        };
        match self.called.get(id) {
            Some((by, dtype)) if *dtype == shape.dtype => Ok(*by),
            Some((_, dtype)) => Err(format!("it combines {} to {shape}", dtype.name())),
            None => Err(format!("computation {id} is missing")),
        }
    }

    fn combine(&self, proto: &HloInstruction, shape: &Shape) -> Result<Binary, String> {
        self.called(proto, shape)?.ok_or_else(|| "it combines nothing".to_owned())
    }

    fn scatter(&self, proto: &HloInstruction, shape: &Shape) -> Result<Scatter, String> {
        if let Some(by) = self.called(proto, shape)? {
            return Err(format!("it combines by {}: only what is new is written", by.opcode()));
        }
        let numbers = proto.scatter_dimension_numbers.as_ref().ok_or("it has no dimensions")?;
        Ok(Scatter {
            window_dims: sizes(&numbers.update_window_dims)?,
            inserted: sizes(&numbers.inserted_window_dims)?,
            index_map: sizes(&numbers.scatter_dims_to_operand_dims)?,
            index_dim: one(&[numbers.index_vector_dim])?,
        })
    }
}

impl HloInstruction {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.frontend_attributes.as_ref()?.map.get(name).map(String::as_str)
    }

    /// Refuses attributes that an operation does not have.
    fn canonical(&self, op: &Op) -> Result<(), String> {
        let has = [
            ("literal", self.literal.is_some(), matches!(op, Op::Constant(_))),
            ("parameter_number", self.parameter_number != 0, matches!(op, Op::Parameter(_))),
            ("slice_dimensions", !self.slice_dimensions.is_empty(), matches!(op, Op::Slice(_))),
            (
                "dot_dimension_numbers",
                self.dot_dimension_numbers.is_some(),
                matches!(op, Op::Dot(_)),
            ),
            (
                "gather_dimension_numbers",
                self.gather_dimension_numbers.is_some() || !self.gather_slice_sizes.is_empty(),
                matches!(op, Op::Gather(_)),
            ),
            (
                "scatter_dimension_numbers",
                self.scatter_dimension_numbers.is_some(),
                matches!(op, Op::Scatter(_)),
            ),
            (
                "comparison_direction",
                !self.comparison_direction.is_empty(),
                matches!(op, Op::Compare(_)),
            ),
            (
                "replica_groups",
                !self.replica_groups.is_empty(),
                matches!(op, Op::AllReduce { .. } | Op::AllGather { .. }),
            ),
            (
                "called_computation_ids",
                !self.called_computation_ids.is_empty(),
                matches!(op, Op::Reduce { .. } | Op::Scatter(_) | Op::AllReduce { .. }),
            ),
        ];
        match has.into_iter().find(|(_, is_there, is_its)| *is_there && !is_its) {
            Some((name, ..)) => Err(format!("{name} means nothing to it")),
            None => Ok(()),
        }
    }
}

fn literal(proto: Option<&LiteralProto>) -> Result<Literal, String> {
    let proto = proto.ok_or("it has no literal")?;
    let shape = Shape::read(proto.shape.as_ref())?;
    let bits: Vec<u32> = match shape.dtype {
        DType::Pred => proto.preds.iter().map(|is_true| u32::from(*is_true)).collect(),
        DType::S32 => proto.s32s.iter().map(|n| n.cast_unsigned()).collect(),
        DType::U32 => proto.u32s.clone(),
        DType::F32 => proto.f32s.iter().map(|x| x.to_bits()).collect(),
        DType::Bf16 => {
            let (pairs, rest) = proto.bf16s.as_chunks::<2>();
            if !rest.is_empty() {
                return Err("half an element".to_owned());
            }
            pairs.iter().map(|pair| u32::from(u16::from_le_bytes(*pair))).collect()
        }
    };
    Ok(Literal { shape, bits })
}

fn slices(proto: &HloInstruction) -> Result<Vec<Slice>, String> {
    let slice = |slice: &super::proto::SliceDimensions| {
        let [start, limit, stride] =
            [slice.start, slice.limit, slice.stride].map(|n| usize::try_from(n).ok());
        match (start, limit, stride) {
            (Some(start), Some(limit), Some(stride)) => Ok(Slice { start, limit, stride }),
            _ => Err(format!("{slice:?}")),
        }
    };
    proto.slice_dimensions.iter().map(slice).collect()
}

fn dot(proto: &HloInstruction, dtype: DType) -> Result<Dot, String> {
    let numbers = proto.dot_dimension_numbers.as_ref().ok_or("it has no dimensions")?;
    Ok(Dot {
        contracting: [
            sizes(&numbers.lhs_contracting_dimensions)?,
            sizes(&numbers.rhs_contracting_dimensions)?,
        ],
        batch: [sizes(&numbers.lhs_batch_dimensions)?, sizes(&numbers.rhs_batch_dimensions)?],
        dtype,
    })
}

fn gather(proto: &HloInstruction) -> Result<Gather, String> {
    let numbers = proto.gather_dimension_numbers.as_ref().ok_or("it has no dimensions")?;
    Ok(Gather {
        offset_dims: sizes(&numbers.offset_dims)?,
        collapsed: sizes(&numbers.collapsed_slice_dims)?,
        index_map: sizes(&numbers.start_index_map)?,
        index_dim: one(&[numbers.index_vector_dim])?,
        sizes: sizes(&proto.gather_slice_sizes)?,
    })
}

/// Of a collective: all ranks, in one group, in their order.
fn ranks(proto: &HloInstruction) -> Result<usize, String> {
    let [group] = proto.replica_groups.as_slice() else {
        return Err(format!("{} groups of ranks, not 1", proto.replica_groups.len()));
    };
    let is_all = group.replica_ids.iter().copied().eq(0..group.replica_ids.len() as i64);
    if !is_all || group.replica_ids.is_empty() {
        return Err(format!("the group {:?} is not 0, 1, …", group.replica_ids));
    }
    Ok(group.replica_ids.len())
}

#[cfg(test)]
mod tests;
