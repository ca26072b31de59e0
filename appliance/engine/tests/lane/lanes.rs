//! A model on two lanes: requests go where their prefix is, unless that lane is much busier.
//!
//! Which lane a prefix prefers is a hash; no test depends on it.

use std::sync::Arc;

use crate::rig::*;
use gimbal_engine::*;
use gimbal_sim::Script;

/// A service whose lanes are as given.
fn two_lanes(lanes: Vec<LaneSource>) -> Arc<Service> {
    let tokenizer = gimbal_text::Tokenizer::new(&gimbal_text::TokenizerData::byte_level());
    let tokenizer = Arc::new(tokenizer.expect("own data"));
    Service::start(ServiceConfig::new("two", tokenizer, policy(), lanes)).expect("threads")
}

fn sim_lanes() -> Arc<Service> {
    two_lanes((0..2).map(|_| sim_lane(2, &Script::default())).collect())
}

/// Prompts that share a beginning of 80 tokens go to one lane, which computes it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_prefixes_meet_on_one_lane() {
    let service = sim_lanes();
    let prefix = "p".repeat(80);
    for i in 0..6 {
        answer(&service, request(&format!("{prefix}{i}"), 3)).await;
    }
    service.idle().await;
    let hits: Vec<u64> = service.states().iter().map(|s| s.stats.prefix_hit_tokens).collect();
    assert_eq!(hits.iter().sum::<u64>(), 5 * 80, "{hits:?}");
    assert!(hits.contains(&0), "one lane has them all: {hits:?}");
}

/// The tokens are those of one lane, and both lanes work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lanes_share_the_work_and_change_no_token() {
    let prompts: Vec<String> = (0..32).map(|i| format!("{i} is a prompt of its own")).collect();
    let one = service(policy(), sim_lane(1, &Script::default()));
    let two = sim_lanes();
    let mut expect = Vec::new();
    for prompt in &prompts {
        expect.push(answer(&one, request(prompt, 12)).await);
    }
    let mut clients = tokio::task::JoinSet::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let (two, request) = (Arc::clone(&two), request(prompt, 12));
        clients.spawn(async move { (i, answer(&two, request).await) });
    }
    let mut found = clients.join_all().await;
    found.sort_by_key(|(i, _)| *i);
    assert_eq!(found.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(), expect);
    two.idle().await;
    let steps: Vec<u64> = two.states().iter().map(|s| s.stats.steps).collect();
    assert!(steps.iter().all(|s| *s > 0), "{steps:?}");
}

/// A lane whose step hangs is passed by once it is busier than the other, whichever a prefix
/// prefers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_lane_is_passed_by() {
    for held_first in [true, false] {
        let (held, steps) = held_lane();
        let free = sim_lane(2, &Script::default());
        let service = two_lanes(if held_first { vec![held, free] } else { vec![free, held] });
        let mut clients = tokio::task::JoinSet::new();
        for i in 0..6 {
            let permit = service.permits(1).expect("a place").remove(0);
            let request = request(&"q".repeat(70 + i), 2);
            let generation = service.submit(permit, request).await.expect("it fits");
            clients.spawn(async move { generation.complete().await.0[0].tokens.len() });
            // The next one is sent when the lanes have told of this one, or it has left.
            let told = || service.states().iter().map(|s| s.stats.running + s.stats.waiting).sum();
            while service.requests_inside() > told() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
        // All prompts begin alike; those that found the held lane busy are answered.
        let first = clients.join_next().await.expect("six clients").expect("no panic");
        assert_eq!(first, 2);
        drop(steps);
        assert!(clients.join_all().await.into_iter().all(|tokens| tokens == 2));
    }
}

/// The refusal names the remedy.
#[tokio::test]
async fn chat_without_a_template_is_refused() {
    let messages = vec![serde_json::json!({ "role": "user", "content": "Hi" })];
    let variables = serde_json::Map::new();
    let chat = Prompt::Chat {
        messages,
        variables,
        turn: gimbal_engine::Turn::Begun,
        add_special_tokens: false,
    };
    let refused = sim_lanes().generate(GenerateRequest::new(chat)).await;
    let Err(Refusal::Invalid { field: "messages", what }) = refused else {
        panic!("no refusal of messages");
    };
    assert!(what.contains("--chat-template FILE"), "{what}");
}
