//! Ollama's routes over real sockets: what a body means is what a chat means.
//!
//! The real client: `tests/clients/ollama_client.py`. Next: `llamacpp.rs`.

use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

/// The lines of a stream.
fn lines(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What a client makes of lines: texts joined, the rest as the last one has it.
fn joined(lines: &[Value]) -> Value {
    let mut whole = lines.last().expect("a line").clone();
    assert!(lines.iter().rev().skip(1).all(|line| line["done"] == false), "{lines:?}");
    for pointer in ["/message/content", "/response"] {
        let texts = lines.iter().filter_map(|line| line.pointer(pointer)?.as_str());
        let text = texts.collect::<String>();
        if let Some(place) = whole.pointer_mut(pointer) {
            *place = text.into();
        }
    }
    whole
}

/// Without what differs from answer to answer.
fn plain(mut answer: Value) -> Value {
    let members = answer.as_object_mut().expect("an object");
    let created = members.remove("created_at").expect("a time");
    let created = created.as_str().expect("a text");
    assert!(created.len() == "2026-11-29T13:58:09.000001Z".len() && created.ends_with('Z'));
    for time in ["total", "load", "prompt_eval", "eval"] {
        let time = members.remove(&format!("{time}_duration"));
        assert!(time.is_some_and(|time| time.is_u64()));
    }
    answer
}

#[tokio::test]
async fn a_body_of_ollamas_is_the_chat_it_asks_for() {
    let server = server("ollama").await;
    let options = json!({ "num_predict": 6, "temperature": 0 });
    let call = json!({ "function": { "name": "f", "arguments": { "a": 1 } } });
    let user = |text: &str| json!({ "role": "user", "content": text });
    let chat = |messages: Value| ("/api/chat", json!({ "messages": messages }), "/message/content");
    let generate = |body: Value| ("/api/generate", body, "/response");
    // What is asked, and what the template writes of it: each message's content, nothing else.
    for ((path, mut body, pointer), written) in [
        (chat(json!([user("abc")])), "abc"),
        (chat(json!([{ "role": "system", "content": "a" }, user("b")])), "ab"),
        (
            chat(json!([user("a"), { "role": "assistant", "tool_calls": [call] },
                { "role": "tool", "tool_name": "f", "content": "b" }])),
            "ab",
        ),
        (generate(json!({ "prompt": "abc" })), "abc"),
        (generate(json!({ "prompt": "b", "system": "a" })), "ab"),
        (generate(json!({ "prompt": "abc", "raw": true })), "abc"),
    ] {
        let asked = json!({ "messages": [user(written)], "max_tokens": 6, "temperature": 0 });
        let expect = server.post("/v1/chat/completions", &asked).await.json();
        body["options"] = options.clone();
        body["model"] = "ollama:latest".into();
        let stream = server.post(path, &body).await;
        assert_eq!(stream.status, 200, "{body}: {}", stream.body);
        assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
        body["stream"] = false.into();
        let whole = server.post(path, &body).await.json();
        assert_eq!(plain(joined(&lines(&stream.body))), plain(whole.clone()), "{body}");
        let said = whole.pointer(pointer).expect("a text");
        assert_eq!(*said, expect["choices"][0]["message"]["content"], "{body}");
        assert_eq!(whole["prompt_eval_count"], expect["usage"]["prompt_tokens"], "{body}");
        assert_eq!(
            (&whole["eval_count"], &whole["done_reason"], &whole["model"]),
            (&json!(6), &json!("length"), &json!("ollama"))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn who_asks_for_nothing_is_told_that_the_model_is_there() {
    let server = server("nothing").await;
    for (path, body) in [
        ("/api/chat", json!({ "model": "nothing", "messages": [] })),
        ("/api/generate", json!({ "model": "nothing", "keep_alive": "5m" })),
        ("/api/generate", json!({ "model": "nothing", "prompt": "", "stream": false })),
    ] {
        let answer = server.post(path, &body).await.json();
        assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!("load")));
    }
    let tags = server.get("/api/tags").await.json();
    let model = &tags["models"][0];
    assert_eq!((&model["name"], &model["size"]), (&json!("nothing"), &json!(7_000)));
    let details = json!({ "parent_model": "", "format": "gguf", "parameter_size": "1.2B",
        "quantization_level": "Q4_1" });
    assert_eq!((&model["details"], model.get("digest")), (&details, None));
    assert_eq!(server.get("/api/ps").await.json(), tags);
    assert!(server.get("/api/version").await.json()["version"].is_string());
    let shown = server.post("/api/show", &json!({ "model": "nothing" })).await.json();
    assert_eq!(shown["model_info"]["general.context_length"], 128);
    assert_eq!(shown["details"], details);
    assert!(shown["template"].as_str().is_some_and(|template| !template.is_empty()));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_in_ollamas_form() {
    let server = server("refused").await;
    let hi = json!([{ "role": "user", "content": "Hi" }]);
    for (path, body, status, expect) in [
        ("/api/chat", json!({}), 400, "messages: is missing"),
        ("/api/chat", json!({ "messages": hi, "format": "yaml" }), 400, "format: must be"),
        ("/api/chat", json!({ "messages": hi, "think": "hard" }), 400, "think: must be"),
        (
            "/api/chat",
            json!({ "messages": hi, "options": { "num_predict": 0 } }),
            400,
            "options.num_predict: must be at least 1",
        ),
        (
            "/api/chat",
            json!({ "messages": hi, "options": { "mirostat": 1 } }),
            400,
            "options.mirostat",
        ),
        ("/api/chat", json!({ "messages": hi, "model": "other" }), 404, "other"),
        ("/api/generate", json!({ "prompt": "a", "images": ["AA=="] }), 400, "images"),
        ("/api/generate", json!({ "prompt": "a", "system": "b", "raw": true }), 400, "system: not"),
        ("/api/pull", json!({ "model": "x" }), 404, "no route POST /api/pull"),
    ] {
        let answer = server.post(path, &body).await;
        let told = answer.json();
        let error = told["error"].as_str().unwrap_or_default();
        assert!(answer.status == status && error.contains(expect), "{body}: {}", answer.body);
    }
    server.stop().await;
}
