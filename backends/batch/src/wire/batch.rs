//! A step as bytes.

use std::sync::Arc;

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;
use crate::{
    Adapter, AdapterSlot, Batch, BlockId, Limits, Open, Output, Part, SampleParams, SeqSlot, Shape,
    Token, TokenId, TokenMask, Want,
};

/// Results that can be wanted of one row: one of each kind.
const WANTS: u64 = 3;

pub(super) fn write(batch: &Batch, w: &mut Writer<'_>) -> Result<(), WireError> {
    w.count(batch.tokens.len());
    for token in &batch.tokens {
        match token {
            Token::Last => w.u8(0),
            Token::Id(id) => {
                w.u8(1);
                w.u32(id.get());
            }
        }
    }
    w.count(batch.parts.len());
    for Part { slot, rows, start, blocks, adapter } in &batch.parts {
        for number in [slot.0, *rows, *start, blocks.start, blocks.end] {
            w.u32(number);
        }
        w.u16(adapter.0);
    }
    w.count(batch.blocks.len());
    batch.blocks.iter().for_each(|block| w.u32(block.0));
    w.count(batch.outputs.len());
    batch.outputs.iter().for_each(|output| write_output(output, w));
    w.count(batch.inject.len());
    for (row, numbers) in &batch.inject {
        w.u32(*row);
        w.f32s(numbers);
    }
    w.count(batch.adapters.len());
    for (slot, adapter) in &batch.adapters {
        write_adapter(*slot, adapter.as_deref(), w)?;
    }
    w.count(batch.opens.len());
    batch.opens.iter().for_each(|open| write_open(open, w));
    w.count(batch.closes.len());
    batch.closes.iter().for_each(|slot| w.u32(slot.0));
    Ok(())
}

fn write_output(output: &Output, w: &mut Writer<'_>) {
    w.u32(output.row);
    match &output.want {
        Want::Sample => w.u8(0),
        Want::Score { ids, top } => {
            w.u8(1);
            w.ids(ids);
            w.u8(*top);
        }
        Want::Row => w.u8(2),
    }
    w.bool(output.mask.is_some());
    if let Some(TokenMask(words)) = &output.mask {
        w.u32s(words);
    }
}

fn write_adapter(
    slot: AdapterSlot,
    adapter: Option<&Adapter>,
    w: &mut Writer<'_>,
) -> Result<(), WireError> {
    w.u16(slot.0);
    w.bool(adapter.is_some());
    if let Some(Adapter { generation, path }) = adapter {
        w.u64(*generation);
        w.text(path.to_str().ok_or(WireError::Text { what: "an adapter's path" })?);
    }
    Ok(())
}

fn write_open(open: &Open, w: &mut Writer<'_>) {
    w.u32(open.slot.0);
    w.ids(&open.tokens);
    w.u32(open.prompt);
    let p = &*open.params;
    for number in [p.temperature, p.top_p, p.min_p] {
        w.f32(number);
    }
    for number in [p.repetition_penalty, p.presence_penalty, p.frequency_penalty] {
        w.f32(number);
    }
    w.u32(p.top_k);
    w.u64(p.seed);
    w.bool(p.logprobs.is_some());
    p.logprobs.iter().for_each(|asked| w.u8(*asked));
    w.ids(&p.logprob_ids);
    w.u32(p.min_tokens);
    w.ids(&p.ends);
}

/// Reads into an empty batch.
pub(super) fn read(r: &mut Reader<'_>, limits: &Limits, b: &mut Batch) -> Result<(), WireError> {
    let sequences_max = u64::from(limits.sequences_max);
    let rows_max = rows_max(limits);
    for _ in 0..reserve(&mut b.tokens, r.count("rows", rows_max, 1)?) {
        b.tokens.push(match r.u8("a token")? {
            0 => Token::Last,
            1 => Token::Id(TokenId::new(r.u32("a token")?)),
            found => return Err(WireError::Tag { what: "token", found }),
        });
    }
    for _ in 0..reserve(&mut b.parts, r.count("parts", sequences_max, 22)?) {
        b.parts.push(Part {
            slot: SeqSlot(r.u32("a part's slot")?),
            rows: r.u32("a part's rows")?,
            start: r.u32("a part's start")?,
            blocks: r.u32("a part's blocks")?..r.u32("a part's blocks")?,
            adapter: AdapterSlot(r.u16("a part's adapter")?),
        });
    }
    let blocks_max = sequences_max.saturating_mul(u64::from(limits.kv.blocks));
    for _ in 0..reserve(&mut b.blocks, r.count("blocks of tables", blocks_max, 4)?) {
        b.blocks.push(BlockId(r.u32("a block")?));
    }
    let rows = b.tokens.len() as u64;
    for _ in 0..reserve(&mut b.outputs, r.count("outputs", WANTS * rows, 6)?) {
        b.outputs.push(read_output(r, limits)?);
    }
    let width = u64::from(limits.inject_width);
    for _ in 0..reserve(&mut b.inject, r.count("injected rows", rows, 8)?) {
        let row = r.u32("an injected row")?;
        b.inject.push((row, r.f32s("numbers of an injected row", width)?.into()));
    }
    let adapters_max = u64::from(limits.adapters_max);
    for _ in 0..reserve(&mut b.adapters, r.count("adapters", adapters_max, 3)?) {
        b.adapters.push(read_adapter(r)?);
    }
    for _ in 0..reserve(&mut b.opens, r.count("opened slots", sequences_max, 61)?) {
        b.opens.push(read_open(r, limits)?);
    }
    for _ in 0..reserve(&mut b.closes, r.count("closed slots", sequences_max, 4)?) {
        b.closes.push(SeqSlot(r.u32("a closed slot")?));
    }
    Ok(())
}

/// Rows that any step of the device can have.
fn rows_max(limits: &Limits) -> u64 {
    match &limits.shape {
        Shape::Varlen { rows_max } => u64::from(*rows_max),
        Shape::Buckets(buckets) => {
            let rows = buckets.iter().map(|b| u64::from(b.sequences) * u64::from(b.rows_each));
            rows.max().unwrap_or(0)
        }
    }
}

fn reserve<T>(list: &mut Vec<T>, count: usize) -> usize {
    list.reserve(count);
    count
}

fn read_output(r: &mut Reader<'_>, limits: &Limits) -> Result<Output, WireError> {
    let row = r.u32("an output's row")?;
    let want = match r.u8("a wanted result")? {
        0 => Want::Sample,
        1 => {
            let ids = r.ids("tokens to score", limits.sampling.scores_max.into())?;
            Want::Score { ids, top: r.u8("alternatives to scores")? }
        }
        2 => Want::Row,
        found => return Err(WireError::Tag { what: "wanted result", found }),
    };
    let words = u64::from(limits.vocab.div_ceil(32));
    let mask = match r.bool("a mask")? {
        true => Some(TokenMask(r.u32s("words of a mask", words)?)),
        false => None,
    };
    Ok(Output { row, want, mask })
}

fn read_adapter(r: &mut Reader<'_>) -> Result<(AdapterSlot, Option<Arc<Adapter>>), WireError> {
    let slot = AdapterSlot(r.u16("an adapter's slot")?);
    if !r.bool("an adapter")? {
        return Ok((slot, None));
    }
    let generation = r.u64("an adapter's generation")?;
    let path = r.text("an adapter's path")?.into();
    Ok((slot, Some(Arc::new(Adapter { generation, path }))))
}

fn read_open(r: &mut Reader<'_>, limits: &Limits) -> Result<Open, WireError> {
    let slot = SeqSlot(r.u32("an opened slot")?);
    let tokens = r.ids("tokens of an opened slot", limits.context_tokens_max.into())?;
    let prompt = r.u32("the length of a prompt")?;
    let (temperature, top_p, min_p) = (r.f32("temperature")?, r.f32("top-p")?, r.f32("min-p")?);
    let mut penalty = || r.f32("a penalty");
    let (repetition_penalty, presence_penalty) = (penalty()?, penalty()?);
    let frequency_penalty = penalty()?;
    let (top_k, seed) = (r.u32("top-k")?, r.u64("a seed")?);
    let logprobs = match r.bool("logprobs")? {
        true => Some(r.u8("logprobs")?),
        false => None,
    };
    let params = SampleParams {
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        presence_penalty,
        frequency_penalty,
        seed,
        logprobs,
        logprob_ids: r.ids("tokens with log probabilities", limits.sampling.scores_max.into())?,
        min_tokens: r.u32("min_tokens")?,
        ends: r.ids("end tokens", limits.sampling.ends_max.into())?,
    };
    Ok(Open { slot, tokens, prompt, params: Arc::new(params) })
}
