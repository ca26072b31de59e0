//! OpenAI's schema: chat, completions, models, and what vLLM has beside them.
//!
//! Reading order: `request` (fields both share), `conversation`, `chat`, `completions`, `logprobs`, `tokens`, `info`.

mod chat;
mod completions;
mod conversation;
mod info;
mod logprobs;
mod request;
mod tokens;

pub(crate) use chat::chat;
pub(crate) use completions::completions;
pub(crate) use info::{load, model, models, tokenizer_info, version};
pub(crate) use tokens::{detokenize, tokenize};

use gimbal_engine::{FinishReason, Usage};
use serde_json::{Value, json};

use crate::framing::Frames;

/// The name of a finish reason; what failed is told as an error instead.
fn finish_name(finish: &FinishReason) -> &'static str {
    if matches!(finish, FinishReason::Length) { "length" } else { "stop" }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}

/// The end of a stream: what it cost, where asked for.
fn done(header: &request::Header, kind: &str, cost: Option<Usage>, out: &mut Frames) {
    if let Some(cost) = cost {
        let mut last = header.object(kind, &json!([]));
        last["usage"] = usage(cost);
        out.add(&last);
    }
    out.done();
}

/// The members of a scope's structs.
#[cfg(test)]
pub(crate) fn members(scope: crate::names::Scope) -> Vec<&'static str> {
    use crate::members::tests::names;
    use crate::names::Scope;
    use crate::sampling::Sampling;

    let structured = names::<crate::structured::Structured>();
    let common = [names::<Sampling>(), names::<request::Shared>(), structured, &["stream_options"]];
    match scope {
        Scope::Chat => {
            let own = [
                names::<conversation::Conversation>(),
                names::<chat::ChatFields>(),
                names::<logprobs::ShownFields>(),
            ];
            [common.concat(), own.concat()].concat()
        }
        Scope::Completion => {
            let own = [names::<completions::CompletionFields>(), names::<logprobs::ShownFields>()];
            [common.concat(), own.concat()].concat()
        }
        Scope::Tokenize => {
            [names::<conversation::Conversation>(), names::<tokens::TokenizeFields>()].concat()
        }
        Scope::Detokenize => names::<tokens::DetokenizeFields>().to_vec(),
        Scope::StreamOptions => names::<request::StreamOptions>().to_vec(),
        Scope::Lmi | Scope::LmiParameters => Vec::new(),
    }
}
