//! Rules of sharing: the prefix cache, choices, faults and losses.

use std::sync::Arc;

use gimbal_batch::{AdapterSlot, Limits, RowFault, SampleParams, TokenId};
use gimbal_scheduler::{Finish, Policy, Request, RequestId, Stats};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, ids, limits, policy, request};

fn cached(change: impl FnOnce(&mut Limits, &mut Policy)) -> Desk {
    let (mut limits, mut policy) = (limits(), policy());
    policy.prefix_cache = true;
    change(&mut limits, &mut policy);
    Desk::new(limits, policy)
}

/// The same prompt under another name.
fn again(id: u64, of: &Request) -> Request {
    Request { id: RequestId(id), ..of.clone() }
}

/// Prompt rows computed for one more request.
fn prefill_of(desk: &mut Desk, request: Request) -> u64 {
    let before = desk.scheduler.stats().prefill_tokens;
    desk.admit(request).expect("room");
    desk.finish();
    desk.scheduler.stats().prefill_tokens - before
}

#[test]
fn an_equal_prefix_is_computed_once() {
    let mut desk = cached(|limits, _| {
        limits.kv.blocks = 1000;
        limits.context_tokens_max = 2000;
    });
    let long = 0..1000;
    let ask = |id: u64, suffix: u32| Request {
        tokens: ids(long.clone().chain([9000 + suffix, 9100])),
        ..request(id, 1, 3)
    };
    assert_eq!(prefill_of(&mut desk, ask(1, 1)), 1002);
    assert_eq!(prefill_of(&mut desk, ask(2, 2)), 2, "only the suffix");
    assert_eq!(desk.scheduler.stats().prefix_hit_tokens, 1000);
}

#[test]
fn generated_tokens_are_shared_too() {
    let mut desk = cached(|_, _| {});
    desk.admit(request(1, 6, 7)).expect("room");
    desk.finish();
    let turn = desk.tokens(1, 0);
    let tokens = ids((1000..1006).chain(turn.into_iter().map(TokenId::get)).chain([7, 7, 7]));
    // Twelve tokens have KV: six of the prompt and the first six generated ones.
    assert_eq!(prefill_of(&mut desk, Request { tokens, ..request(2, 1, 1) }), 4);
}

#[test]
fn the_last_token_is_always_computed() {
    let mut desk = cached(|_, _| {});
    for (prompt, expect) in [(8, 4), (9, 1), (4, 4), (5, 1), (3, 3)] {
        let first = request(10 + u64::from(prompt), prompt, 1);
        assert_eq!(prefill_of(&mut desk, first.clone()), u64::from(prompt));
        assert_eq!(prefill_of(&mut desk, again(90, &first)), expect, "prompt of {prompt}");
    }
}

#[test]
fn salts_adapters_and_a_cache_that_is_off_do_not_share() {
    let first = request(1, 9, 2);
    let others = [
        Request { salt: 1, ..again(2, &first) },
        Request { adapter: AdapterSlot(1), ..again(3, &first) },
    ];
    let mut desk = cached(|_, _| {});
    desk.load(1, 7).expect("nobody uses it");
    for request in [first.clone()].into_iter().chain(others) {
        assert_eq!(prefill_of(&mut desk, request), 9);
    }
    let mut off = Desk::new(limits(), policy());
    assert_eq!(prefill_of(&mut off, first.clone()), 9);
    assert_eq!(prefill_of(&mut off, again(2, &first)), 9);
    assert_eq!(off.scheduler.stats().blocks_cached, 0);
}

#[test]
fn blocks_enter_the_cache_at_commit_and_equal_prompts_wait_for_it() {
    let mut desk = cached(|limits, policy| {
        limits.depth = 2;
        policy.step_tokens_max = 16;
    });
    let first = request(1, 16, 3);
    desk.admit(first.clone()).expect("room");
    desk.submit().expect("the first prompt");
    desk.admit(again(2, &first)).expect("room");
    desk.admit(request(3, 5, 3)).expect("room");
    desk.submit().expect("its next row, and a prompt that need not wait");
    assert_eq!(desk.rows(), [1, 5]);
    assert_eq!(desk.scheduler.stats().prefix_hit_tokens, 0, "nothing is computed yet");
    desk.collect();
    desk.submit().expect("the second prompt");
    assert_eq!(desk.scheduler.stats().prefix_hit_tokens, 12);
    while !desk.scheduler.is_idle() {
        desk.collect();
        desk.submit();
    }
    assert_eq!(desk.started(), [1, 3, 2]);
}

#[test]
fn least_recently_used_prefix_goes_first() {
    // Four prompts of two full blocks and one partial one in ten blocks.
    let mut desk = cached(|limits, _| limits.kv.blocks = 10);
    let prompts: Vec<_> = (1..=4).map(|id| request(id, 9, 1)).collect();
    for prompt in &prompts {
        assert_eq!(prefill_of(&mut desk, prompt.clone()), 9);
    }
    assert_eq!(prefill_of(&mut desk, again(11, &prompts[0])), 1, "used again, so the newest");
    assert_eq!(prefill_of(&mut desk, request(5, 9, 1)), 9);
    assert_eq!(prefill_of(&mut desk, again(12, &prompts[0])), 1, "still there");
    assert_eq!(prefill_of(&mut desk, again(13, &prompts[1])), 5, "its end went first");
}

#[test]
fn a_preempted_sequence_finds_its_blocks_again() {
    let mut desk = cached(|limits, _| limits.kv.blocks = 9);
    desk.admit(request(1, 12, 8)).expect("room");
    desk.admit(request(2, 12, 8)).expect("room");
    desk.finish();
    let Stats { preemptions, prefix_hit_tokens, .. } = desk.scheduler.stats();
    assert!(preemptions > 0, "shortage comes");
    assert!(prefix_hit_tokens >= 8, "not all was computed again");
}

#[test]
fn choices_wait_for_the_first_prefill_and_share_its_blocks() {
    for prefix_cache in [true, false] {
        let mut desk = cached(|_, policy| policy.prefix_cache = prefix_cache);
        let params = SampleParams { temperature: 1.0, seed: 5, ..SampleParams::default() };
        let ask = Request { choices: 3, params: Arc::new(params), ..request(1, 18, 4) };
        desk.admit(ask.clone()).expect("room");
        desk.step();
        assert_eq!(desk.rows(), [18], "the siblings wait");
        desk.step();
        assert_eq!(desk.rows(), [1, 2, 2], "16 of 18 tokens are shared");
        desk.finish();
        let choices = [0, 1, 2].map(|choice| desk.tokens(1, choice));
        for choice in [1, 2] {
            // Choice `i` is what `seed + i` gives alone.
            let seed = 5 + u64::try_from(choice).expect("small");
            let alone = SampleParams { seed, ..(*ask.params).clone() };
            let id = 10 + seed;
            let alone = Request { choices: 1, params: Arc::new(alone), ..again(id, &ask) };
            desk.admit(alone).expect("room");
            desk.finish();
            assert_eq!(choices[choice], desk.tokens(id, 0));
            assert_ne!(choices[choice], choices[0]);
        }
    }
}

#[test]
fn a_row_fault_ends_one_choice_and_nobody_shares_its_blocks() {
    let mut policy = policy();
    policy.prefix_cache = true;
    // Step 1 gives the second token of both; the first one's fails.
    let fault = [(1, Incident::RowFault { output: 0 })];
    let mut desk = Desk::with_incidents(limits(), policy, &fault);
    let first = request(1, 9, 4);
    desk.admit(first.clone()).expect("room");
    desk.admit(request(2, 9, 4)).expect("room");
    desk.finish();
    assert_eq!(desk.end(1, 0), Some(Finish::Fault(RowFault::NotFinite)));
    assert_eq!(desk.end(2, 0), Some(Finish::Length));
    assert_eq!(desk.scheduler.stats().row_faults, 1);
    assert_eq!(prefill_of(&mut desk, again(3, &first)), 9, "its KV is not trusted");
    assert_eq!(prefill_of(&mut desk, again(4, &request(2, 9, 4))), 1);
}

#[test]
fn a_fault_of_the_first_choice_leaves_the_others_alone() {
    let fault = [(0, Incident::RowFault { output: 0 })];
    let mut desk = Desk::with_incidents(limits(), policy(), &fault);
    desk.admit(Request { choices: 2, ..request(1, 9, 4) }).expect("room");
    desk.finish();
    assert_eq!(desk.end(1, 0), Some(Finish::Fault(RowFault::NotFinite)));
    assert_eq!(desk.end(1, 1), Some(Finish::Length));
}

#[test]
fn one_loss_changes_no_token_and_the_second_in_flight_ends_the_request() {
    let lose = |steps: &[u64]| -> Vec<_> { steps.iter().map(|s| (*s, Incident::Lost)).collect() };
    let run = |incidents: &[(u64, Incident)]| {
        let mut desk = Desk::with_incidents(limits(), policy(), incidents);
        desk.admit(Request { choices: 2, ..request(1, 9, 6) }).expect("room");
        desk.finish();
        desk
    };
    let calm = run(&[]);
    let once = run(&lose(&[3]));
    for choice in [0, 1] {
        assert_eq!(once.tokens(1, choice), calm.tokens(1, choice));
        assert_eq!(once.end(1, choice), Some(Finish::Length));
    }
    assert_eq!(once.scheduler.stats().losses, 1);
    let twice = run(&lose(&[3, 5]));
    for choice in [0, 1] {
        assert_eq!(twice.end(1, choice), Some(Finish::Lost));
    }
    let early = run(&lose(&[0, 1]));
    assert_eq!([0, 1].map(|c| early.end(1, c)), [Some(Finish::Lost); 2], "unborn choices too");
}

#[test]
fn a_loss_counts_only_for_those_in_flight() {
    let mut policy = policy();
    policy.max_rolling_batch_size = 1;
    let lost = [(1, Incident::Lost), (3, Incident::Lost)];
    let mut desk = Desk::with_incidents(limits(), policy, &lost);
    desk.admit(request(1, 5, 20)).expect("room");
    desk.admit(request(2, 5, 3)).expect("room");
    desk.finish();
    assert_eq!([desk.end(1, 0), desk.end(2, 0)], [Some(Finish::Lost), Some(Finish::Length)]);
}

#[test]
fn a_lost_device_takes_the_cache_with_it() {
    let mut policy = policy();
    policy.prefix_cache = true;
    let mut desk = Desk::with_incidents(limits(), policy, &[(2, Incident::Lost)]);
    let first = request(1, 9, 2);
    assert_eq!(prefill_of(&mut desk, first.clone()), 9);
    desk.admit(request(2, 5, 2)).expect("room");
    desk.step();
    let stats = desk.scheduler.stats();
    assert_eq!((stats.blocks_cached, stats.blocks_free), (0, 64));
    desk.finish();
    assert_eq!(prefill_of(&mut desk, again(3, &first)), 9);
}
