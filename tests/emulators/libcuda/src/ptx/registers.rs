//! Kernels have a register for each value; here they share places, so that a warp's fit into a cache.
//!
//! Copies of a value to another name go first, then names whose values are never needed at the same time
//! get one place. What a lane computes stays the same: each follows one path through the code, and a write
//! touches only the lanes that execute it. **Source**: Poletto and Sarkar, "Linear Scan Register
//! Allocation" (1999). Next: `../exec/mod.rs`.

use std::collections::BTreeSet;

use crate::exec::{Code, File, Op, Place, Use};

/// A kernel's instructions, and the places that they use.
pub(super) struct Registers {
    pub(super) code: Vec<Code>,
    /// Sizes of the three files.
    pub(super) files: [usize; 3],
}

/// A register of any file: their places, one file after the other.
type Name = usize;

/// The positions at which a name's value is needed, each instruction having two: it reads, then it writes.
type Range = Option<(usize, usize)>;

impl Registers {
    /// Makes registers share places; what is `fixed` (never written) has one of its own. Returns the new
    /// place of each.
    pub(super) fn share(
        &mut self,
        fixed: &[(File, Place)],
    ) -> impl Fn(File, Place) -> Place + use<> {
        let fixed: Vec<Name> = fixed.iter().map(|(file, place)| self.name(*file, *place)).collect();
        self.remove_copies(&fixed);
        let mut ranges = self.ranges();
        fixed.iter().for_each(|name| ranges[*name] = Some((0, usize::MAX)));
        let mut places = vec![0; ranges.len()];
        let mut first = 0;
        let olds = self.files;
        for (file, old) in olds.into_iter().enumerate() {
            let of_file = first..first + old;
            self.files[file] = scan(&ranges[of_file.clone()], &mut places[of_file]);
            first += old;
        }
        let place = move |file: File, place: Place| places[name(olds, file, place)];
        for code in &mut self.code {
            code.places().into_iter().for_each(|(_, file, at)| *at = place(file, *at));
        }
        place
    }

    fn name(&self, file: File, place: Place) -> Name {
        name(self.files, file, place)
    }

    /// Names that one instruction writes, always with what another name holds wherever they are read,
    /// become that name.
    fn remove_copies(&mut self, fixed: &[Name]) {
        let (files, writes) = (self.files, self.writes());
        let mut same: Vec<Name> = (0..writes.len()).collect();
        let mut is_copy = Vec::new();
        for at in 0..self.code.len() {
            is_copy.push(false);
            let (to, from) = match self.code[at] {
                Code { op: Op::MoveWord(to, from), guard: None, .. } => {
                    (name(files, File::Word, to), name(files, File::Word, from))
                }
                Code { op: Op::MoveDouble(to, from), guard: None, .. } => {
                    (name(files, File::Double, to), name(files, File::Double, from))
                }
                _ => continue,
            };
            let from = same[from];
            let is_same = match writes[from][..] {
                [] => fixed.contains(&from),
                [write] => self.is_followed(write, at, to),
                _ => false,
            };
            if writes[to].len() == 1 && is_same {
                same[to] = from;
                is_copy[at] = true;
            }
        }
        for code in &mut self.code {
            for (_, file, place) in code.places() {
                let first = name(files, file, 0);
                *place = Place::try_from(same[first + *place as usize] - first).unwrap_or(*place);
            }
        }
        self.remove(&is_copy);
    }

    /// Whether each lane that executes the instruction at `write` comes to that at `copy`, and reads `name`
    /// only then.
    fn is_followed(&mut self, write: usize, copy: usize, name: Name) -> bool {
        let files = self.files;
        write < copy
            && self.code[write].guard.is_none()
            && self.code[write + 1..copy].iter_mut().all(|code| {
                let goes_on = !matches!(code.op, Op::Branch(_) | Op::Return);
                let is_name = |(_, file, place): (Use, File, &mut Place)| {
                    self::name(files, file, *place) == name
                };
                goes_on && !code.places().into_iter().any(is_name)
            })
    }

    /// Of each name the instructions that write it.
    fn writes(&mut self) -> Vec<Vec<usize>> {
        let files = self.files;
        let mut writes = vec![Vec::new(); files.iter().sum()];
        for (at, code) in self.code.iter_mut().enumerate() {
            for (what, file, place) in code.places() {
                if what == Use::Write {
                    writes[name(files, file, *place)].push(at);
                }
            }
        }
        writes
    }

    fn remove(&mut self, is_removed: &[bool]) {
        let mut kept = 0;
        let new_places: Vec<usize> = is_removed
            .iter()
            .map(|is_removed| {
                kept += usize::from(!is_removed);
                kept - usize::from(!is_removed)
            })
            .collect();
        let mut is_removed = is_removed.iter();
        self.code.retain(|_| is_removed.next() == Some(&false));
        for code in &mut self.code {
            if let Op::Branch(to) = &mut code.op {
                *to = new_places[*to];
            }
        }
    }

    /// Of each name the first and the last position at which it is written, read, or read later.
    fn ranges(&mut self) -> Vec<Range> {
        let files = self.files;
        let words = files.iter().sum::<usize>().div_ceil(64);
        let uses: Vec<_> = self.code.iter_mut().map(|code| Uses::of(code, files)).collect();
        // Names whose values are needed when an instruction begins.
        let mut needed = vec![vec![0_u64; words]; uses.len()];
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for at in (0..uses.len()).rev() {
                let mut set = vec![0; words];
                for next in next(&self.code[at], at) {
                    set.iter_mut().zip(&needed[next]).for_each(|(set, next)| *set |= next);
                }
                uses[at].ends.iter().for_each(|name| set[name / 64] &= !(1 << (name % 64)));
                uses[at].reads.iter().for_each(|name| set[name / 64] |= 1 << (name % 64));
                if set != needed[at] {
                    (needed[at], has_changed) = (set, true);
                }
            }
        }
        let mut ranges = vec![None; files.iter().sum()];
        let mut extend = |name: Name, position| {
            let (first, _) = ranges[name].unwrap_or((position, position));
            ranges[name] = Some((first, position));
        };
        for (at, (uses, needed)) in uses.iter().zip(&needed).enumerate() {
            for (word, set) in needed.iter().enumerate() {
                let mut left = *set;
                while left != 0 {
                    extend(word * 64 + left.trailing_zeros() as usize, 2 * at);
                    left &= left - 1;
                }
            }
            uses.writes.iter().for_each(|name| extend(*name, 2 * at + 1));
        }
        ranges
    }
}

/// What an instruction does with names.
struct Uses {
    reads: Vec<Name>,
    writes: Vec<Name>,
    /// Those whose values from before are needed no more: not where a lane may not write.
    ends: Vec<Name>,
}

impl Uses {
    fn of(code: &mut Code, files: [usize; 3]) -> Self {
        let is_guarded = code.guard.is_some();
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (what, file, place) in code.places() {
            let names = if what == Use::Read { &mut reads } else { &mut writes };
            names.push(name(files, file, *place));
        }
        let ends = if is_guarded { Vec::new() } else { writes.clone() };
        Self { reads, writes, ends }
    }
}

/// Where lanes may go on.
fn next(code: &Code, at: usize) -> impl Iterator<Item = usize> {
    let (jump, goes_on) = match code.op {
        Op::Branch(to) => (Some(to), code.guard.is_some()),
        Op::Return => (None, code.guard.is_some()),
        _ => (None, true),
    };
    jump.into_iter().chain(goes_on.then_some(at + 1))
}

fn name(files: [usize; 3], file: File, place: Place) -> Name {
    files[..file as usize].iter().sum::<usize>() + place as usize
}

/// Gives places to the names of a file; returns how many.
fn scan(ranges: &[Range], places: &mut [Place]) -> usize {
    let mut order: Vec<_> = ranges.iter().enumerate().collect();
    order.retain(|(_, range)| range.is_some());
    order.sort_by_key(|(_, range)| **range);
    let (mut free, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    for (name, range) in order {
        let Some((first, last)) = *range else { continue };
        while let Some((end, place)) = taken.first().copied()
            && end < first
        {
            taken.remove(&(end, place));
            free.insert(place);
        }
        let place = free.pop_first().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        taken.insert((last, place));
        places[name] = place;
    }
    count as usize
}
