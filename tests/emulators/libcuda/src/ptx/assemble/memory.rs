//! Forms that touch memory or other lanes.

use super::{Assembler, File, Instruction, Op, Operand, Place, PtxError, error};
use crate::exec::{Atomic, Constant, Mma, Shuffle, Space, Vote, Width};
use crate::ptx::syntax::bytes_of;

impl<'a> Assembler<'a> {
    pub(super) fn memory(
        &mut self,
        parts: &[&str],
        text: &Instruction<'a>,
    ) -> Result<Op, PtxError> {
        let unknown = || error(text.line, &format!("{} is not known", text.opcode));
        match *parts {
            ["ld", "param", kind] => self.param(width(kind).ok_or_else(unknown)?, text),
            ["ld" | "st", space, ref rest @ ..] => {
                let space = space_of(space).ok_or_else(unknown)?;
                self.access(parts[0] == "ld", space, rest, text)
            }
            ["atom" | "red", space, ref rest @ ..] => {
                let space = space_of(space).ok_or_else(unknown)?;
                self.atomic(parts[0] == "atom", space, rest, text)
            }
            ["shfl", "sync", mode, "b32"] => self.shuffle(mode, text),
            ["vote", "sync", mode, kind] => self.vote(mode, kind, text),
            ["activemask", "b32"] => {
                Ok(Op::ActiveMask(self.value(self.operand(text, 0)?, File::Word, text.line)?))
            }
            ["cp", "async", "ca" | "cg", "shared", "global", ..] => self.copy(text),
            ["cp", "async", "commit_group"] => Ok(Op::Commit),
            ["cp", "async", "wait_all"] => Ok(Op::Wait(0)),
            ["cp", "async", "wait_group"] => match self.operand(text, 0)? {
                Operand::Bits(left) => Ok(Op::Wait(usize::try_from(*left).map_err(|_| unknown())?)),
                _ => Err(unknown()),
            },
            ["ldmatrix", "sync", "aligned", "m8n8", ref rest @ ..] => self.matrix(rest, text),
            ["mma", "sync", "aligned", shape, "row", "col", "f32", kind, same, "f32"]
                if kind == same =>
            {
                let k = match shape {
                    "m16n8k16" => 16,
                    "m16n8k8" => 8,
                    _ => return Err(unknown()),
                };
                let is_bf16 = match kind {
                    "bf16" => true,
                    "f16" => false,
                    _ => return Err(unknown()),
                };
                self.mma(Mma { k, is_bf16 }, text)
            }
            _ => Err(unknown()),
        }
    }

    /// A parameter is the same in all lanes: a constant of each launch.
    fn param(&mut self, width: Width, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let line = text.line;
        let file = self.file_of(self.operand(text, 0)?, width);
        let to = self.value(self.operand(text, 0)?, file, line)?;
        let Operand::Address { base, offset } = *self.operand(text, 1)? else {
            return Err(error(line, "a parameter without a name"));
        };
        let param = self.params.iter().find(|param| param.name == *base);
        let param = param.ok_or_else(|| error(line, &format!("the parameter {base}")))?;
        let start = usize::try_from(offset).ok().filter(|start| start + width.bytes <= param.size);
        let offset = param.offset + start.ok_or_else(|| error(line, "outside of the parameter"))?;
        let place = self.place(file);
        let (is_double, is_signed) = (file == File::Double, width.is_signed);
        let size = width.bytes;
        self.constants.push(Constant::Param { place, is_double, offset, size, is_signed });
        Ok(match is_double {
            true => Op::MoveDouble(to, place),
            false => Op::MoveWord(to, place),
        })
    }

    fn access(
        &mut self,
        is_load: bool,
        space: Space,
        rest: &[&str],
        text: &Instruction<'a>,
    ) -> Result<Op, PtxError> {
        let unknown = || error(text.line, &format!("{} is not known", text.opcode));
        let rest = rest.strip_prefix(&["nc"]).unwrap_or(rest);
        let (count, kind) = match *rest {
            [kind] => (1, kind),
            ["v2", kind] => (2, kind),
            ["v4", kind] => (4, kind),
            _ => return Err(unknown()),
        };
        let width = width(kind).ok_or_else(unknown)?;
        let (data, address) = if is_load { (0, 1) } else { (1, 0) };
        let address = self.address(self.operand(text, address)?, text.line)?;
        let file = self.file_of(self.operand(text, data)?, width);
        let width = Width { is_double: file == File::Double, ..width };
        let places = self.vector(self.operand(text, data)?, file, text.line)?;
        match places.len() == count {
            true if is_load => Ok(Op::Load(space, width, places, address)),
            true => Ok(Op::Store(space, width, places, address)),
            false => {
                Err(error(text.line, &format!("{} of {} registers", text.opcode, places.len())))
            }
        }
    }

    /// The file of a register, which may be wider than the type; of a number that of the type.
    fn file_of(&self, operand: &Operand<'a>, width: Width) -> File {
        let first = match operand {
            Operand::Vector(parts) => parts.first(),
            one => Some(one),
        };
        match first {
            Some(Operand::Name(name)) if self.is_double(name) => File::Double,
            Some(Operand::Name(_)) => File::Word,
            _ if width.is_double => File::Double,
            _ => File::Word,
        }
    }

    /// The registers of `{a, b}`, or of one without braces.
    fn vector(
        &mut self,
        operand: &Operand<'a>,
        file: File,
        line: u32,
    ) -> Result<Vec<Place>, PtxError> {
        match operand {
            Operand::Vector(parts) => parts.iter().map(|p| self.value(p, file, line)).collect(),
            one => Ok(vec![self.value(one, file, line)?]),
        }
    }

    fn atomic(
        &mut self,
        tells: bool,
        space: Space,
        rest: &[&str],
        text: &Instruction<'a>,
    ) -> Result<Op, PtxError> {
        let unknown = || error(text.line, &format!("{} is not known", text.opcode));
        let &[name, kind] = rest else { return Err(unknown()) };
        let change = change(name, kind).ok_or_else(unknown)?;
        let width = width(kind).ok_or_else(unknown)?;
        let file = if width.is_double { File::Double } else { File::Word };
        let first = usize::from(tells);
        let to = match tells {
            true => Some(self.value(self.operand(text, 0)?, file, text.line)?),
            false => None,
        };
        let address = self.address(self.operand(text, first)?, text.line)?;
        let [by] = self.values(text, first + 1, [file])?;
        Ok(Op::Atomic(Atomic { space, bytes: width.bytes, change }, to, address, by))
    }

    fn shuffle(&mut self, mode: &str, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let mode = match mode {
            "up" => Shuffle::Up,
            "down" => Shuffle::Down,
            "bfly" => Shuffle::Butterfly,
            "idx" => Shuffle::Index,
            _ => return Err(error(text.line, &format!("{} is not known", text.opcode))),
        };
        let (to, in_range) = match self.operand(text, 0)? {
            Operand::Pair(to, p) => (
                Operand::Name(to),
                Some(self.value(&Operand::Name(p), File::Predicate, text.line)?),
            ),
            one => (one.clone(), None),
        };
        let to = self.value(&to, File::Word, text.line)?;
        let from = self.values(text, 1, [File::Word; 4])?;
        Ok(Op::Shuffle(mode, to, in_range, from))
    }

    fn vote(&mut self, mode: &str, kind: &str, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let (mode, file) = match (mode, kind) {
            ("all", "pred") => (Vote::All, File::Predicate),
            ("any", "pred") => (Vote::Any, File::Predicate),
            ("ballot", "b32") => (Vote::Ballot, File::Word),
            _ => return Err(error(text.line, &format!("{} is not known", text.opcode))),
        };
        let to = self.value(self.operand(text, 0)?, file, text.line)?;
        let [predicate, mask] = self.values(text, 1, [File::Predicate, File::Word])?;
        Ok(Op::Vote(mode, to, predicate, mask))
    }

    fn copy(&mut self, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let to = self.address(self.operand(text, 0)?, text.line)?;
        let from = self.address(self.operand(text, 1)?, text.line)?;
        let bytes = match self.operand(text, 2)? {
            Operand::Bits(4) => 4,
            Operand::Bits(8) => 8,
            Operand::Bits(16) => 16,
            _ => return Err(error(text.line, "a copy of other than 4, 8 or 16 bytes")),
        };
        let read = match text.operands.len() {
            3 => None,
            _ => Some(self.values(text, 3, [File::Word])?[0]),
        };
        Ok(Op::CopyAsync(to, from, bytes, read))
    }

    fn matrix(&mut self, rest: &[&str], text: &Instruction<'a>) -> Result<Op, PtxError> {
        let (count, is_transposed) = match *rest {
            ["x1", "shared", "b16"] => (1, false),
            ["x2", "shared", "b16"] => (2, false),
            ["x4", "shared", "b16"] => (4, false),
            ["x1", "trans", "shared", "b16"] => (1, true),
            ["x2", "trans", "shared", "b16"] => (2, true),
            ["x4", "trans", "shared", "b16"] => (4, true),
            _ => return Err(error(text.line, &format!("{} is not known", text.opcode))),
        };
        let to = self.vector(self.operand(text, 0)?, File::Word, text.line)?;
        if to.len() != count {
            return Err(error(text.line, &format!("{} to {} registers", text.opcode, to.len())));
        }
        let from = self.address(self.operand(text, 1)?, text.line)?;
        Ok(Op::LoadMatrix { is_transposed, to, from })
    }

    fn mma(&mut self, mma: Mma, text: &Instruction<'a>) -> Result<Op, PtxError> {
        let wrong = || error(text.line, &format!("other registers than {} takes", text.opcode));
        let to = self.vector(self.operand(text, 0)?, File::Word, text.line)?;
        let to = <[Place; 4]>::try_from(to).map_err(|_| wrong())?;
        let mut from = Vec::new();
        // A has 16 · k halves, B has 8 · k, of which each lane holds two to a register.
        for (index, count) in [(1, mma.k / 4), (2, mma.k / 8), (3, 4)] {
            let places = self.vector(self.operand(text, index)?, File::Word, text.line)?;
            if places.len() != count {
                return Err(wrong());
            }
            from.extend(places);
        }
        Ok(Op::Mma(mma, to, from))
    }
}

fn space_of(name: &str) -> Option<Space> {
    match name {
        "global" => Some(Space::Global),
        "shared" => Some(Space::Shared),
        _ => None,
    }
}

fn width(kind: &str) -> Option<Width> {
    let bytes = bytes_of(kind)?;
    Some(Width { bytes, is_signed: kind.starts_with('s'), is_double: bytes == 8 })
}

/// What an atomic form makes of the value there and the operand.
fn change(name: &str, kind: &str) -> Option<fn(u64, u64) -> u64> {
    #[expect(clippy::cast_possible_truncation, reason = "values of 32 bits")]
    Some(match (name, kind) {
        ("add", "u32" | "s32") => |a, b| u64::from((a as u32).wrapping_add(b as u32)),
        ("add", "u64") => |a, b| a.wrapping_add(b),
        ("add", "f32") => {
            |a, b| u64::from((f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits())
        }
        ("max", "u32" | "u64") => |a, b| a.max(b),
        ("min", "u32" | "u64") => |a, b| a.min(b),
        ("max", "s32") => {
            |a, b| u64::from((a as u32).cast_signed().max((b as u32).cast_signed()).cast_unsigned())
        }
        ("exch", "b32" | "b64") => |_, b| b,
        _ => return None,
    })
}
