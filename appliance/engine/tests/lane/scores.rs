//! What is told of a prompt: by the device's own numbers, once, whoever reads it when.
//!
//! Next: `bugs.rs`.

use std::sync::Arc;

use gimbal_batch::{Answer, TokenId};
use gimbal_engine::*;
use gimbal_sim::{Chain, Incident, Script};

use crate::rig::*;

const PROMPT: &str = "a prompt of some length, cut into pieces";

/// Scores of all tokens but the first, as the simulated model has them.
fn truth(top: u8) -> Vec<PromptScore> {
    let tokens: Vec<TokenId> = PROMPT.bytes().map(|byte| TokenId::new(byte.into())).collect();
    let score = |at: usize| match Chain::of(&tokens[..at], 0).score(256, &tokens[at..=at], top) {
        Answer::Score { scores, top } => PromptScore {
            id: tokens[at].get(),
            logprob: scores[0].logprob,
            rank: scores[0].rank,
            top: top.into_iter().map(|(id, logprob)| (id.get(), logprob)).collect(),
        },
        other => panic!("{other:?} is no score"),
    };
    (1..tokens.len()).map(score).collect()
}

fn scored(top: u8, max_new_tokens: u32) -> GenerateRequest {
    GenerateRequest { scores: Some(top), ..request(PROMPT, max_new_tokens) }
}

fn small_steps() -> Policy {
    Policy { step_tokens_max: 5, ..policy() }
}

#[tokio::test]
async fn each_choice_tells_the_same_of_the_prompt() {
    for (script, policy) in [
        (Script::default(), policy()),
        (Script::default(), small_steps()),
        (Script::new(&[(3, Incident::Lost)]), small_steps()),
    ] {
        let service = service(policy, sim_lane(2, &script));
        let request = GenerateRequest { choices: 2, ..scored(2, 4) };
        let (choices, usage) = service.generate(request).await.expect("a place").complete().await;
        assert_eq!(choices.len(), 2);
        for choice in choices {
            assert_eq!(choice.scores.as_deref(), Some(&truth(2)[..]));
            assert_eq!(choice.tokens.len(), 4);
        }
        assert_eq!(usage.completion_tokens, 8);
    }
}

/// Where only the prompt is asked about, no token is told, counted or decoded.
#[tokio::test]
async fn nothing_is_said_where_nothing_is_asked_for() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let generation = service.generate(scored(0, 0)).await.expect("a place");
    let (choices, usage) = generation.complete().await;
    let Completed { text, tokens, finish, scores } = &choices[0];
    assert_eq!((text.as_str(), tokens.len(), finish), ("", 0, &FinishReason::Length));
    assert_eq!(scores.as_deref(), Some(&truth(0)[..]));
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (40, 0));
    let refused = service.generate(request(PROMPT, 0)).await.expect_err("no token, no score");
    assert!(matches!(refused, Refusal::Invalid { field: "max_new_tokens", .. }), "{refused:?}");
    let plain = service.generate(request(PROMPT, 1)).await.expect("a place").complete().await;
    assert_eq!(plain.0[0].scores, None);
    let one = GenerateRequest { scores: Some(1), ..request("a", 1) };
    let one = service.generate(one).await.expect("a place").complete().await;
    assert_eq!(one.0[0].scores.as_deref(), Some(&[][..]), "the first token has no score");
}

/// The lane is done before anybody reads: its channel holds everything.
#[tokio::test]
async fn nobody_waits_for_who_reads_late() {
    let policy = Policy { step_tokens_max: 1, max_rolling_batch_size: 1, ..policy() };
    let service = service(policy, sim_lane(1, &Script::default()));
    let permit = service.permits(1).expect("a place").remove(0);
    let generation = service.submit(permit, scored(20, 3)).await.expect("admitted");
    service.idle().await;
    let (choices, _) = generation.complete().await;
    assert_eq!(choices[0].scores.as_deref(), Some(&truth(20)[..]));
    assert_eq!((choices[0].tokens.len(), &choices[0].finish), (3, &FinishReason::Length));
}

/// A client that leaves in the middle of its prompt costs nobody anything.
#[tokio::test]
async fn who_leaves_frees_everything() {
    let service = service(small_steps(), sim_lane(2, &Script::default()));
    for _ in 0..3 {
        let generation = service.generate(scored(1, 60)).await.expect("a place");
        drop(generation);
    }
    service.idle().await;
    let stats = service.states()[0].stats;
    assert_eq!((stats.slots_used, stats.blocks_used, stats.running), (0, 0, 0));
}

#[tokio::test]
async fn tokens_that_are_asked_for_are_told_at_each_position() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let params = SampleParams { logprobs: Some(1), ..SampleParams::default() };
    let ids: Arc<[u32]> = [9, 7].into();
    let request =
        GenerateRequest { params, logprob_token_ids: Arc::clone(&ids), ..request(PROMPT, 3) };
    let (choices, _) = service.generate(request).await.expect("a place").complete().await;
    for (token, _) in &choices[0].tokens {
        assert_eq!(token.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), *ids);
    }
}
