//! What clients of OpenAI and vLLM rely on beside the text: fingerprints, usage, log probabilities,
//! headers, lists of models, defaults that are said aloud.
//!
//! Next: `lmi.rs`.

use gimbal_http::{About, HttpSettings};
use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::client;
use crate::rig::{Server, held_lane, lane, limits, policy};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[tokio::test]
async fn every_object_names_what_made_it() {
    let server = server("finger").await;
    let mut seen = Vec::new();
    for stream in [false, true] {
        let options = if stream { json!({"include_usage": true}) } else { Value::Null };
        for (route, mut body) in [
            (CHAT, json!({"messages": user("a"), "max_tokens": 2})),
            (COMPLETIONS, json!({"prompt": "a", "max_tokens": 2})),
            (COMPLETIONS, json!({"prompt": "a", "max_tokens": 0, "echo": true})),
            ("/invocations", json!({"messages": user("a"), "max_tokens": 2})),
        ] {
            if stream && body["max_tokens"] == 0 {
                continue;
            }
            body["stream"] = stream.into();
            body["stream_options"] = options.clone();
            let answer = server.post(route, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            seen.extend(answer.lines().iter().map(|line| line["system_fingerprint"].clone()));
        }
    }
    let first = seen[0].as_str().expect("a fingerprint").to_owned();
    let is_hex = |text: &str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(first.strip_prefix("fp_").is_some_and(is_hex), "{first}");
    assert!(seen.iter().all(|other| *other == first), "{seen:?}");
    let about = About { settings_hash: "other".into(), ..About::default() };
    server.app.set_about(about);
    let body = json!({"prompt": "a", "max_tokens": 1});
    let other = server.post(COMPLETIONS, &body).await.json();
    assert_ne!(other["system_fingerprint"], first, "other settings, other name");
    server.stop().await;
}

#[tokio::test]
async fn usage_is_told_as_often_as_asked_for() {
    let server = server("usage").await;
    let run = async |route: &str, options: Value| {
        let mut body = json!({"max_tokens": 3, "temperature": 0, "stream": true, "logprobs": null});
        match route {
            CHAT => body["messages"] = user("abc"),
            _ => body["prompt"] = "abc".into(),
        }
        body["stream_options"] = options;
        server.post(route, &body).await.lines()
    };
    for route in [CHAT, COMPLETIONS] {
        for options in [json!({}), json!({"continuous_usage_stats": true})] {
            let chunks = run(route, options).await;
            assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:?}");
        }
        let options = json!({"include_usage": true});
        let at_end = run(route, options).await;
        let (last, others) = at_end.split_last().expect("chunks");
        assert!(others.iter().all(|chunk| chunk["usage"].is_null()), "{at_end:?}");
        assert_eq!(last["usage"]["completion_tokens"], 3);
        let options = json!({"include_usage": true, "continuous_usage_stats": true});
        let always = run(route, options).await;
        let tokens: Vec<_> = always
            .iter()
            .map(|chunk| {
                let usage = &chunk["usage"];
                let count = |name: &str| usage[name].as_u64().expect("a number");
                assert_eq!(count("prompt_tokens"), 3, "{chunk}");
                assert_eq!(count("total_tokens"), 3 + count("completion_tokens"), "{chunk}");
                count("completion_tokens")
            })
            .collect();
        assert!(tokens.is_sorted(), "{tokens:?}");
        assert_eq!(tokens.last(), Some(&3));
        assert!(tokens.len() >= 3, "{tokens:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_completion_s_alternatives_hold_the_token_itself() {
    let server = server("alternatives").await;
    for count in [0, 1, 3] {
        let body = json!({
            "prompt": "abc", "max_tokens": 8, "temperature": 5, "seed": 3, "logprobs": count,
        });
        let answer = server.post(COMPLETIONS, &body).await.json();
        let told = &answer["choices"][0]["logprobs"];
        let (tokens, tops) = (told["tokens"].as_array(), told["top_logprobs"].as_array());
        let pairs = tokens.expect("tokens").iter().zip(tops.expect("alternatives"));
        for (i, (token, top)) in pairs.enumerate() {
            let top = top.as_object().expect("a map");
            let own = &top[token.as_str().expect("a text")];
            assert_eq!(*own, told["token_logprobs"][i], "{top:?}");
            assert!((1..=count + 1).contains(&top.len()), "{count} asked: {top:?}");
        }
    }
    // Chat has its own list, and only what was asked for in it.
    let body = json!({
        "messages": user("abc"), "max_tokens": 4, "temperature": 5, "seed": 3, "logprobs": true,
        "top_logprobs": 2,
    });
    let answer = server.post(CHAT, &body).await.json();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().expect("a list").clone();
    assert!(content.iter().all(|told| told["top_logprobs"].as_array().map(Vec::len) == Some(2)));
    server.stop().await;
}

#[tokio::test]
async fn chunks_of_a_chat_have_content_where_openai_has_it() {
    let server = server("deltas").await;
    let body = json!({"messages": user("abc"), "max_tokens": 2, "temperature": 0, "stream": true});
    let chunks = server.post(CHAT, &body).await.lines();
    let deltas: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(*deltas[0], json!({"role": "assistant", "content": ""}));
    let (last, others) = deltas[1..].split_last().expect("chunks");
    assert_eq!(**last, json!({}));
    assert!(others.iter().all(|delta| delta["content"].is_string()), "{deltas:?}");
    server.stop().await;
}

/// Fields that say their default ask for nothing.
#[tokio::test]
async fn defaults_may_be_said() {
    let server = server("neutral").await;
    let both = json!({
        "n": 1, "best_of": null, "stop": null, "logit_bias": {}, "seed": null, "user": null,
        "stream": false, "stream_options": null, "top_k": -1, "top_p": 1, "min_p": 0,
        "presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 1.0, "suffix": null,
        "max_tokens": 1, "temperature": 1, "length_penalty": 1, "num_beams": 1, "guided_json": null,
        "use_beam_search": false, "allowed_token_ids": null, "bad_words": [], "typical_p": 1.0,
    });
    let chat = json!({
        "messages": user("a"), "functions": [], "function_call": "none", "tools": null,
        "tool_choice": "none", "response_format": {"type": "text"}, "logprobs": false,
        "top_logprobs": 0, "modalities": ["text"], "audio": null, "documents": [], "echo": false,
        "web_search_options": null, "parallel_tool_calls": true, "store": false,
    });
    let completion = json!({"prompt": "a", "echo": false, "logprobs": null, "tools": []});
    for (route, own) in [(CHAT, &chat), ("/invocations", &chat), (COMPLETIONS, &completion)] {
        let mut body = own.clone();
        if let (Some(body), Some(both)) = (body.as_object_mut(), both.as_object()) {
            body.extend(both.clone());
        }
        let answer = server.post(route, &body).await;
        assert_eq!(answer.status, 200, "{route}: {}", answer.body);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_last_message_goes_on_where_asked() {
    // The rig's template begins no turn, so what continues is what is closed; the text crate tests
    // where a template's own words end.
    let server = server("continues").await;
    let messages = json!([
        {"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"},
    ]);
    for (add, status) in [(Value::Null, 200), (json!(false), 200), (json!(true), 400)] {
        for (route, tokens) in [
            (CHAT, "/usage/prompt_tokens"),
            ("/invocations", "/usage/prompt_tokens"),
            ("/tokenize", "/count"),
        ] {
            let mut body = json!({"messages": messages, "continue_final_message": true});
            body["add_generation_prompt"] = add.clone();
            if route != "/tokenize" {
                body["max_tokens"] = 2.into();
            }
            let answer = server.post(route, &body).await;
            assert_eq!(answer.status, status, "{route} {add}: {}", answer.body);
            let found = answer.json();
            match status {
                200 => assert_eq!(found.pointer(tokens), Some(&json!(4)), "{found}"),
                _ => assert_eq!(found["error"]["param"], "continue_final_message"),
            }
        }
    }
    let empty = json!({
        "messages": [{"role": "assistant", "content": ""}], "continue_final_message": true,
    });
    assert_eq!(server.post(CHAT, &empty).await.status, 400, "nothing to continue");
    server.stop().await;
}

#[tokio::test]
async fn models_have_what_openai_and_vllm_tell_of_them() {
    let server = server("listed").await;
    let list = server.get("/v1/models").await.json();
    let model = &list["data"][0];
    assert_eq!(server.get("/v1/models/listed").await.json(), *model);
    let expect = json!({
        "id": "listed", "object": "model", "created": model["created"], "owned_by": "gimbal",
        "root": "listed", "parent": null, "max_model_len": 128, "permission": [],
    });
    assert_eq!(*model, expect);
    assert!(model["created"].as_u64().is_some_and(|seconds| seconds > 1_600_000_000));
    server.stop().await;
}

#[tokio::test]
async fn headers_are_those_of_the_reference_servers() {
    let server = server("headers").await;
    let post = async |route, body: Value| server.post(route, &body).await;
    let chat = json!({"messages": user("a"), "max_tokens": 1});
    let mut stream = chat.clone();
    stream["stream"] = true.into();
    let events = "text/event-stream; charset=utf-8";
    for (answer, content_type, is_stream) in [
        (post(CHAT, chat).await, "application/json", false),
        (post(CHAT, stream).await, events, true),
        (post(CHAT, json!({})).await, "application/json", false),
        (server.get("/v1/models").await, "application/json", false),
        (server.get("/version").await, "application/json", false),
        (server.get("/metrics").await, "text/plain; version=0.0.4; charset=utf-8", false),
    ] {
        assert_eq!(answer.header("content-type"), Some(content_type), "{}", answer.body);
        assert_eq!(answer.header("x-accel-buffering"), is_stream.then_some("no"));
        assert_eq!(answer.header("cache-control"), is_stream.then_some("no-cache"));
        assert_eq!(answer.header("content-length").is_none(), is_stream, "chunked or not");
    }
    server.stop().await;
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = server("head").await;
    for path in ["/ping", "/livez", "/v1/models", "/version", "/load", "/openapi.json", "/status"] {
        let get = server.get(path).await;
        let head = client::request("HEAD", path, &[], "");
        let head = client::exchange(server.address, &head).await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        if path != "/status" {
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        }
    }
    let head = client::request("HEAD", CHAT, &[], "");
    assert_eq!(client::exchange(server.address, &head).await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn tokens_come_with_their_texts_where_asked() {
    let server = server("pieces").await;
    let tokenize = async |body: Value| server.post("/tokenize", &body).await.json();
    let plain = tokenize(json!({"prompt": "hi\u{e9}"})).await;
    assert_eq!(
        (&plain["tokens"], &plain["token_strs"]),
        (&json!([104, 105, 195, 169]), &Value::Null)
    );
    let strings = tokenize(json!({"prompt": "hi", "return_token_strs": true})).await;
    assert_eq!(strings["token_strs"], json!(["h", "i"]));
    let strings = tokenize(json!({"messages": user("hi"), "return_token_strs": true})).await;
    assert_eq!(strings["token_strs"], json!(["h", "i"]));
    let pieces = tokenize(json!({"content": "h\u{e9}", "with_pieces": true})).await;
    let expect = json!([
        {"id": 104, "piece": "h"}, {"id": 195, "piece": [195]}, {"id": 169, "piece": [169]},
    ]);
    assert_eq!(pieces["tokens"], expect, "a part of a character is told by its bytes");
    for two in
        [json!({"prompt": "a", "content": "a"}), json!({"messages": user("a"), "prompt": "a"})]
    {
        assert_eq!(server.post("/tokenize", &two).await.status, 400, "{two}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_says_what_it_is_and_how_much_it_does() {
    let (lane, steps) = held_lane();
    let server = Server::start("facts", policy(), lane).await;
    let version = server.get("/version").await.json();
    assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION")}));
    let info = server.get("/tokenizer_info").await.json();
    assert_eq!((&info["vocab_size"], &info["model_max_length"]), (&json!(258), &json!(128)));
    assert!(info["tokenizer_class"].as_str().is_some_and(|class| !class.is_empty()));
    assert!(
        info["chat_template"].as_str().is_some_and(|text| text.contains("m.content")),
        "{info}"
    );
    assert_eq!(server.get("/load").await.json(), json!({"server_load": 0}));
    let body = json!({"prompt": "a", "max_tokens": 1}).to_string();
    let bytes = client::request("POST", COMPLETIONS, &[], &body);
    let asking = client::exchange(server.address, &bytes);
    let watching = async {
        while server.get("/load").await.json() != json!({"server_load": 1}) {}
        drop(steps);
    };
    let (answer, ()) = tokio::join!(asking, watching);
    assert_eq!(answer.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn livez_is_200_while_the_process_lives() {
    let server = Server::listen(HttpSettings::default()).await;
    let status = async |server: &Server, path| server.get(path).await.status;
    assert_eq!((status(&server, "/ping").await, status(&server, "/livez").await), (503, 200));
    assert_eq!(status(&server, "/tokenizer_info").await, 503);
    server.app.set_failed("no such file");
    assert_eq!((status(&server, "/ping").await, status(&server, "/livez").await), (503, 200));
    let other = Server::start("alive", policy(), lane(&limits(), &Script::default())).await;
    other.app.set_draining();
    assert_eq!((status(&other, "/ping").await, status(&other, "/livez").await), (503, 200));
    server.stop().await;
    other.stop().await;
}
