//! The three ways to ask for tokens, and what their events say.
//!
//! Everything a server may add is skipped; what a load generator needs is read. Next: `client.rs`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A way to ask for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's `POST /v1/completions`.
    Completions,
    /// OpenAI's `POST /v1/chat/completions`.
    Chat,
    /// SageMaker's `POST /invocations` with LMI's body.
    Invocations,
}

impl Api {
    /// All of them, by the names users write.
    pub const ALL: [(&'static str, Self); 3] = [
        ("completions", Self::Completions),
        ("chat", Self::Chat),
        ("invocations", Self::Invocations),
    ];

    /// The route.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
            Self::Invocations => "/invocations",
        }
    }

    /// What the client is ready to read.
    pub(crate) fn accept(self) -> &'static str {
        match self {
            Self::Completions | Self::Chat => "text/event-stream",
            Self::Invocations => "application/jsonlines",
        }
    }

    /// A body that asks for exactly so many tokens, greedily.
    pub(crate) fn body(self, model: Option<&str>, text: &Text<'_>, output_tokens: u32) -> String {
        let mut body = Map::new();
        if let Some(model) = model {
            body.insert("model".into(), model.into());
        }
        let joined = || match text.prefix {
            "" => text.prompt.to_owned(),
            prefix => format!("{prefix} {}", text.prompt),
        };
        match self {
            Self::Completions => drop(body.insert("prompt".into(), joined().into())),
            Self::Chat => {
                let message = |role: &str, text: &str| json!({"role": role, "content": text});
                let system = (!text.prefix.is_empty()).then(|| message("system", text.prefix));
                let messages = system.into_iter().chain([message("user", text.prompt)]);
                body.insert("messages".into(), messages.collect());
            }
            Self::Invocations => {
                let parameters = json!({
                    "max_new_tokens": output_tokens, "min_new_tokens": output_tokens,
                    "do_sample": false, "ignore_eos_token": true,
                });
                body.insert("inputs".into(), joined().into());
                body.insert("parameters".into(), parameters);
                body.insert("stream".into(), true.into());
                return Value::Object(body).to_string();
            }
        }
        body.insert("max_tokens".into(), output_tokens.into());
        body.insert("min_tokens".into(), output_tokens.into());
        body.insert("ignore_eos".into(), true.into());
        body.insert("temperature".into(), 0.into());
        body.insert("stream".into(), true.into());
        body.insert("stream_options".into(), json!({"include_usage": true}));
        Value::Object(body).to_string()
    }

    /// What an event says, or why it cannot be read.
    pub(crate) fn read(self, event: &[u8]) -> Result<Seen, String> {
        if event == b"[DONE]" {
            return Ok(Seen { is_finished: true, ..Seen::default() });
        }
        let chunk: Chunk = serde_json::from_slice(event).map_err(|e| e.to_string())?;
        let is_failed = chunk.details.as_ref().is_some_and(|d| d.finish_reason == "error");
        let error = chunk.error.filter(|e| !e.is_null()).map(|e| message_of(&e));
        let error = error.or_else(|| is_failed.then(|| "finish_reason: error".to_owned()));
        let choice = chunk.choices.first();
        let text = choice.is_some_and(Choice::has_text);
        let token = chunk.token.as_ref().is_some_and(|t| t.id >= 0);
        let usage = chunk.usage.map(|usage| Counts {
            prompt: usage.prompt_tokens,
            cached: usage.prompt_tokens_details.and_then(|d| d.cached_tokens),
            output: usage.completion_tokens,
        });
        let details = chunk.details.as_ref().and_then(|d| d.generated_tokens);
        let details = details.map(|output| Counts { output: Some(output), ..Counts::default() });
        Ok(Seen {
            has_token: text || token,
            is_finished: choice.is_some_and(|c| c.finish_reason.is_some())
                || chunk.details.is_some()
                || chunk.generated_text.is_some(),
            counts: usage.or(details),
            error,
        })
    }
}

/// A prompt in its two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// What all requests begin with; may be empty.
    pub(crate) prefix: &'a str,
    pub(crate) prompt: &'a str,
}

/// What one event says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Text or a token came.
    pub(crate) has_token: bool,
    /// The answer is complete.
    pub(crate) is_finished: bool,
    pub(crate) counts: Option<Counts>,
    pub(crate) error: Option<String>,
}

/// What the server counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) prompt: Option<u32>,
    pub(crate) cached: Option<u32>,
    pub(crate) output: Option<u32>,
}

/// The message of an error in any of the shapes servers use, cut to a line.
pub(crate) fn message_of(error: &Value) -> String {
    let inner = error.get("error").filter(|e| !e.is_null()).unwrap_or(error);
    let text = inner.get("message").or_else(|| error.get("message")).unwrap_or(inner);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
    token: Option<Token>,
    generated_text: Option<serde::de::IgnoredAny>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

/// Reasoning is output too; vLLM and llama.cpp have it beside the content.
#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Token {
    id: i64,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    finish_reason: String,
    generated_tokens: Option<u32>,
}

impl Choice {
    fn has_text(&self) -> bool {
        let is_some = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        let delta = self.delta.as_ref();
        is_some(&self.text)
            || delta.is_some_and(|d| {
                is_some(&d.content) || is_some(&d.reasoning_content) || is_some(&d.reasoning)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api: Api, event: &str, expect: &Seen) {
        assert_eq!(api.read(event.as_bytes()).as_ref(), Ok(expect), "{event}");
    }

    #[test]
    fn events_of_three_servers_are_understood() {
        let token = Seen { has_token: true, ..Seen::default() };
        let last = Seen { is_finished: true, ..Seen::default() };
        let nothing = Seen::default();
        let c = Api::Completions;
        check(c, r#"{"choices":[{"text":" a","finish_reason":null}],"usage":null}"#, &token);
        check(c, r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, &last);
        check(c, "[DONE]", &last);
        check(
            Api::Chat,
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            &nothing,
        );
        check(Api::Chat, r#"{"choices":[{"delta":{"content":""}}]}"#, &nothing);
        check(Api::Chat, r#"{"choices":[{"delta":{"content":"x"}}]}"#, &token);
        check(Api::Chat, r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#, &token);
        check(Api::Invocations, r#"{"token":{"id":5,"text":"","log_prob":-1.0}}"#, &token);
        check(Api::Invocations, r#"{"token":{"id":-1,"text":"x"}}"#, &nothing);
    }

    #[test]
    fn counts_are_the_servers() {
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4,
            "prompt_tokens_details":{"cached_tokens":3}}}"#;
        let counts = Counts { prompt: Some(7), cached: Some(3), output: Some(4) };
        let expect = Seen { counts: Some(counts), ..Seen::default() };
        check(Api::Completions, usage, &expect);
        let details = r#"{"token":{"id":9},"generated_text":"ab",
            "details":{"finish_reason":"length","generated_tokens":2}}"#;
        let counts = Counts { output: Some(2), ..Counts::default() };
        let expect = Seen { has_token: true, is_finished: true, counts: Some(counts), error: None };
        check(Api::Invocations, details, &expect);
    }

    #[test]
    fn errors_in_a_stream_are_errors() {
        for event in [
            r#"{"error":{"message":"out of memory","code":500}}"#,
            r#"{"error":"out of memory"}"#,
            r#"{"token":{"id":-1},"details":{"finish_reason":"error"},"error":"out of memory"}"#,
        ] {
            let seen = Api::Invocations.read(event.as_bytes()).expect("JSON");
            assert_eq!(seen.error.as_deref(), Some("out of memory"), "{event}");
        }
        let silent = br#"{"details":{"finish_reason":"error"}}"#;
        assert!(Api::Invocations.read(silent).expect("JSON").error.is_some());
        assert!(Api::Chat.read(b"{").is_err());
        assert_eq!(message_of(&json!({"message": "a\n b"})), "a b");
        assert_eq!(message_of(&json!("x".repeat(300))).chars().count(), 241);
    }

    #[test]
    fn bodies_ask_for_exactly_the_output() {
        let text = Text { prefix: "be kind", prompt: "hello you" };
        let body = |api: Api| -> Value {
            serde_json::from_str(&api.body(Some("m"), &text, 9)).expect("JSON")
        };
        let completion = body(Api::Completions);
        assert_eq!(completion["prompt"], "be kind hello you");
        for (name, expect) in [
            ("model", json!("m")),
            ("max_tokens", json!(9)),
            ("min_tokens", json!(9)),
            ("ignore_eos", json!(true)),
            ("temperature", json!(0)),
            ("stream_options", json!({"include_usage": true})),
        ] {
            assert_eq!(completion[name], expect, "{name}");
        }
        let chat = body(Api::Chat);
        assert_eq!(chat["messages"][0], json!({"role": "system", "content": "be kind"}));
        assert_eq!(chat["messages"][1], json!({"role": "user", "content": "hello you"}));
        let lmi = body(Api::Invocations);
        assert_eq!(lmi["parameters"]["max_new_tokens"], 9);
        assert_eq!(lmi["parameters"]["ignore_eos_token"], true);
    }
}
