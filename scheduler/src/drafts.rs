//! Guesses by n-gram lookup: what followed the last time these tokens were seen.
//!
//! Guesses only ever cost rows: a step samples at each of them and keeps those it would have
//! chosen itself. How many a sequence gets is a matter of two numbers: how often its guesses come
//! true, which is known without making them, and what a row costs beside a step (`pace.rs`). Prompt
//! lookup decoding: <https://github.com/apoorvumang/prompt-lookup-decoding>. Next: `commit.rs`.

use gimbal_batch::TokenId;

use crate::count;
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;
use crate::shape::Room;

/// Tokens that must agree before a continuation is taken for a guess. Two gives many wrong
/// guesses in prose; prompt lookup decoding was published with three.
const AGREE: u32 = 3;

/// Places a sequence remembers, at most: 1 MiB, touched as they are needed.
const PLACES_MAX: usize = 1 << 18;

/// How much more than its row costs a guess must promise. Both are estimates, and guesses are made just
/// when theirs is high. On a CPU, eight sequences that copied were 0.87 times as fast without it, and
/// 0.95 with it.
const MARGIN: f64 = 1.25;

/// Where the newest tokens of a sequence were seen before, and how often what followed them then
/// followed them again.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// Behind which token three tokens were last seen, by their hash; 0 is never. The newest of
    /// those with one hash stays. Empty until there is a token to look at: who waits has none.
    ends: Box<[u32]>,
    /// How many of them there are then.
    places: usize,
    /// Tokens that were looked at.
    seen: u32,
    /// Where the token stands that is guessed to be next; 0 is nowhere.
    from: u32,
    /// How often guesses come true, lately.
    chance: f64,
}

impl Lookup {
    /// For a sequence that has at most `tokens_max` tokens at its end.
    pub(crate) fn new(tokens_max: u32) -> Self {
        // So many that what was seen long ago is seldom overwritten by something else.
        let places = (8 * tokens_max as usize).next_power_of_two().clamp(1024, PLACES_MAX);
        Self { ends: Box::default(), places, seen: 0, from: 0, chance: 0.5 }
    }

    /// Looks at the tokens before `known` that are new. Those from `generated` on say whether the
    /// guess before them was right, made or not.
    pub(crate) fn look(&mut self, token: impl Fn(u32) -> TokenId, generated: u32, known: u32) {
        if self.ends.is_empty() {
            self.ends = vec![0; self.places].into();
        }
        while self.seen < known {
            let newest = self.seen;
            if self.from > 0 && newest >= generated {
                let hit = token(self.from) == token(newest);
                self.chance = (7.0 * self.chance + f64::from(u8::from(hit))) / 8.0;
            }
            self.seen += 1;
            self.from = self.find(&token);
        }
    }

    /// Remembers the newest three tokens; where they were seen before.
    fn find(&mut self, token: impl Fn(u32) -> TokenId) -> u32 {
        let Some(first) = self.seen.checked_sub(AGREE) else { return 0 };
        let newest = |i: u32| token(first + i);
        let mix =
            |hash: u64, i| (hash ^ u64::from(newest(i).get())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (0..AGREE).fold(0, mix) >> 32;
        let place = hash as usize & (self.ends.len() - 1);
        let end = std::mem::replace(&mut self.ends[place], self.seen);
        let agrees = || (0..AGREE).all(|i| token(end - AGREE + i) == newest(i));
        if end > 0 && agrees() { end } else { 0 }
    }

    /// Guesses that are worth a row each at this price, at most `most`: one is right only if all
    /// before it are.
    pub(crate) fn worth(&self, price: f64, most: u32) -> u32 {
        if self.from == 0 {
            return 0;
        }
        let then = |chance: &f64| Some(chance * self.chance);
        let chances = std::iter::successors(Some(self.chance), then);
        count(chances.take(most as usize).take_while(|chance| *chance > price).count())
    }

    /// Appends `drafts_count` guesses. Where what is known ends, they go on with themselves.
    fn guess(&self, token: impl Fn(u32) -> TokenId, drafts_count: u32, drafts: &mut Vec<TokenId>) {
        for at in self.from..self.from + drafts_count {
            let next = match at.checked_sub(self.seen) {
                None => token(at),
                Some(at) => drafts[at as usize],
            };
            drafts.push(next);
        }
    }
}

impl Scheduler {
    /// Adds guesses to decode rows, as far as they are worth it and rows and blocks are left over.
    pub(crate) fn draft(&mut self, room: &mut Room) {
        let planned = |key: &usize| (self.sequences[*key].rows, self.sequences[*key].is_decoding());
        let (mut rows, mut decoding) = (0, 0);
        for (of_one, decodes) in self.running.iter().map(planned) {
            rows += of_one;
            decoding += u32::from(decodes && of_one > 0);
        }
        for i in 0..self.running.len() {
            let key = self.running[i];
            let price = MARGIN * self.pace.row_price(decoding, rows);
            let drafts = self.drafts_of(key, price, room.rows());
            if drafts > 0 {
                room.extend(drafts);
                rows += drafts;
                self.sequences[key].rows += drafts;
                self.totals.drafts_proposed += u64::from(drafts);
                self.cover(key);
            }
        }
    }

    /// Makes the guesses of one sequence that are worth it; how many.
    fn drafts_of(&mut self, key: usize, price: f64, rows_left: u32) -> u32 {
        let kv = self.limits.kv;
        let blocks_left = self.blocks.available();
        let s = &mut self.sequences[key];
        if s.rows != 1 || s.promised > 0 || !s.is_decoding() {
            return 0;
        }
        let Some(lookup) = s.lookup.take() else { return 0 };
        let in_table = count(s.table.len()) + blocks_left;
        let fits = in_table.saturating_mul(kv.block_tokens).saturating_sub(s.cached + 1);
        let useful = s.tokens_max() - s.known() - 1;
        let most = self.policy.drafts_max.min(rows_left).min(fits).min(useful);
        let drafts = lookup.worth(price, most);
        let mut guesses = std::mem::take(&mut s.drafts);
        lookup.guess(|at| s.known_at(at), drafts, &mut guesses);
        (s.drafts, s.lookup) = (guesses, Some(lookup));
        // Rows have become cheaper since its newest token came.
        s.serial |= drafts > 0;
        drafts
    }

    /// A sequence has new tokens: looks whether the next ones can be guessed. Where they can, it waits
    /// for what is in flight: a guess needs all tokens before it.
    pub(crate) fn look_up(&mut self, key: usize) {
        let decoding = count(self.running.len());
        let price = MARGIN * self.pace.row_price(decoding, decoding);
        let s = &mut self.sequences[key];
        if let Some(mut lookup) = s.lookup.take() {
            lookup.look(|at| s.known_at(at), count(s.prompt.len()), s.known());
            s.serial = s.masked || lookup.worth(price, 1) > 0;
            s.lookup = Some(lookup);
        }
    }
}

impl Sequence {
    fn known_at(&self, position: u32) -> TokenId {
        self.known_token(position).expect("only known tokens are looked at")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(tokens: &[u32], generated: u32) -> Lookup {
        let mut lookup = Lookup::new(count(tokens.len()));
        let token = |at| TokenId::new(tokens[at as usize]);
        // Token by token or all at once is the same.
        for known in [2, count(tokens.len())] {
            lookup.look(token, generated, known);
        }
        lookup
    }

    fn check(tokens: &[u32], price: f64, most: u32, expect: &[u32]) {
        let lookup = lookup(tokens, count(tokens.len()));
        let mut drafts = Vec::new();
        let token = |at| TokenId::new(tokens[at as usize]);
        lookup.guess(token, lookup.worth(price, most), &mut drafts);
        let drafts: Vec<u32> = drafts.into_iter().map(TokenId::get).collect();
        assert_eq!(drafts, expect);
    }

    #[test]
    fn the_newest_agreement_is_continued() {
        check(&[1, 2, 3, 8, 1, 2, 3, 9, 7, 1, 2, 3], 0.0, 2, &[9, 7]);
        check(&[1, 2, 3, 9, 7, 1, 2, 3], 0.0, 1, &[9]);
        check(&[1, 2, 3, 4], 0.0, 4, &[]);
        check(&[1, 2], 0.0, 4, &[]);
        check(&[4, 2, 3, 9, 7, 1, 2, 3], 0.0, 4, &[]);
    }

    #[test]
    fn what_repeats_itself_goes_on_so() {
        check(&[5, 5, 5, 5], 0.0, 4, &[5, 5, 5, 5]);
        check(&[7, 8, 9, 7, 8, 9, 7, 8, 9], 0.0, 7, &[7, 8, 9, 7, 8, 9, 7]);
    }

    /// A half, a quarter, an eighth: each is worth what all before it are.
    #[test]
    fn guesses_end_where_they_cost_more_than_they_bring() {
        for (price, expect) in [(0.0, 9), (0.12, 3), (0.125, 2), (0.49, 1), (0.5, 0), (1.0, 0)] {
            assert_eq!(lookup(&[1, 2, 3, 9, 1, 2, 3], 7).worth(price, 9), expect, "{price}");
        }
    }

    #[test]
    fn guesses_that_are_not_made_are_judged_too() {
        let mut tokens = vec![1, 2, 3, 9, 7, 6, 8];
        tokens.extend([1, 2, 3, 9, 7, 6, 8].repeat(4));
        let judged = |generated| lookup(&tokens, generated).worth(0.49, 9);
        assert_eq!(judged(count(tokens.len())), 1, "prompts say nothing");
        assert_eq!(judged(9), 9);
        // The same three tokens, each time followed by something else.
        let tokens: Vec<u32> = (0..12).flat_map(|other| [1, 2, 3, 50 + other]).collect();
        assert_eq!(lookup(&[tokens, vec![1, 2, 3]].concat(), 3).worth(0.25, 9), 0);
    }
}
