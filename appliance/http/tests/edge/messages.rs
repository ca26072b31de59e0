//! Anthropic's routes over real sockets: what a body means is what a chat means.
//!
//! The real client: `tests/clients/doors_client.py`. Next: `responses.rs`.

use gimbal_http::{HttpSettings, Keys};
use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::client::{self, Response};
use crate::rig::{Server, lane, limits, policy};

const MESSAGES: &str = "/v1/messages";

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

fn user(content: &Value) -> Value {
    json!({ "role": "user", "content": content })
}

/// The answer of the same conversation, asked for as a chat.
async fn chat(server: &Server, messages: Value, more: Value) -> Value {
    let mut body = json!({ "messages": messages, "max_tokens": 6, "temperature": 0 });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("more").clone());
    let answer = server.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn ask(server: &Server, path: &str, mut more: Value) -> Response {
    let body = more.as_object_mut().expect("an object");
    body.entry("max_tokens").or_insert(json!(6));
    body.entry("temperature").or_insert(json!(0));
    server.post(path, &more).await
}

#[tokio::test]
async fn a_conversation_of_blocks_is_that_of_a_chat() {
    let server = server("messages").await;
    let text = |text: &str| json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } });
    let called = json!({ "type": "tool_use", "id": "1", "name": "f", "input": { "a": 1 } });
    let result =
        |content: Value| json!({ "type": "tool_result", "tool_use_id": "1", "content": content });
    let thought = json!({ "type": "thinking", "thinking": "Hm.", "signature": "x" });
    let hidden = json!({ "type": "redacted_thinking", "data": "x" });
    // What is asked, and what the template writes of it: each message's content, nothing else.
    for (body, written) in [
        (json!({ "messages": [user(&json!("abc"))] }), "abc"),
        (json!({ "messages": [user(&json!([text("a"), text("b")]))] }), "a\nb"),
        (json!({ "messages": [user(&json!("a")), user(&json!("b"))] }), "a\nb"),
        (json!({ "messages": [user(&json!("b"))], "system": "a" }), "ab"),
        (json!({ "messages": [user(&json!("b"))], "system": [text("a")] }), "ab"),
        (
            json!({ "messages": [
                user(&json!("a")),
                { "role": "assistant", "content": [thought, hidden, text("b"), called] },
                user(&json!([result(json!("c")), text("d")])),
            ] }),
            "abcd",
        ),
        (
            json!({ "messages": [
                user(&json!("a")),
                { "role": "assistant", "content": [called] },
                user(&json!([result(json!([text("c")]))])),
            ] }),
            "ac",
        ),
        (json!({ "messages": [user(&json!("a")), { "role": "assistant", "content": "b" }] }), "ab"),
        (json!({ "messages": [user(&json!("a")), { "role": "assistant", "content": "" }] }), "a"),
    ] {
        let expect =
            chat(&server, json!([{ "role": "user", "content": written }]), json!({})).await;
        let answer = ask(&server, MESSAGES, body.clone()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        let told = answer.json();
        assert_eq!(
            told["content"],
            json!([{ "type": "text",
            "text": expect["choices"][0]["message"]["content"] }]),
            "{body}"
        );
        let usage = &told["usage"];
        let tokens = |name: &str| usage[name].as_u64().expect("a number");
        let prompt = tokens("input_tokens") + tokens("cache_read_input_tokens");
        assert_eq!(json!(prompt), expect["usage"]["prompt_tokens"], "{body}");
        assert_eq!(tokens("output_tokens"), 6);
        assert_eq!(
            (&told["stop_reason"], &told["type"]),
            (&json!("max_tokens"), &json!("message"))
        );
        // Whatever of it is known already, it is as long.
        let counted = ask(&server, "/v1/messages/count_tokens", body.clone()).await;
        assert_eq!(counted.json(), json!({ "input_tokens": prompt }), "{body}");
        assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_sequence_is_named_and_left_out() {
    let server = server("sequences").await;
    let whole = chat(&server, json!([user(&json!("abc"))]), json!({})).await;
    let text = whole["choices"][0]["message"]["content"].as_str().expect("a text");
    let letters: Vec<char> = text.chars().collect();
    let stop: String = letters[2..4].iter().collect();
    let (before, _) = text.split_once(&stop).expect("it is there");
    let body = json!({ "messages": [user(&json!("abc"))], "stop_sequences": ["none", stop] });
    let mut told = ask(&server, MESSAGES, body.clone()).await.json();
    assert_eq!(
        (&told["stop_reason"], &told["stop_sequence"]),
        (&json!("stop_sequence"), &json!(stop))
    );
    assert_eq!(told["content"][0]["text"], before);
    let mut stream = body.clone();
    stream["stream"] = true.into();
    let events = ask(&server, MESSAGES, stream).await;
    assert!(events.body.starts_with("event: message_start\ndata: "), "{}", events.body);
    let events = events.lines();
    let deltas = events.iter().filter_map(|event| event["delta"]["text"].as_str());
    assert_eq!(deltas.collect::<String>(), before);
    let end = events.iter().find(|event| event["type"] == "message_delta").expect("an end");
    assert_eq!(end["delta"], json!({ "stop_reason": "stop_sequence", "stop_sequence": stop }));
    // The second found the prompt of the first.
    told["usage"]["cache_read_input_tokens"] = end["usage"]["cache_read_input_tokens"].clone();
    told["usage"]["input_tokens"] = end["usage"]["input_tokens"].clone();
    assert_eq!(end["usage"], told["usage"]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_path_in_anthropics_words() {
    let server = server("refused").await;
    let hi = user(&json!("Hi"));
    let with = |name: &str, value: Value| {
        let mut body = json!({ "messages": [hi.clone()] });
        body[name] = value;
        body
    };
    let block = |block: Value| json!({ "messages": [hi.clone(), user(&json!([block]))] });
    let tool = |tool: Value| with("tools", json!([tool]));
    for (body, message) in [
        (json!({}), "messages: is missing"),
        (json!({ "messages": [] }), "messages: must not be empty"),
        (with("max_tokens", json!(0)), "max_tokens: must be at least 1"),
        (with("max_tokens", json!(null)), "max_tokens: is missing"),
        (with("temperature", json!(-1)), "temperature: "),
        (with("stop_sequences", json!("x")), "stop_sequences: must be a list"),
        (with("stop_sequences", json!([""])), "stop_sequences: "),
        (with("n", json!(2)), "n is not supported"),
        (with("container", json!("x")), "container is not supported"),
        (with("thinking", json!({ "type": "x" })), "thinking.type: must be"),
        (with("thinking", json!({ "type": "enabled", "x": 1 })), "thinking.x is not supported"),
        (with("output_config", json!({ "format": { "type": "x" } })), "output_config.format.type"),
        (block(json!({ "type": "image", "source": {} })), "messages[1].content[0].type: \"image\""),
        (block(json!({ "type": "document" })), "messages[1].content[0].type: \"document\""),
        (block(json!({ "type": "tool_use" })), "messages[1].content[0].type: \"tool_use\""),
        (block(json!({ "type": "text", "text": 1 })), "messages[1].content[0].text: must be"),
        (
            block(
                json!({ "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "image" }] }),
            ),
            "messages[1].content[0].content[0].type: \"image\" is not supported",
        ),
        (block(json!({ "type": "text", "text": "", "x": 1 })), "messages[1].content[0].x is not"),
        (json!({ "messages": [{ "role": "tool", "content": "" }] }), "messages[0].role: must be"),
        (
            tool(json!({ "type": "web_search_20250305", "name": "web_search" })),
            "tools[0].type: \"web_search_20250305\" is not supported",
        ),
        (tool(json!({ "name": "f" })), "tools[0].input_schema: is missing"),
        (
            tool(json!({ "name": "f", "input_schema": { "type": "string" } })),
            "tools: tools[0].input_schema.type must be \"object\"",
        ),
        (tool(json!({ "name": "a b", "input_schema": {} })), "tools: tools[0].name must have"),
        (with("tool_choice", json!({ "type": "any" })), "tool_choice: asks for a call"),
        (with("tool_choice", json!({ "type": "x" })), "tool_choice.type: must be"),
        (
            json!({ "messages": [hi.clone(), { "role": "assistant", "content": [
                { "type": "tool_use", "id": "1", "name": "f", "input": {} }] }] }),
            "messages: the last one calls tools",
        ),
    ] {
        let answer = ask(&server, MESSAGES, body.clone()).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["type"]), (400, &json!("error")), "{body}: {told}");
        assert_eq!(told["error"]["type"], "invalid_request_error");
        let said = told["error"]["message"].as_str().expect("a text");
        assert!(said.starts_with(message), "{body}: {said}");
        assert_eq!(told["request_id"].as_str(), answer.header("request-id"), "{body}");
    }
    let unknown = server.post("/v1/messages/batches", &json!({})).await;
    let told = unknown.json();
    assert_eq!((unknown.status, &told["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(told["request_id"].as_str(), unknown.header("request-id"));
    server.stop().await;
}

/// A wish that nothing meets is told; one that changes nothing is not.
#[tokio::test]
async fn what_has_no_effect_is_told() {
    let server = server("told").await;
    for (name, value, told) in [
        (
            "thinking",
            json!({ "type": "enabled", "budget_tokens": 5 }),
            Some("thinking.budget_tokens"),
        ),
        ("thinking", json!({ "type": "disabled" }), None),
        ("output_config", json!({ "effort": "low" }), None),
        ("metadata", json!({ "user_id": "x" }), Some("metadata")),
        ("cache_control", json!({ "type": "ephemeral" }), Some("cache_control")),
    ] {
        let mut body = json!({ "messages": [user(&json!("Hi"))] });
        body[name] = value;
        let answer = ask(&server, MESSAGES, body.clone()).await;
        assert_eq!((answer.status, answer.header("x-gimbal-ignored")), (200, told), "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn keys_are_asked_for_in_anthropics_words() {
    let keys = Keys::open("cheese", None).expect("no file");
    let settings = HttpSettings { keys, ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_with(settings, "anthropic-keys", policy(), lane).await;
    let body = json!({ "messages": [user(&json!("Hi"))], "max_tokens": 1 }).to_string();
    for path in [MESSAGES, "/v1/messages/count_tokens"] {
        for (key, status) in [("cheese", 200), ("chees", 401)] {
            let versions = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "x")];
            let headers = [&[("x-api-key", key)], &versions[..]].concat();
            let answer = server.post_with(path, &headers, &body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            if status == 401 {
                let told = answer.json();
                assert_eq!(
                    (&told["type"], &told["error"]["type"]),
                    (&json!("error"), &json!("authentication_error"))
                );
                assert_eq!(told["request_id"].as_str(), answer.header("request-id"));
            }
        }
    }
    let asked = client::request("GET", MESSAGES, &[("x-api-key", "cheese")], "");
    let wrong = client::exchange(server.address, &asked).await;
    assert_eq!((wrong.status, &wrong.json()["type"]), (405, &json!("error")));
    server.stop().await;
}
