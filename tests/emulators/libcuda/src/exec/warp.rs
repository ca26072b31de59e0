//! A warp: 32 lanes that execute one instruction at a time.
//!
//! Lanes that go different ways become groups; the group that is furthest behind runs, so that groups
//! meet again where their ways do. Next: `lanes`, what lanes read of each other, and `access`.

use std::collections::VecDeque;

use super::code::{Code, Doubles, LANES, Op, Place, Words};
use super::grid::{Dim, Fault};
use super::memory::View;
use super::shared::Shared;
use crate::kernel::Kernel;

/// Why a warp stopped running for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Barrier,
    End,
}

/// What a lane did that ends the launch.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) line: u32,
    pub(super) lane: usize,
    pub(super) what: String,
}

impl Stop {
    pub(super) fn fault(self, kernel: &Kernel, block: Dim, warp: u32) -> Box<Fault> {
        let (kernel, lane) = (kernel.name.clone(), u32::try_from(self.lane).unwrap_or(0));
        Box::new(Fault { kernel, line: self.line, block, warp, lane, what: self.what })
    }
}

/// Lanes at the same instruction.
#[derive(Clone, Copy, Debug)]
struct Group {
    at: usize,
    lanes: u32,
}

/// A copy to shared memory that was not waited for.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) to: i64,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Warp {
    pub(super) index: u32,
    pub(super) words: Vec<Words>,
    pub(super) doubles: Vec<Doubles>,
    predicates: Vec<u32>,
    groups: Vec<Group>,
    /// Copies since the last commit, and groups of those before.
    pub(super) copies: Vec<Pending>,
    pub(super) committed: VecDeque<Vec<Pending>>,
}

impl Warp {
    pub(super) fn new(index: u32, [words, doubles, predicates]: [usize; 3]) -> Self {
        Self {
            index,
            words: vec![[0; LANES]; words],
            doubles: vec![[0; LANES]; doubles],
            predicates: vec![0; predicates],
            groups: Vec::new(),
            copies: Vec::new(),
            committed: VecDeque::new(),
        }
    }

    /// Begins a block in which so many threads are this warp's, or more.
    pub(super) fn begin(&mut self, threads: u32) {
        let lanes = if threads >= 32 { u32::MAX } else { (1 << threads) - 1 };
        self.groups = vec![Group { at: 0, lanes }];
        self.copies.clear();
        self.committed.clear();
    }

    /// Runs to the next barrier or to the end.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Result<Pause, Stop> {
        let Some(mut group) = self.furthest_behind() else { return Ok(Pause::End) };
        loop {
            if !self.groups.is_empty() {
                self.groups.push(group);
                group = self.furthest_behind().unwrap_or(group);
            }
            let code = &kernel.code[group.at];
            let lanes = match code.guard {
                None => group.lanes,
                Some((place, is_not)) => {
                    let holds = self.predicates[place as usize];
                    group.lanes & if is_not { !holds } else { holds }
                }
            };
            group.at += 1;
            let others = group.lanes & !lanes;
            match &code.op {
                _ if lanes == 0 => {}
                Op::Branch(to) if others == 0 => group.at = *to,
                Op::Branch(to) => {
                    self.groups.push(Group { at: *to, lanes });
                    group.lanes = others;
                }
                Op::Return if others != 0 => group.lanes = others,
                Op::Return => match self.furthest_behind() {
                    Some(next) => group = next,
                    None => return Ok(Pause::End),
                },
                Op::Barrier if others == 0 && self.groups.is_empty() => {
                    self.groups.push(group);
                    return Ok(Pause::Barrier);
                }
                Op::Barrier => return Err(stop(code, lanes, "a barrier that not all lanes reach")),
                op => {
                    let outcome = self.execute(op, lanes, memory, shared);
                    outcome.map_err(|(lane, what)| Stop { line: code.line, lane, what })?;
                }
            }
        }
    }

    /// Takes out the group with the earliest instruction; groups at the same one become one.
    fn furthest_behind(&mut self) -> Option<Group> {
        let at = self.groups.iter().map(|group| group.at).min()?;
        let lanes = self.groups.iter().filter(|g| g.at == at).fold(0, |all, g| all | g.lanes);
        self.groups.retain(|group| group.at != at);
        Some(Group { at, lanes })
    }

    fn execute(
        &mut self,
        op: &Op,
        lanes: u32,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Result<(), (usize, String)> {
        match op {
            Op::Word1(f, to, a) => {
                let mut word = [0; LANES];
                f(self.word(*a), &mut word);
                self.set_word(*to, lanes, &word);
            }
            Op::Word2(f, to, [a, b]) => {
                let mut word = [0; LANES];
                f(self.word(*a), self.word(*b), &mut word);
                self.set_word(*to, lanes, &word);
            }
            Op::Word3(f, to, [a, b, c]) => {
                let mut word = [0; LANES];
                f(self.word(*a), self.word(*b), self.word(*c), &mut word);
                self.set_word(*to, lanes, &word);
            }
            Op::Word4(f, to, [a, b, c, d]) => {
                let mut word = [0; LANES];
                f(self.word(*a), self.word(*b), self.word(*c), self.word(*d), &mut word);
                self.set_word(*to, lanes, &word);
            }
            Op::Double1(f, to, a) => {
                let mut double = [0; LANES];
                f(self.double(*a), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Double2(f, to, [a, b]) => {
                let mut double = [0; LANES];
                f(self.double(*a), self.double(*b), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Double3(f, to, [a, b, c]) => {
                let mut double = [0; LANES];
                f(self.double(*a), self.double(*b), self.double(*c), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::DoubleShift(f, to, [a, b]) => {
                let mut double = [0; LANES];
                f(self.double(*a), self.word(*b), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::DoubleInsert(f, to, [a, b, c, d]) => {
                let mut double = [0; LANES];
                f(self.double(*a), self.double(*b), self.word(*c), self.word(*d), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Widen1(f, to, a) => {
                let mut double = [0; LANES];
                f(self.word(*a), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Widen2(f, to, [a, b]) => {
                let mut double = [0; LANES];
                f(self.word(*a), self.word(*b), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Widen3(f, to, [a, b, c]) => {
                let mut double = [0; LANES];
                f(self.word(*a), self.word(*b), self.double(*c), &mut double);
                self.set_double(*to, lanes, &double);
            }
            Op::Narrow(f, to, a) => {
                let mut word = [0; LANES];
                f(self.double(*a), &mut word);
                self.set_word(*to, lanes, &word);
            }
            _ => return self.choose(op, lanes, memory, shared),
        }
        Ok(())
    }

    /// Comparisons, selections, and registers put together or taken apart.
    fn choose(
        &mut self,
        op: &Op,
        lanes: u32,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Result<(), (usize, String)> {
        match op {
            Op::CompareWords(f, to, [a, b], also) => {
                let mut holds = f(self.word(*a), self.word(*b));
                if let Some((logic, p)) = also {
                    holds = logic(holds, self.predicate(*p));
                }
                self.set_predicate(*to, lanes, holds);
            }
            Op::CompareDoubles(f, to, [a, b], also) => {
                let mut holds = f(self.double(*a), self.double(*b));
                if let Some((logic, p)) = also {
                    holds = logic(holds, self.predicate(*p));
                }
                self.set_predicate(*to, lanes, holds);
            }
            Op::SelectWord(to, [a, b, p]) => {
                let (a, b, holds) = (self.word(*a), self.word(*b), self.predicate(*p));
                let value = each(|lane| if holds >> lane & 1 == 1 { a[lane] } else { b[lane] });
                self.set_word(*to, lanes, &value);
            }
            Op::SelectDouble(to, [a, b, p]) => {
                let (a, b, holds) = (self.double(*a), self.double(*b), self.predicate(*p));
                let value = each(|lane| if holds >> lane & 1 == 1 { a[lane] } else { b[lane] });
                self.set_double(*to, lanes, &value);
            }
            Op::Logic(f, to, [a, b]) => {
                let value = f(self.predicate(*a), self.predicate(*b));
                self.set_predicate(*to, lanes, value);
            }
            Op::PackDouble(to, [low, high]) => {
                let (low, high) = (self.word(*low), self.word(*high));
                let value = each(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32);
                self.set_double(*to, lanes, &value);
            }
            Op::UnpackDouble([low, high], from) => {
                let from = *self.double(*from);
                #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
                self.set_word(*low, lanes, &from.map(|value| value as u32));
                self.set_word(*high, lanes, &from.map(|value| (value >> 32) as u32));
            }
            Op::PackWord(to, [low, high]) => {
                let (low, high) = (self.word(*low), self.word(*high));
                let value = each(|lane| low[lane] & 0xffff | high[lane] << 16);
                self.set_word(*to, lanes, &value);
            }
            Op::UnpackWord([low, high], from) => {
                let from = *self.word(*from);
                self.set_word(*low, lanes, &from.map(|value| value & 0xffff));
                self.set_word(*high, lanes, &from.map(|value| value >> 16));
            }
            _ => return self.meet(op, lanes, memory, shared),
        }
        Ok(())
    }

    pub(super) fn word(&self, place: Place) -> &Words {
        &self.words[place as usize]
    }

    pub(super) fn double(&self, place: Place) -> &Doubles {
        &self.doubles[place as usize]
    }

    pub(super) fn predicate(&self, place: Place) -> u32 {
        self.predicates[place as usize]
    }

    pub(super) fn set_word(&mut self, place: Place, lanes: u32, value: &Words) {
        blend(&mut self.words[place as usize], lanes, value);
    }

    pub(super) fn set_double(&mut self, place: Place, lanes: u32, value: &Doubles) {
        blend(&mut self.doubles[place as usize], lanes, value);
    }

    pub(super) fn set_predicate(&mut self, place: Place, lanes: u32, value: u32) {
        let old = &mut self.predicates[place as usize];
        *old = *old & !lanes | value & lanes;
    }
}

fn blend<T: Copy>(to: &mut [T; LANES], lanes: u32, value: &[T; LANES]) {
    if lanes == u32::MAX {
        *to = *value;
        return;
    }
    for (lane, (to, value)) in to.iter_mut().zip(value).enumerate() {
        if lanes >> lane & 1 == 1 {
            *to = *value;
        }
    }
}

fn each<T>(value: impl FnMut(usize) -> T) -> [T; LANES] {
    std::array::from_fn(value)
}

fn stop(code: &Code, lanes: u32, what: &str) -> Stop {
    Stop { line: code.line, lane: lanes.trailing_zeros() as usize % LANES, what: what.to_owned() }
}
