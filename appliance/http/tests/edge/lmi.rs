//! LMI's schema on `/invocations`, and TGI's reading of it.
//!
//! Next: `limits.rs`.

use gimbal_engine::{Edge, OutputFormatter};
use gimbal_sim::{Incident, Script};
use serde_json::{Value, json};

use crate::client::Response;
use crate::rig::{Server, lane, limits, policy};

const INVOCATIONS: &str = "/invocations";

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

async fn server_as(name: &str, edge: Edge) -> Server {
    let lane = lane(&limits(), &Script::default());
    Server::start_as(edge, name, policy(), lane).await
}

/// The members of an object, in order.
fn keys(object: &Value) -> Vec<&str> {
    object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn answers_have_their_defaults_details_and_lists() {
    let server = server("lmi").await;
    let plain = server.post(INVOCATIONS, &json!({"inputs": "abc"})).await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("transfer-encoding"), None);
    assert_eq!(plain.header("content-length"), Some(&*plain.body.len().to_string()));
    let plain = plain.json();
    assert_eq!(plain.as_object().map(|o| o.len()), Some(1), "{plain}");

    let parameters = json!({"details": true, "decoder_input_details": true, "top_n_tokens": 2});
    let body = json!({"inputs": "abc", "parameters": parameters});
    let detailed = server.post(INVOCATIONS, &body).await.json();
    assert_eq!(detailed["generated_text"], plain["generated_text"], "greedy by default");
    let details = &detailed["details"];
    assert_eq!((&details["finish_reason"], &details["inputs"]), (&json!("length"), &json!("abc")));
    assert_eq!(details["generated_tokens"], 30, "30 tokens by default");
    let tokens = details["tokens"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 30);
    assert!(tokens.iter().all(|t| t["id"].is_u64() && t["text"].is_string()), "{tokens:?}");
    for token in tokens {
        assert_eq!(keys(token), ["id", "text", "logprob", "log_prob"], "{token}");
        assert!(token["logprob"].as_f64().is_some_and(|l| l <= 0.0), "{token}");
        assert_eq!(token["logprob"], token["log_prob"], "two names of one number");
    }
    assert_eq!(details["top_tokens"][0].as_array().map(Vec::len), Some(2));
    let order = ["finish_reason", "generated_tokens", "seed", "prefill", "tokens"];
    assert_eq!(keys(details)[..5], order);
    let prefill: Vec<_> = details["prefill"].as_array().expect("prefill").iter().collect();
    assert_eq!(prefill[1]["text"], "b");
    assert_eq!(keys(prefill[1]), ["id", "text", "logprob", "log_prob"]);
    let body = json!({"inputs": "abc", "parameters": {"details": true}});
    let plainer = server.post(INVOCATIONS, &body).await.json();
    assert_eq!(plainer["details"]["prefill"], json!([]), "always there, filled where asked for");

    let body = json!({"inputs": ["abc", "abd"], "parameters": {"return_full_text": true}});
    let list = server.post(INVOCATIONS, &body).await.json();
    let full = list[0]["generated_text"].as_str().expect("a text");
    assert_eq!(full.strip_prefix("abc"), plain["generated_text"].as_str());
    assert!(list[1]["generated_text"].as_str().is_some_and(|t| t.starts_with("abd")));

    let parameters = json!({"do_sample": true, "seed": 1, "n": 3});
    let body = json!({"inputs": "abc", "parameters": parameters});
    let several = server.post(INVOCATIONS, &body).await.json();
    let others = several["details"]["best_of_sequences"].as_array().expect("sequences");
    assert_eq!(others.len(), 2);
    assert_ne!(others[0]["generated_text"], several["generated_text"]);
    server.stop().await;
}

#[tokio::test]
async fn sampling_is_inferred_unless_do_sample_decides() {
    let server = server("inferred").await;
    let text = async |parameters: &Value| {
        let mut parameters = parameters.clone();
        parameters["seed"] = 7.into();
        let body = json!({"inputs": "abc", "parameters": parameters});
        server.post(INVOCATIONS, &body).await.json()["generated_text"].clone()
    };
    let greedy = text(&json!({})).await;
    let sampled = text(&json!({"do_sample": true})).await;
    assert_ne!(greedy, sampled);
    let rows = [
        (json!({"top_p": 0.999_999}), true),
        (json!({"top_k": 255}), true),
        (json!({"min_p": 1e-9}), true),
        (json!({"temperature": 1.0}), true),
        (json!({"top_p": 1.0, "top_k": -1, "min_p": 0, "typical_p": 1.0}), false),
        (json!({"temperature": 0}), false),
        (json!({"temperature": 0, "top_k": 255}), false),
        (json!({"repetition_penalty": 1.0, "do_sample": null}), false),
    ];
    for (parameters, samples) in rows {
        let found = text(&parameters).await;
        assert_eq!(found != greedy, samples, "{parameters}");
        let mut off = parameters.clone();
        off["do_sample"] = false.into();
        assert_eq!(text(&off).await, greedy, "{off}");
    }
    // All of the vocabulary at temperature 1: the same as `do_sample` alone.
    assert_eq!(text(&json!({"top_k": 256})).await, sampled);
    let typical = json!({"inputs": "abc", "parameters": {"typical_p": 0.9}});
    assert_eq!(server.post(INVOCATIONS, &typical).await.status, 400, "not done, so refused");
    server.stop().await;
}

#[tokio::test]
async fn the_seed_that_decided_is_told_and_decides_again() {
    let server = server("seeds").await;
    let run = async |parameters: Value| {
        let body = json!({"inputs": ["abc", "abc"], "parameters": parameters});
        server.post(INVOCATIONS, &body).await.json()
    };
    let random = run(json!({"do_sample": true, "details": true})).await;
    let seeds = [0, 1].map(|i| random[i]["details"]["seed"].as_i64().expect("a seed"));
    assert_ne!(seeds[0], seeds[1], "prompts are drawn for one by one");
    for (i, seed) in seeds.into_iter().enumerate() {
        let again = run(json!({"do_sample": true, "details": true, "seed": seed})).await;
        assert_eq!(again[0]["generated_text"], random[i]["generated_text"]);
        assert_eq!(again[0]["details"]["seed"], seed);
    }
    let negative = run(json!({"do_sample": true, "details": true, "seed": -5})).await;
    assert_eq!(negative[0]["details"]["seed"], -5);
    server.stop().await;
}

#[tokio::test]
async fn lines_of_a_stream_are_those_of_lmi() {
    let server = server("lines").await;
    let parameters = json!({"max_new_tokens": 3, "details": true, "seed": 4});
    let body = json!({"inputs": "abc", "stream": true, "parameters": parameters});
    let lines = server.post(INVOCATIONS, &body).await.lines();
    assert_eq!(lines.len(), 3);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(keys(line), ["index", "token", "generated_text", "details"], "{line}");
        assert_eq!(line["index"], 0);
        assert_eq!(keys(&line["token"]), ["id", "text", "logprob", "log_prob"]);
        assert_eq!(line["details"].is_null(), i < 2, "{line}");
        assert_eq!(line["generated_text"].is_null(), i < 2, "{line}");
    }
    let details = &lines[2]["details"];
    let order = ["finish_reason", "seed", "generated_tokens", "input_length", "inputs"];
    assert_eq!(keys(details), order);
    assert_eq!((&details["input_length"], &details["seed"]), (&json!(3), &json!(4)));
    server.stop().await;
}

/// Which body, what is accepted, and how it comes back.
async fn check_framing(server: &Server, rows: &[(&str, Option<&str>, bool, &str)]) {
    for (what, accept, stream, content_type) in rows {
        let mut body = match *what {
            "chat" => json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 6}),
            "prompt" => json!({"prompt": "a", "max_tokens": 6}),
            _ => json!({"inputs": "a", "parameters": {"max_new_tokens": 6}}),
        };
        if *what != "inputs" {
            body["temperature"] = 0.into();
        }
        if *stream {
            body["stream"] = true.into();
        }
        let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
        let answer = server.post_with(INVOCATIONS, &headers, &body.to_string()).await;
        let found = answer.header("content-type").unwrap_or_default();
        assert_eq!(found, *content_type, "{what} {accept:?} {stream}");
        let events = answer.body.lines().filter(|line| line.starts_with("data:")).count();
        match *content_type {
            LINES => assert_eq!((events, answer.lines().len() > 1), (0, true), "{}", answer.body),
            EVENTS => assert!(events > 1, "{}", answer.body),
            _ => assert!(answer.json().is_object(), "{}", answer.body),
        }
        let is_openai_stream = *content_type == EVENTS && *what != "inputs";
        assert_eq!(answer.body.contains("[DONE]"), is_openai_stream, "{}", answer.body);
    }
}

const JSON: &str = "application/json";
const LINES: &str = "application/jsonlines";
const EVENTS: &str = "text/event-stream; charset=utf-8";

#[tokio::test]
async fn the_setting_and_the_client_choose_how_streams_are_framed() {
    let formatted = async |name: &str, output_formatter| {
        server_as(name, Edge { output_formatter, ..Edge::default() }).await
    };
    let events = Some("text/event-stream");
    let both = Some("application/jsonlines, text/event-stream");
    let server = formatted("auto", OutputFormatter::Auto).await;
    check_framing(
        &server,
        &[
            ("inputs", None, false, JSON),
            ("inputs", None, true, LINES),
            ("inputs", Some(LINES), false, LINES),
            ("inputs", events, false, EVENTS),
            ("chat", None, false, JSON),
            ("chat", None, true, EVENTS),
            ("chat", Some(LINES), true, LINES),
            ("prompt", Some(LINES), true, LINES),
            ("chat", both, true, EVENTS),
            ("chat", Some(LINES), false, JSON),
        ],
    )
    .await;
    server.stop().await;
    let server = formatted("json", OutputFormatter::Json).await;
    check_framing(
        &server,
        &[
            ("inputs", Some(LINES), false, JSON),
            ("inputs", events, false, JSON),
            ("inputs", None, true, LINES),
            ("chat", None, true, LINES),
        ],
    )
    .await;
    server.stop().await;
    let server = formatted("jsonlines", OutputFormatter::JsonLines).await;
    check_framing(
        &server,
        &[
            ("inputs", None, false, LINES),
            ("chat", None, false, JSON),
            ("chat", None, true, LINES),
            ("prompt", None, true, LINES),
            ("chat", events, true, EVENTS),
        ],
    )
    .await;
    let chat = json!({"messages": [{"role": "user", "content": "a"}], "stream": true});
    let v1 = server.post("/v1/chat/completions", &chat).await;
    assert_eq!(v1.header("content-type"), Some(EVENTS), "the setting is for /invocations");
    server.stop().await;
    let server = formatted("sse", OutputFormatter::Sse).await;
    check_framing(&server, &[("inputs", None, false, EVENTS), ("chat", None, true, EVENTS)]).await;
    server.stop().await;
}

#[tokio::test]
async fn tgi_compat_answers_as_tgi() {
    let edge = Edge { tgi_compat: true, ..Edge::default() };
    let incidents = [(6, Incident::RowFault { output: 0 })];
    let lane = lane(&limits(), &Script::new(&incidents));
    let server = Server::start_as(edge, "tgi", policy(), lane).await;
    let parameters = json!({"max_new_tokens": 2, "details": true});
    let mut body = json!({"inputs": "abc", "parameters": parameters});
    let answer = server.post(INVOCATIONS, &body).await.json();
    assert_eq!(answer.as_array().map(Vec::len), Some(1), "{answer}");
    let token = &answer[0]["details"]["tokens"][0];
    assert_eq!(keys(token), ["id", "text", "logprob", "log_prob", "special"]);
    assert_eq!(token["special"], false);
    body["stream"] = true.into();
    let stream = server.post(INVOCATIONS, &body).await;
    assert_eq!(stream.header("content-type"), Some(EVENTS));
    assert!(stream.body.starts_with("data:{"), "{}", stream.body);
    let lines = stream.lines();
    let indices: Vec<_> = lines.iter().map(|line| line["index"].clone()).collect();
    assert_eq!(indices, [1, 2], "TGI counts tokens");
    assert_eq!(lines[1]["generated_text"], answer[0]["generated_text"]);

    let validation = |answer: &Response| {
        let error = answer.json();
        assert_eq!((answer.status, &error["error_type"]), (422, &json!("validation")), "{error}");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    };
    for body in [
        json!({"inputs": "abc", "parameters": {"temperature": -1}}),
        json!({"inputs": "abc", "parameters": {"watermark": true}}),
        json!({"inputs": "a".repeat(200)}),
        json!({}),
    ] {
        validation(&server.post(INVOCATIONS, &body).await);
    }
    validation(&server.post_with(INVOCATIONS, &[], "{").await);
    let chat = json!({"messages": []});
    assert_eq!(server.post(INVOCATIONS, &chat).await.status, 400, "other schemas stay as they are");
    // The device fails at its sixth step.
    body["parameters"]["max_new_tokens"] = 9.into();
    let failed = server.post(INVOCATIONS, &body).await.lines();
    assert_eq!(failed.last().map(|line| line["error_type"].clone()), Some(json!("generation")));
    server.stop().await;
}
