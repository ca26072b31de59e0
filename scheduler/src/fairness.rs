//! Who gets a seat in the rolling batch, and who gives one up, so that no client, and no request of
//! many choices, keeps the others out.
//!
//! Seats are shared between addresses, then between the keys of an address, then between requests:
//! whoever waits and holds fewer than others goes first, and where somebody else holds at least two
//! more, one of those is given up at once. Where all hold about as many, a sequence that had its turn
//! gives way. What is given up is recomputed later, mostly from the prefix cache. Next: `plan.rs`.

use crate::count;
use crate::request::Client;
use crate::scheduler::Scheduler;
use crate::sequence::{Rank, Sequence};

/// Seats held, at each level: by an address, by a client, by a request.
type Held = [u32; 3];

/// The seats that everybody holds now; what has been told to give way is not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats {
    addresses: Vec<(u64, u32)>,
    clients: Vec<(Client, u32)>,
    jobs: Vec<(usize, u32)>,
}

impl Seats {
    fn clear(&mut self) {
        self.addresses.clear();
        self.clients.clear();
        self.jobs.clear();
    }

    fn add(&mut self, sequence: &Sequence) {
        add(&mut self.addresses, sequence.client.address);
        add(&mut self.clients, sequence.client);
        add(&mut self.jobs, sequence.job);
    }

    fn held(&self, sequence: &Sequence) -> Held {
        [
            find(&self.addresses, &sequence.client.address),
            find(&self.clients, &sequence.client),
            find(&self.jobs, &sequence.job),
        ]
    }
}

fn add<K: Copy + Ord>(list: &mut Vec<(K, u32)>, key: K) {
    match list.binary_search_by_key(&key, |entry| entry.0) {
        Ok(at) => list[at].1 += 1,
        Err(at) => list.insert(at, (key, 1)),
    }
}

fn find<K: Copy + Ord>(list: &[(K, u32)], key: &K) -> u32 {
    list.binary_search_by_key(key, |entry| entry.0).map_or(0, |at| list[at].1)
}

/// The first level at which two sequences are not of one group; `None` for choices of one request.
fn difference(a: &Sequence, b: &Sequence) -> Option<usize> {
    let differs = [a.client.address != b.client.address, a.client != b.client, a.job != b.job];
    differs.into_iter().position(|differs| differs)
}

impl Scheduler {
    /// Takes seats from those who were told to give way and have nothing in flight; then tells one
    /// more, if somebody who waits has a better claim.
    pub(crate) fn share_seats(&mut self) {
        self.take_given();
        if self.waiting.is_empty() {
            return;
        }
        self.count_seats();
        let is_full = count(self.running.len()) >= self.frame.rolling_max;
        let gives = self.running.iter().any(|key| self.sequences[*key].gives_way);
        if gives || !(is_full || self.is_short) {
            return;
        }
        let Some(first) = self.first_waiting(&[]) else { return };
        let Some((victim, by_turn)) = self.victim(self.waiting[first]) else { return };
        let sequence = &mut self.sequences[victim];
        sequence.gives_way = true;
        if by_turn {
            // It had its turn: the others have theirs before it has another.
            sequence.rank.arrival = self.next_arrival;
            self.next_arrival += 1;
            self.sort_running();
        }
        self.take_given();
        self.count_seats();
    }

    fn take_given(&mut self) {
        for at in (0..self.running.len()).rev() {
            let key = self.running[at];
            let sequence = &self.sequences[key];
            if sequence.gives_way && sequence.in_flight == 0 {
                self.leave_seat(key);
                self.totals.turns += 1;
            }
        }
    }

    fn sort_running(&mut self) {
        let sequences = &self.sequences;
        self.running.sort_unstable_by_key(|key| sequences[*key].rank);
    }

    pub(crate) fn count_seats(&mut self) {
        self.seats.clear();
        for key in &self.running {
            let sequence = &self.sequences[*key];
            if !sequence.gives_way {
                self.seats.add(sequence);
            }
        }
    }

    /// Where in the queue the one stands who is next: of the highest priority, with the fewest seats,
    /// then first come. `passed` and held ones are not looked at.
    pub(crate) fn first_waiting(&self, passed: &[usize]) -> Option<usize> {
        let mut best: Option<(usize, (Held, Rank))> = None;
        for (at, key) in self.waiting.iter().enumerate() {
            let sequence = &self.sequences[*key];
            // The queue is by rank, so lower priorities come later.
            if best.is_some_and(|(_, (_, rank))| rank.priority != sequence.rank.priority) {
                break;
            }
            if passed.contains(&at) || sequence.held {
                continue;
            }
            let claim = (self.seats.held(sequence), sequence.rank);
            if claim.0 == [0; 3] {
                // Nobody who came earlier held as few.
                return Some(at);
            }
            if best.is_none_or(|(_, best)| claim < best) {
                best = Some((at, claim));
            }
        }
        best.map(|(at, _)| at)
    }

    /// Who gives a seat to `waiter`, and whether it is because its turn is over.
    fn victim(&self, waiter: usize) -> Option<(usize, bool)> {
        let waiter = &self.sequences[waiter];
        let may = |key: &&usize| {
            let s = &self.sequences[**key];
            s.rank.priority >= waiter.rank.priority && s.is_ready()
        };
        let wanted = self.seats.held(waiter);
        // The surplus at the level where they part; outer levels count more. The youngest goes first.
        let surplus = |key: &usize| {
            let s = &self.sequences[*key];
            let level = difference(s, waiter)?;
            let surplus = self.seats.held(s)[level].checked_sub(wanted[level])?;
            (surplus >= 2).then_some((std::cmp::Reverse(level), surplus, s.rank))
        };
        let running = || self.running.iter().filter(may);
        let richest = running().filter_map(|key| Some((surplus(key)?, *key))).max();
        if let Some((_, key)) = richest {
            return Some((key, false));
        }
        let done = running().filter_map(|key| Some((self.turn_over(*key)?, *key))).max();
        done.map(|(_, key)| (key, true))
    }

    /// Tokens that a sequence had since it was seated, if they are a turn.
    fn turn_over(&self, key: usize) -> Option<u32> {
        let sequence = &self.sequences[key];
        let had = count(sequence.output.len()) - sequence.seated;
        // Without the cache everything must be computed again: turns are as long as that.
        let turn = match self.jobs[sequence.job].shares && self.policy.prefix_cache {
            true => self.policy.turn_tokens,
            false => self.policy.turn_tokens.max(sequence.known()),
        };
        (self.policy.turn_tokens > 0 && had >= turn).then_some(had)
    }
}
