//! What a warp executes: operations on places in its register files.

use super::registers::{Doubles, Words};

/// A place in one of the register files.
pub(crate) type Place = u32;

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) op: Op,
    /// The predicate that lanes need, and whether it must be false.
    pub(crate) guard: Option<(Place, bool)>,
    /// Its line in the text.
    pub(crate) line: u32,
}

/// The value of a place that is the same in all lanes and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constant {
    Word(Place, u32),
    Double(Place, u64),
    /// A parameter's bytes, by their offset; sign and zero extension is the loading form's.
    Param {
        place: Place,
        is_double: bool,
        offset: usize,
        size: usize,
        is_signed: bool,
    },
}

/// A register that tells where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Special {
    pub(crate) place: Place,
    pub(crate) what: Where,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Thread(usize),
    Threads(usize),
    Block(usize),
    Blocks(usize),
    Lane,
    Warp,
}

/// What memory an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
}

/// An address: a register of 32 or 64 bits, and what is added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) is_double: bool,
    pub(crate) offset: i64,
}

/// How bytes become a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Width {
    pub(crate) bytes: usize,
    pub(crate) is_signed: bool,
    /// The registers are of 64 bits.
    pub(crate) is_double: bool,
}

/// What a read, change and write does to a value of so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atomic {
    pub(crate) space: Space,
    pub(crate) bytes: usize,
    pub(crate) change: fn(u64, u64) -> u64,
}

/// Which lane another lane reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What lanes agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Ballot,
}

/// A product of matrices: 16 rows and 8 columns of f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mma {
    /// Its depth, 8 or 16.
    pub(crate) k: usize,
    pub(crate) is_bf16: bool,
}

/// The last register is written; it may be one of the others.
pub(crate) type Word1 = fn(&Words, &Words);
pub(crate) type Word2 = fn(&Words, &Words, &Words);
pub(crate) type Word3 = fn(&Words, &Words, &Words, &Words);
pub(crate) type Word4 = fn(&Words, &Words, &Words, &Words, &Words);
pub(crate) type Double1 = fn(&Doubles, &Doubles);
pub(crate) type Double2 = fn(&Doubles, &Doubles, &Doubles);
pub(crate) type Double3 = fn(&Doubles, &Doubles, &Doubles, &Doubles);
pub(crate) type DoubleShift = fn(&Doubles, &Words, &Doubles);
pub(crate) type DoubleInsert = fn(&Doubles, &Doubles, &Words, &Words, &Doubles);
pub(crate) type Widen1 = fn(&Words, &Doubles);
pub(crate) type Widen2 = fn(&Words, &Words, &Doubles);
pub(crate) type Widen3 = fn(&Words, &Words, &Doubles, &Doubles);
pub(crate) type Narrow = fn(&Doubles, &Words);
/// A bit for each lane.
pub(crate) type CompareWords = fn(&Words, &Words) -> u32;
pub(crate) type CompareDoubles = fn(&Doubles, &Doubles) -> u32;
pub(crate) type Logic = fn(u32, u32) -> u32;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    MoveWord(Place, Place),
    MoveDouble(Place, Place),
    Word1(Word1, Place, Place),
    Word2(Word2, Place, [Place; 2]),
    Word3(Word3, Place, [Place; 3]),
    Word4(Word4, Place, [Place; 4]),
    Double1(Double1, Place, Place),
    Double2(Double2, Place, [Place; 2]),
    Double3(Double3, Place, [Place; 3]),
    DoubleShift(DoubleShift, Place, [Place; 2]),
    DoubleInsert(DoubleInsert, Place, [Place; 4]),
    Widen1(Widen1, Place, Place),
    Widen2(Widen2, Place, [Place; 2]),
    Widen3(Widen3, Place, [Place; 3]),
    Narrow(Narrow, Place, Place),
    CompareWords(CompareWords, Place, [Place; 2], Option<(Logic, Place)>),
    CompareDoubles(CompareDoubles, Place, [Place; 2], Option<(Logic, Place)>),
    /// The first where the predicate (the last place) holds, else the second.
    SelectWord(Place, [Place; 3]),
    SelectDouble(Place, [Place; 3]),
    Logic(Logic, Place, [Place; 2]),
    /// Two words to a double, the low one first.
    PackDouble(Place, [Place; 2]),
    UnpackDouble([Place; 2], Place),
    /// Two halves to a word, the low one first.
    PackWord(Place, [Place; 2]),
    UnpackWord([Place; 2], Place),
    Load(Space, Width, Vec<Place>, Address),
    Store(Space, Width, Vec<Place>, Address),
    /// The value before goes to the first place, if any.
    Atomic(Atomic, Option<Place>, Address, Place),
    /// Result, predicate of lanes in range, then source, lane, clamp and member mask.
    Shuffle(Shuffle, Place, Option<Place>, [Place; 4]),
    /// Result, predicate, member mask.
    Vote(Vote, Place, Place, Place),
    ActiveMask(Place),
    Barrier,
    /// A barrier of the lanes of a mask.
    WarpBarrier(Place),
    Fence,
    Branch(usize),
    Return,
    /// To shared memory, from global: bytes, and of those how many are read.
    CopyAsync(Address, Address, usize, Option<Place>),
    Commit,
    /// Until at most so many groups are left.
    Wait(usize),
    LoadMatrix {
        is_transposed: bool,
        to: Vec<Place>,
        from: Address,
    },
    Mma(Mma, [Place; 4], Vec<Place>),
}
