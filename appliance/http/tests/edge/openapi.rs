//! The OpenAPI document: every field it promises has an effect. Its routes: `src/router.rs`.
//!
//! What real clients and generated requests make of it: `tests/clients`.

use serde_json::{Map, Value, json};

use crate::rig::{Server, lane, limits, policy};
use gimbal_sim::Script;

/// A value the schema allows: its constant, least number, or the plainest of its type.
fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["anyOf"].get(0) {
        return sample(first);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if !schema["const"].is_null() {
        return schema["const"].clone();
    }
    let least = schema["minimum"].as_f64().unwrap_or(1.0).max(1.0);
    let kind = schema["type"].get(0).unwrap_or(&schema["type"]).as_str().unwrap_or_default();
    match kind {
        "string" => "x".into(),
        "boolean" => false.into(),
        "number" | "integer" => json!(least),
        "array" => json!([sample(&schema["items"])]),
        _ => json!({}),
    }
}

/// Fields that say what an answer must look like, or what it may call.
const FORMS: [&str; 17] = [
    "text",
    "output_config",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "grammar",
    "json_schema",
    "regex",
    "ebnf",
    "format",
];

/// Each body of the document with the route that takes it, and the least it says.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "/v1/chat/completions",
            "ChatRequest",
            json!({"messages": [{"role": "user", "content": "x"}]}),
        ),
        ("/v1/completions", "CompletionRequest", json!({"prompt": "x"})),
        ("/invocations", "LmiRequest", json!({"inputs": "x"})),
        ("/tokenize", "TokenizeText", json!({"prompt": "x"})),
        ("/tokenize", "TokenizeChat", json!({"messages": [{"role": "user", "content": "x"}]})),
        ("/tokenize", "TokenizeContent", json!({"content": "x"})),
        ("/detokenize", "DetokenizeRequest", json!({"tokens": [1]})),
        ("/v1/responses", "ResponsesRequest", json!({"input": "x"})),
        (
            "/v1/messages",
            "MessagesRequest",
            json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}),
        ),
        ("/completion", "LlamaCompletionRequest", json!({"prompt": "x"})),
        (
            "/apply-template",
            "TemplateRequest",
            json!({"messages": [{"role": "user", "content": "x"}]}),
        ),
        ("/api/chat", "OllamaChatRequest", json!({"messages": [{"role": "user", "content": "x"}]})),
        ("/api/generate", "OllamaGenerateRequest", json!({"prompt": "x"})),
        ("/api/show", "OllamaShowRequest", json!({})),
    ]
}

#[tokio::test]
async fn every_promised_field_is_read() {
    let server = Server::start("openapi", policy(), lane(&limits(), &Script::default())).await;
    let document = server.get("/openapi.json").await.json();
    let schema = |name: &str| document["components"]["schemas"][name]["properties"].clone();
    for (path, name, body) in bodies() {
        let properties = schema(name);
        let properties = properties.as_object().expect("properties");
        for (field, schema) in properties {
            // What replaces a field the body has, has no effect by design, or names what must be there.
            let others = ["messages", "model", "name", "previous_response_id"];
            if body.get(field).is_some() || others.contains(&field.as_str()) {
                continue;
            }
            let nested = schema["properties"].as_object();
            let values: Vec<Value> = match nested {
                None => vec![sample(schema)],
                Some(inner) => inner
                    .iter()
                    .map(|(name, schema)| {
                        Value::Object(Map::from_iter([(name.clone(), sample(schema))]))
                    })
                    .collect(),
            };
            for value in values {
                let mut body = body.clone();
                body[field] = value.clone();
                if field == "top_logprobs" && body.get("messages").is_some() {
                    body["logprobs"] = true.into();
                }
                if field == "logprob_token_ids" {
                    let is_chat = body.get("messages").is_some();
                    body["logprobs"] = if is_chat { true.into() } else { 1.into() };
                }
                if field == "stream_options" {
                    body["stream"] = true.into();
                }
                let answer = server.post(path, &body).await;
                let shown = format!("{path} {field} = {value}");
                // This model has no token that ends an answer, and a sample may be no grammar.
                let names = value.as_object().and_then(|inner| inner.keys().next());
                let asks = [Some(field), names].into_iter().flatten();
                let refuses = |name: &String| {
                    FORMS.contains(&name.as_str()) && answer.body.contains(name.as_str())
                };
                let is_refused = answer.status == 400 && asks.into_iter().any(refuses);
                let expect = if is_refused { 400 } else { 200 };
                assert_eq!(answer.status, expect, "{shown}: {}", answer.body);
                assert_eq!(answer.header("x-gimbal-ignored"), None, "{shown}");
            }
        }
    }
    server.stop().await;
}
