//! Every situation a client can be in: status, body, headers, in each schema.
//!
//! Situations that need a held device stand in `limits.rs`. Next: `answers.rs`.

use gimbal_http::HttpSettings;
use gimbal_sim::{Incident, Script};
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

/// Route, body, status, and members by JSON pointer.
type Row = (&'static str, Value, u16, &'static [(&'static str, &'static str)]);

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const INVOCATIONS: &str = "/invocations";

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// Values are compared as JSON texts.
async fn check(server: &Server, rows: Vec<Row>) {
    for (route, body, status, members) in rows {
        let response = server.post(route, &body).await;
        assert_eq!(response.status, status, "{route} {body} gave {}", response.body);
        let answer = response.json();
        for (pointer, expect) in members {
            let found = answer.pointer(pointer).map(Value::to_string).unwrap_or_default();
            assert_eq!(found, *expect, "{route} {body} at {pointer} of {answer}");
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn bad_bodies_are_400_in_the_schema_of_their_route() {
    let server = Server::start("bad", policy(), lane(&limits(), &Script::default())).await;
    for broken in ["{\"inputs\":", "", "[1, 2]", "null", "\u{0}", "{\"inputs\":\"\\ud800\"}"] {
        let lmi = server.post_with(INVOCATIONS, &[], broken).await;
        let answer = lmi.json();
        assert_eq!((lmi.status, &answer["code"]), (400, &json!(400)), "{broken:?}");
        assert_eq!(answer["type"], "BadRequestException");
        let openai = server.post_with(CHAT, &[], broken).await;
        assert_eq!(openai.status, 400, "{broken:?}");
        assert_eq!(openai.json()["error"]["type"], "invalid_request_error");
    }
    let lmi = |member: &'static [(&str, &str)]| member;
    let invalid = lmi(&[("/error", "\"invalid_request\"")]);
    let lacking = lmi(&[("/error", "\"not_supported\"")]);
    check(
        &server,
        vec![
            (INVOCATIONS, json!({}), 400, invalid),
            (INVOCATIONS, json!({"words": "a"}), 400, invalid),
            (INVOCATIONS, json!({"inputs": 5}), 400, invalid),
            (INVOCATIONS, json!({"inputs": []}), 400, invalid),
            (INVOCATIONS, json!({"inputs": ""}), 400, invalid),
            (INVOCATIONS, json!({"inputs": "a", "parameters": 1}), 400, invalid),
            (
                INVOCATIONS,
                json!({"inputs": "a", "parameters": {"temperature": "hot"}}),
                400,
                invalid,
            ),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"temperature": -1}}), 400, invalid),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"top_p": 1.5}}), 400, invalid),
            (
                INVOCATIONS,
                json!({"inputs": "a", "parameters": {"max_new_tokens": 0}}),
                400,
                invalid,
            ),
            (
                INVOCATIONS,
                json!({"inputs": "a", "parameters": {"max_new_tokens": -4}}),
                400,
                invalid,
            ),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"top_k": -7}}), 400, invalid),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"stop": [1]}}), 400, invalid),
            (INVOCATIONS, json!({"inputs": ["a", "b"], "stream": true}), 400, invalid),
            (INVOCATIONS, json!({"inputs": vec!["a"; 65]}), 400, invalid),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"num_beams": 4}}), 400, lacking),
            (INVOCATIONS, json!({"inputs": "a", "parameters": {"watermark": true}}), 400, lacking),
            (INVOCATIONS, json!({"inputs": [{"datatype": "FP32"}]}), 400, lacking),
            (INVOCATIONS, json!({"input": "a"}), 400, lacking),
            (INVOCATIONS, json!({"requestType": "NEW_SESSION"}), 400, lacking),
        ],
    )
    .await;
    let param = |member: &'static [(&str, &str)]| member;
    check(
        &server,
        vec![
            (CHAT, json!({"messages": []}), 400, param(&[("/error/param", "\"messages\"")])),
            (CHAT, json!({"model": "bad"}), 400, param(&[("/error/param", "\"messages\"")])),
            (CHAT, json!({"messages": [7]}), 400, param(&[("/error/param", "\"messages[0]\"")])),
            (
                CHAT,
                json!({"messages": [{"role": "forbidden", "content": "a"}]}),
                400,
                param(&[("/error/param", "\"messages\"")]),
            ),
            (
                CHAT,
                json!({"messages": user("a"), "temperature": 1e9}),
                400,
                param(&[("/error/param", "\"temperature\"")]),
            ),
            (
                CHAT,
                json!({"messages": user("a"), "max_tokens": 0}),
                400,
                param(&[("/error/param", "\"max_tokens\"")]),
            ),
            (
                CHAT,
                json!({"messages": user("a"), "n": 0}),
                400,
                param(&[("/error/param", "\"n\"")]),
            ),
            (
                CHAT,
                json!({"messages": user("a"), "top_logprobs": 3}),
                400,
                param(&[("/error/param", "\"top_logprobs\"")]),
            ),
            (
                CHAT,
                json!({"messages": user("a"), "logprobs": true, "top_logprobs": 21}),
                400,
                param(&[("/error/param", "\"top_logprobs\"")]),
            ),
            (COMPLETIONS, json!({}), 400, param(&[("/error/param", "\"prompt\"")])),
            (COMPLETIONS, json!({"prompt": [300]}), 400, param(&[("/error/param", "\"prompt\"")])),
            (
                COMPLETIONS,
                json!({"prompt": "a", "stop": [""]}),
                400,
                param(&[("/error/param", "\"stop\"")]),
            ),
            ("/tokenize", json!({}), 400, param(&[("/error/param", "\"prompt\"")])),
            (
                "/detokenize",
                json!({"tokens": [999]}),
                400,
                param(&[("/error/param", "\"tokens\"")]),
            ),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_supported_yet_is_400_and_says_so() {
    let server = Server::start("lacking", policy(), lane(&limits(), &Script::default())).await;
    let chat = |name: &str, value: Value| {
        let mut body = json!({"messages": user("a")});
        body[name] = value;
        let code: &'static [_] = &[("/error/code", "\"not_supported\"")];
        (CHAT, body, 400, code)
    };
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]);
    check(
        &server,
        vec![
            chat("logit_bias", json!({"50256": -100})),
            chat("messages", image),
            (
                COMPLETIONS,
                json!({"prompt": "a", "logit_bias": {"1": 2}}),
                400,
                &[("/error/code", "\"not_supported\"")],
            ),
            (
                COMPLETIONS,
                json!({"prompt": "a", "suffix": "b"}),
                400,
                &[("/error/code", "\"not_supported\"")],
            ),
            (
                COMPLETIONS,
                json!({"prompt": "a", "best_of": 5}),
                400,
                &[("/error/code", "\"not_supported\"")],
            ),
        ],
    )
    .await;
    let harmless = json!({
        "messages": user("a"), "max_tokens": 2, "tools": [], "tool_choice": "none",
        "response_format": {"type": "text"}, "logit_bias": {}, "stop": null, "n": null,
    });
    assert_eq!(server.post(CHAT, &harmless).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_long_is_400_with_both_numbers() {
    let server = Server::start("long", policy(), lane(&limits(), &Script::default())).await;
    let text = "a".repeat(120);
    let lmi: &'static [_] = &[
        ("/error", "\"context_length_exceeded\""),
        ("/prompt_tokens", "120"),
        ("/max_new_tokens", "30"),
        ("/max_model_len", "128"),
    ];
    let openai: &'static [_] = &[
        ("/error/code", "\"context_length_exceeded\""),
        ("/error/prompt_tokens", "120"),
        ("/error/max_new_tokens", "30"),
        ("/error/max_model_len", "128"),
        ("/error/type", "\"invalid_request_error\""),
    ];
    // What LiteLLM and others look for, in every schema.
    let sentence = "This model's maximum context length is 128 tokens. However, you requested 150 \
                    tokens (120 in the messages, 30 in the completion).";
    for (route, body, pointer) in [
        (INVOCATIONS, json!({"inputs": text}), "/message"),
        (CHAT, json!({"messages": user(&text), "max_tokens": 30}), "/error/message"),
        (COMPLETIONS, json!({"prompt": text, "max_tokens": 30}), "/error/message"),
    ] {
        let answer = server.post(route, &body).await.json();
        let message = answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(message.starts_with(sentence), "{message}");
    }
    let enormous: &'static [_] = &[("/prompt_tokens", "8334"), ("/max_model_len", "128")];
    check(
        &server,
        vec![
            (INVOCATIONS, json!({"inputs": text}), 400, lmi),
            (INVOCATIONS, json!({"inputs": "a".repeat(100_000)}), 400, enormous),
            (INVOCATIONS, json!({"messages": user(&text), "max_tokens": 30}), 400, openai),
            (CHAT, json!({"messages": user(&text), "max_tokens": 30}), 400, openai),
            (COMPLETIONS, json!({"prompt": text, "max_tokens": 30}), 400, openai),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn models_and_routes_that_are_not_there_are_404() {
    let server = Server::start("here", policy(), lane(&limits(), &Script::default())).await;
    let openai: &'static [_] =
        &[("/error/code", "\"model_not_found\""), ("/error/param", "\"model\"")];
    check(
        &server,
        vec![
            (CHAT, json!({"model": "gone", "messages": user("a")}), 404, openai),
            (COMPLETIONS, json!({"model": "gone", "prompt": "a"}), 404, openai),
            ("/v1/nowhere", json!({}), 404, &[("/error/code", "\"not_found\"")]),
            ("/nowhere", json!({}), 404, &[("/error", "\"not_found\"")]),
        ],
    )
    .await;
    for (path, allow) in [(CHAT, "POST"), (INVOCATIONS, "POST")] {
        let response = server.get(path).await;
        assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{path}");
        assert!(response.body.contains("method_not_allowed"), "{}", response.body);
    }
    let models = server.get("/v1/models").await.json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("here")));
    assert_eq!(models["data"][0]["max_model_len"], 128);
    server.stop().await;
}

#[tokio::test]
async fn a_fault_is_500_before_the_first_byte_and_a_last_line_after_it() {
    // Steps of the script: 0 prefill, then one a token.
    let incidents: Vec<_> = [2, 5, 8, 11].map(|at| (at, Incident::RowFault { output: 0 })).to_vec();
    let server = Server::start("fault", policy(), lane(&limits(), &Script::new(&incidents))).await;
    let why = "the model computed a value that is not finite";
    let whole = server.post(INVOCATIONS, &json!({"inputs": "abc"})).await;
    assert_eq!((whole.status, &whole.json()["message"]), (500, &json!(why)));
    assert_eq!(whole.json()["error"], "internal_error");

    let lines = server.post(INVOCATIONS, &json!({"inputs": "abc", "stream": true})).await;
    assert_eq!(lines.status, 200);
    let lines = lines.lines();
    let last = lines.last().expect("a last line");
    assert_eq!(last["details"]["finish_reason"], "error");
    assert_eq!((&last["error"], &last["code"]), (&json!(why), &json!(500)));

    let stream = json!({"messages": user("abc"), "stream": true, "temperature": 0});
    let events = server.post(CHAT, &stream).await;
    assert_eq!(events.status, 200);
    assert!(!events.body.contains("[DONE]"), "{}", events.body);
    let events = events.lines();
    let last = &events.last().expect("a last event")["error"];
    assert_eq!((&last["message"], &last["type"]), (&json!(why), &json!("server_error")));

    let whole = server.post(CHAT, &json!({"messages": user("abc"), "temperature": 0})).await;
    assert_eq!((whole.status, &whole.json()["error"]["type"]), (500, &json!("server_error")));
    assert_eq!(server.get("/ping").await.status, 200, "the server goes on");
    server.stop().await;
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_413() {
    let settings = HttpSettings { body_bytes_max: 1000, ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_with(settings, "large", policy(), lane).await;
    let large = json!({"inputs": "a".repeat(2000)}).to_string();
    let announced = server.post_with(INVOCATIONS, &[], &large).await;
    assert_eq!(announced.status, 413, "{}", announced.body);
    assert!(announced.body.contains("body_too_large"), "{}", announced.body);
    let chunk = "a".repeat(0x7D0);
    let chunked = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         7D0\r\n{chunk}\r\n0\r\n\r\n"
    );
    let chunked = crate::client::exchange(server.address, &chunked).await;
    assert_eq!((chunked.status, &chunked.json()["error"]["code"]), (413, &json!("body_too_large")));
    server.stop().await;
}
