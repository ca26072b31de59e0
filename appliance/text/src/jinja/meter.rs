//! What a rendering may cost: steps and bytes, counted before they are spent.
//!
//! No clock is asked: the same template and messages cost the same everywhere. Next: `text.rs`.

use std::cell::Cell;

use super::text::Letter;

/// Units of work, each some 10 ns: 0.3 s of a slow core.
const WORK_MAX: u64 = 30_000_000;
/// Bytes of everything a rendering makes, whether it still needs it or not.
const BYTES_MAX: u64 = 96 << 20;
/// More of both for each byte that a client sent: an honest template copies what it gets a few
/// times (`strip`, `split`, `+`), and each character takes four bytes.
const PER_INPUT_BYTE: u64 = 64;
/// Letters of a prompt; beyond any context there is.
const OUTPUT_MAX: usize = 32 << 20;
/// Levels of expressions, blocks and calls inside each other, so that no stack runs over.
const DEPTH_MAX: u32 = 180;
/// Levels of lists in lists.
pub(crate) const NESTED_MAX: u32 = 250;

/// Why a rendering ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) why: String,
    pub(crate) line: Option<u32>,
}

/// What everything in a template gives.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error in the words that a template's author or its user can use.
pub(crate) fn fail<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Fault { why: why.into(), line: None })
}

/// Counts down.
#[derive(Debug)]
pub(crate) struct Meter {
    work: Cell<u64>,
    bytes: Cell<u64>,
    depth: Cell<u32>,
}

impl Meter {
    pub(crate) fn new(input_bytes: usize) -> Self {
        let more = (input_bytes as u64).saturating_mul(PER_INPUT_BYTE);
        Self {
            work: Cell::new(WORK_MAX.saturating_add(more)),
            bytes: Cell::new(BYTES_MAX.saturating_add(more)),
            depth: Cell::new(0),
        }
    }

    fn take(cell: &Cell<u64>, count: u64, what: &str) -> Outcome<()> {
        let Some(left) = cell.get().checked_sub(count) else {
            cell.set(0);
            return fail(format!("the template {what}"));
        };
        cell.set(left);
        Ok(())
    }

    /// So many units of work.
    pub(crate) fn work(&self, units: usize) -> Outcome<()> {
        Self::take(&self.work, units as u64, "takes too many steps")
    }

    fn bytes(&self, bytes: usize) -> Outcome<()> {
        Self::take(&self.bytes, bytes as u64, "makes too much text")
    }

    /// Letters that are read.
    pub(crate) fn read(&self, letters: usize) -> Outcome<()> {
        self.work(1 + letters / 8)
    }

    /// Letters whose class is looked up: far ones are looked for in tables.
    pub(crate) fn classes(&self, letters: &[Letter]) -> Outcome<()> {
        let far = letters.iter().filter(|letter| !letter.char().is_ascii()).count();
        self.work(1 + letters.len() / 8 + 16 * far)
    }

    /// Letters that are made.
    pub(crate) fn letters(&self, letters: usize) -> Outcome<()> {
        self.work(2 + letters / 8)?;
        self.bytes(letters.saturating_mul(4).saturating_add(32))
    }

    /// Values that are made.
    pub(crate) fn items(&self, items: usize) -> Outcome<()> {
        self.work(2 + items / 2)?;
        self.bytes(items.saturating_mul(48).saturating_add(64))
    }

    /// Letters of the prompt.
    pub(crate) fn output(&self, letters: usize) -> Outcome<()> {
        if letters > OUTPUT_MAX {
            return fail(format!("the prompt is longer than {OUTPUT_MAX} characters"));
        }
        Ok(())
    }

    /// One level deeper; [`Meter::leave`] comes back.
    pub(crate) fn enter(&self) -> Outcome<()> {
        self.work(5)?;
        if self.depth.get() >= DEPTH_MAX {
            return fail(format!("the template is more than {DEPTH_MAX} levels deep"));
        }
        self.depth.set(self.depth.get() + 1);
        Ok(())
    }

    pub(crate) fn leave(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }
}
