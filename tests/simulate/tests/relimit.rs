//! A lost device comes back as another one: who fits goes on, and nobody sees a difference.

use std::sync::Arc;

use gimbal_batch::{
    AdapterSlot, Bucket, Kv, Limits, Prefill, SampleParams, Sampling, Shape, TokenId,
};
use gimbal_scheduler::{Finish, Micros, Policy, Refusal, Request};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, limits, policy, request};

/// A device that is lost in its third step.
fn doomed(policy: Policy) -> Desk {
    Desk::with_incidents(limits(), policy, &[(2, Incident::Lost)])
}

/// The tokens that a request gets alone.
fn alone(request: Request) -> Vec<TokenId> {
    let mut desk = Desk::new(limits(), policy());
    let id = request.id.0;
    desk.admit(request).expect("room");
    desk.finish();
    desk.tokens(id, 0)
}

fn half() -> Limits {
    Limits { kv: Kv { blocks: 8, block_tokens: 4 }, sequences_max: 2, ..limits() }
}

#[test]
fn other_limits_change_no_token() {
    let buckets = vec![
        Bucket { sequences: 1, rows_each: 8, context: 64 },
        Bucket { sequences: 2, rows_each: 1, context: 64 },
    ];
    let others = [
        half(),
        Limits { kv: Kv { blocks: 20, block_tokens: 16 }, depth: 2, ..limits() },
        Limits { kv: Kv { blocks: 200, block_tokens: 1 }, sequences_max: 40, ..limits() },
        Limits { shape: Shape::Varlen { rows_max: 3 }, ..limits() },
        Limits { shape: Shape::Varlen { rows_max: 100 }, prefill: Prefill::Whole, ..limits() },
        Limits { shape: Shape::Buckets(buckets), ..limits() },
    ];
    for (other, cache) in others.iter().zip([true, false].into_iter().cycle()) {
        let mut desk = doomed(Policy { prefix_cache: cache, ..policy() });
        for id in 1..=4 {
            desk.admit(Request { choices: 2, ..request(id, 9, 7) }).expect("room");
        }
        desk.step();
        desk.step();
        desk.submit().expect("everybody decodes");
        desk.come_back(other);
        assert_eq!(desk.scheduler.stats().running, 0);
        desk.finish();
        for id in 1..=4 {
            assert_eq!(desk.tokens(id, 0), alone(request(id, 9, 7)), "on {other:?}");
            assert_eq!(desk.end(id, 1), Some(Finish::Length));
        }
        let held = desk.scheduler.stats();
        let blocks = held.blocks_used + held.blocks_cached + held.blocks_free;
        assert_eq!(blocks, other.kv.blocks);
    }
}

#[test]
fn only_what_no_longer_fits_is_refused() {
    let mut desk = doomed(policy());
    desk.load(2, 4).expect("nobody uses it");
    let with = |id, params| Request { params: Arc::new(params), ..request(id, 9, 7) };
    let params = SampleParams::default;
    let asked = [
        request(1, 20, 12),
        request(2, 20, 13),
        with(3, SampleParams { logprobs: Some(3), ..params() }),
        with(4, SampleParams { logprobs: Some(2), ..params() }),
        Request { adapter: AdapterSlot(2), ..request(5, 9, 7) },
        Request { deadline: Some(Micros(50)), ..request(6, 20, 13) },
        Request { masked: true, ..request(7, 9, 7) },
    ];
    for request in asked {
        desk.admit(request).expect("room");
    }
    desk.step();
    desk.step();
    desk.submit().expect("everybody decodes");
    desk.now = Micros(50);
    let sampling = Sampling { logprobs_max: 2, masks: false, ..Sampling::HOST };
    desk.come_back(&Limits { adapters_max: 1, sampling, ..half() });
    let long = Refusal::TooLong { prompt_tokens: 20, max_new_tokens: 13, max_model_len: 32 };
    assert_eq!(desk.end(2, 0), Some(Finish::Refused(long)));
    let unsupported =
        |id| matches!(desk.end(id, 0), Some(Finish::Refused(Refusal::Unsupported(_))));
    assert!(unsupported(3));
    assert!(unsupported(7));
    let adapter = Refusal::Invalid { what: "the adapter must be loaded" };
    assert_eq!(desk.end(5, 0), Some(Finish::Refused(adapter)));
    assert_eq!(desk.end(6, 0), Some(Finish::Deadline), "the deadline came first");
    assert_eq!(desk.scheduler.model_len_max(), 32);
    assert_eq!((desk.end(1, 0), desk.end(4, 0)), (None, None));
    desk.finish();
    assert_eq!(desk.tokens(1, 0), alone(request(1, 20, 12)));
    assert_eq!(desk.end(4, 0), Some(Finish::Length));
    let refused = desk.admit(request(8, 20, 13));
    assert_eq!(refused, Err(long), "newcomers are judged by what there is now");
}

#[test]
fn the_device_that_came_back_is_used_to_its_limits() {
    let mut desk = doomed(policy());
    for id in 1..=6 {
        desk.admit(request(id, 3, 9)).expect("room");
    }
    desk.step();
    desk.step();
    desk.submit().expect("everybody decodes");
    desk.come_back(&half());
    desk.step();
    assert_eq!(desk.batch.parts.len(), 2, "as many as there are slots");
    desk.finish();
    let mut desk = Desk::with_incidents(half(), policy(), &[(1, Incident::Lost)]);
    for id in 1..=6 {
        desk.admit(request(id, 3, 9)).expect("room");
    }
    desk.step();
    desk.submit().expect("two decode");
    let larger = Limits { depth: 2, adapters_max: 4, ..limits() };
    desk.come_back(&larger);
    desk.submit().expect("all prompts");
    assert_eq!(desk.batch.parts.len(), 6);
    assert!(desk.submit().is_some(), "two steps are in flight");
    desk.collect();
    desk.collect();
    desk.load(4, 9).expect("there are more slots");
    desk.finish();
}
