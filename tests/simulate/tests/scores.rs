//! Scored prompts: told once and in order, whatever is cut, cached, lost or ended.

use std::sync::Arc;

use gimbal_batch::{Cannot, Limits, RowFault, SampleParams, Sampling, Want};
use gimbal_scheduler::{Finish, Policy, PromptScores, Refusal, Request, RequestId};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, limits, policy, request};

/// A request whose prompt is scored from a row on, with two alternatives.
fn scored(id: u64, prompt_tokens: u32, from: u32) -> Request {
    let scores = Some(PromptScores { from, top: 2 });
    Request { scores, ..request(id, prompt_tokens, 3) }
}

fn again(id: u64, earlier: &Request) -> Request {
    Request { id: RequestId(id), ..earlier.clone() }
}

fn small_steps() -> Policy {
    Policy { step_tokens_max: 8, ..policy() }
}

#[test]
fn a_prompt_is_scored_piece_by_piece() {
    let mut desk = Desk::new(limits(), small_steps());
    desk.admit(scored(1, 20, 0)).expect("room");
    desk.step();
    assert_eq!(desk.batch.outputs.len(), 8, "each row tells of the token after it");
    desk.finish();
    assert_eq!(desk.scored(1), [(1, 8), (9, 8), (17, 3)], "nothing comes before the first token");
    assert_eq!(desk.tokens(1, 0).len(), 3);
    desk.admit(scored(2, 20, 11)).expect("room");
    desk.finish();
    assert_eq!(desk.scored(2), [(12, 5), (17, 3)]);
    for (id, prompt_tokens, from) in [(3, 1, 0), (4, 9, 8), (5, 9, u32::MAX)] {
        desk.admit(scored(id, prompt_tokens, from)).expect("room");
        desk.finish();
        assert_eq!(desk.scored(id), [], "there is nothing to tell");
    }
}

#[test]
fn rows_that_are_scored_are_never_from_the_cache() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    let plain = request(1, 21, 3);
    desk.admit(plain.clone()).expect("room");
    desk.finish();
    let of =
        |id, from| Request { scores: Some(PromptScores { from, top: 0 }), ..again(id, &plain) };
    for (id, from, computed) in [(2, 0, 21), (3, 3, 21), (4, 4, 17), (5, 11, 13), (6, 99, 1)] {
        let before = desk.scheduler.stats().prefill_tokens;
        desk.admit(of(id, from)).expect("room");
        desk.finish();
        let rows = desk.scheduler.stats().prefill_tokens - before;
        assert_eq!(rows, computed, "scored from {from}");
        assert_eq!(desk.tokens(id, 0), desk.tokens(1, 0));
    }
    assert_eq!(desk.scored(5), [(12, 9)]);
}

#[test]
fn a_scored_prompt_fills_the_cache_for_others() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    let ask = scored(1, 21, 0);
    desk.admit(ask.clone()).expect("room");
    desk.finish();
    desk.admit(Request { scores: None, ..again(2, &ask) }).expect("room");
    desk.finish();
    assert_eq!(desk.scheduler.stats().prefix_hit_tokens, 20);
}

/// It has no use for the prefix that another one computes.
#[test]
fn who_scores_an_equal_prompt_does_not_wait_for_it() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    let ask = scored(1, 21, 0);
    desk.admit(ask.clone()).expect("room");
    desk.admit(again(2, &ask)).expect("room");
    desk.step();
    assert_eq!(desk.rows(), [21, 11]);
    desk.finish();
    assert_eq!(desk.scored(1).iter().map(|piece| piece.1).sum::<usize>(), 20);
    assert_eq!(desk.scored(2).iter().map(|piece| piece.1).sum::<usize>(), 20);
}

#[test]
fn a_lost_device_tells_nothing_twice() {
    let mut desk = Desk::with_incidents(limits(), small_steps(), &[(1, Incident::Lost)]);
    desk.admit(scored(1, 20, 0)).expect("room");
    desk.finish();
    assert_eq!(desk.scheduler.stats().losses, 1);
    assert_eq!(desk.scored(1), [(1, 8), (9, 8), (17, 3)], "8 rows were told before the loss");
}

#[test]
fn choices_share_what_is_told_of_the_prompt() {
    let mut desk = Desk::new(limits(), policy());
    desk.admit(Request { choices: 3, ..scored(1, 9, 0) }).expect("room");
    desk.finish();
    assert_eq!(desk.scored(1), [(1, 8)]);
}

#[test]
fn a_fault_of_a_scored_row_ends_its_choice_alone() {
    let fault = [(0, Incident::RowFault { output: 5 })];
    let mut desk = Desk::with_incidents(limits(), policy(), &fault);
    desk.admit(scored(1, 9, 0)).expect("room");
    desk.admit(scored(2, 9, 0)).expect("room");
    desk.finish();
    assert_eq!(desk.end(1, 0), Some(Finish::Fault(RowFault::NotFinite)));
    assert_eq!((desk.scored(1), desk.tokens(1, 0).len()), (vec![(1, 5)], 0));
    assert_eq!((desk.scored(2), desk.end(2, 0)), (vec![(1, 8)], Some(Finish::Length)));
}

#[test]
fn who_left_is_told_nothing_more() {
    let limits = Limits { depth: 2, ..limits() };
    let mut desk = Desk::new(limits, small_steps());
    desk.admit(scored(1, 20, 0)).expect("room");
    desk.submit().expect("a first piece");
    desk.submit().expect("a second one");
    desk.collect();
    desk.cancel(1);
    desk.collect();
    desk.finish();
    assert_eq!(desk.scored(1), [(1, 8)]);
}

#[test]
fn a_score_asks_for_the_token_that_follows() {
    let mut desk = Desk::new(limits(), small_steps());
    let ask = scored(1, 9, 2);
    desk.admit(ask.clone()).expect("room");
    desk.step();
    let asked = desk.batch.outputs.iter().map(|output| match &output.want {
        Want::Score { ids, top } => (output.row, ids[0], *top),
        other => panic!("{other:?} is no score"),
    });
    let expect = (2..8).map(|row| (row, ask.tokens[row as usize + 1], 2));
    assert!(asked.eq(expect));
}

#[test]
fn what_a_device_does_not_score_is_refused() {
    let with = |sampling, request: Request| {
        Desk::new(Limits { sampling, ..limits() }, policy()).admit(request)
    };
    let none = Sampling { scores_max: 0, ..Sampling::HOST };
    let refusal = Refusal::Unsupported(Cannot::Do("log probabilities of a prompt"));
    assert_eq!(with(none, scored(1, 9, 0)), Err(refusal));
    let few = Sampling { logprobs_max: 1, ..Sampling::HOST };
    assert!(matches!(with(few, scored(1, 9, 0)), Err(Refusal::Unsupported(_))));
    assert_eq!(with(none, request(1, 9, 3)), Ok(()));
    let params = SampleParams {
        logprobs: Some(0),
        logprob_ids: [gimbal_batch::TokenId::new(u32::MAX)].into(),
        ..SampleParams::default()
    };
    let unknown = Request { params: Arc::new(params), ..request(1, 9, 3) };
    assert!(matches!(with(Sampling::HOST, unknown), Err(Refusal::Invalid { .. })));
}
