//! Log probabilities in the two shapes OpenAI has.
//!
//! Next: `tokens.rs`.

use gimbal_engine::TokenInfo;
use gimbal_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::lmi::number;

/// Chat's shape: one entry a token, with its bytes.
pub(super) fn chat<'a>(
    tokenizer: &Tokenizer,
    tokens: impl Iterator<Item = &'a TokenInfo>,
) -> Value {
    let entry = |id: u32, logprob: f32| {
        json!({
            "token": tokenizer.decode(&[id], false),
            "logprob": number(logprob),
            "bytes": tokenizer.bytes(id),
        })
    };
    let told = |token: &TokenInfo| {
        let mut told = entry(token.id, token.logprob);
        told["top_logprobs"] = token.top.iter().map(|(id, l)| entry(*id, *l)).collect();
        told
    };
    json!({ "content": tokens.map(told).collect::<Vec<_>>() })
}

/// Completions' shape: parallel lists. `offset` counts the characters of the choice so far.
pub(super) fn completion(
    tokenizer: &Tokenizer,
    tokens: &[&TokenInfo],
    offset: &mut usize,
) -> Value {
    let text = |id: u32| tokenizer.decode(&[id], false);
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(*offset);
        *offset += text(token.id).chars().count();
    }
    // The token itself is always among them, so there may be one more than was asked for.
    let top = |token: &&TokenInfo| -> Map<String, Value> {
        let mut top = Map::new();
        top.insert(text(token.id), number(token.logprob).into());
        for (id, logprob) in &token.top {
            top.entry(text(*id)).or_insert_with(|| number(*logprob).into());
        }
        top
    };
    json!({
        "tokens": tokens.iter().map(|t| text(t.id)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|t| number(t.logprob)).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}
