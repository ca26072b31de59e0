//! The shapes of answers, and that every route and framing gives the same text.
//!
//! Next: `limits.rs`.

use gimbal_engine::{Edge, SampleParams};
use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const INVOCATIONS: &str = "/invocations";

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

/// All strings at a pointer, joined.
fn joined(values: &[Value], pointer: &str) -> String {
    values.iter().filter_map(|v| v.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn every_route_and_framing_gives_the_same_text() {
    let server = server("same").await;
    let parameters = json!({"max_new_tokens": 20, "seed": 1});
    let lmi = json!({"inputs": "The\nsame.", "parameters": parameters});
    let text = server.post(INVOCATIONS, &lmi).await.json()["generated_text"].clone();
    let text = text.as_str().expect("a text");
    assert!(text.chars().count() > 5, "{text:?}");

    let mut streamed = lmi.clone();
    streamed["stream"] = true.into();
    let lines = server.post(INVOCATIONS, &streamed).await;
    assert_eq!(lines.header("content-type"), Some("application/jsonlines"));
    let lines = lines.lines();
    assert_eq!(joined(&lines, "/token/text"), text);
    assert_eq!(lines.len(), 20);
    assert!(lines[..19].iter().all(|line| line["generated_text"].is_null()));
    let last = &lines[19];
    assert_eq!(last["generated_text"], text);
    assert_eq!(last["details"]["finish_reason"], "length");
    assert_eq!(last["details"]["generated_tokens"], 20);

    let accept = [("accept", "text/event-stream")];
    let sse = server.post_with(INVOCATIONS, &accept, &lmi.to_string()).await;
    assert_eq!(sse.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(sse.body.starts_with("data:{"), "{}", sse.body);
    assert_eq!(sse.lines(), lines);

    let messages = json!([{"role": "user", "content": "The\nsame."}]);
    let parts = json!([{"role": "user", "content": [
        {"type": "text", "text": "The"}, {"type": "text", "text": "same."},
    ]}]);
    for route in [CHAT, INVOCATIONS] {
        for messages in [&messages, &parts] {
            let body = json!({"messages": messages, "max_tokens": 20, "temperature": 0});
            let chat = server.post(route, &body).await.json();
            assert_eq!(chat["choices"][0]["message"]["content"], text, "{chat}");
            let body = json!({
                "messages": messages, "max_completion_tokens": 20, "temperature": 0, "stream": true,
            });
            let chunks = server.post(route, &body).await;
            assert!(chunks.body.ends_with("data: [DONE]\n\n"));
            assert_eq!(joined(&chunks.lines(), "/choices/0/delta/content"), text);
        }
        let body = json!({"prompt": "The\nsame.", "max_tokens": 20, "temperature": 0});
        assert_eq!(server.post(route_of(route), &body).await.json()["choices"][0]["text"], text);
    }
    let tokens = server.post("/tokenize", &json!({"prompt": "The\nsame."})).await.json();
    assert_eq!((&tokens["count"], &tokens["max_model_len"]), (&json!(9), &json!(128)));
    let body = json!({"prompt": tokens["tokens"], "max_tokens": 20, "temperature": 0});
    assert_eq!(server.post(COMPLETIONS, &body).await.json()["choices"][0]["text"], text);
    let mut chat = parts.clone();
    chat[0]["role"] = "developer".into();
    let same = server.post("/tokenize", &json!({"messages": chat})).await.json();
    assert_eq!(same["tokens"], tokens["tokens"]);
    let back = server.post("/detokenize", &json!({"tokens": tokens["tokens"]})).await.json();
    assert_eq!(back, json!({"prompt": "The\nsame.", "content": "The\nsame."}));
    server.stop().await;
}

fn route_of(chat: &'static str) -> &'static str {
    if chat == CHAT { COMPLETIONS } else { chat }
}

#[tokio::test]
async fn openai_answers_have_usage_logprobs_and_choices() {
    let server = server("openai").await;
    let messages = json!([{"role": "user", "content": "abc"}]);
    let body = json!({
        "model": "openai", "messages": messages, "max_tokens": 4, "temperature": 0, "n": 2,
        "logprobs": true, "top_logprobs": 3,
    });
    let chat = server.post(CHAT, &body).await.json();
    assert_eq!((&chat["object"], &chat["model"]), (&json!("chat.completion"), &json!("openai")));
    assert!(chat["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{chat}");
    assert_eq!(chat["usage"]["prompt_tokens"], 3);
    assert_eq!(chat["usage"]["completion_tokens"], 8);
    assert_eq!(chat["usage"]["total_tokens"], 11);
    let choices = chat["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), 2);
    assert_eq!((&choices[1]["index"], &choices[1]["finish_reason"]), (&json!(1), &json!("length")));
    let told = &choices[0]["logprobs"]["content"][0];
    assert_eq!(told["top_logprobs"].as_array().map(Vec::len), Some(3));
    assert!(told["bytes"].is_array() && told["token"].is_string(), "{told}");

    let body = json!({
        "messages": messages, "max_tokens": 4, "temperature": 0, "n": 2, "stream": true,
        "stream_options": {"include_usage": true},
    });
    let chunks = server.post(CHAT, &body).await.lines();
    for (index, choice) in choices.iter().enumerate() {
        let own: Vec<Value> =
            chunks.iter().filter(|c| c["choices"][0]["index"] == index).cloned().collect();
        assert_eq!(own[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(joined(&own, "/choices/0/delta/content"), choice["message"]["content"]);
        let reasons = own.iter().filter(|c| !c["choices"][0]["finish_reason"].is_null()).count();
        assert_eq!(reasons, 1);
    }
    assert!(chunks.iter().all(|c| c.get("usage").is_some()), "asked for, it is in every chunk");
    let last = chunks.last().expect("a last chunk");
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(8)));

    let body = json!({"prompt": ["abc", "xyz"], "temperature": 0, "logprobs": 2, "n": 2});
    let text = server.post(COMPLETIONS, &body).await.json();
    assert_eq!(text["object"], "text_completion");
    let choices = text["choices"].as_array().expect("choices");
    assert_eq!(choices.iter().map(|c| c["index"].clone()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(
        choices[2]["logprobs"]["tokens"].as_array().map(Vec::len),
        Some(16),
        "16 by default"
    );
    assert_eq!(text["usage"]["completion_tokens"], 64);
    let body = json!({"prompt": ["abc", "xyz"], "temperature": 0, "stream": true, "logprobs": 0});
    let chunks = server.post(COMPLETIONS, &body).await.lines();
    let own: Vec<Value> = chunks.into_iter().filter(|c| c["choices"][0]["index"] == 1).collect();
    assert_eq!(joined(&own, "/choices/0/text"), choices[2]["text"]);
    let offsets =
        own.iter().filter_map(|c| c.pointer("/choices/0/logprobs/text_offset/0").cloned());
    let whole = choices[2]["logprobs"]["text_offset"].as_array().expect("offsets");
    assert_eq!(&offsets.collect::<Vec<_>>(), whole);
    server.stop().await;
}

#[tokio::test]
async fn an_echo_puts_the_prompt_before_every_completion() {
    let server = server("echo").await;
    let run = async |echo: bool, stream: bool| {
        let body = json!({"prompt": "abc", "temperature": 0, "echo": echo, "stream": stream});
        joined(&server.post(COMPLETIONS, &body).await.lines(), "/choices/0/text")
    };
    let plain = run(false, false).await;
    assert_eq!(run(true, false).await, format!("abc{plain}"));
    assert_eq!(run(true, true).await, format!("abc{plain}"));
    server.stop().await;
}

#[tokio::test]
async fn a_stop_string_is_cut_over_the_borders_of_tokens() {
    let server = server("stop").await;
    let body = json!({"inputs": "abc", "parameters": {"max_new_tokens": 60}});
    let whole = server.post(INVOCATIONS, &body).await.json();
    let whole = whole["generated_text"].as_str().expect("a text");
    let stop: String = whole.chars().skip(20).take(3).collect();
    let before = whole.split(&stop).next().expect("a beginning");
    let parameters = json!({"max_new_tokens": 60, "stop_sequences": [stop], "details": true});
    let body = json!({"inputs": "abc", "parameters": parameters});
    let stopped = server.post(INVOCATIONS, &body).await.json();
    assert_eq!(stopped["generated_text"], before);
    assert_eq!(stopped["details"]["finish_reason"], "stop_sequence");
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let lines = server.post(INVOCATIONS, &streamed).await.lines();
    assert_eq!(joined(&lines, "/token/text"), before);
    let messages = json!([{"role": "user", "content": "abc"}]);
    for stream in [false, true] {
        let body = json!({
            "messages": messages, "stop": stop, "temperature": 0, "max_tokens": 60,
            "stream": stream,
        });
        let lines = server.post(CHAT, &body).await.lines();
        let text = joined(&lines, "/choices/0/message/content")
            + &joined(&lines, "/choices/0/delta/content");
        assert_eq!(text, before);
        assert_eq!(joined(&lines, "/choices/0/finish_reason"), "stop");
    }
    server.service().idle().await;
    server.stop().await;
}

#[tokio::test]
async fn fields_without_effect_are_named_and_ids_are_echoed() {
    let server = server("named").await;
    let body = json!({
        "inputs": "abc", "unknown": 1, "parameters": {"frobnicate": true, "max_new_tokens": 1},
    });
    let headers = [("x-request-id", "client-7")];
    let response = server.post_with(INVOCATIONS, &headers, &body.to_string()).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-gimbal-ignored"), Some("unknown, parameters.frobnicate"));
    assert_eq!(response.header("x-request-id"), Some("client-7"));
    let body =
        json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "store": true});
    let response = server.post_with(CHAT, &[("x-request-id", "")], &body.to_string()).await;
    assert_eq!(response.header("x-gimbal-ignored"), Some("store"));
    assert!(response.header("x-request-id").is_some_and(|id| id.starts_with("req-")));
    let long = "x".repeat(200);
    let response = server.post_with(CHAT, &[("x-request-id", &long)], "{").await;
    assert!(response.header("x-request-id").is_some_and(|id| id.starts_with("req-")));
    server.stop().await;
}

/// The model's own defaults hold for requests that say nothing, and only for those.
#[tokio::test]
async fn sampling_defaults_are_for_requests_that_name_none() {
    let sampling = SampleParams { temperature: 0.0, ..SampleParams::default() };
    let edge = Edge { sampling, ..Edge::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_as(edge, "defaults", policy(), lane).await;
    let text = |body: Value| async {
        let mut body = body;
        body["prompt"] = "The same.".into();
        body["max_tokens"] = 20.into();
        server.post(COMPLETIONS, &body).await.json()["choices"][0]["text"].clone()
    };
    let greedy = text(json!({"temperature": 0})).await;
    assert_eq!(text(json!({"seed": 1})).await, greedy);
    assert_ne!(text(json!({"seed": 1, "temperature": 2})).await, greedy);
    server.stop().await;
}
