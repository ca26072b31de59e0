//! `/tokenize` and `/detokenize`: vLLM's shapes; and llama.cpp's, for who sends its fields.
//!
//! Next: `info.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Prompt, text_pool};
use gimbal_text::Tokenizer;
use serde_json::{Value, json};

use super::chat;

use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::names::Scope;
use crate::whole;

/// Tokens that are written as text at once: more than any context, and some megabytes.
const DETOKENIZE_MAX: usize = 1 << 20;

/// Token ids of `prompt` or `content`, or of `messages` by the model's template.
pub(crate) async fn tokenize(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Tokenize)?;
    let service = call.app.model(fields.text("model")?.as_deref(), call.door)?;
    let prompt = what(&mut fields)?;
    let with_strings = fields.flag("return_token_strs")?.unwrap_or(false);
    let with_pieces = fields.flag("with_pieces")?.unwrap_or(false);
    let _place = service.permits(1)?;
    let tokens = service.tokenize(call.client(), prompt).await?;
    let (tokenizer, max_model_len) = (service.tokenizer().clone(), service.max_model_len());
    let answer = move || {
        let strings = with_strings
            .then(|| tokens.iter().map(|id| tokenizer.decode(&[*id], false)).collect::<Vec<_>>());
        let shown = match with_pieces {
            true => tokens.iter().map(|id| piece(&tokenizer, *id)).collect(),
            false => json!(tokens),
        };
        json!({
            "count": tokens.len(), "max_model_len": max_model_len, "tokens": shown,
            "token_strs": strings,
        })
    };
    let mut response = whole::json(call, &text_pool::run(call.client(), answer).await?)?;
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// What is to be tokenized: one of three fields.
fn what(fields: &mut Fields) -> Result<Prompt, Fault> {
    let names: Vec<_> =
        ["messages", "prompt", "content"].into_iter().filter(|n| fields.has(n)).collect();
    if let [_, other, ..] = names[..] {
        return Err(Fault::field(
            other,
            format!("not beside {}: it is one or the other", names[0]),
        ));
    }
    let llama = fields.flag("add_special")?;
    if names == ["messages"] {
        let mut prompt = chat::prompt(fields)?;
        if let Prompt::Chat { add_special_tokens, .. } = &mut prompt {
            *add_special_tokens |= llama.unwrap_or(false);
        }
        return Ok(prompt);
    }
    // llama.cpp adds nothing unless asked to; vLLM follows the model's own rule.
    let (name, default) = if names == ["content"] { ("content", false) } else { ("prompt", true) };
    let text = fields.text(name)?.ok_or_else(|| Fault::field("prompt", "is missing"))?;
    let add = fields.flag("add_special_tokens")?.or(llama).unwrap_or(default);
    Ok(prompt_of(text, add))
}

/// A token as llama.cpp shows it: its text, or its bytes where they are a part of a character.
fn piece(tokenizer: &Tokenizer, id: u32) -> Value {
    let bytes = tokenizer.bytes(id);
    let piece = std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), Value::from);
    json!({ "id": id, "piece": piece })
}

/// A text with or without what the tokenizer puts around it.
pub(super) fn prompt_of(text: String, add_special_tokens: bool) -> Prompt {
    if add_special_tokens { Prompt::Text(text) } else { Prompt::Plain(text) }
}

/// The text of `tokens`.
pub(crate) async fn detokenize(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Detokenize)?;
    let service = call.app.model(fields.text("model")?.as_deref(), call.door)?;
    let tokens = fields.tokens::<DETOKENIZE_MAX>("tokens")?;
    let tokens = tokens.ok_or_else(|| Fault::field("tokens", "is missing"))?;
    let known = service.tokenizer().vocabulary_len();
    if let Some(id) = tokens.iter().find(|id| **id as usize >= known) {
        return Err(Fault::field("tokens", format!("{id} is no token: there are {known}")));
    }
    let _place = service.permits(1)?;
    let tokenizer = service.tokenizer().clone();
    let decode = move || call::json(&json!({ "prompt": tokenizer.decode(&tokens, false) }));
    let mut response = text_pool::run(call.client(), decode).await?;
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}
