//! Refusals do not wait for the engine: not even for a step of two seconds.
//!
//! Next: `losses.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gimbal_engine::Policy;
use gimbal_sim::{Cost, Incident, Script};
use serde_json::json;

use crate::rig::{Server, policy, real_lane};

const REFUSED: usize = 1000;

/// While one step takes two seconds and the queue is full, 1,000 requests are refused with the
/// numbers a client needs, and `/ping` is answered. The time is printed, not asserted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_refused_during_a_two_second_step() {
    let script = Script::new(&[(0, Incident::Slow(Duration::from_secs(2)))]);
    let policy = Policy { max_rolling_batch_size: 1, job_queue_size: 1, ..policy() };
    let server = Arc::new(Server::start("slow", policy, real_lane(Cost::NONE, &script)).await);
    let body = json!({ "inputs": "hello", "parameters": { "max_new_tokens": 2 } });
    let inside: Vec<_> = (0..2)
        .map(|_| {
            let (server, body) = (Arc::clone(&server), body.clone());
            tokio::spawn(async move { server.post("/invocations", &body).await })
        })
        .collect();
    while script.steps() == 0 || server.service().requests_inside() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut times = Vec::with_capacity(REFUSED);
    for _ in 0..REFUSED {
        let from = Instant::now();
        let answer = server.post("/invocations", &body).await;
        times.push(from.elapsed());
        assert_eq!((answer.status, &answer.json()["job_queue_size"]), (503, &json!(1)));
    }
    assert_eq!(server.get("/ping").await.status, 200);
    assert_eq!(script.steps(), 1, "the slow step still runs");
    times.sort_unstable();
    let (median, p99) = (times[REFUSED / 2], times[REFUSED * 99 / 100]);
    eprintln!("{REFUSED} refusals during a 2-second step: median {median:?}, p99 {p99:?}");
    for request in inside {
        assert_eq!(request.await.expect("no panic").status, 200, "what was accepted is answered");
    }
}
