//! API keys over real sockets: who may what, in each schema, before the body, and after a change of
//! the file.
//!
//! Every route with every kind of key: `src/router.rs`. Next: `guests.rs`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gimbal_engine::Edge;
use gimbal_http::{HttpSettings, Keys, WebRules};
use gimbal_sim::Script;
use serde_json::json;

use crate::client;
use crate::rig::{Server, lane, limits, policy, service};

/// What `printf %s KEY | sha256sum` says of two keys.
const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
const TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
const PATIENCE: Duration = Duration::from_secs(60);

fn keyed(set: &str) -> HttpSettings {
    let keys = Keys::open(set, None).expect("no file");
    HttpSettings { keys, ..HttpSettings::default() }
}

#[tokio::test]
async fn a_request_without_a_key_is_refused_in_the_schema_of_its_route() {
    let server =
        Server::start_with(keyed("cheese"), "keyed", policy(), lane(&limits(), &Script::default()));
    let server = server.await;
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1});
    let chat = chat.to_string();
    for (path, body) in [("/v1/chat/completions", chat.as_str()), ("/tokenize", "{")] {
        for key in [None, Some("Bearer chees")] {
            let headers: Vec<_> = key.iter().map(|key| ("authorization", *key)).collect();
            let refused = server.post_with(path, &headers, body).await;
            assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
            let error = &refused.json()["error"];
            assert_eq!(error["type"], "authentication_error");
            assert_eq!(
                (&error["code"], &error["param"]),
                (&json!("invalid_api_key"), &json!(null))
            );
            assert!(!refused.body.contains("chees"), "{}", refused.body);
        }
    }
    let lmi = server.post_with("/invocations", &[], "{").await;
    assert_eq!((lmi.status, lmi.header("www-authenticate")), (401, Some("Bearer")));
    let error = lmi.json();
    assert_eq!((&error["code"], &error["error"]), (&json!(401), &json!("invalid_api_key")));
    assert_eq!(error["type"], "AccessDeniedException");
    for header in ["authorization", "x-api-key", "api-key"] {
        let value = if header == "authorization" { "Bearer cheese" } else { "cheese" };
        let answer = server.post_with("/v1/chat/completions", &[(header, value)], &chat).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.body);
    }
    // Nothing of it is kept.
    let status = client::request("GET", "/status", &[("api-key", "cheese")], "");
    let status = client::exchange(server.address, &status).await;
    assert_eq!((status.status, status.body.contains("cheese")), (200, false), "{}", status.body);
    assert!(status.body.contains("invalid_api_key"), "{}", status.body);
    server.stop().await;
}

#[tokio::test]
async fn tgis_clients_read_their_own_errors() {
    let mut server = Server::listen(keyed("cheese")).await;
    let edge = Edge { tgi_compat: true, ..Edge::default() };
    server.add(service("tgi", policy(), lane(&limits(), &Script::default()), edge));
    let refused = server.post("/invocations", &json!({"inputs": "a"})).await;
    assert_eq!((refused.status, &refused.json()["error_type"]), (401, &json!("invalid_api_key")));
    server.stop().await;
}

/// A client that waits with its body is answered; nothing waits for bytes that are not needed.
#[tokio::test]
async fn a_key_is_looked_at_before_the_body_and_not_for_a_pages_question() {
    let web = WebRules { origins: WebRules::list("https://a.example"), ..WebRules::default() };
    let server = Server::listen(HttpSettings { web, ..keyed("cheese") }).await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let unsent = format!("{head}content-length: 1000000\r\n\r\n{{");
    let refused = client::exchange(server.address, &unsent).await;
    assert_eq!((refused.status, refused.header("connection")), (401, Some("close")));
    let asks = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let asked = client::request("OPTIONS", "/v1/completions", &asks, "");
    let answer = client::exchange(server.address, &asked).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    let refused = server.post_with("/v1/completions", &asks[..1], "{}").await;
    assert_eq!(refused.status, 401);
    let told = refused.header("access-control-allow-origin");
    assert_eq!(told, Some("https://a.example"), "a page may read why");
    server.stop().await;
}

/// A file that is gone at the end.
struct KeysFile(PathBuf);

impl KeysFile {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gimbal-edge-keys-{}", std::process::id()));
        fs::write(&path, text).expect("a writable folder");
        Self(path)
    }
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_counts_from_the_moment_it_changes() {
    let file = KeysFile::new(&format!("a {ONE} infer\n"));
    let keys = Keys::open("", Some(&file.0)).expect("a key");
    let server = Server::listen(HttpSettings { keys, ..HttpSettings::default() }).await;
    let models = async |key: &str| {
        let request = client::request("GET", "/v1/models", &[("x-api-key", key)], "");
        client::exchange(server.address, &request).await.status
    };
    assert_eq!([models("one").await, models("two").await], [200, 401]);
    fs::write(&file.0, format!("a {TWO} metrics\n")).expect("a writable file");
    let from = Instant::now();
    while models("two").await == 401 {
        assert!(from.elapsed() < PATIENCE, "the file was never read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!([models("one").await, models("two").await], [401, 403]);
    let refused = client::request("GET", "/v1/models", &[("x-api-key", "two")], "");
    let refused = client::exchange(server.address, &refused).await.json();
    let error = &refused["error"];
    assert_eq!((&error["type"], &error["scope"]), (&json!("permission_error"), &json!("infer")));
    assert_eq!(error["code"], "insufficient_scope");
    server.stop().await;
}
