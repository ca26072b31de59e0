//! OpenAI's schema: chat, completions, models, and vLLM's tokenize and detokenize beside them.
//!
//! Reading order: `request` (fields both share), `chat`, `completions`, `logprobs`, `tokens`.

mod chat;
mod completions;
mod logprobs;
mod request;
mod tokens;

pub(crate) use chat::chat;
pub(crate) use completions::completions;
pub(crate) use tokens::{detokenize, model, models, tokenize};

use gimbal_engine::{FinishReason, Usage};
use serde_json::{Value, json};

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

/// The end of a stream: what it cost, where asked for, and `[DONE]`.
fn done(header: &request::Header, kind: &str, cost: Option<Usage>, out: &mut String) {
    if let Some(cost) = cost {
        let mut last = header.object(kind, &json!([]));
        last["usage"] = usage(cost);
        frame(&last, out);
    }
    out.push_str("data: [DONE]\n\n");
}

/// A server-sent event.
fn frame(value: &Value, out: &mut String) {
    out.push_str(&format!("data: {value}\n\n"));
}
