//! Several models in one process: names, hot loading and unloading, memory that comes back.
//!
//! Next: `bugs.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_engine::*;
use gimbal_hal::{Claim, DeviceId, DeviceInfo};
use gimbal_sim::Script;

use crate::rig::*;

fn device() -> DeviceInfo {
    DeviceInfo {
        platform: "sim".into(),
        id: DeviceId::new("sim", "0"),
        ordinal: 0,
        name: "one".into(),
        driver: None,
        memory_total_bytes: 100,
        memory_bytes: 100,
        memory_why: "simulated".into(),
        cores: 1,
        numa_node: None,
        features: Vec::new(),
    }
}

/// A service that holds 60 of the device's 100 bytes.
fn holding(name: &str, ledger: &Arc<Ledger>) -> Arc<Service> {
    let claims = [Claim { device: DeviceId::new("sim", "0"), bytes: 60, is_sole: false }];
    let claimed = Some(ledger.claim(name, &claims, &[device()]));
    let tokenizer = gimbal_text::Tokenizer::new(&gimbal_text::TokenizerData::byte_level());
    let lanes = vec![sim_lane(1, &Script::default())];
    let tokenizer = Arc::new(tokenizer.expect("own data"));
    let config = ServiceConfig::new(name, tokenizer, policy(), lanes);
    Service::start(ServiceConfig { claimed, ..config }).expect("a thread")
}

fn states(models: &Models) -> Vec<String> {
    let state = |entry: &Entry| match &entry.state {
        ModelState::Loading { phase } => format!("{} loading {phase}", entry.name),
        ModelState::Serving(_) => format!("{} serving", entry.name),
        ModelState::Draining(_) => format!("{} draining", entry.name),
        ModelState::Failed { why } => format!("{} failed: {why}", entry.name),
    };
    models.list().iter().map(state).collect()
}

#[tokio::test]
async fn a_name_is_taken_until_its_model_is_gone() {
    let models = Arc::new(Models::default());
    let ledger = Arc::new(Ledger::default());
    let loading = models.begin("a").expect("the first");
    let taken = models.begin("a").expect_err("it is loading").to_string();
    assert!(taken.contains("\"a\" already, and it is loading"), "{taken}");
    loading.phase("open");
    assert_eq!(states(&models), ["a loading open"]);
    loading.serve(holding("a", &ledger));
    assert!(models.begin("a").expect_err("it serves").to_string().contains("it serves"));
    models.begin("b").expect("another name").fail("no such file");
    drop(models.begin("c").expect("a third"));
    let all = ["a serving", "b failed: no such file", "c failed: its boot ended without a word"];
    assert_eq!(states(&models), all);
    models.begin("b").expect("one that failed may be tried again").phase("open");
    let unknown = models.unload("x", Duration::ZERO).await.expect_err("there is none");
    assert_eq!(unknown.to_string(), "there is no model \"x\"");
    let busy = models.unload("c", Duration::ZERO).await.expect_err("it does not serve");
    assert!(busy.to_string().contains("has failed"), "{busy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unloading_one_leaves_the_others_streams_and_gives_its_memory_back() {
    let models = Arc::new(Models::default());
    let ledger = Arc::new(Ledger::default());
    let alone = answer(
        &named_service("alone", policy(), sim_lane(1, &Script::default())),
        request("q", 40),
    )
    .await;
    let other = named_service("other", policy(), sim_lane(1, &Script::default()));
    models.begin("other").expect("a name").serve(Arc::clone(&other));
    for cycle in 0..20 {
        models.begin("held").expect("its name is free again").serve(holding("held", &ledger));
        assert_eq!(ledger.left(vec![device()])[0].memory_bytes, 40, "cycle {cycle}");
        let streams = (0..4).map(|_| {
            let other = Arc::clone(&other);
            tokio::spawn(async move { answer(&other, request("q", 40)).await })
        });
        let streams: Vec<_> = streams.collect();
        models.unload("held", Duration::from_secs(5)).await.expect("it serves");
        assert_eq!(ledger.left(vec![device()])[0].memory_bytes, 100, "cycle {cycle}");
        for stream in streams {
            assert_eq!(stream.await.expect("no panic"), alone, "cycle {cycle}");
        }
    }
    assert_eq!(states(&models), ["other serving"]);
    assert_eq!(models.drain_all(Duration::from_secs(5)).await, Drained { requests: 0, cut: 0 });
    assert!(matches!(other.health(), Health::Draining));
}
