//! The host sampler: backends whose device does not sample share it.
//!
//! It keeps each slot's token history by position, so that penalties, `Token::Last` and drafts all
//! read one truth: a row's history is exactly the tokens up to its position. Noise is a pure
//! function of (seed, position, token), so equal seeds give equal tokens under any schedule.
//!
//! Order, as in llama.cpp's default chain where both have a step: mask, ends that come too early,
//! penalties, temperature,
//! top-k, top-p, min-p, choice by Gumbel-max. Log probabilities are of the raw distribution.

use std::cmp::Ordering;
use std::sync::Arc;

use gimbal_batch::{
    Answer, Batch, Output, Part, RowFault, SampleParams, SeqSlot, Token, TokenId, TokenMask, Want,
};

mod row;

use self::row::{all_ids, finite, log_sum_exp, top_of};
pub use self::row::{argmax, score};

/// Noise spans less than this many nats: `-ln(-ln(u))` for `u` in `[2^-54, 1 - 2^-54]`.
const NOISE_SPAN: f32 = 42.0;
/// Candidates sorted first when top-p cuts; nearly always enough.
const HEAD: usize = 512;

/// Histories and parameters of all slots, and scratch.
#[derive(Debug)]
pub struct Sampler {
    slots: Vec<Slot>,
    candidates: Vec<(TokenId, f32)>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// By position; the newest sampled token is the last one.
    tokens: Vec<TokenId>,
    prompt: usize,
    params: Arc<SampleParams>,
}

impl Sampler {
    /// A sampler for slots `0..sequences_max`.
    #[must_use]
    pub fn new(sequences_max: u32) -> Self {
        Self { slots: vec![Slot::default(); sequences_max as usize], candidates: Vec::new() }
    }

    /// Begins a step: applies closes and opens, writes the batch's tokens into the histories, and
    /// returns the token id of every row in `ids`.
    ///
    /// # Panics
    /// If `Token::Last` stands where no token was sampled: a bug of the caller.
    pub fn begin(&mut self, batch: &Batch, ids: &mut Vec<TokenId>) {
        ids.clear();
        let known = |id: Option<TokenId>| id.expect("a token was sampled where `Last` stands");
        self.begin_ahead(batch, |_, id| ids.push(known(id)));
    }

    /// As `begin`, of a device that samples and whose last step may not have been collected: tells of each row
    /// its slot and token id, `None` where the device alone knows it.
    pub fn begin_ahead(&mut self, batch: &Batch, mut tell: impl FnMut(SeqSlot, Option<TokenId>)) {
        for slot in &batch.closes {
            self.slots[slot.0 as usize] = Slot::default();
        }
        for open in &batch.opens {
            let slot = &mut self.slots[open.slot.0 as usize];
            slot.tokens.clear();
            slot.tokens.extend_from_slice(&open.tokens);
            slot.prompt = open.prompt as usize;
            slot.params = open.params.clone();
        }
        let mut row = 0;
        for part in &batch.parts {
            let tokens = &mut self.slots[part.slot.0 as usize].tokens;
            for i in 0..part.rows {
                let position = (part.start + i) as usize;
                match batch.tokens[row] {
                    Token::Id(id) => {
                        assert!(position <= tokens.len(), "rows continue the slot's history");
                        tokens.truncate(position);
                        tokens.push(id);
                        tell(part.slot, Some(id));
                    }
                    Token::Last => tell(part.slot, tokens.get(position).copied()),
                }
                row += 1;
            }
        }
    }

    /// A slot's tokens as far as they are known, how many of them are the prompt, and how it samples.
    #[must_use]
    pub fn history(&self, slot: SeqSlot) -> (&[TokenId], usize, &Arc<SampleParams>) {
        let slot = &self.slots[slot.0 as usize];
        (&slot.tokens, slot.prompt, &slot.params)
    }

    /// Tells what a device has sampled behind the row at `position`. Behind a row that is not the newest, as after
    /// a fault, it is not kept.
    pub fn tell(&mut self, slot: SeqSlot, position: u32, token: TokenId) {
        let tokens = &mut self.slots[slot.0 as usize].tokens;
        if tokens.len() == position as usize + 1 {
            tokens.push(token);
        }
    }

    /// Answers one output of a part from its logits, which are changed.
    ///
    /// `row` counts within the part.
    ///
    /// # Errors
    /// The fault of this row alone.
    pub fn answer(
        &mut self,
        part: &Part,
        row: u32,
        output: &Output,
        logits: &mut [f32],
    ) -> Result<Answer, RowFault> {
        match &output.want {
            Want::Score { ids, top } => score(logits, ids, *top),
            Want::Row => finite(logits).map(|()| Answer::Row(logits.to_vec())),
            Want::Sample => {
                finite(logits)?;
                let position = part.start + row;
                let params = self.slots[part.slot.0 as usize].params.clone();
                let (log_sum, top) = match params.logprobs {
                    Some(count) => (log_sum_exp(logits), alternatives(logits, count, &params)),
                    None => (0.0, Vec::new()),
                };
                // Penalties and masks change the logits; without them they are raw already.
                let changes =
                    params.has_penalties() || output.mask.is_some() || params.min_tokens > 0;
                let raw = (params.logprobs.is_some() && changes).then(|| logits.to_vec());
                let token = self.choose(part.slot, position, output, &params, logits)?;
                if row + 1 == part.rows {
                    self.slots[part.slot.0 as usize].tokens.push(token);
                }
                let raw = raw.as_deref().unwrap_or(logits);
                let logprob = params.logprobs.map_or(0.0, |_| raw[token.index()] - log_sum);
                let top = top.into_iter().map(|(id, l)| (id, l - log_sum)).collect();
                Ok(Answer::Sample { token, logprob, top })
            }
        }
    }

    fn choose(
        &mut self,
        slot: SeqSlot,
        position: u32,
        output: &Output,
        params: &SampleParams,
        logits: &mut [f32],
    ) -> Result<TokenId, RowFault> {
        let slot = &self.slots[slot.0 as usize];
        if params.has_penalties() {
            let seen = &slot.tokens[..slot.tokens.len().min(position as usize + 1)];
            penalise(seen, slot.prompt, params, logits);
        }
        if let Some(mask) = &output.mask {
            apply(mask, logits);
        }
        let outputs = (position as usize + 1).saturating_sub(slot.prompt);
        let mut ends = Vec::new();
        if outputs < params.min_tokens as usize {
            for end in params.ends.iter() {
                if let Some(logit) = logits.get_mut(end.index()) {
                    ends.push((end.index(), *logit));
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        let any = |logits: &[f32]| argmax(logits).filter(|(_, l)| *l > f32::NEG_INFINITY);
        let best = any(logits).or_else(|| {
            // A grammar that has come to its end leaves nothing else.
            // The first one's last: of an end that is named twice, the second saw none any more.
            ends.iter().rev().for_each(|(end, logit)| logits[*end] = *logit);
            any(logits)
        });
        let Some((best, most)) = best else { return Err(RowFault::EmptyMask) };
        let token = TokenId::new(best);
        if params.is_greedy() {
            return Ok(token);
        }
        let kept = &mut self.candidates;
        kept.clear();
        let floor = most - NOISE_SPAN * params.temperature;
        let near = all_ids().zip(logits.iter()).filter(|(_, l)| **l >= floor);
        kept.extend(near.map(|(id, l)| (id, (l - most) / params.temperature)));
        keep_top_k(kept, params.top_k as usize);
        keep_top_p(kept, params.top_p);
        if params.min_p > 0.0 {
            let floor = params.min_p.ln();
            kept.retain(|(_, l)| *l >= floor);
        }
        let noisy = |(id, l): &(TokenId, f32)| (*id, l + gumbel(params.seed, position, *id));
        let chosen = kept.iter().map(noisy).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        Ok(chosen.map_or(token, |(id, _)| id))
    }
}

/// Rules out what a mask does not allow, a word of it at a time.
fn apply(TokenMask(words): &TokenMask, logits: &mut [f32]) {
    let mut chunks = logits.chunks_mut(32);
    for (word, chunk) in words.iter().zip(chunks.by_ref()) {
        match word {
            0 => chunk.fill(f32::NEG_INFINITY),
            &u32::MAX => {}
            word => {
                for (bit, logit) in chunk.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
    chunks.for_each(|chunk| chunk.fill(f32::NEG_INFINITY));
}

/// The logits that are told beside the choice: of the tokens asked for, or else of the best.
fn alternatives(logits: &[f32], count: u8, params: &SampleParams) -> Vec<(TokenId, f32)> {
    if params.logprob_ids.is_empty() {
        return top_of(logits, usize::from(count));
    }
    let known = |id: &TokenId| Some((*id, *logits.get(id.index())?));
    params.logprob_ids.iter().filter_map(known).collect()
}

/// Repetition over prompt and output; presence and frequency over the output alone.
fn penalise(seen: &[TokenId], prompt: usize, params: &SampleParams, logits: &mut [f32]) {
    let mut sorted: Vec<(TokenId, bool)> =
        seen.iter().enumerate().map(|(i, id)| (*id, i >= prompt)).collect();
    sorted.sort_unstable();
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let Some(logit) = logits.get_mut(same[0].0.index()) else { continue };
        let by = params.repetition_penalty;
        *logit = if *logit > 0.0 { *logit / by } else { *logit * by };
        let count = same.iter().filter(|(_, is_output)| *is_output).count();
        if count > 0 {
            *logit -= params.presence_penalty + params.frequency_penalty * count as f32;
        }
    }
}

fn descending(a: &(TokenId, f32), b: &(TokenId, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn keep_top_k(kept: &mut Vec<(TokenId, f32)>, k: usize) {
    if k > 0 && k < kept.len() {
        kept.select_nth_unstable_by(k - 1, descending);
        kept.truncate(k);
    }
}

/// Keeps the smallest set of most probable candidates whose share reaches `p`.
fn keep_top_p(kept: &mut Vec<(TokenId, f32)>, p: f32) {
    if p >= 1.0 || kept.is_empty() {
        return;
    }
    let total: f64 = kept.iter().map(|(_, l)| f64::from(l.exp())).sum();
    let mut sorted = HEAD.min(kept.len());
    loop {
        if sorted < kept.len() {
            kept.select_nth_unstable_by(sorted - 1, descending);
        }
        kept[..sorted].sort_unstable_by(descending);
        let mut sum = 0.0;
        let reached = kept[..sorted].iter().position(|(_, l)| {
            sum += f64::from(l.exp());
            sum >= f64::from(p) * total
        });
        match reached {
            Some(last) => return kept.truncate(last + 1),
            None if sorted == kept.len() => return,
            None => sorted = kept.len(),
        }
    }
}

/// Standard Gumbel noise as a pure function: adding it to log probabilities and taking the maximum
/// samples the distribution exactly. **Source**: Maddison et al. 2014, §2.
fn gumbel(seed: u64, position: u32, token: TokenId) -> f32 {
    let bits =
        mix(mix(seed ^ 0x9e37_79b9_7f4a_7c15)
            ^ (u64::from(position) << 32 | u64::from(token.get())));
    // 53 random bits, centred, so that u is never 0 or 1.
    let u = ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "f32 is the logits' type")]
    let noise = -(-u.ln()).ln() as f32;
    noise
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
