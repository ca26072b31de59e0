//! Clients that leave unseen, pages of other origins, names and bodies of other servers' clients.
//!
//! Next: `losses.rs`.

use std::io::Write;

use gimbal_http::{HttpSettings, WebRules};
use gimbal_sim::Script;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{self, request};
use crate::rig::{Server, held_lane, lane, limits, policy};

async fn inside(server: &Server, count: u32) {
    while server.service().requests_inside() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_seen_whatever_lies_unread_before_its_end() {
    let body = |stream| json!({"prompt": "abc", "max_tokens": 100, "stream": stream}).to_string();
    let next = request("GET", "/ping", &[], "");
    for (tail, is_reset, stream) in [
        ("G", false, false),
        ("\r\n", false, false),
        (&*next, false, false),
        ("G", true, false),
        ("G", false, true),
    ] {
        // A server each: steps that one did not take would hurry the next one's request to its end.
        let (lane, steps) = held_lane();
        let server = Server::start("ghosts", policy(), lane).await;
        let mut ghost = TcpStream::connect(server.address).await.expect("the server listens");
        let mut bytes = request("POST", "/v1/completions", &[], &body(stream));
        bytes += tail;
        ghost.write_all(bytes.as_bytes()).await.expect("an open socket");
        inside(&server, 1).await;
        if is_reset {
            ghost.set_zero_linger().expect("an option of sockets");
        }
        drop(ghost);
        // Its place is free once the lane has forgotten it: within a step.
        while server.service().requests_inside() != 0 {
            steps.try_send(()).ok();
            tokio::task::yield_now().await;
        }
        drop(steps);
        server.service().idle().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_names_from_elsewhere_are_refused_on_this_machine() {
    let web = |origins: &str| WebRules {
        is_local: true,
        origins: WebRules::list(origins),
        hosts: WebRules::list("test"),
    };
    let settings = HttpSettings { web: web("https://app.example"), ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_with(settings, "pages", policy(), lane).await;
    let body = json!({"prompt": "abc", "max_tokens": 1}).to_string();
    let post =
        async |headers: &[(&str, &str)]| server.post_with("/v1/completions", headers, &body).await;
    assert_eq!(post(&[]).await.status, 200);
    assert_eq!(post(&[("origin", "https://evil.example")]).await.status, 403);
    let allowed = post(&[("origin", "https://app.example")]).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    let asked = async |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let asked = request("OPTIONS", "/v1/completions", &headers, "");
        client::exchange(server.address, &asked).await
    };
    let (yes, no) = (asked("https://app.example").await, asked("https://evil.example").await);
    assert_eq!((yes.status, no.status), (200, 200));
    assert!(yes.header("access-control-allow-methods").is_some_and(|m| m.contains("POST")));
    assert_eq!(no.header("access-control-allow-origin"), None);
    let rebound = "GET /status HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(client::exchange(server.address, rebound).await.status, 403);
    let probe = rebound.replace("/status", "/ping");
    assert_eq!(client::exchange(server.address, &probe).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_model_answers_to_any_name_where_clients_cannot_know_it() {
    let server = Server::start("only", policy(), lane(&limits(), &Script::default())).await;
    let status = async |path: &str, body| server.post(path, &body).await.status;
    let lmi = json!({"inputs": "a", "model": "endpoint-7", "parameters": {"max_new_tokens": 1}});
    assert_eq!(status("/invocations", lmi).await, 200);
    let chat = |model: &str| {
        let messages = json!([{"role": "user", "content": "a"}]);
        json!({"model": model, "messages": messages, "max_tokens": 1})
    };
    assert_eq!(status("/invocations", chat("dummy")).await, 200);
    assert_eq!(status("/v1/chat/completions", chat("")).await, 200);
    assert_eq!(status("/v1/chat/completions", chat("dummy")).await, 404);
    let long = status("/v1/chat/completions", chat(&"x".repeat(1 << 20))).await;
    assert_eq!(long, 404);
    server.stop().await;
    let settings = HttpSettings { is_name_strict: false, ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_with(settings, "lenient", policy(), lane).await;
    assert_eq!(server.post("/v1/chat/completions", &chat("dummy")).await.status, 200);
    assert_eq!(server.get("/v1/models/").await.status, 200);
    assert_eq!(server.get("/v1/models/dummy").await.status, 404);
    assert_eq!(server.get("/v1/models/%ff").await.json()["error"]["code"], "model_not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_packed_or_marked_and_are_bounded_unpacked() {
    let settings = HttpSettings { body_bytes_max: 1 << 20, ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    let server = Server::start_with(settings, "packed", policy(), lane).await;
    let gzip = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(text.as_bytes()).expect("memory");
        packer.finish().expect("memory")
    };
    let send = async |coding: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-encoding: {coding}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("an open socket");
        client::read(&mut stream).await.status
    };
    let body = r#"{"prompt": "abc", "max_tokens": 1}"#;
    assert_eq!(send("gzip", &gzip(body)).await, 200);
    assert_eq!(send("identity", body.as_bytes()).await, 200);
    assert_eq!(send("identity", format!("\u{feff}{body}").as_bytes()).await, 200);
    assert_eq!(send("gzip", body.as_bytes()).await, 400);
    assert_eq!(send("br", body.as_bytes()).await, 415);
    assert_eq!(send("gzip", &gzip(&" ".repeat(64 << 20))).await, 413, "a bomb");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_on_after_a_refused_route_or_says_that_it_ends() {
    let server = Server::start("early", policy(), lane(&limits(), &Script::default())).await;
    for (body, is_whole) in [("{}", true), ("{}", false)] {
        let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
        let head = "POST /nope HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n";
        let sent = if is_whole { format!("{head}{body}") } else { head.to_owned() };
        stream.write_all(sent.as_bytes()).await.expect("an open socket");
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
        assert!(answer.starts_with("http/1.1 404"), "{answer}");
        assert_eq!(answer.contains("connection: close"), !is_whole, "{answer}");
        if is_whole {
            let ping = request("GET", "/ping", &[], "");
            stream.write_all(ping.as_bytes()).await.expect("an open socket");
            assert_eq!(client::read(&mut stream).await.status, 200);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_refused_before_they_are_built() {
    let server = Server::start("lists", policy(), lane(&limits(), &Script::default())).await;
    let many = |item: &str, count| format!("[{}]", vec![item; count].join(","));
    let prompts = many("\"a\"", 256);
    let body = |name: &str, list: &str| format!("{{\"prompt\":{prompts},\"{name}\":{list}}}");
    for (name, item) in [("stop", "\"x\""), ("stop_token_ids", "7")] {
        let body = body(name, &many(item, 300_000));
        let answer = server.post_with("/v1/completions", &[], &body).await;
        assert_eq!(answer.status, 400, "{name}");
        assert_eq!(answer.json()["error"]["param"], name);
    }
    let heavy = format!("{{\"messages\":{}}}", many("{}", 500_000));
    let answer = server.post_with("/v1/chat/completions", &[], &heavy).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("messages")));
    let copies = json!({"inputs": "a".repeat(600_000), "parameters": {"n": 100, "truncate": 1,
        "return_full_text": true, "max_new_tokens": 1}});
    assert_eq!(server.post("/invocations", &copies).await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    let server = Server::start("hosts", policy(), lane(&limits(), &Script::default())).await;
    for (version, hosts, status) in
        [("1.1", 1, 200), ("1.1", 0, 400), ("1.1", 2, 400), ("1.0", 0, 200)]
    {
        let hosts = "host: a\r\n".repeat(hosts);
        let text = format!("GET /v1/models HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        assert_eq!(client::exchange(server.address, &text).await.status, status, "{text}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_are_shared_by_salt_and_key() {
    let server = Server::start("tenants", policy(), lane(&limits(), &Script::default())).await;
    let prompt = "a prompt that is long enough for some blocks of the cache";
    let cached = async |salt: Option<&str>, key: Option<&str>| {
        let body = json!({"prompt": prompt, "max_tokens": 1, "cache_salt": salt}).to_string();
        let key = key.map(|key| format!("Bearer {key}"));
        let headers: Vec<_> = key.iter().map(|key| ("authorization", key.as_str())).collect();
        let answer = server.post_with("/v1/completions", &headers, &body).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number")
    };
    let tenants = [(None, None), (Some("x"), None), (None, Some("k")), (Some("x"), Some("k"))];
    for (salt, key) in tenants {
        assert_eq!(cached(salt, key).await, 0, "{salt:?} {key:?}: others' prefixes are not seen");
        assert!(cached(salt, key).await > 0, "{salt:?} {key:?}: its own are");
    }
    server.stop().await;
}
