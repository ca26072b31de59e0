//! Full queues, clients that leave, stall or are half there, and what is left behind: nothing.
//!
//! Times are printed, never asserted. Next: `boot.rs`.

use std::time::{Duration, Instant};

use gimbal_batch::{Kv, Limits};
use gimbal_engine::{Edge, Policy};
use gimbal_http::HttpSettings;
use gimbal_sim::Script;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{self, request};
use crate::rig::{Server, held_lane, lane, limits, policy};

const CHAT: &str = "/v1/chat/completions";
const INVOCATIONS: &str = "/invocations";

/// A request whose answer is not read yet.
async fn send(server: &Server, path: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    let bytes = request("POST", path, &[], &body.to_string());
    stream.write_all(bytes.as_bytes()).await.expect("an open socket");
    stream
}

/// Waits until so many requests are inside.
async fn inside(server: &Server, count: u32) {
    while server.service().requests_inside() != count {
        tokio::task::yield_now().await;
    }
}

/// A full house behind a step that does not end: 2 run, 3 wait.
async fn full(name: &str) -> (Server, Vec<TcpStream>, std::sync::mpsc::SyncSender<()>) {
    let (lane, steps) = held_lane();
    let policy = Policy { max_rolling_batch_size: 2, job_queue_size: 3, ..policy() };
    let server = Server::start(name, policy, lane).await;
    let body = json!({"inputs": "abc", "parameters": {"max_new_tokens": 2}});
    let mut clients = Vec::new();
    for count in 1..=5 {
        clients.push(send(&server, INVOCATIONS, &body).await);
        inside(&server, count).await;
    }
    (server, clients, steps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_over_a_full_queue_are_refused_while_a_step_runs() {
    let (server, clients, steps) = full("full").await;
    let lmi = json!({"inputs": "abc"});
    let chat = json!({"messages": [{"role": "user", "content": "abc"}]});
    let mut times = Vec::new();
    for i in 0..1000 {
        let from = Instant::now();
        let (response, numbers) = if i % 2 == 0 {
            let response = server.post(INVOCATIONS, &lmi).await;
            let answer = response.json();
            assert_eq!((response.status, &answer["error"]), (503, &json!("queue_full")));
            (response, answer)
        } else {
            let response = server.post(CHAT, &chat).await;
            let error = response.json()["error"].clone();
            assert_eq!((response.status, &error["code"]), (429, &json!("queue_full")));
            assert_eq!(error["type"], "rate_limit_error");
            (response, error)
        };
        times.push(from.elapsed());
        assert_eq!((&numbers["queue_len"], &numbers["job_queue_size"]), (&json!(3), &json!(3)));
        assert!(numbers["retry_after_ms"].as_u64().is_some_and(|ms| ms >= 100));
        assert!(response.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()));
    }
    times.sort_unstable();
    eprintln!(
        "1000 refusals, each with its connection: p50 {:?}, p99 {:?}",
        times[500], times[990]
    );
    let metrics = server.get("/metrics").await.body;
    let refused = "gimbal_refused_total{model=\"full\",reason=\"queue_full\"} 1000";
    assert!(metrics.contains(refused), "{metrics}");
    drop(steps);
    for mut client in clients {
        assert_eq!(client::read(&mut client).await.status, 200, "those inside are served");
    }
    server.service().idle().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_and_metrics_are_answered_while_a_step_runs() {
    let (server, clients, steps) = full("busy").await;
    assert_eq!(server.get("/ping").await.status, 200);
    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").is_some_and(|t| t.starts_with("text/plain")));
    assert!(metrics.body.contains("gimbal_running{model=\"busy\",lane=\"0\"} "));
    drop((clients, steps));
    server.service().idle().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_give_back_places_slots_and_blocks() {
    let server = Server::start("leave", policy(), lane(&limits(), &Script::default())).await;
    let mut tasks = Vec::new();
    for i in 0..32_usize {
        let tokens = [5, 20, 60, 100][i % 4];
        let parameters = json!({"max_new_tokens": tokens});
        let body = json!({"inputs": "abcde", "stream": true, "parameters": parameters});
        let mut stream = send(&server, INVOCATIONS, &body).await;
        tasks.push(tokio::spawn(async move {
            if i % 3 == 1 {
                let mut some = [0; 200];
                drop(stream.read(&mut some).await);
                return None;
            }
            let response = client::read(&mut stream).await;
            let lines = response.lines();
            Some((tokens, lines.len(), lines.last().map(|l| l["generated_text"].to_string())))
        }));
    }
    let mut texts: Vec<String> = Vec::new();
    for task in tasks {
        let Some((tokens, lines, text)) = task.await.expect("no panic") else { continue };
        assert_eq!(lines, tokens, "one line a token");
        texts.extend(text);
    }
    assert_eq!(texts.len(), 21);
    server.service().idle().await;
    let metrics = server.get("/metrics").await.body;
    for name in [
        "kv_blocks{model=\"leave\",lane=\"0\",state=\"used\"}",
        "slots_used{model=\"leave\",lane=\"0\"}",
    ] {
        assert!(metrics.contains(&format!("gimbal_{name} 0\n")), "{name} in {metrics}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_its_half_is_gone_and_the_server_goes_on() {
    let (lane, steps) = held_lane();
    let server = Server::start("half", policy(), lane).await;
    let mut half = send(&server, INVOCATIONS, &json!({"inputs": "abc"})).await;
    inside(&server, 1).await;
    half.shutdown().await.expect("an open socket");
    inside(&server, 0).await;
    // Bytes that are no HTTP, and a head that never ends.
    for bytes in ["\u{1}\u{2}\r\n\r\n", "GET /ping HTTP/9.9\r\n\r\n", "GET /pi"] {
        let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
        stream.write_all(bytes.as_bytes()).await.expect("an open socket");
        stream.shutdown().await.expect("an open socket");
        let status = client::read(&mut stream).await.status;
        assert!(status == 0 || (400..506).contains(&status), "{bytes:?} gave {status}");
    }
    drop(steps);
    assert_eq!(server.get("/ping").await.status, 200);
    assert_eq!(server.post(INVOCATIONS, &json!({"inputs": "abc"})).await.status, 200);
    server.service().idle().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_cancelled() {
    let settings =
        HttpSettings { write_timeout: Duration::from_millis(50), ..HttpSettings::default() };
    let long = Limits {
        kv: Kv { blocks: 4096, block_tokens: 16 },
        context_tokens_max: 1 << 16,
        ..limits()
    };
    let lane = lane(&long, &Script::default());
    let server = Server::start_with(settings, "stalled", policy(), lane).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stalled = socket.connect(server.address).await.expect("the server listens");
    // About 3 KB a token, 150 MB in all: far more than any socket buffers.
    let parameters = json!({"max_new_tokens": 50_000, "top_n_tokens": 20});
    let body = json!({"inputs": "abc", "stream": true, "parameters": parameters}).to_string();
    let bytes = request("POST", INVOCATIONS, &[], &body);
    stalled.write_all(bytes.as_bytes()).await.expect("an open socket");
    // The device may be done long before the client is given up: nobody waits for a client.
    let cancelled = "gimbal_requests_total{model=\"stalled\",lane=\"0\",finish=\"cancelled\"} 1";
    let mut metrics = String::new();
    while !metrics.contains(cancelled) {
        metrics = server.get("/metrics").await.body;
    }
    assert!(metrics.contains("gimbal_stalled_clients_total 1"), "{metrics}");
    server.service().idle().await;
    drop(stalled);
    server.stop().await;
}

/// What waits for clients that do not read is bounded also where it is one whole answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_answers_that_nobody_reads_are_counted_and_then_refused() {
    // A client may have 12 MB of these; an answer below has 10, more than any socket buffers.
    let settings = HttpSettings { answers_bytes_max: 32 << 20, ..HttpSettings::default() };
    let long = Limits {
        kv: Kv { blocks: 4096, block_tokens: 16 },
        context_tokens_max: 1 << 16,
        ..limits()
    };
    let lane = lane(&long, &Script::default());
    let server = Server::start_with(settings, "unread", policy(), lane).await;
    let body = json!({
        "messages": [{"role": "user", "content": "abc"}], "max_tokens": 10_000, "logprobs": true,
        "top_logprobs": 20,
    });
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut unread = socket.connect(server.address).await.expect("the server listens");
    let bytes = request("POST", CHAT, &[], &body.to_string());
    unread.write_all(bytes.as_bytes()).await.expect("an open socket");
    // Its first byte is there, so all of it is held.
    unread.read_exact(&mut [0]).await.expect("an answer");
    let answer = server.post(CHAT, &body).await;
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (503, &json!("unavailable")), "{error}");
    assert!(answer.header("retry-after").is_some(), "{error}");
    assert_eq!(server.get("/ping").await.status, 200);
    let small = json!({"messages": [{"role": "user", "content": "abc"}], "max_tokens": 2});
    assert_eq!(server.post(CHAT, &small).await.status, 200, "small answers have their own share");
    drop(unread);
    let mut answer = server.post(CHAT, &body).await;
    while answer.status != 200 {
        answer = server.post(CHAT, &body).await;
    }
    assert!(answer.body.len() > 9 << 20, "{} bytes", answer.body.len());
    server.service().idle().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cloud_s_time_limit_ends_what_is_not_begun_and_what_is_not_done() {
    let edge = Edge { deadline: Duration::from_millis(60), ..Edge::default() };
    let (lane, steps) = held_lane();
    let server = Server::start_as(edge, "late", policy(), lane).await;
    let body = json!({"inputs": "abc", "parameters": {"max_new_tokens": 9}});
    let begun = server.post(INVOCATIONS, &body).await;
    assert!(matches!(begun.status, 408 | 503), "{}", begun.body);
    assert!(matches!(begun.json()["error"].as_str(), Some("deadline" | "timed_out")));
    drop(steps);
    server.service().idle().await;
    server.stop().await;
}
