//! Tokens against those of the hal's host sampler.
//!
//! Next: `../draws.rs`.

use std::sync::Arc;

use gimbal_batch::{
    AdapterSlot, Answer, Batch, Open, Output, Part, RowFault, SampleParams, SeqSlot, Token,
    TokenId, TokenMask, Want,
};
use gimbal_hal::sample::Sampler;

use super::bench::{Bench, Told};
use crate::draws::{self, Draws};
use crate::launch::{self, Choices, Drawn, Fault};

/// Rows of a launch.
const ROWS: usize = 64;
/// Sizes of vocabularies, and how often each is drawn from.
const VOCABS: [usize; 3] = [33, 301, 1100];
const TURNS: usize = 3;
/// Tokens of a row's history: prompt, and all.
const HISTORY: [usize; 2] = [7, 19];

/// A row of a case.
struct Row {
    params: SampleParams,
    history: Vec<TokenId>,
    mask: Option<TokenMask>,
    logits: Vec<f32>,
}

/// Every parameter alone and with others, over some vocabularies.
pub(super) fn sample(bench: &Bench<'_>) -> Told {
    for vocab in VOCABS {
        for turn in 0..TURNS {
            let rows: Vec<Row> = (0..ROWS).map(|i| row(bench, vocab, turn * ROWS + i)).collect();
            compare(bench, vocab, &rows)?;
        }
    }
    Ok(())
}

/// A number below `n`.
fn below(bench: &Bench<'_>, n: usize) -> usize {
    usize::try_from((bench.bits() >> 33) % n as u64).unwrap_or(0)
}

fn id(token: usize) -> TokenId {
    TokenId::new(u32::try_from(token).unwrap_or(u32::MAX))
}

/// The bits of `i` say what a row asks for.
#[expect(clippy::cast_possible_truncation, reason = "f32 is what is meant")]
fn row(bench: &Bench<'_>, vocab: usize, i: usize) -> Row {
    let has = |bit: usize| i >> bit & 1 == 1;
    let pick = |values: [f32; 4]| values[below(bench, 4)];
    let mut params = SampleParams { seed: bench.bits(), ..SampleParams::default() };
    if !i.is_multiple_of(16) {
        params.temperature = pick([0.2, 0.7, 1.0, 1.7]);
    }
    if has(0) {
        params.top_k = [1, 2, 20, 2000][below(bench, 4)];
    }
    if has(1) {
        // No share of equal tokens comes near to these.
        params.top_p = pick([0.0537, 0.5137, 0.9173, 0.9991]);
    }
    if has(2) {
        params.min_p = pick([0.01, 0.1, 0.5, 1.0]);
    }
    if has(3) {
        params.repetition_penalty = pick([0.8, 1.1, 1.5, 2.0]);
        params.presence_penalty = pick([0.0, 0.5, -0.5, 2.0]);
        params.frequency_penalty = pick([0.0, 0.25, -0.25, 1.0]);
    }
    if has(4) {
        params.logprobs = Some(0);
    }
    let mut numbers: Vec<f32> = bench.numbers(vocab).iter().map(|x| (4.0 * x) as f32).collect();
    // Equal ones, some of them the highest.
    if has(5) {
        numbers.iter_mut().for_each(|x| *x = (*x * 2.0).round() / 2.0);
    }
    // All below 0, where a penalty multiplies.
    if has(6) {
        numbers.iter_mut().for_each(|x| *x -= 5.0);
    }
    let mut history: Vec<TokenId> =
        (0..HISTORY[1]).map(|_| id(below(bench, vocab.min(40)))).collect();
    // The newest token would be chosen again, and was seen before, or not.
    if i % 5 < 3 {
        let best = (0..vocab).max_by(|a, b| numbers[*a].total_cmp(&numbers[*b])).unwrap_or(0);
        history.retain(|token| *token != id(best));
        history.resize(HISTORY[1], id((best + 1) % vocab));
        history[HISTORY[1] - 1] = id(best);
        history[HISTORY[0] + 1] = id(best);
        if i.is_multiple_of(5) {
            history[HISTORY[0] + 1] = id((best + 2) % vocab);
        } else {
            // It is twice in the output: once would leave it the best, or three times would not.
            let others = numbers.iter().enumerate().filter(|(token, _)| *token != best);
            let second = others.map(|(_, x)| *x).fold(f32::NEG_INFINITY, f32::max);
            numbers[best] = second + if i % 5 == 1 { 4.5 } else { 7.5 };
            params.frequency_penalty = 3.0;
            (params.temperature, params.repetition_penalty) = (0.0, 1.0);
            params.presence_penalty = 0.0;
        }
    }
    let mut mask = None;
    if i % 5 == 1 {
        // Some do not reach the last tokens.
        let words = (0..vocab.div_ceil(32) - i % 2).map(|_| (bench.bits() >> 20) as u32);
        let none = i % 25 == 1;
        mask = Some(TokenMask(words.map(|word| if none { 0 } else { word }).collect()));
    }
    if i % 7 == 3 {
        params.min_tokens = 100;
        let best = (0..vocab).max_by(|a, b| numbers[*a].total_cmp(&numbers[*b])).unwrap_or(0);
        params.ends = [best, (best + 3) % vocab, vocab + 5].map(id).into();
        // Nothing but ends is left.
        if i % 14 == 3 {
            let mut words = vec![0; vocab.div_ceil(32)];
            words[best / 32] |= 1 << (best % 32);
            mask = Some(TokenMask(words.into()));
        }
    }
    if i % 63 == 40 {
        numbers[vocab / 2] = [f32::NAN, f32::INFINITY][i % 2];
    }
    Row { params, history, mask, logits: numbers }
}

/// What the host answers.
fn host(rows: &[Row]) -> Vec<Result<Answer, RowFault>> {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut batch = Batch::default();
    for (slot, row) in (0..).zip(rows) {
        let (slot, tokens) = (SeqSlot(slot), small(row.history.len()));
        batch.opens.push(Open {
            slot,
            tokens: row.history.clone().into(),
            prompt: small(HISTORY[0]),
            params: Arc::new(row.params.clone()),
        });
        batch.tokens.extend(row.history.last().copied().map(Token::Id));
        let (start, adapter) = (tokens - 1, AdapterSlot(0));
        batch.parts.push(Part { slot, rows: 1, start, blocks: 0..0, adapter });
    }
    let mut sampler = Sampler::new(small(rows.len()));
    sampler.begin(&batch, &mut Vec::new());
    let answer = |(part, row): (&Part, &Row)| {
        let output = Output { row: 0, want: Want::Sample, mask: row.mask.clone() };
        sampler.answer(part, 0, &output, &mut row.logits.clone())
    };
    batch.parts.iter().zip(rows).map(answer).collect()
}

/// What the device answers, and the newest token of each slot after it.
fn device(bench: &Bench<'_>, vocab: usize, rows: &[Row]) -> Result<(Vec<Drawn>, Vec<u32>), String> {
    bench.clear()?;
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (mut draws, mut newest) = (Draws::default(), vec![0; rows.len()]);
    for (i, row) in rows.iter().enumerate() {
        // Of some histories the device alone knows the end, which is another one where it is told.
        let known = row.history.len() - usize::from(is_ahead(i));
        let slot = slot(i, rows.len());
        newest[slot] = row.history.last().map_or(0, |id| id.get());
        newest[slot] ^= u32::from(!is_ahead(i));
        draws.add(draws::Row {
            params: &row.params,
            slot: small(slot),
            position: small(row.history.len()) - 1,
            history: &row.history[..known],
            prompt: HISTORY[0],
            mask: row.mask.as_ref(),
            is_newest: is_newest(i),
        });
    }
    let logits = rows.iter().flat_map(|row| row.logits.iter().copied().map(f32::to_bits));
    let logits = bench.ints(&logits.collect::<Vec<_>>())?;
    let choices = Choices {
        draws: bench.ints(&draws.rows)?,
        lists: bench.ints(&draws.lists)?,
        newest: bench.ints(&newest)?,
    };
    let (drawn, work) = (bench.room(16 * rows.len())?, bench.room(4 * rows.len() * vocab)?);
    let sizes = [small(rows.len()), small(vocab)];
    bench.run(&launch::sample([drawn, logits, work], choices, sizes))?;
    let words = bench.read_ints(drawn, Drawn::WORDS * rows.len())?;
    let drawn = words.as_chunks::<{ Drawn::WORDS }>().0.iter().copied().map(Drawn::read);
    Ok((drawn.collect(), bench.read_ints(choices.newest, rows.len())?))
}

/// The slot of a row, which is another number.
const fn slot(i: usize, rows: usize) -> usize {
    rows - 1 - i
}

/// Whether the end of a row's history is known to the device alone.
fn is_ahead(i: usize) -> bool {
    i % 3 == 1 && is_newest(i)
}

/// Whether what a row is given is the newest of its slot.
fn is_newest(i: usize) -> bool {
    i % 8 != 5
}

fn compare(bench: &Bench<'_>, vocab: usize, rows: &[Row]) -> Told {
    let (drawn, newest) = device(bench, vocab, rows)?;
    for (i, ((expect, found), row)) in host(rows).into_iter().zip(drawn).zip(rows).enumerate() {
        let is_same = match (&expect, found.token) {
            (Ok(Answer::Sample { token, logprob, .. }), Ok(drawn)) => {
                let near = found.logit - found.log_sum - logprob;
                token.get() == drawn && (row.params.logprobs.is_none() || near.abs() < 1e-5)
            }
            (Err(RowFault::NotFinite), Err(Fault::NotFinite))
            | (Err(RowFault::EmptyMask), Err(Fault::EmptyMask)) => true,
            _ => false,
        };
        if !is_same {
            return Err(format!("row {i} of {vocab}: {found:?}, not {expect:?}: {:?}", row.params));
        }
        // The token of a row at fault is one that there is.
        let kept = newest[slot(i, rows.len())];
        if is_newest(i) && kept != found.token.unwrap_or(0) {
            return Err(format!("row {i} of {vocab}: its slot has {kept}, not {found:?}"));
        }
    }
    let kept = |i: &usize| {
        newest[slot(*i, rows.len())] == rows[*i].history.last().map_or(0, |id| id.get()) ^ 1
    };
    match (0..rows.len()).filter(|i| !is_newest(*i)).find(|i| !kept(i)) {
        Some(i) => Err(format!("row {i} of {vocab}: its slot was written")),
        None => Ok(()),
    }
}
