//! A step's outcome as bytes.

use super::error::WireError;
use super::frame::FRAME_BYTES_MAX;
use super::reader::Reader;
use super::writer::Writer;
use crate::{Answer, Outcome, RowFault, TokenId};

/// Numbers in one answer: no more fit a frame.
const NUMBERS_MAX: u64 = FRAME_BYTES_MAX as u64 / 4;

pub(super) fn write(outcome: &Outcome, w: &mut Writer<'_>) {
    w.count(outcome.len());
    for answer in outcome {
        match answer {
            Ok(Answer::Sample { token, logprob, top }) => {
                w.u8(0);
                w.u32(token.get());
                w.f32(*logprob);
                w.count(top.len());
                for (token, logprob) in top {
                    w.u32(token.get());
                    w.f32(*logprob);
                }
            }
            Ok(Answer::Score(scores)) => {
                w.u8(1);
                w.f32s(scores);
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
            1 => Ok(Answer::Score(r.f32s("scores", NUMBERS_MAX)?)),
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
    let count = r.count("alternatives", u64::from(u8::MAX), 8)?;
    let mut top = Vec::with_capacity(count);
    for _ in 0..count {
        top.push((TokenId::new(r.u32("an alternative")?), r.f32("its logprob")?));
    }
    Ok(Answer::Sample { token, logprob, top })
}
