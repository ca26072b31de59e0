//! A device that is lost in the middle of streams costs nobody a token.

use std::sync::Arc;
use std::time::Duration;

use gimbal_engine::Policy;
use gimbal_sim::{Cost, Script};
use serde_json::{Value, json};

use crate::rig::{Server, policy, real_lane};

fn body(i: usize) -> Value {
    let inputs = format!("client number {i}");
    json!({ "inputs": inputs, "parameters": { "max_new_tokens": 40 }, "stream": true })
}

/// Ids of a stream of JSON lines, and how it ended.
fn read(text: &str) -> (Vec<i64>, Value) {
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let ids = lines.iter().filter_map(|l| l["token"]["id"].as_i64()).collect();
    (ids, lines.last().map_or(Value::Null, |l| l["details"]["finish_reason"].clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_on_with_the_same_tokens_after_the_device_was_killed() {
    let script = Script::default();
    let lane = real_lane(Cost { step_us: 2000.0, ..Cost::NONE }, &script);
    let policy = Policy { max_rolling_batch_size: 8, ..policy() };
    let server = Arc::new(Server::start("killed", policy, lane).await);
    let mut alone = Vec::new();
    for i in 0..6 {
        alone.push(read(&server.post("/invocations", &body(i)).await.body));
    }
    let before = script.steps();
    let streams: Vec<_> = (0..6)
        .map(|i| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.post("/invocations", &body(i)).await.body })
        })
        .collect();
    while script.steps() < before + 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Once: a request that is in flight at two losses ends with 500, by rule.
    script.kill();
    for (stream, alone) in streams.into_iter().zip(&alone) {
        let found = read(&stream.await.expect("no panic"));
        assert_eq!(found.0.len(), 40);
        assert_eq!(&found, alone);
    }
}
