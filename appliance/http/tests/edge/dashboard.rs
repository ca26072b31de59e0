//! The page for people, and `/status` before, while and after a model is there.
//!
//! What a browser makes of it: `tests/conformance/tests/dashboard.rs`.

use std::sync::Arc;

use gimbal_http::HttpSettings;
use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::client;
use crate::rig::{Server, lane, limits, policy};

/// What no answer but the client's own may hold.
const SECRET: &str = "the moon is made of cheese";

#[tokio::test]
async fn the_page_is_served_whole_and_shut_to_everything_else() {
    let server = Server::listen(HttpSettings::default()).await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.body.starts_with("<!doctype html>"));
    assert!(page.body.trim_end().ends_with("</html>"));

    let head = client::request("HEAD", "/", &[], "");
    let head = client::exchange(server.address, &head).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(page.body.len().to_string().as_str()));
    assert_eq!(head.header("content-security-policy"), Some(policy));
    let posted = server.post("/", &json!({})).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET,HEAD")));
    server.stop().await;
}

#[tokio::test]
async fn status_tells_the_boot_and_then_the_model() {
    let server = Server::listen(HttpSettings::default()).await;
    let first = server.get("/status").await;
    assert_eq!((first.status, first.header("cache-control")), (200, Some("no-store")));
    let first = first.json();
    assert_eq!(first["health"]["state"], "loading");
    assert_eq!((&first["models"], &first["boot"]["ready_ms"]), (&json!([]), &Value::Null));
    assert_eq!(first["devices"], json!([]));
    server.app.set_phase("open", Some(0.5));
    let loading = server.get("/status").await.json();
    assert_eq!(loading["health"]["phase"], "open");
    assert_eq!(loading["health"]["progress"], 0.5);

    let warm = Server::start("status", policy(), lane(&limits(), &Script::default())).await;
    server.app.add_model(Arc::clone(warm.service())).expect("its own name");
    let serving = server.get("/status").await.json();
    let nothing = json!({
        "state": "serving", "model": null, "phase": null, "progress": null, "reason": null,
    });
    assert_eq!(serving["health"], nothing);
    let phases = serving["boot"]["phases"].as_array().expect("phases").iter();
    let phases: Vec<_> = phases.map(|p| p["phase"].as_str().unwrap_or_default()).collect();
    assert_eq!(phases, ["listen", "open"]);
    assert!(serving["boot"]["ready_ms"].is_number());
    let model = json!({
        "id": "status", "state": "serving", "reason": null, "platform": "sim", "device": "a device",
        "is_simulated": false, "passed_over": [], "lanes": 1,
        "placement": [{
            "lane": 0, "devices": ["sim:0"], "state": "running", "reason": null, "losses": 0,
        }],
        "max_model_len": 128,
        "max_rolling_batch_size": 4, "job_queue_size": 60, "slots": 8, "kv_block_tokens": 4,
    });
    assert_eq!(serving["models"], json!([model]));
    server.app.set_draining();
    assert_eq!(server.get("/status").await.json()["health"]["state"], "draining");
    server.stop().await;
    warm.stop().await;
}

#[tokio::test]
async fn refusals_are_told_without_a_word_of_the_request() {
    let server = Server::start("told", policy(), lane(&limits(), &Script::default())).await;
    let user = |text: &str| json!([{"role": "user", "content": text}]);
    let chat = "/v1/chat/completions";
    for (path, body) in [
        ("/invocations", json!({"inputs": SECRET, "parameters": {"top_p": 7}})),
        (chat, json!({"messages": [{"role": SECRET, "content": [{"type": SECRET}]}]})),
        (chat, json!({"messages": [{"role": "forbidden", "content": SECRET}]})),
        (chat, json!({"messages": user(SECRET), "model": SECRET})),
        (chat, json!({"messages": user(SECRET), "stop": [SECRET, ""]})),
        (chat, json!({"messages": user(&SECRET.repeat(9)), "max_tokens": 30})),
        (chat, json!({"messages": user(SECRET), "response_format": {"type": SECRET}})),
        ("/invocations/the%20moon%20is%20made%20of%20cheese", json!({})),
    ] {
        let refused = server.post(path, &body).await;
        assert!((400..500).contains(&refused.status), "{}", refused.body);
    }
    let headers = [("authorization", SECRET), ("x-request-id", "made-of-cheese")];
    server.post_with("/invocations", &headers, &format!("{{\"inputs\": {SECRET}")).await;
    for _ in 0..30 {
        server.post("/v1/completions", &json!({"prompt": SECRET, "best_of": 5})).await;
    }
    let status = server.get("/status").await;
    assert!(!status.body.contains("cheese"), "{}", status.body);
    let status = status.json();
    let refusals = status["refusals"].as_array().expect("a list");
    let newest = &refusals[0];
    assert_eq!((&newest["route"], &newest["status"]), (&json!("/v1/completions"), &json!(400)));
    assert_eq!((&newest["code"], &newest["count"]), (&json!("not_supported"), &json!(30)));
    assert!(newest["unix_ms"].as_u64() <= status["now_unix_ms"].as_u64());
    let codes: Vec<_> = refusals.iter().filter_map(|r| r["code"].as_str()).collect();
    for code in ["context_length_exceeded", "model_not_found", "not_found", "invalid_request"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn twenty_kinds_of_refusals_are_kept_and_pings_are_none() {
    let server = Server::listen(HttpSettings::default()).await;
    for _ in 0..5 {
        assert_eq!(server.get("/ping").await.status, 503);
    }
    assert_eq!(server.get("/status").await.json()["refusals"], json!([]));
    let routes = ["/ping", "/health", "/metrics", "/status", "/openapi.json", "/"];
    let posts = ["/invocations", "/v1/chat/completions", "/v1/completions", "/tokenize"];
    for path in routes {
        server.post_with(path, &[], "{}").await;
        let request = client::request("DELETE", path, &[], "");
        client::exchange(server.address, &request).await;
    }
    for path in posts {
        // Loading, not JSON, wrong method.
        server.post(path, &json!({"inputs": "a", "prompt": "a", "messages": []})).await;
        server.post_with(path, &[], "{").await;
        server.get(path).await;
    }
    let status = server.get("/status").await.json();
    let refusals = status["refusals"].as_array().map_or(0, Vec::len);
    assert!((12..=20).contains(&refusals), "{status:#}");
    server.stop().await;
}

#[tokio::test]
async fn without_a_dashboard_both_are_404_and_say_why() {
    let settings = HttpSettings { dashboard: false, ..HttpSettings::default() };
    let server = Server::listen(settings).await;
    for path in ["/", "/status"] {
        let response = server.get(path).await;
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (404, &json!("not_found"))
        );
        assert!(response.body.contains("dashboard: false"), "{}", response.body);
    }
    server.stop().await;
}
