//! A computation: instructions in order, what goes in and what comes out.
//!
//! Next: `builder.rs`.

use super::op::Op;
use super::shape::Shape;

/// A computation of static shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its name.
    pub(super) name: String,
    /// In order: operands come before what uses them.
    pub(super) instructions: Vec<Instruction>,
    /// By number: the name, and the instruction.
    pub(super) parameters: Vec<(String, usize)>,
    /// In order: the name, and the instruction.
    pub(super) results: Vec<(String, usize)>,
    pub(super) aliases: Vec<Alias>,
}

/// An operation, what it works on, and what it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What is done.
    pub op: Op,
    /// Earlier instructions.
    pub operands: Vec<usize>,
    /// What is made.
    pub shape: Shape,
}

/// A parameter or a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named<'a> {
    /// The name by which it is given to the program, or taken from it.
    pub name: &'a str,
    /// Its type and sizes.
    pub shape: &'a Shape,
    /// The instruction that is it.
    pub instruction: usize,
}

/// A result that lies where a parameter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Which result.
    pub result: usize,
    /// Which parameter.
    pub parameter: usize,
}

impl Module {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In order: operands come before what uses them.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// What goes in, by number.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = Named<'_>> {
        self.parameters.iter().map(|named| self.named(named))
    }

    /// What comes out, in order.
    pub fn results(&self) -> impl ExactSizeIterator<Item = Named<'_>> {
        self.results.iter().map(|named| self.named(named))
    }

    /// Results that lie where parameters lie: each at most one, and no two in the same.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// How many ranks run it together; 1 where none exchange.
    #[must_use]
    pub fn ranks(&self) -> usize {
        let ranks = |instruction: &Instruction| match instruction.op {
            Op::AllReduce { ranks, .. } | Op::AllGather { ranks, .. } => Some(ranks),
            _ => None,
        };
        self.instructions.iter().find_map(ranks).unwrap_or(1)
    }

    fn named<'a>(&'a self, (name, instruction): &'a (String, usize)) -> Named<'a> {
        let shape = &self.instructions[*instruction].shape;
        Named { name, shape, instruction: *instruction }
    }

    /// Says why names, results or aliases do not fit one another.
    pub(super) fn check(&self) -> Result<(), String> {
        for (what, list) in [("parameter", &self.parameters), ("result", &self.results)] {
            let mut names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("two {what}s have the name {:?}", pair[0]));
            }
            let is_plain = |name: &&&str| !name.is_empty() && !name.contains(',');
            if let Some(name) = names.iter().find(|name| !is_plain(name)) {
                return Err(format!("a {what} has the name {name:?}"));
            }
        }
        for (i, Alias { result, parameter }) in self.aliases.iter().enumerate() {
            let (Some((_, from)), Some((name, to))) =
                (self.results.get(*result), self.parameters.get(*parameter))
            else {
                return Err(format!("result {result} in parameter {parameter}: there are none"));
            };
            let (from, to) = (&self.instructions[*from].shape, &self.instructions[*to].shape);
            if from != to {
                return Err(format!("result {result}, {from}, does not fit {name}, {to}"));
            }
            let is_twice = |other: &Alias| other.result == *result || other.parameter == *parameter;
            if self.aliases[..i].iter().any(is_twice) {
                return Err(format!("result {result} or {name} lies in two places"));
            }
        }
        let mut ranks = self.instructions.iter().filter_map(|instruction| match instruction.op {
            Op::AllReduce { ranks, .. } | Op::AllGather { ranks, .. } => Some(ranks),
            _ => None,
        });
        let all = self.ranks();
        match ranks.find(|ranks| *ranks != all) {
            Some(other) => Err(format!("{all} ranks exchange here and {other} there")),
            None => Ok(()),
        }
    }
}
