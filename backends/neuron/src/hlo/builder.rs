//! Makes a module, an instruction after the other, each with its shape checked.
//!
//! What is the same is made once: no operation has an effect. Only what lowering says often has a function of
//! its own. Next: `write.rs`.

use std::collections::HashMap;

use super::infer::infer;
use super::module::{Alias, Instruction, Module};
use super::op::{Binary, Dot, Literal, Op, Slice, Unary};
use super::shape::{DType, Shape};

/// A module that is being made.
#[derive(Debug)]
pub struct Builder {
    module: Module,
    /// Instructions by what they do and with what.
    known: HashMap<(Op, Vec<Value>), Value>,
}

/// A value of a module that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(usize);

impl Builder {
    /// An empty module.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (name, nothing) = (name.to_owned(), Vec::new);
        let module = Module {
            name,
            instructions: Vec::new(),
            parameters: nothing(),
            results: nothing(),
            aliases: Vec::new(),
        };
        Self { module, known: HashMap::new() }
    }

    /// The next parameter.
    pub fn parameter(&mut self, name: &str, shape: Shape) -> Value {
        let (number, at) = (self.module.parameters.len(), self.module.instructions.len());
        self.module.parameters.push((name.to_owned(), at));
        let op = Op::Parameter(number);
        self.module.instructions.push(Instruction { op, operands: Vec::new(), shape });
        Value(at)
    }

    /// An instruction: the next one, or an earlier one that is the same.
    ///
    /// # Panics
    /// If its operands do not fit: a bug of the lowering.
    pub fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        let key = (op, operands.to_vec());
        if let Some(value) = self.known.get(&key) {
            return *value;
        }
        let op = &key.0;
        let shapes: Vec<&Shape> = operands.iter().map(|value| self.shape(*value)).collect();
        let shape = match infer(op, &shapes) {
            Ok(shape) => shape,
            Err(why) => panic!("{}: {why}", op.opcode()),
        };
        let value = Value(self.module.instructions.len());
        let operands = operands.iter().map(|Value(at)| *at).collect();
        self.module.instructions.push(Instruction { op: op.clone(), operands, shape });
        self.known.insert(key, value);
        value
    }

    /// A value's type and sizes.
    #[must_use]
    pub fn shape(&self, value: Value) -> &Shape {
        &self.module.instructions[value.0].shape
    }

    /// A value's sizes.
    #[must_use]
    pub fn dims(&self, value: Value) -> Vec<usize> {
        self.shape(value).dims.clone()
    }

    /// A function of each element.
    pub fn unary(&mut self, unary: Unary, x: Value) -> Value {
        self.add(Op::Unary(unary), &[x])
    }

    /// A function of each two elements.
    pub fn binary(&mut self, binary: Binary, x: Value, y: Value) -> Value {
        self.add(Op::Binary(binary), &[x, y])
    }

    /// A function of each element and a number. `x` is f32.
    pub fn with(&mut self, binary: Binary, x: Value, number: f32) -> Value {
        let dims = self.dims(x);
        let number = self.fill(Literal::f32(number), &dims);
        self.binary(binary, x, number)
    }

    /// One number everywhere.
    pub fn fill(&mut self, number: Literal, dims: &[usize]) -> Value {
        let number = self.add(Op::Constant(number), &[]);
        self.broadcast(number, dims, &[])
    }

    /// Repeats a value; `map` tells which of `dims` each of its dimensions is.
    pub fn broadcast(&mut self, x: Value, dims: &[usize], map: &[usize]) -> Value {
        self.add(Op::Broadcast { dims: dims.to_vec(), map: map.to_vec() }, &[x])
    }

    /// The same elements in other dimensions; itself, where they are the same.
    pub fn reshape(&mut self, x: Value, dims: &[usize]) -> Value {
        if self.dims(x) == dims { x } else { self.add(Op::Reshape(dims.to_vec()), &[x]) }
    }

    /// Elements of another type; itself, where it is the same.
    pub fn convert(&mut self, x: Value, dtype: DType) -> Value {
        if self.shape(x).dtype == dtype { x } else { self.add(Op::Convert(dtype), &[x]) }
    }

    /// Neighbours of one dimension and all of the others.
    pub fn slice(&mut self, x: Value, dim: usize, start: usize, limit: usize) -> Value {
        let whole = |limit: &usize| Slice { start: 0, limit: *limit, stride: 1 };
        let mut slices: Vec<Slice> = self.dims(x).iter().map(whole).collect();
        slices[dim] = Slice { start, limit, stride: 1 };
        self.add(Op::Slice(slices), &[x])
    }

    /// Combines dimensions to one element each; `first` is what it begins with.
    pub fn reduce(&mut self, by: Binary, x: Value, dims: &[usize], first: Literal) -> Value {
        let first = self.add(Op::Constant(first), &[]);
        self.add(Op::Reduce { by, dims: dims.to_vec() }, &[x, first])
    }

    /// `x · wᵀ` of `[n, k]` and `[m, k]`, in f32.
    pub fn matmul(&mut self, x: Value, w: Value) -> Value {
        let (contracting, batch) = ([vec![1], vec![1]], [vec![], vec![]]);
        self.add(Op::Dot(Dot { contracting, batch, dtype: DType::F32 }), &[x, w])
    }

    /// The module of these results; `aliases` tells which of them lie in which parameter.
    ///
    /// # Panics
    /// If they do not fit one another: a bug of the lowering.
    #[must_use]
    pub fn finish(mut self, results: &[(String, Value)], aliases: &[Alias]) -> Module {
        self.module.results = results.iter().map(|(name, Value(at))| (name.clone(), *at)).collect();
        self.module.aliases = aliases.to_vec();
        if let Err(why) = self.module.check() {
            panic!("{}: {why}", self.module.name);
        }
        self.module
    }
}
