//! What the lanes of a warp read of each other, and where they wait.

use super::code::{LANES, Op, Place, Shuffle, Vote, Words};
use super::memory::View;
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
                self.set_word(*to, lanes, &values);
                if let Some(place) = in_range {
                    self.set_predicate(*place, lanes, in_reach);
                }
            }
            Op::Vote(mode, to, predicate, members) => {
                self.check_members(*members, lanes)?;
                let holds = self.predicate(*predicate) & lanes;
                match mode {
                    Vote::Ballot => self.set_word(*to, lanes, &[holds; LANES]),
                    Vote::All => self.set_predicate(*to, lanes, all_bits(holds == lanes)),
                    Vote::Any => self.set_predicate(*to, lanes, all_bits(holds != 0)),
                }
            }
            Op::ActiveMask(to) => self.set_word(*to, lanes, &[lanes; LANES]),
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
        let members = self.word(members)[lane];
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
fn shuffled(mode: Shuffle, a: &Words, b: &Words, c: &Words) -> (Words, u32) {
    let (mut values, mut in_reach) = ([0; LANES], 0);
    for (lane, value) in values.iter_mut().enumerate() {
        let (by, clamp, segment) =
            (b[lane] as usize & 31, c[lane] as usize & 31, c[lane] >> 8 & 31);
        let segment = segment as usize;
        let (first, last) = (lane & segment, lane & segment | clamp & !segment);
        let (from, is_in_reach) = match mode {
            Shuffle::Up => (lane.wrapping_sub(by), lane >= by && lane - by >= last),
            Shuffle::Down => (lane + by, lane + by <= last),
            Shuffle::Butterfly => (lane ^ by, lane ^ by <= last),
            Shuffle::Index => (first | by & !segment, first | by & !segment <= last),
        };
        *value = a[if is_in_reach { from } else { lane }];
        in_reach |= u32::from(is_in_reach) << lane;
    }
    (values, in_reach)
}
