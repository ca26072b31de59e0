//! Before a model is loaded, while the process ends, and when the engine is gone.
//!
//! Next: `main.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_engine::Edge;
use gimbal_hal::DeviceError;
use gimbal_http::HttpSettings;
use gimbal_sim::{Incident, Script};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rig::{Server, held_lane, lane, limits, policy};
use crate::{client, rig};

const CHAT: &str = "/v1/chat/completions";
const INVOCATIONS: &str = "/invocations";

#[tokio::test]
async fn ping_is_503_with_the_phase_until_the_model_is_warm() {
    let mut server = Server::listen(HttpSettings::default()).await;
    let ping = server.get("/ping").await;
    assert_eq!((ping.status, &ping.json()["phase"]), (503, &json!("listen")));
    server.app.set_phase("open", Some(0.5));
    let ping = server.get("/ping").await;
    let expect = json!({"state": "loading", "phase": "open", "progress": 0.5});
    assert_eq!((ping.status, ping.json()), (503, expect));
    for (path, body) in [
        (INVOCATIONS, json!({"inputs": "a"})),
        (INVOCATIONS, json!({"messages": [{"role": "user", "content": "a"}]})),
        (CHAT, json!({"messages": [{"role": "user", "content": "a"}]})),
    ] {
        let response = server.post(path, &body).await;
        assert_eq!(response.status, 503, "{}", response.body);
        assert!(response.body.contains("\"loading\""), "{}", response.body);
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    assert_eq!(server.get("/v1/models").await.json()["data"], json!([]));
    server.app.set_failed("no such file");
    let ping = server.get("/ping").await;
    assert_eq!(ping.json(), json!({"state": "failed", "reason": "no such file"}));

    let warm = Server::start("warm", policy(), lane(&limits(), &Script::default())).await;
    server.service.clone_from(&warm.service);
    server.app.add_model(warm.service().clone()).expect("its own name");
    let ping = server.get("/ping").await;
    assert_eq!((ping.status, ping.body.as_str()), (200, ""));
    assert_eq!(server.post("/ping", &json!({})).await.status, 200);
    assert_eq!(server.post(INVOCATIONS, &json!({"inputs": "a"})).await.status, 200);
    server.stop().await;
    warm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_pings_refuses_new_requests_and_finishes_streams() {
    let (lane, steps) = held_lane();
    let server = Server::start("drain", policy(), lane).await;
    let body = json!({"inputs": "abc", "stream": true, "parameters": {"max_new_tokens": 5}});
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    let bytes = client::request("POST", INVOCATIONS, &[], &body.to_string());
    stream.write_all(bytes.as_bytes()).await.expect("an open socket");
    while server.service().requests_inside() == 0 {
        tokio::task::yield_now().await;
    }
    server.app.set_draining();
    server.service().close();
    let ping = server.get("/ping").await;
    assert_eq!((ping.status, ping.json()), (503, json!({"state": "draining"})));
    let refused = server.post(INVOCATIONS, &body).await;
    assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("draining")));
    let reading = tokio::spawn(async move { client::read(&mut stream).await });
    drop(steps);
    let drained = server.service().drain(Duration::from_secs(600)).await;
    assert_eq!(drained.cut, 0);
    let lines = reading.await.expect("no panic").lines();
    assert_eq!(lines.last().map(|l| l["details"]["finish_reason"].clone()), Some(json!("length")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_without_time_ends_streams_with_a_reason() {
    let (lane, steps) = held_lane();
    let server = Server::start("cut", policy(), lane).await;
    let body = json!({"inputs": "abc", "stream": true, "parameters": {"max_new_tokens": 5}});
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    let bytes = client::request("POST", INVOCATIONS, &[], &body.to_string());
    stream.write_all(bytes.as_bytes()).await.expect("an open socket");
    steps.send(()).expect("the lane lives");
    let reading = tokio::spawn(async move { client::read(&mut stream).await });
    while server.service().states()[0].stats.output_tokens == 0 {
        tokio::task::yield_now().await;
    }
    server.app.set_draining();
    let drained = server.service().drain(Duration::ZERO).await;
    assert_eq!(drained.cut, 1);
    let lines = reading.await.expect("no panic").lines();
    let last = lines.last().expect("a last line");
    assert_eq!(last["details"]["finish_reason"], "error");
    assert_eq!(last["error"], "the server shut down before this request was done");
    server.stop().await;
}

#[tokio::test]
async fn ping_names_the_reason_when_the_engine_is_gone() {
    let mut lane = lane(&limits(), &Script::new(&[(0, Incident::Lost)]));
    lane.reopen = Box::new(|| Err(DeviceError::Lost { why: "unplugged".into() }));
    let server = Server::start("gone", policy(), lane).await;
    let first = server.post(INVOCATIONS, &json!({"inputs": "a"})).await;
    assert_eq!(first.status, 500, "{}", first.body);
    assert!(first.body.contains("unplugged"), "{}", first.body);
    let ping = server.get("/ping").await;
    assert_eq!((ping.status, &ping.json()["state"]), (503, &json!("failing")));
    assert_eq!(ping.json()["reason"], "the engine stopped: device lost: unplugged");
    let next = server.post(CHAT, &json!({"messages": [{"role": "user", "content": "a"}]})).await;
    assert_eq!((next.status, &next.json()["error"]["code"]), (503, &json!("unavailable")));
    server.stop().await;
}

/// Each model is itself: one that loads, or could not be loaded, costs the others nothing.
#[tokio::test]
async fn several_models_have_names_defaults_and_fates_of_their_own() {
    let mut server = Server::start("first", policy(), lane(&limits(), &Script::default())).await;
    let models = Arc::clone(server.app.models());
    let chat =
        |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "a"}]});
    let loading = models.begin("second").expect("a name");
    loading.phase("open");
    server.app.set_phase("open", None);
    assert_eq!(server.get("/ping").await.status, 200, "the first one serves");
    assert_eq!(server.post(CHAT, &chat("first")).await.status, 200);
    let early = server.post(CHAT, &chat("second")).await;
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")), "{}", early.body);
    models.begin("broken").expect("a name").fail("no such file");
    let broken = server.post(CHAT, &chat("broken")).await;
    assert_eq!(broken.status, 503);
    assert!(broken.body.contains("broken could not be loaded: no such file"), "{}", broken.body);
    assert_eq!(server.get("/ping").await.status, 200, "one that failed is its own error");

    let tgi = Edge { tgi_compat: true, ..Edge::default() };
    let second = lane(&limits(), &Script::default());
    loading.serve(rig::service("second", policy(), second, tgi));
    for (name, is_list) in [("first", false), ("second", true)] {
        let answer = server.post(CHAT, &chat(name)).await.json();
        assert_eq!(answer["model"], name);
        let body = json!({"model": name, "inputs": "a", "parameters": {"max_new_tokens": 1}});
        assert_eq!(server.post(INVOCATIONS, &body).await.json().is_array(), is_list, "{name}");
        let count = json!({"model": name, "prompt": "abc"});
        assert_eq!(server.post("/tokenize", &count).await.json()["count"], 3, "{name}");
        assert_eq!(server.get(&format!("/v1/models/{name}")).await.json()["id"], name);
    }
    let listed = server.get("/v1/models").await.json();
    let names: Vec<_> =
        listed["data"].as_array().expect("a list").iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["first", "second"]);
    let status = server.get("/status").await.json();
    let states = status["models"].as_array().expect("a list").iter();
    let states: Vec<_> = states.map(|m| (m["id"].clone(), m["state"].clone())).collect();
    let expect = [("first", "serving"), ("second", "serving"), ("broken", "failed")];
    assert_eq!(states, expect.map(|(id, state)| (json!(id), json!(state))));
    let unknown = server.post(CHAT, &chat("third")).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("there is first, second, broken"), "{}", unknown.body);
    let again =
        rig::service("first", policy(), lane(&limits(), &Script::default()), Edge::default());
    assert!(server.app.add_model(again).is_err(), "two models of one name");

    models.unload("first", Duration::from_secs(5)).await.expect("it serves");
    assert_eq!(server.post(CHAT, &chat("first")).await.status, 404);
    assert_eq!(server.post(CHAT, &chat("second")).await.status, 200);
    let text = server.get("/metrics").await.body;
    let gone = |line: &&str| line.starts_with("gimbal_info") && line.contains("model=\"first\"");
    assert!(text.lines().find(gone).is_some_and(|line| line.ends_with(" 0")), "{text}");
    server.service = None;
    server.stop().await;
}
