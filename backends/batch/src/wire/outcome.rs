//! A step's outcome as bytes.

use super::error::WireError;
use super::frame::FRAME_BYTES_MAX;
use super::reader::Reader;
use super::writer::Writer;
use crate::{Answer, Outcome, RowFault, Score, TokenId};

/// Numbers in one answer: no more fit a frame.
const NUMBERS_MAX: u64 = FRAME_BYTES_MAX as u64 / 4;

/// Alternatives of one answer: more than anybody may ask for.
const TOP_MAX: u64 = 1 << 10;

pub(super) fn write(outcome: &Outcome, w: &mut Writer<'_>) {
    w.count(outcome.len());
    for answer in outcome {
        match answer {
            Ok(Answer::Sample { token, logprob, top }) => {
                w.u8(0);
                w.u32(token.get());
                w.f32(*logprob);
                write_top(top, w);
            }
            Ok(Answer::Score { scores, top }) => {
                w.u8(1);
                w.count(scores.len());
                for Score { logprob, rank } in scores {
                    w.f32(*logprob);
                    w.u32(*rank);
                }
                write_top(top, w);
            }
            Ok(Answer::Row(row)) => {
                w.u8(2);
                w.f32s(row);
            }
            Err(RowFault::NotFinite) => w.u8(3),
            Err(RowFault::EmptyMask) => w.u8(4),
        }
    }
}

fn write_top(top: &[(TokenId, f32)], w: &mut Writer<'_>) {
    w.count(top.len());
    for (token, logprob) in top {
        w.u32(token.get());
        w.f32(*logprob);
    }
}

pub(super) fn read(r: &mut Reader<'_>, outputs: usize) -> Result<Outcome, WireError> {
    let count = r.count("answers", outputs as u64, 1)?;
    if count < outputs {
        let (need, have) = (outputs as u64, count as u64);
        return Err(WireError::Short { what: "one answer for each output", need, have });
    }
    let mut outcome = Outcome::with_capacity(count);
    for _ in 0..count {
        outcome.push(match r.u8("an answer")? {
            0 => Ok(read_sample(r)?),
            1 => Ok(read_score(r)?),
            2 => Ok(Answer::Row(r.f32s("numbers of a row", NUMBERS_MAX)?)),
            3 => Err(RowFault::NotFinite),
            4 => Err(RowFault::EmptyMask),
            found => return Err(WireError::Tag { what: "answer", found }),
        });
    }
    Ok(outcome)
}

fn read_sample(r: &mut Reader<'_>) -> Result<Answer, WireError> {
    let (token, logprob) = (TokenId::new(r.u32("a token")?), r.f32("a logprob")?);
    Ok(Answer::Sample { token, logprob, top: read_top(r)? })
}

fn read_score(r: &mut Reader<'_>) -> Result<Answer, WireError> {
    let count = r.count("scores", NUMBERS_MAX, 8)?;
    let mut scores = Vec::with_capacity(count);
    for _ in 0..count {
        scores.push(Score { logprob: r.f32("a score")?, rank: r.u32("a rank")? });
    }
    Ok(Answer::Score { scores, top: read_top(r)? })
}

fn read_top(r: &mut Reader<'_>) -> Result<Vec<(TokenId, f32)>, WireError> {
    let count = r.count("alternatives", TOP_MAX, 8)?;
    let mut top = Vec::with_capacity(count);
    for _ in 0..count {
        top.push((TokenId::new(r.u32("an alternative")?), r.f32("its logprob")?));
    }
    Ok(top)
}
