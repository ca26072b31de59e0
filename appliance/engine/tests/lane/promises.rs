//! What a lane promises, on the simulated device: answers do not depend on company, cancels,
//! losses or bugs; everything is given back; refusals carry numbers.
//!
//! Timing is asserted nowhere. Next: `bugs.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::rig::*;
use gimbal_engine::*;
use gimbal_hal::DeviceError;
use gimbal_sim::{Incident, Script};

/// Prompts of mixed lengths; many share a beginning.
fn prompts() -> Vec<String> {
    (0..32).map(|i| format!("{}{}", "shared beginning "[..i % 17].repeat(2), i)).collect()
}

async fn alone(prompts: &[String]) -> Vec<(Vec<u32>, FinishReason)> {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let mut answers = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        answers.push(answer(&service, request(prompt, tokens(i))).await);
    }
    answers
}

fn tokens(i: usize) -> u32 {
    [3, 9, 17, 33][i % 4]
}

/// All prompts at once; those for which `leaves` holds go away after two tokens.
async fn together(
    service: &Arc<Service>,
    prompts: &[String],
    leaves: fn(usize) -> bool,
) -> Vec<Option<(Vec<u32>, FinishReason)>> {
    let mut clients = tokio::task::JoinSet::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let (service, request) = (Arc::clone(service), request(prompt, tokens(i)));
        clients.spawn(async move {
            if !leaves(i) {
                return (i, Some(answer(&service, request).await));
            }
            let mut generation = service.generate(request).await.expect("a place");
            for _ in 0..2 {
                generation.next().await;
            }
            (i, None)
        });
    }
    let mut answers: Vec<_> = clients.join_all().await;
    answers.sort_by_key(|(i, _)| *i);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn check_idle(service: &Service) {
    service.idle().await;
    for state in service.states() {
        assert_eq!((state.stats.slots_used, state.stats.blocks_used), (0, 0), "{state:?}");
        assert_eq!((state.stats.running, state.stats.waiting), (0, 0), "{state:?}");
    }
    assert_eq!(service.requests_inside(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_clients_get_the_tokens_each_gets_alone() {
    let prompts = prompts();
    let expect = alone(&prompts).await;
    for depth in [1, 2] {
        let service = service(policy(), sim_lane(depth, &Script::default()));
        let found = together(&service, &prompts, |_| false).await;
        assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), expect);
        check_idle(&service).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_give_everything_back_and_disturb_nobody() {
    let prompts = prompts();
    let expect = alone(&prompts).await;
    let service = service(policy(), sim_lane(2, &Script::default()));
    let found = together(&service, &prompts, |i| i % 3 == 1).await;
    for (found, expect) in found.into_iter().zip(expect) {
        assert!(found.is_none_or(|found| found == expect));
    }
    check_idle(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_device_costs_nobody_a_token() {
    let prompts = prompts();
    let expect = alone(&prompts).await;
    let script = Script::new(&[(5, Incident::Lost), (40, Incident::Lost)]);
    let service = service(policy(), sim_lane(2, &script));
    let found = together(&service, &prompts, |_| false).await;
    let found: Vec<_> = found.into_iter().flatten().collect();
    // A request in flight at both losses may be their cause and ends with an error.
    for (found, expect) in found.iter().zip(&expect) {
        assert!(found == expect || matches!(found.1, FinishReason::Error(_)));
    }
    let errors = found.iter().filter(|f| matches!(f.1, FinishReason::Error(_))).count();
    assert!(errors <= 4, "{errors} of 32");
    assert_eq!(service.states()[0].stats.losses, 2);
    assert_eq!(service.health(), Health::Serving);
    check_idle(&service).await;
}

#[tokio::test]
async fn a_faulty_row_costs_one_request() {
    let script = Script::new(&[(2, Incident::RowFault { output: 0 })]);
    let service = service(policy(), sim_lane(1, &script));
    let (tokens, finish) = answer(&service, request("abc", 9)).await;
    assert_eq!(tokens.len(), 2);
    let why = "the model computed a value that is not finite".to_owned();
    assert_eq!(finish, FinishReason::Error(why));
    let (tokens, finish) = answer(&service, request("abc", 9)).await;
    assert_eq!((tokens.len(), finish), (9, FinishReason::Length));
    check_idle(&service).await;
}

#[tokio::test]
async fn a_device_that_stays_away_is_given_up_with_the_reason() {
    let mut lane = sim_lane(1, &Script::new(&[(1, Incident::Lost)]));
    lane.reopen = Box::new(|| Err(DeviceError::Lost { why: "unplugged".into() }));
    let service = service(policy(), lane);
    let (_, finish) = answer(&service, request("abc", 9)).await;
    let why = "device lost: unplugged".to_owned();
    assert_eq!(finish, FinishReason::Error(why.clone()));
    let health = service.health();
    assert_eq!(health, Health::Failing { why: format!("the engine stopped: {why}") });
    let refusal = service.generate(request("abc", 9)).await.expect_err("no device");
    assert_eq!(refusal, Refusal::Unavailable { why });
    check_idle(&service).await;
}

#[tokio::test]
async fn a_stop_string_ends_the_sequence_before_it() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let prompt = || Prompt::Text("stop here".into());
    let whole = GenerateRequest { max_new_tokens: Some(60), ..GenerateRequest::new(prompt()) };
    let generation = service.generate(whole.clone()).await.expect("a place");
    let text = generation.complete().await.0.remove(0).text;
    let characters: Vec<char> = text.chars().collect();
    let stop: String = characters[10..12].iter().collect();
    let at = text.find(&stop).expect("it is part of the text");
    for include_stop in [false, true] {
        let request =
            GenerateRequest { stop: [stop.clone()].into(), include_stop, ..whole.clone() };
        let generation = service.generate(request).await.expect("a place");
        let stopped = generation.complete().await.0.remove(0);
        let end = if include_stop { at + stop.len() } else { at };
        assert_eq!(stopped.text, text[..end]);
        assert_eq!(stopped.finish, FinishReason::StopSequence);
    }
    check_idle(&service).await;
}

#[tokio::test]
async fn choices_differ_by_seed_and_repeat_by_seed() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let params = SampleParams { temperature: 1.0, ..SampleParams::default() };
    let sampled = |seed| GenerateRequest {
        params: params.clone(),
        seed: Some(seed),
        choices: 3,
        ..request("abc", 5)
    };
    let run = async |seed| {
        let generation = service.generate(sampled(seed)).await.expect("a place");
        let (choices, usage) = generation.complete().await;
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (3, 15));
        choices
    };
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first[0], first[1]);
    assert_eq!(first[1], run(8).await[0], "choice i has seed + i");
    check_idle(&service).await;
}

#[tokio::test]
async fn a_full_house_is_refused_with_numbers_while_a_step_hangs() {
    let (lane, steps) = held_lane();
    let policy = Policy { max_rolling_batch_size: 2, job_queue_size: 3, ..policy() };
    let service = service(policy, lane);
    let mut inside = Vec::new();
    for _ in 0..5 {
        let permit = service.permits(1).expect("a place").remove(0);
        inside.push(service.submit(permit, request("abc", 2)).await.expect("a place"));
    }
    for _ in 0..1000 {
        let refusal = service.generate(request("abc", 2)).await.expect_err("all places are taken");
        let Refusal::QueueFull(numbers) = refusal else { panic!("{refusal:?}") };
        assert_eq!((numbers.queue_len, numbers.job_queue_size), (3, 3));
        assert!(numbers.retry_after_ms >= 100);
    }
    drop(steps);
    for generation in inside {
        let (choices, _) = generation.complete().await;
        assert_eq!(choices[0].finish, FinishReason::Length);
    }
    check_idle(&service).await;
}

#[tokio::test]
async fn what_cannot_fit_is_refused_with_both_numbers() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    assert_eq!(service.max_model_len(), 128);
    let check = async |request: GenerateRequest, expect: (u32, bool, u32)| {
        let refusal = service.generate(request).await.expect_err("too long");
        let (prompt_tokens, at_least, max_new_tokens) = expect;
        let expect =
            Refusal::TooLong { prompt_tokens, at_least, max_new_tokens, max_model_len: 128 };
        assert_eq!(refusal, expect);
    };
    check(request(&"a".repeat(120), 9), (120, false, 9)).await;
    check(request(&"a".repeat(5000), 9), (417, true, 1)).await;
    let open = GenerateRequest { max_new_tokens: None, ..request(&"a".repeat(128), 1) };
    check(open, (128, false, 1)).await;
    let to_the_end = GenerateRequest { max_new_tokens: None, ..request(&"a".repeat(100), 1) };
    assert_eq!(answer(&service, to_the_end).await.0.len(), 28);
    let cut = GenerateRequest { truncate: Some(8), ..request(&"a".repeat(128), 9) };
    assert_eq!(answer(&service, cut).await, answer(&service, request("aaaaaaaa", 9)).await);
    let empty = service.generate(request("", 1)).await.expect_err("nothing to continue");
    assert!(matches!(empty, Refusal::Invalid { field: "prompt", .. }));
    let unknown = GenerateRequest::new(Prompt::Tokens(vec![300]));
    let unknown = service.generate(unknown).await.expect_err("no such token");
    assert!(matches!(unknown, Refusal::Invalid { field: "prompt", .. }));
    check_idle(&service).await;
}

#[tokio::test]
async fn a_deadline_refuses_what_is_too_late_and_ends_what_becomes_so() {
    let (lane, _steps) = held_lane();
    let service = service(policy(), lane);
    let late = GenerateRequest { deadline: Some(Duration::ZERO), ..request("abc", 2) };
    let refusal = service.generate(late).await.expect_err("too late");
    assert!(matches!(refusal, Refusal::Deadline(_)), "{refusal:?}");
    let soon = GenerateRequest { deadline: Some(Duration::from_millis(30)), ..request("abc", 2) };
    let (tokens, finish) = answer(&service, soon).await;
    assert_eq!((tokens, finish), (vec![], FinishReason::Deadline));
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_refuses_new_ones() {
    let (lane, steps) = held_lane();
    let service = service(policy(), lane);
    let permit = service.permits(1).expect("a place").remove(0);
    let generation = service.submit(permit, request("abc", 5)).await.expect("a place");
    let draining = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.drain(Duration::from_secs(600)).await }
    });
    while service.health() != Health::Draining {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.generate(request("abc", 5)).await.err(), Some(Refusal::Draining));
    drop(steps);
    let (choices, _) = generation.complete().await;
    assert_eq!(choices[0].finish, FinishReason::Length);
    assert_eq!(draining.await.expect("no panic"), Drained { requests: 1, cut: 0 });
}

#[tokio::test]
async fn a_drain_without_time_ends_streams_with_a_reason() {
    let (lane, steps) = held_lane();
    let service = service(policy(), lane);
    let mut generation = {
        steps.send(()).expect("the lane lives");
        service.generate(request("abc", 5)).await.expect("a place")
    };
    assert!(generation.next().await.is_some_and(|delta| delta.finish.is_none()));
    let drained = service.drain(Duration::ZERO).await;
    assert_eq!(drained, Drained { requests: 1, cut: 1 });
    let last = generation.next().await.and_then(|delta| delta.finish);
    assert_eq!(last, Some(FinishReason::Drained));
    assert_eq!(generation.next().await, None);
}

#[tokio::test]
async fn the_first_token_comes_by_the_way_of_all_requests() {
    let service = service(policy(), sim_lane(1, &Script::default()));
    let warm = service.warm_up().await.expect("a token");
    let tokens = GenerateRequest {
        max_new_tokens: Some(1),
        ..GenerateRequest::new(Prompt::Tokens(vec![0]))
    };
    assert_eq!(answer(&service, tokens).await.0, [warm.token]);
    check_idle(&service).await;
}
