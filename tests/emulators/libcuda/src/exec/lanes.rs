//! What the lanes of a warp read of each other, and where they wait.

use super::code::{Op, Place, Shuffle, Vote};
use super::memory::View;
use super::registers::{LANES, Words, bits, lanes, put, values};
use super::shared::Shared;
use super::warp::Warp;

impl Warp {
    pub(super) fn meet(
        &mut self,
        op: &Op,
        lanes: u32,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Result<(), (usize, String)> {
        match op {
            Op::Shuffle(mode, to, in_range, [a, b, c, members]) => {
                self.check_members(*members, lanes)?;
                let (values, in_reach) =
                    shuffled(*mode, self.word(*a), self.word(*b), self.word(*c));
                self.set_word(*to, lanes, |lane| values[lane]);
                if let Some(place) = in_range {
                    self.set_predicate(*place, lanes, in_reach);
                }
            }
            Op::Vote(mode, to, predicate, members) => {
                self.check_members(*members, lanes)?;
                let holds = self.predicate(*predicate) & lanes;
                match mode {
                    Vote::Ballot => self.set_word(*to, lanes, |_| holds),
                    Vote::All => self.set_predicate(*to, lanes, all_bits(holds == lanes)),
                    Vote::Any => self.set_predicate(*to, lanes, all_bits(holds != 0)),
                }
            }
            Op::ActiveMask(to) => self.set_word(*to, lanes, |_| lanes),
            Op::WarpBarrier(members) => self.check_members(*members, lanes)?,
            // Other warps' writes are seen at once here.
            Op::Fence => {}
            _ => return self.access(op, lanes, memory, shared),
        }
        Ok(())
    }

    /// All lanes that an instruction waits for must be there; on a device it would wait for ever, or
    /// read what they do not hold.
    fn check_members(&self, members: Place, lanes: u32) -> Result<(), (usize, String)> {
        let lane = lanes.trailing_zeros() as usize;
        let members = self.word(members)[lane].get();
        match members == lanes {
            true => Ok(()),
            false => {
                Err((lane, format!("waits for lanes {members:#010x}, here are {lanes:#010x}")))
            }
        }
    }
}

const fn all_bits(holds: bool) -> u32 {
    if holds { u32::MAX } else { 0 }
}

/// What each lane reads of another one, and whether that one is in its reach. **Source**: PTX ISA,
/// `shfl.sync`.
fn shuffled(mode: Shuffle, a: &Words, b: &Words, c: &Words) -> ([u32; LANES], u32) {
    let from = lanes(|_| 0);
    put(&from, |lane| {
        #[expect(clippy::cast_possible_truncation, reason = "below 32")]
        let own = lane as u32;
        let (by, clamp, segment) =
            (b[lane].get() & 31, c[lane].get() & 31, c[lane].get() >> 8 & 31);
        let (first, last) = (own & segment, own & segment | clamp & !segment);
        let (from, is_in_reach) = match mode {
            Shuffle::Up => {
                (own.wrapping_sub(by), own.cast_signed() - by.cast_signed() >= last.cast_signed())
            }
            Shuffle::Down => (own + by, own + by <= last),
            Shuffle::Butterfly => (own ^ by, own ^ by <= last),
            Shuffle::Index => (first | by & !segment, first | by & !segment <= last),
        };
        // The highest bit tells who reads itself.
        if is_in_reach { from } else { own | OUT_OF_REACH }
    });
    let (from, a) = (values(&from), values(a));
    let mut read = [0; LANES];
    for (read, from) in read.iter_mut().zip(from) {
        *read = a[from as usize % LANES];
    }
    (read, bits(|lane| from[lane] & OUT_OF_REACH == 0))
}

/// Marks a lane that no lane is within reach of.
const OUT_OF_REACH: u32 = 1 << 31;
