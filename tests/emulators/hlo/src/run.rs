//! Instructions in their order, and how long each value is kept.
//!
//! A value that nobody needs any more is let go at once, or becomes what is made of it. A donated
//! parameter is its argument: what is written into it is written there, as long as nobody needs what was
//! there before. Next: `movement.rs`.

use std::borrow::Cow;
use std::rc::Rc;

use gimbal_neuron::hlo::{self, Alias, Error as ReadError, Instruction, Named, Op, Scatter, Shape};

use crate::buffer::{Buffer, Data};
use crate::exchange::Exchange;
use crate::movement::{self, Outside};
use crate::{math, product};

/// A module that can be run.
#[derive(Clone, Debug)]
pub struct Module {
    module: hlo::Module,
    /// Of each instruction: how often it is an operand or a result.
    uses: Vec<usize>,
    /// Of each parameter: the result that lies in it.
    alias: Vec<Option<usize>>,
}

/// What is given for a parameter.
#[derive(Debug)]
pub enum Argument<'a> {
    /// It is read.
    Shared(&'a Buffer),
    /// The result that lies in it takes its place.
    Donated(&'a mut Buffer),
}

/// Why a module was not run, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Arguments do not fit parameters.
    #[error("{0}")]
    Arguments(String),
    /// An index points outside of what it counts.
    #[error("instruction {instruction} ({opcode}): index {index} is not below {limit}")]
    Outside {
        /// Its place in the module.
        instruction: usize,
        /// What it is.
        opcode: &'static str,
        /// The index.
        index: i32,
        /// What it must be below.
        limit: usize,
    },
    /// Another rank ended early, or there is none.
    #[error("{0}")]
    Ranks(String),
}

impl Module {
    /// Reads a module's bytes.
    ///
    /// # Errors
    /// What is not known or does not fit, by name.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        hlo::Module::read(bytes).map(Self::new)
    }

    /// Prepares a module.
    #[must_use]
    pub fn new(module: hlo::Module) -> Self {
        let mut uses = vec![0; module.instructions().len()];
        for operand in module.instructions().iter().flat_map(|i| &i.operands) {
            uses[*operand] += 1;
        }
        for result in module.results() {
            uses[result.instruction] += 1;
        }
        let mut alias = vec![None; module.parameters().len()];
        for Alias { result, parameter } in module.aliases() {
            alias[*parameter] = Some(*result);
        }
        Self { module, uses, alias }
    }

    /// What it was made of.
    #[must_use]
    pub const fn module(&self) -> &hlo::Module {
        &self.module
    }

    /// What goes in, by number.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = Named<'_>> {
        self.module.parameters()
    }

    /// What comes out, in order.
    pub fn results(&self) -> impl ExactSizeIterator<Item = Named<'_>> {
        self.module.results()
    }

    /// Results that lie in parameters.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        self.module.aliases()
    }

    /// How many ranks run it together; 1 where none exchange.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.module.ranks()
    }

    /// Computes. Tells each result, and `None` for those that lie in an argument.
    ///
    /// # Errors
    /// Arguments do not fit, or an index points outside. Donated arguments may have been changed by then.
    pub fn run(&self, arguments: Vec<Argument<'_>>) -> Result<Vec<Option<Buffer>>, Error> {
        if self.ranks() != 1 {
            return Err(Error::Ranks(format!("it is for {} ranks", self.ranks())));
        }
        self.start(arguments, None)
    }

    /// As [`Module::run`], as one of several ranks, which all run at the same time.
    ///
    /// # Errors
    /// As of `run`, and where another rank ended by one.
    pub fn run_rank(
        &self,
        arguments: Vec<Argument<'_>>,
        exchange: &Exchange,
        rank: usize,
    ) -> Result<Vec<Option<Buffer>>, Error> {
        let (found, wanted) = (exchange.ranks(), self.ranks());
        if found != wanted || rank >= found {
            return Err(Error::Ranks(format!("rank {rank} of {found}; it is for {wanted}")));
        }
        // Lost by a panic, too.
        let mut leaving = Leaving { exchange, rank, is_done: false };
        let results = self.start(arguments, Some((exchange, rank)))?;
        leaving.is_done = true;
        Ok(results)
    }

    fn start(
        &self,
        arguments: Vec<Argument<'_>>,
        ranks: Option<(&Exchange, usize)>,
    ) -> Result<Vec<Option<Buffer>>, Error> {
        let (found, wanted) = (arguments.len(), self.module.parameters().len());
        if found != wanted {
            return Err(Error::Arguments(format!("{found} arguments for {wanted} parameters")));
        }
        let mut given = Vec::with_capacity(wanted);
        for ((argument, named), alias) in
            arguments.into_iter().zip(self.module.parameters()).zip(&self.alias)
        {
            let Named { name, shape, .. } = named;
            let (data, found) = match argument {
                Argument::Shared(buffer) => (Given::Shared(&buffer.data), &buffer.shape),
                Argument::Donated(Buffer { shape, data }) => (Given::Donated(data), &*shape),
            };
            if found != shape {
                return Err(Error::Arguments(format!("{name}: {found} is given, not {shape}")));
            }
            if alias.is_some() != matches!(data, Given::Donated(_)) {
                let what = if alias.is_some() { "a result lies" } else { "no result lies" };
                return Err(Error::Arguments(format!("{name}: {what} in it")));
            }
            given.push(data);
        }
        let mut running = Running {
            module: self,
            given,
            values: vec![None; self.uses.len()],
            left: self.uses.clone(),
            ranks,
        };
        for at in 0..self.uses.len() {
            running.step(at)?;
        }
        Ok(running.finish())
    }
}

/// Ends the others' waiting where a rank ends early.
struct Leaving<'a> {
    exchange: &'a Exchange,
    rank: usize,
    is_done: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.exchange.lose(&format!("rank {} ended early", self.rank));
        }
    }
}

enum Given<'a> {
    Shared(&'a Data),
    Donated(&'a mut Data),
}

/// Where a value is.
#[derive(Clone)]
enum Held {
    /// Made by an instruction.
    Made(Rc<Data>),
    /// What the argument of that number is now.
    Argument(usize),
}

struct Running<'a> {
    module: &'a Module,
    given: Vec<Given<'a>>,
    /// Of each instruction, while it is needed.
    values: Vec<Option<Held>>,
    /// How often each will be needed yet.
    left: Vec<usize>,
    ranks: Option<(&'a Exchange, usize)>,
}

impl Running<'_> {
    fn step(&mut self, at: usize) -> Result<(), Error> {
        let module = self.module;
        let instruction = &module.module.instructions()[at];
        // What nobody needs is not computed; ranks must exchange, though.
        let exchanges = matches!(instruction.op, Op::AllReduce { .. } | Op::AllGather { .. });
        let is_needed = self.left[at] > 0 || exchanges;
        let operands: Vec<Held> = instruction.operands.iter().map(|at| self.take(*at)).collect();
        if !is_needed {
            return Ok(());
        }
        let outside = |Outside { index, limit }| Error::Outside {
            instruction: at,
            opcode: instruction.op.opcode(),
            index,
            limit,
        };
        let made = match &instruction.op {
            Op::Parameter(number) => Held::Argument(*number),
            Op::Reshape(_) => operands.into_iter().next().expect("it has one operand"),
            Op::Scatter(scatter) => {
                self.scatter(scatter, instruction, operands).map_err(outside)?
            }
            Op::Gather(gather) => {
                let [x, at] = [0, 1].map(|i| (self.data(&operands[i]), self.shape(instruction, i)));
                let made = movement::gather(gather, x, at, &instruction.shape).map_err(outside)?;
                Held::Made(Rc::new(made))
            }
            _ if exchanges => self.exchange(instruction, &operands)?,
            _ => Held::Made(Rc::new(self.compute(instruction, operands))),
        };
        if self.left[at] > 0 {
            self.values[at] = Some(made);
        }
        Ok(())
    }

    /// An operand, let go where this is its last use.
    fn take(&mut self, at: usize) -> Held {
        self.left[at] -= 1;
        let value =
            if self.left[at] == 0 { self.values[at].take() } else { self.values[at].clone() };
        value.expect("operands come before what uses them, and are kept until then")
    }

    fn data<'s>(&'s self, held: &'s Held) -> &'s Data {
        match held {
            Held::Made(data) => data,
            Held::Argument(number) => match &self.given[*number] {
                Given::Shared(data) => data,
                Given::Donated(data) => data,
            },
        }
    }

    fn shape<'s>(&self, instruction: &Instruction, operand: usize) -> &'s Shape
    where
        Self: 's,
    {
        &self.module.module.instructions()[instruction.operands[operand]].shape
    }

    /// The data itself where nobody else has it.
    fn cow<'s>(&'s self, held: &'s mut Option<Held>) -> Cow<'s, Data> {
        match held.take() {
            Some(Held::Made(data)) => match Rc::try_unwrap(data) {
                Ok(data) => Cow::Owned(data),
                Err(data) => {
                    *held = Some(Held::Made(data));
                    Cow::Borrowed(self.data(held.as_ref().expect("it was put there")))
                }
            },
            other => {
                *held = other;
                Cow::Borrowed(self.data(held.as_ref().expect("operands are there")))
            }
        }
    }

    fn compute(&self, instruction: &Instruction, operands: Vec<Held>) -> Data {
        let made = &instruction.shape;
        let mut held: Vec<Option<Held>> = operands.into_iter().map(Some).collect();
        let shape = |i: usize| self.shape(instruction, i);
        match (&instruction.op, held.as_mut_slice()) {
            (Op::Constant(literal), _) => Data::literal(literal),
            (Op::Iota { shape, dim }, _) => movement::iota(shape, *dim),
            (Op::Unary(unary), [x]) => math::unary(*unary, self.cow(x)),
            (Op::Convert(dtype), [x]) => movement::convert(&self.cow(x), *dtype),
            (Op::Broadcast { dims, map }, [x]) => {
                movement::broadcast(&self.cow(x), shape(0), dims, map)
            }
            (Op::Transpose(order), [x]) => movement::transpose(&self.cow(x), shape(0), order),
            (Op::Slice(slices), [x]) => movement::slice(&self.cow(x), shape(0), slices, made),
            (Op::Concatenate(dim), parts) => {
                let data = parts.iter().flatten().map(|part| self.data(part));
                let parts: Vec<_> = data.enumerate().map(|(i, data)| (data, shape(i))).collect();
                movement::concatenate(&parts, *dim, made)
            }
            (Op::Binary(binary), [x, y]) => math::binary(*binary, self.cow(x), self.cow(y)),
            (Op::Compare(direction), [x, y]) => {
                math::compare(*direction, &self.cow(x), &self.cow(y))
            }
            (Op::Select, [is_first, x, y]) => {
                math::select(&self.cow(is_first), self.cow(x), &self.cow(y))
            }
            (Op::Dot(dot), [x, y]) => {
                product::dot(dot, (&self.cow(x), shape(0)), (&self.cow(y), shape(1)))
            }
            (Op::Reduce { by, dims }, [x, first]) => {
                math::reduce(*by, &self.cow(x), shape(0), dims, &self.cow(first))
            }
            (op, _) => unreachable!("{} is computed elsewhere", op.opcode()),
        }
    }

    /// In place where nobody needs what was there before.
    fn scatter(
        &mut self,
        scatter: &Scatter,
        instruction: &Instruction,
        operands: Vec<Held>,
    ) -> Result<Held, Outside> {
        let [x, at, updates]: [Held; 3] =
            operands.try_into().unwrap_or_else(|_| unreachable!("it has three operands"));
        let shapes = [0, 1, 2].map(|i| self.shape(instruction, i));
        let write = |running: &Self, x: &mut Data| {
            let (at, updates) = (running.data(&at), running.data(&updates));
            movement::scatter(scatter, (x, shapes[0]), (at, shapes[1]), (updates, shapes[2]))
        };
        if let Held::Argument(number) = x
            && !self.is_needed(number)
            && ![&at, &updates].iter().any(|held| matches!(held, Held::Argument(n) if *n == number))
        {
            // Nothing reads the argument meanwhile: it is taken out, written, and put back.
            if let Given::Donated(data) = &mut self.given[number] {
                let mut taken = std::mem::replace(&mut **data, Data::Pred(Vec::new()));
                let written = write(self, &mut taken);
                if let Given::Donated(data) = &mut self.given[number] {
                    **data = taken;
                }
                return written.map(|()| Held::Argument(number));
            }
        }
        let mut made = match x {
            Held::Made(data) => Rc::try_unwrap(data).unwrap_or_else(|data| math::copy(&data)),
            argument @ Held::Argument(_) => math::copy(self.data(&argument)),
        };
        write(self, &mut made)?;
        Ok(Held::Made(Rc::new(made)))
    }

    /// True if some value yet needed is what the argument is now.
    fn is_needed(&self, number: usize) -> bool {
        let is_it = |held: &Held| matches!(held, Held::Argument(n) if *n == number);
        self.values.iter().flatten().any(is_it)
    }

    fn exchange(&self, instruction: &Instruction, operands: &[Held]) -> Result<Held, Error> {
        let mine = math::copy(self.data(&operands[0]));
        let all = match self.ranks {
            Some((exchange, rank)) => exchange.all(rank, mine).map_err(Error::Ranks)?,
            None => vec![mine.into()],
        };
        let made = match &instruction.op {
            Op::AllReduce { by, .. } => math::across(*by, &all),
            Op::AllGather { dim, .. } => {
                let shape = self.shape(instruction, 0);
                let parts: Vec<_> = all.iter().map(|data| (data.as_ref(), shape)).collect();
                movement::concatenate(&parts, *dim, &instruction.shape)
            }
            op => unreachable!("{} exchanges nothing", op.opcode()),
        };
        Ok(Held::Made(Rc::new(made)))
    }

    /// Results; those that lie in arguments are put there where they are not yet.
    fn finish(mut self) -> Vec<Option<Buffer>> {
        let module = self.module;
        let found: Vec<Held> = module
            .module
            .results()
            .map(|named| named.instruction)
            .map(|at| self.take(at))
            .collect();
        let in_argument = |result: usize| module.alias.iter().position(|a| *a == Some(result));
        // All are read before the first is put into an argument.
        let mut results = Vec::new();
        let mut moved = Vec::new();
        for (i, (held, named)) in found.into_iter().zip(module.module.results()).enumerate() {
            let target = in_argument(i);
            let is_there = matches!((&held, target), (Held::Argument(n), Some(t)) if *n == t);
            if is_there {
                results.push(None);
                continue;
            }
            let mut held = Some(held);
            let data = self.cow(&mut held).into_owned();
            match target {
                Some(target) => {
                    moved.push((target, data));
                    results.push(None);
                }
                None => results.push(Some(Buffer { shape: named.shape.clone(), data })),
            }
        }
        for (target, new) in moved {
            if let Given::Donated(data) = &mut self.given[target] {
                **data = new;
            }
        }
        results
    }
}
