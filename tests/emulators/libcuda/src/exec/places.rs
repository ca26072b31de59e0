//! Which registers an instruction reads and writes. Next: `../ptx/registers.rs`, which renames them.

use super::code::{Address, Code, Constant, Op, Place};

/// The register file that a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// Of 32 bits and narrower.
    Word,
    /// Of 64 bits.
    Double,
    /// Of one bit.
    Predicate,
}

/// What an instruction does with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

use File::{Double, Predicate, Word};

/// Places of an instruction.
#[derive(Default)]
struct Places<'a>(Vec<(Use, File, &'a mut Place)>);

impl<'a> Places<'a> {
    fn reads(mut self, file: File, places: impl IntoIterator<Item = &'a mut Place>) -> Self {
        self.0.extend(places.into_iter().map(|place| (Use::Read, file, place)));
        self
    }

    fn writes(mut self, file: File, places: impl IntoIterator<Item = &'a mut Place>) -> Self {
        self.0.extend(places.into_iter().map(|place| (Use::Write, file, place)));
        self
    }

    fn address(self, Address { place, is_double, .. }: &'a mut Address) -> Self {
        self.reads(if *is_double { Double } else { Word }, [place])
    }
}

impl Constant {
    /// Where it lies.
    pub(crate) const fn place(&self) -> (File, Place) {
        match *self {
            Self::Word(place, _) | Self::Param { place, is_double: false, .. } => (Word, place),
            Self::Double(place, _) | Self::Param { place, .. } => (Double, place),
        }
    }

    /// Puts it elsewhere in its file.
    pub(crate) const fn put_at(&mut self, to: Place) {
        match self {
            Self::Word(place, _) | Self::Double(place, _) | Self::Param { place, .. } => {
                *place = to
            }
        }
    }
}

impl Code {
    /// Every place of the instruction.
    pub(crate) fn places(&mut self) -> Vec<(Use, File, &mut Place)> {
        let guard = self.guard.as_mut().map(|(place, _)| place);
        self.op.places(Places::default().reads(Predicate, guard)).0
    }
}

impl Op {
    fn places<'a>(&'a mut self, all: Places<'a>) -> Places<'a> {
        match self {
            Self::MoveWord(to, a) | Self::Word1(_, to, a) => {
                all.reads(Word, [a]).writes(Word, [to])
            }
            Self::Word2(_, to, from) | Self::PackWord(to, from) => {
                all.reads(Word, from).writes(Word, [to])
            }
            Self::Word3(_, to, from) => all.reads(Word, from).writes(Word, [to]),
            Self::Word4(_, to, from) => all.reads(Word, from).writes(Word, [to]),
            Self::MoveDouble(to, a) | Self::Double1(_, to, a) => {
                all.reads(Double, [a]).writes(Double, [to])
            }
            Self::Double2(_, to, from) => all.reads(Double, from).writes(Double, [to]),
            Self::Double3(_, to, from) => all.reads(Double, from).writes(Double, [to]),
            Self::DoubleShift(_, to, [a, b]) => {
                all.reads(Double, [a]).reads(Word, [b]).writes(Double, [to])
            }
            Self::DoubleInsert(_, to, [a, b, c, d]) => {
                all.reads(Double, [a, b]).reads(Word, [c, d]).writes(Double, [to])
            }
            Self::Widen1(_, to, a) => all.reads(Word, [a]).writes(Double, [to]),
            Self::Widen2(_, to, from) | Self::PackDouble(to, from) => {
                all.reads(Word, from).writes(Double, [to])
            }
            Self::Widen3(_, to, [a, b, c]) => {
                all.reads(Word, [a, b]).reads(Double, [c]).writes(Double, [to])
            }
            Self::Narrow(_, to, a) => all.reads(Double, [a]).writes(Word, [to]),
            Self::UnpackDouble(to, from) => all.reads(Double, [from]).writes(Word, to),
            Self::UnpackWord(to, from) => all.reads(Word, [from]).writes(Word, to),
            other => other.places_of_others(all),
        }
    }

    /// Of predicates, other lanes and memory.
    fn places_of_others<'a>(&'a mut self, all: Places<'a>) -> Places<'a> {
        match self {
            Self::CompareWords(_, to, from, also) => {
                let also = also.as_mut().map(|(_, place)| place);
                all.reads(Word, from).reads(Predicate, also).writes(Predicate, [to])
            }
            Self::CompareDoubles(_, to, from, also) => {
                let also = also.as_mut().map(|(_, place)| place);
                all.reads(Double, from).reads(Predicate, also).writes(Predicate, [to])
            }
            Self::SelectWord(to, [a, b, p]) => {
                all.reads(Word, [a, b]).reads(Predicate, [p]).writes(Word, [to])
            }
            Self::SelectDouble(to, [a, b, p]) => {
                all.reads(Double, [a, b]).reads(Predicate, [p]).writes(Double, [to])
            }
            Self::Logic(_, to, from) => all.reads(Predicate, from).writes(Predicate, [to]),
            Self::Load(_, width, to, from) => {
                let file = if width.is_double { Double } else { Word };
                all.address(from).writes(file, to)
            }
            Self::Store(_, width, from, to) => {
                let file = if width.is_double { Double } else { Word };
                all.address(to).reads(file, from)
            }
            Self::Atomic(atomic, to, at, by) => {
                let file = if atomic.bytes == 8 { Double } else { Word };
                all.address(at).reads(file, [by]).writes(file, to)
            }
            Self::Shuffle(_, to, in_range, from) => {
                all.reads(Word, from).writes(Word, [to]).writes(Predicate, in_range)
            }
            Self::Vote(vote, to, predicate, members) => {
                let file = if *vote == super::code::Vote::Ballot { Word } else { Predicate };
                all.reads(Predicate, [predicate]).reads(Word, [members]).writes(file, [to])
            }
            Self::ActiveMask(to) => all.writes(Word, [to]),
            Self::WarpBarrier(members) => all.reads(Word, [members]),
            Self::CopyAsync(to, from, _, read) => all.address(to).address(from).reads(Word, read),
            Self::LoadMatrix { to, from, .. } => all.address(from).writes(Word, to),
            Self::Mma(_, to, from) => all.reads(Word, from).writes(Word, to),
            // Those of `places`, and those without any.
            _ => all,
        }
    }
}
