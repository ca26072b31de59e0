//! Statements → code: names become places, forms become operations.

use std::collections::HashMap;
use std::mem::take;

use super::error::{PtxError, error};
use super::forms::{self, Comparison, Shape};
use super::registers::Registers;
use super::syntax::{File, Instruction, KernelText, ModuleText, Operand, Statement, Variable};

use crate::exec::{Address, Code, Constant, Op, Place, Special, Where};
use crate::kernel::{Kernel, Param};

mod memory;

/// Where a name leads.
#[derive(Clone, Copy)]
enum Meaning {
    Register(File, Place),
    /// An address in shared memory.
    Shared(usize),
}

/// A kernel while it is assembled.
struct Assembler<'a> {
    params: Vec<Param>,
    /// Names by scope, the innermost last.
    scopes: Vec<HashMap<String, Meaning>>,
    files: [usize; 3],
    constants: Vec<Constant>,
    specials: Vec<Special>,
    shared: usize,
    labels: HashMap<&'a str, usize>,
    code: Vec<Code>,
    forms: Vec<String>,
}

pub(super) fn kernel(text: &KernelText<'_>, module: &ModuleText<'_>) -> Result<Kernel, PtxError> {
    let mut assembler = Assembler {
        params: params(&text.params),
        scopes: vec![HashMap::new()],
        files: [0; 3],
        constants: Vec::new(),
        specials: Vec::new(),
        shared: 0,
        labels: HashMap::new(),
        code: Vec::new(),
        forms: Vec::new(),
    };
    // What a launch asks for comes last: variables without a size after all others.
    let is_dynamic = |variable: &&Variable<'_>| variable.size == 0;
    let of_kernel = text.statements.iter().filter_map(|statement| match statement {
        Statement::Shared(variable) => Some(variable),
        _ => None,
    });
    let all: Vec<&Variable<'_>> = module.shared.iter().chain(of_kernel).collect();
    all.iter().filter(|v| !is_dynamic(v)).for_each(|variable| assembler.shared(variable));
    all.iter().filter(|v| is_dynamic(v)).for_each(|variable| assembler.shared(variable));
    assembler.find_labels(&text.statements);
    for statement in &text.statements {
        assembler.statement(statement)?;
    }
    assembler.code.push(Code { op: Op::Return, guard: None, line: 0 });
    assembler.forms.sort();
    assembler.forms.dedup();
    assembler.share_places();
    Ok(Kernel {
        name: text.name.to_owned(),
        params: assembler.params,
        shared: assembler.shared,
        threads_max: text.threads_max,
        forms: assembler.forms,
        code: assembler.code,
        files: assembler.files,
        constants: assembler.constants,
        specials: assembler.specials,
    })
}

/// Each at a multiple of its alignment.
fn params(variables: &[Variable<'_>]) -> Vec<Param> {
    let mut end = 0_usize;
    let mut params = Vec::new();
    for Variable { name, align, size } in variables {
        let offset = end.next_multiple_of(*align);
        params.push(Param { name: (*name).to_owned(), offset, size: *size });
        end = offset + size;
    }
    params
}

impl<'a> Assembler<'a> {
    fn shared(&mut self, variable: &Variable<'_>) {
        let start = self.shared.next_multiple_of(variable.align.max(1));
        self.scopes[0].insert(variable.name.to_owned(), Meaning::Shared(start));
        self.shared = start + variable.size;
    }

    /// Registers whose values are never needed together get one place.
    fn share_places(&mut self) {
        let constants = self.constants.iter().map(Constant::place);
        let specials = self.specials.iter().map(|special| (File::Word, special.place));
        let fixed: Vec<_> = constants.chain(specials).collect();
        let mut registers = Registers { code: take(&mut self.code), files: self.files };
        let place = registers.share(&fixed);
        for constant in &mut self.constants {
            let (file, old) = constant.place();
            constant.put_at(place(file, old));
        }
        for special in &mut self.specials {
            special.place = place(File::Word, special.place);
        }
        (self.code, self.files) = (registers.code, registers.files);
    }

    /// Every instruction is one piece of code.
    fn find_labels(&mut self, statements: &[Statement<'a>]) {
        let mut at = 0;
        for statement in statements {
            match statement {
                Statement::Label(name) => drop(self.labels.insert(name, at)),
                Statement::Instruction(_) => at += 1,
                _ => {}
            }
        }
    }

    fn statement(&mut self, statement: &Statement<'a>) -> Result<(), PtxError> {
        match statement {
            Statement::Open => self.scopes.push(HashMap::new()),
            Statement::Close => drop(self.scopes.pop()),
            Statement::Registers { file, name, count: None } => self.declare(name, *file),
            Statement::Registers { file, name, count: Some(count) } => {
                (0..*count).for_each(|i| self.declare(&format!("{name}{i}"), *file));
            }
            Statement::Shared(_) | Statement::Label(_) => {}
            Statement::Instruction(instruction) => {
                let line = instruction.line;
                let guard = match instruction.guard {
                    Some((name, is_not)) => Some((self.predicate(name, line)?, is_not)),
                    None => None,
                };
                let op = self.op(instruction)?;
                self.forms.push(instruction.opcode.to_owned());
                self.code.push(Code { op, guard, line });
            }
        }
        Ok(())
    }

    fn declare(&mut self, name: &str, file: File) {
        let place = self.place(file);
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), Meaning::Register(file, place));
        }
    }

    fn place(&mut self, file: File) -> Place {
        let size = &mut self.files[file as usize];
        *size += 1;
        Place::try_from(*size - 1).unwrap_or(Place::MAX)
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name)).copied()
    }

    fn is_double(&self, name: &str) -> bool {
        matches!(self.meaning(name), Some(Meaning::Register(File::Double, _)))
    }

    /// A register of that file, or a place that holds the value.
    fn value(&mut self, operand: &Operand<'_>, file: File, line: u32) -> Result<Place, PtxError> {
        match operand {
            Operand::Bits(bits) => Ok(self.constant(*bits, file)),
            Operand::Name(name) => match self.meaning(name) {
                Some(Meaning::Register(found, place)) if found == file => Ok(place),
                Some(Meaning::Shared(at)) => Ok(self.constant(at as u64, file)),
                None if name.starts_with('%') => self.special(name, line),
                _ => Err(error(line, &format!("{name} is no register of this kind"))),
            },
            other => Err(error(line, &format!("the operand {other:?}"))),
        }
    }

    fn constant(&mut self, bits: u64, file: File) -> Place {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a register of 32 bits has the low ones"
        )]
        let same = |constant: &Constant| match (*constant, file) {
            (Constant::Word(place, value), File::Word) if value == bits as u32 => Some(place),
            (Constant::Double(place, value), File::Double) if value == bits => Some(place),
            _ => None,
        };
        if let Some(place) = self.constants.iter().find_map(same) {
            return place;
        }
        let place = self.place(file);
        #[expect(clippy::cast_possible_truncation, reason = "as above")]
        self.constants.push(match file {
            File::Double => Constant::Double(place, bits),
            _ => Constant::Word(place, bits as u32),
        });
        place
    }

    fn special(&mut self, name: &str, line: u32) -> Result<Place, PtxError> {
        let axis = match name.rsplit_once('.') {
            Some((_, "x")) => 0,
            Some((_, "y")) => 1,
            Some((_, "z")) => 2,
            _ => 0,
        };
        let what = match name.split_once('.').map_or(name, |(name, _)| name) {
            "%tid" => Where::Thread(axis),
            "%ntid" => Where::Threads(axis),
            "%ctaid" => Where::Block(axis),
            "%nctaid" => Where::Blocks(axis),
            "%laneid" => Where::Lane,
            "%warpid" => Where::Warp,
            _ => return Err(error(line, &format!("the register {name} is not declared"))),
        };
        if let Some(known) = self.specials.iter().find(|special| special.what == what) {
            return Ok(known.place);
        }
        let place = self.place(File::Word);
        self.specials.push(Special { place, what });
        Ok(place)
    }

    fn predicate(&mut self, name: &str, line: u32) -> Result<Place, PtxError> {
        match self.meaning(name) {
            Some(Meaning::Register(File::Predicate, place)) => Ok(place),
            _ => Err(error(line, &format!("{name} is no predicate"))),
        }
    }

    fn op(&mut self, instruction: &Instruction<'a>) -> Result<Op, PtxError> {
        let Instruction { line, opcode, .. } = *instruction;
        let operands = &instruction.operands;
        if let [Operand::Vector(_), _] | [_, Operand::Vector(_)] = &operands[..]
            && opcode.starts_with("mov.")
        {
            return self.pack(instruction);
        }
        if let Some(shape) = forms::shape(opcode) {
            return self.compute(shape, instruction);
        }
        let parts: Vec<&str> = opcode.split('.').collect();
        match parts[..] {
            ["setp", relation, kind] => self.compare(relation, kind, None, instruction),
            ["setp", relation, logic, kind] => {
                self.compare(relation, kind, Some(logic), instruction)
            }
            ["selp", kind] => self.select(kind, instruction),
            [name @ ("and" | "or" | "xor" | "not" | "mov"), "pred"] => {
                self.logic(name, instruction)
            }
            ["bra"] | ["bra", "uni"] => match operands[..] {
                [Operand::Name(label)] => match self.labels.get(label) {
                    Some(at) => Ok(Op::Branch(*at)),
                    None => Err(error(line, &format!("the label {label} is nowhere"))),
                },
                _ => Err(error(line, "a branch to what is no label")),
            },
            ["ret"] | ["exit"] => Ok(Op::Return),
            ["bar", "sync"] | ["barrier", "sync"] | ["barrier", "sync", "aligned"] => {
                match operands[..] {
                    [Operand::Bits(0)] => Ok(Op::Barrier),
                    _ => Err(error(line, "a barrier other than the whole block's")),
                }
            }
            ["bar", "warp", "sync"] => {
                Ok(Op::WarpBarrier(self.value(self.operand(instruction, 0)?, File::Word, line)?))
            }
            ["membar", "gl" | "cta" | "sys"] => Ok(Op::Fence),
            _ => self.memory(&parts, instruction),
        }
    }

    fn operand<'i>(
        &self,
        instruction: &'i Instruction<'a>,
        index: usize,
    ) -> Result<&'i Operand<'a>, PtxError> {
        let missing =
            || error(instruction.line, &format!("{} lacks an operand", instruction.opcode));
        instruction.operands.get(index).ok_or_else(missing)
    }

    /// Operands from `first` on, as many as there are files.
    fn values<const N: usize>(
        &mut self,
        instruction: &Instruction<'a>,
        first: usize,
        files: [File; N],
    ) -> Result<[Place; N], PtxError> {
        if instruction.operands.len() != first + N {
            let what = format!("{} takes {} operands", instruction.opcode, first + N);
            return Err(error(instruction.line, &what));
        }
        let mut places = [0; N];
        for (i, (place, file)) in places.iter_mut().zip(files).enumerate() {
            *place = self.value(&instruction.operands[first + i], file, instruction.line)?;
        }
        Ok(places)
    }

    fn compute(&mut self, shape: Shape, text: &Instruction<'a>) -> Result<Op, PtxError> {
        use File::{Double, Word};
        let to = |this: &mut Self, file| this.value(this.operand(text, 0)?, file, text.line);
        Ok(match shape {
            Shape::MoveWord => Op::MoveWord(to(self, Word)?, self.values(text, 1, [Word])?[0]),
            Shape::MoveDouble => {
                Op::MoveDouble(to(self, Double)?, self.values(text, 1, [Double])?[0])
            }
            Shape::Word1(f) => Op::Word1(f, to(self, Word)?, self.values(text, 1, [Word])?[0]),
            Shape::Word2(f) => Op::Word2(f, to(self, Word)?, self.values(text, 1, [Word; 2])?),
            Shape::Word3(f) => Op::Word3(f, to(self, Word)?, self.values(text, 1, [Word; 3])?),
            Shape::Word4(f) => Op::Word4(f, to(self, Word)?, self.values(text, 1, [Word; 4])?),
            Shape::Double1(f) => {
                Op::Double1(f, to(self, Double)?, self.values(text, 1, [Double])?[0])
            }
            Shape::Double2(f) => {
                Op::Double2(f, to(self, Double)?, self.values(text, 1, [Double; 2])?)
            }
            Shape::Double3(f) => {
                Op::Double3(f, to(self, Double)?, self.values(text, 1, [Double; 3])?)
            }
            Shape::DoubleShift(f) => {
                Op::DoubleShift(f, to(self, Double)?, self.values(text, 1, [Double, Word])?)
            }
            Shape::Widen1(f) => Op::Widen1(f, to(self, Double)?, self.values(text, 1, [Word])?[0]),
            Shape::Widen2(f) => Op::Widen2(f, to(self, Double)?, self.values(text, 1, [Word; 2])?),
            Shape::Widen3(f) => {
                Op::Widen3(f, to(self, Double)?, self.values(text, 1, [Word, Word, Double])?)
            }
            Shape::DoubleInsert(f) => {
                let from = self.values(text, 1, [Double, Double, Word, Word])?;
                Op::DoubleInsert(f, to(self, Double)?, from)
            }
            Shape::Narrow(f) => Op::Narrow(f, to(self, Word)?, self.values(text, 1, [Double])?[0]),
        })
    }

    fn compare(
        &mut self,
        relation: &str,
        kind: &str,
        logic: Option<&str>,
        text: &Instruction<'a>,
    ) -> Result<Op, PtxError> {
        let unknown = || error(text.line, &format!("{} is not known", text.opcode));
        let compare = forms::comparison(relation, kind).ok_or_else(unknown)?;
        let to = self.value(self.operand(text, 0)?, File::Predicate, text.line)?;
        let file = match compare {
            Comparison::Words(_) => File::Word,
            Comparison::Doubles(_) => File::Double,
        };
        let (places, also) = match logic {
            None => (self.values(text, 1, [file; 2])?, None),
            Some(logic) => {
                let [a, b, p] = self.values(text, 1, [file, file, File::Predicate])?;
                ([a, b], Some((forms::logic(logic).ok_or_else(unknown)?, p)))
            }
        };
        Ok(match compare {
            Comparison::Words(f) => Op::CompareWords(f, to, places, also),
            Comparison::Doubles(f) => Op::CompareDoubles(f, to, places, also),
        })
    }

    fn select(&mut self, kind: &str, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let file = match super::syntax::bytes_of(kind) {
            Some(8) => File::Double,
            Some(_) => File::Word,
            None => return Err(error(text.line, &format!("{} is not known", text.opcode))),
        };
        let to = self.value(self.operand(text, 0)?, file, text.line)?;
        let from = self.values(text, 1, [file, file, File::Predicate])?;
        Ok(if file == File::Double { Op::SelectDouble(to, from) } else { Op::SelectWord(to, from) })
    }

    fn logic(&mut self, name: &str, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let to = self.value(self.operand(text, 0)?, File::Predicate, text.line)?;
        if let Some(logic) = forms::logic(name) {
            return Ok(Op::Logic(logic, to, self.values(text, 1, [File::Predicate; 2])?));
        }
        let [from] = self.values(text, 1, [File::Predicate])?;
        Ok(match name {
            "not" => Op::Logic(|a, _| !a, to, [from; 2]),
            _ => Op::Logic(|a, _| a, to, [from; 2]),
        })
    }

    /// `mov` of a vector of two to a register, or back.
    fn pack(&mut self, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let line = text.line;
        let is_double = text.opcode.ends_with("64");
        let whole = if is_double { File::Double } else { File::Word };
        let unknown = || error(line, &format!("{} of such a vector", text.opcode));
        match &text.operands[..] {
            [to, Operand::Vector(parts)] => {
                let [low, high] = &parts[..] else { return Err(unknown()) };
                let to = self.value(to, whole, line)?;
                let low = self.value(low, File::Word, line)?;
                let parts = [low, self.value(high, File::Word, line)?];
                Ok(if is_double { Op::PackDouble(to, parts) } else { Op::PackWord(to, parts) })
            }
            [Operand::Vector(parts), from] => {
                let [low, high] = &parts[..] else { return Err(unknown()) };
                let from = self.value(from, whole, line)?;
                let low = self.value(low, File::Word, line)?;
                let parts = [low, self.value(high, File::Word, line)?];
                Ok(if is_double {
                    Op::UnpackDouble(parts, from)
                } else {
                    Op::UnpackWord(parts, from)
                })
            }
            _ => Err(unknown()),
        }
    }

    fn address(&mut self, operand: &Operand<'_>, line: u32) -> Result<Address, PtxError> {
        let Operand::Address { base, offset } = operand else {
            return Err(error(line, "an operand that is no address"));
        };
        let offset = *offset;
        match self.meaning(base) {
            Some(Meaning::Register(File::Double, place)) => {
                Ok(Address { place, is_double: true, offset })
            }
            Some(Meaning::Register(File::Word, place)) => {
                Ok(Address { place, is_double: false, offset })
            }
            Some(Meaning::Shared(at)) => {
                let place = self.constant(at as u64, File::Word);
                Ok(Address { place, is_double: false, offset })
            }
            _ => Err(error(line, &format!("the address {base}"))),
        }
    }
}
