//! A warp: 32 lanes that execute one instruction at a time.
//!
//! Lanes that go different ways become groups; the group that is furthest behind runs, so that groups
//! meet again where their ways do. Next: `lanes`, what lanes read of each other, and `access`.

use std::cell::Cell;
use std::collections::VecDeque;

use super::code::{Code, Op, Place};
use super::grid::{Dim, Fault};
use super::memory::View;
use super::registers::{Doubles, LANES, Lane, Lanes, Words, blend, lanes, put, values};
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
    /// Groups that do not run, and the earliest instruction of them.
    groups: Vec<Group>,
    meeting: usize,
    /// Copies since the last commit, and groups of those before.
    pub(super) copies: Vec<Pending>,
    pub(super) committed: VecDeque<Vec<Pending>>,
}

impl Warp {
    pub(super) fn new(index: u32, [words, doubles, predicates]: [usize; 3]) -> Self {
        Self {
            index,
            words: (0..words).map(|_| lanes(|_| 0)).collect(),
            doubles: (0..doubles).map(|_| lanes(|_| 0)).collect(),
            predicates: vec![0; predicates],
            groups: Vec::new(),
            meeting: usize::MAX,
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
            if group.at >= self.meeting {
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
                    self.meeting = self.meeting.min(*to);
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
        self.meeting = self.groups.iter().map(|group| group.at).min().unwrap_or(usize::MAX);
        Some(Group { at, lanes })
    }

    fn execute(
        &mut self,
        op: &Op,
        lanes: u32,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Result<(), (usize, String)> {
        let (word, double) =
            (|place: &Place| self.word(*place), |place: &Place| self.double(*place));
        match op {
            Op::MoveWord(to, a) => self.set_word(*to, lanes, |lane| word(a)[lane].get()),
            Op::MoveDouble(to, a) => self.set_double(*to, lanes, |lane| double(a)[lane].get()),
            Op::Word1(f, to, a) => self.in_word(*to, lanes, |d| f(word(a), d)),
            Op::Word2(f, to, [a, b]) => self.in_word(*to, lanes, |d| f(word(a), word(b), d)),
            Op::Word3(f, to, [a, b, c]) => {
                self.in_word(*to, lanes, |d| f(word(a), word(b), word(c), d));
            }
            Op::Word4(f, to, [a, b, c, e]) => {
                self.in_word(*to, lanes, |d| f(word(a), word(b), word(c), word(e), d));
            }
            Op::Double1(f, to, a) => self.in_double(*to, lanes, |d| f(double(a), d)),
            Op::Double2(f, to, [a, b]) => {
                self.in_double(*to, lanes, |d| f(double(a), double(b), d));
            }
            Op::Double3(f, to, [a, b, c]) => {
                self.in_double(*to, lanes, |d| f(double(a), double(b), double(c), d));
            }
            Op::DoubleShift(f, to, [a, b]) => {
                self.in_double(*to, lanes, |d| f(double(a), word(b), d));
            }
            Op::DoubleInsert(f, to, [a, b, c, e]) => {
                self.in_double(*to, lanes, |d| f(double(a), double(b), word(c), word(e), d));
            }
            Op::Widen1(f, to, a) => self.in_double(*to, lanes, |d| f(word(a), d)),
            Op::Widen2(f, to, [a, b]) => self.in_double(*to, lanes, |d| f(word(a), word(b), d)),
            Op::Widen3(f, to, [a, b, c]) => {
                self.in_double(*to, lanes, |d| f(word(a), word(b), double(c), d));
            }
            Op::Narrow(f, to, a) => self.in_word(*to, lanes, |d| f(double(a), d)),
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
                let either = |i: usize| Lane::either(holds >> i & 1, a[i].get(), b[i].get());
                self.set_word(*to, lanes, either);
            }
            Op::SelectDouble(to, [a, b, p]) => {
                let (a, b, holds) = (self.double(*a), self.double(*b), self.predicate(*p));
                let either = |i: usize| Lane::either(holds >> i & 1, a[i].get(), b[i].get());
                self.set_double(*to, lanes, either);
            }
            Op::Logic(f, to, [a, b]) => {
                let value = f(self.predicate(*a), self.predicate(*b));
                self.set_predicate(*to, lanes, value);
            }
            Op::PackDouble(to, [low, high]) => {
                let (low, high) = (self.word(*low), self.word(*high));
                let value = |i: usize| u64::from(low[i].get()) | u64::from(high[i].get()) << 32;
                self.set_double(*to, lanes, value);
            }
            Op::UnpackDouble([low, high], from) => {
                let from = self.double(*from);
                #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
                self.set_word(*low, lanes, |lane| from[lane].get() as u32);
                self.set_word(*high, lanes, |lane| (from[lane].get() >> 32) as u32);
            }
            Op::PackWord(to, [low, high]) => {
                let (low, high) = (self.word(*low), self.word(*high));
                self.set_word(*to, lanes, |i| low[i].get() & 0xffff | high[i].get() << 16);
            }
            Op::UnpackWord([low, high], from) => {
                // A copy: the first register that is written may be the one that is read.
                let from = values(self.word(*from));
                self.set_word(*low, lanes, |lane| from[lane] & 0xffff);
                self.set_word(*high, lanes, |lane| from[lane] >> 16);
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

    pub(super) fn set_word(&self, place: Place, lanes: u32, value: impl Fn(usize) -> u32) {
        self.in_word(place, lanes, |to| put(to, value));
    }

    pub(super) fn set_double(&self, place: Place, lanes: u32, value: impl Fn(usize) -> u64) {
        self.in_double(place, lanes, |to| put(to, value));
    }

    /// Computes the lanes of a mask into a register.
    fn in_word(&self, place: Place, lanes: u32, compute: impl FnOnce(&Words)) {
        compute_into(self.word(place), lanes, compute);
    }

    fn in_double(&self, place: Place, lanes: u32, compute: impl FnOnce(&Doubles)) {
        compute_into(self.double(place), lanes, compute);
    }

    pub(super) fn set_predicate(&mut self, place: Place, lanes: u32, value: u32) {
        let old = &mut self.predicates[place as usize];
        *old = *old & !lanes | value & lanes;
    }
}

#[inline]
fn compute_into<T: Lane>(to: &Lanes<T>, lanes: u32, compute: impl FnOnce(&Lanes<T>)) {
    if lanes == u32::MAX {
        return compute(to);
    }
    let all: Lanes<T> = std::array::from_fn(|_| Cell::default());
    compute(&all);
    blend(to, lanes, &all);
}

fn stop(code: &Code, lanes: u32, what: &str) -> Stop {
    Stop { line: code.line, lane: lanes.trailing_zeros() as usize % LANES, what: what.to_owned() }
}
