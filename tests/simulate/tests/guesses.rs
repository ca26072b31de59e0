//! Rules of guesses: they change no token, cost what they are worth, and come last.

use std::sync::Arc;

use gimbal_batch::{Limits, RowFault, SampleParams, TokenId};
use gimbal_scheduler::{Finish, Policy, Request, Stats};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{self, Desk, ids, policy, request};

/// A model of so few tokens that it repeats itself by chance, or always.
fn limits(vocab: u32, depth: u32) -> Limits {
    Limits { vocab, depth, ..desk::limits() }
}

fn drafting(drafts_max: u32) -> Policy {
    Policy { drafts_max, ..policy() }
}

/// A prompt of four equal tokens.
fn asks(id: u64, max_new_tokens: u32) -> Request {
    Request { tokens: ids([0; 4]), ..request(id, 1, max_new_tokens) }
}

#[test]
fn guesses_change_no_token_and_a_right_one_saves_a_step() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..1000 {
        let vocab = 2 + u32::try_from(seed % 4).expect("small");
        let temperature = if seed % 3 == 0 { 0.0 } else { 1.0 };
        let params = SampleParams { temperature, seed, ..SampleParams::default() };
        let tokens = ids([0, 1, 1, 0].into_iter().cycle().take(4 + vocab as usize));
        let ask = Request { params: Arc::new(params), tokens, ..request(seed % 8, 1, 30) };
        let mut told = [0, 4].map(|drafts_max| {
            let mut desk = Desk::new(limits(vocab, 1), drafting(drafts_max));
            desk.admit(ask.clone()).expect("room");
            desk.finish();
            (desk.tokens(seed % 8, 0), desk.scheduler.stats())
        });
        let (tokens, Stats { drafts_proposed, drafts_accepted, steps, .. }) =
            std::mem::take(&mut told[1]);
        assert_eq!(tokens.len(), 30);
        assert_eq!(tokens, told[0].0, "seed {seed}");
        assert_eq!(steps, told[0].1.steps - drafts_accepted, "seed {seed}");
        right += drafts_accepted;
        wrong += drafts_proposed - drafts_accepted;
    }
    assert!(right > 1000 && wrong > 1000, "{right} right, {wrong} wrong");
}

/// Whose guesses are worth it waits for what is in flight; everybody else has two steps in flight.
#[test]
fn a_guess_waits_for_the_tokens_before_it() {
    let mut desk = Desk::new(limits(1, 2), drafting(3));
    desk.admit(asks(1, 20)).expect("room");
    assert!(desk.submit().is_some() && desk.submit().is_some(), "nothing can be guessed yet");
    assert_eq!(desk.rows(), [1]);
    desk.collect();
    assert!(desk.submit().is_none(), "the token in flight is needed");
    desk.collect();
    assert!(desk.submit().is_some());
    assert_eq!(desk.rows(), [4], "the newest token and three guesses");
    desk.collect();
    assert_eq!(desk.tokens(1, 0).len(), 2 + 4);
    desk.finish();
    assert_eq!(desk.tokens(1, 0), [TokenId::new(0); 20]);

    let mut desk = Desk::new(limits(1 << 20, 2), drafting(3));
    desk.admit(request(1, 4, 20)).expect("room");
    for _ in 0..5 {
        assert!(desk.submit().is_some() && desk.submit().is_some(), "nothing repeats");
        desk.collect();
        desk.collect();
    }
}

/// Guesses that were not worth it when the token before them came are, once the others have left.
#[test]
fn who_guesses_waits_whenever_it_was_decided() {
    let mut desk = Desk::new(limits(1, 2), drafting(3));
    for id in 0..8 {
        desk.admit(Request { tokens: ids([0; 2]), ..request(id, 1, 20) }).expect("room");
    }
    assert!(desk.step() && desk.step());
    (1..8).for_each(|id| desk.cancel(id));
    assert!(desk.submit().is_some());
    assert_eq!(desk.rows(), [3]);
    assert!(desk.submit().is_none(), "nobody knows which guesses are right");
    desk.collect();
    desk.finish();
    assert_eq!(desk.tokens(0, 0), [TokenId::new(0); 20]);
}

/// Eight sequences make a row dear: it takes a ninth of one sequence's step, and half as long as one
/// of eight tokens needs.
#[test]
fn guesses_are_made_where_a_row_brings_more_than_it_costs() {
    let rows_at = |sequences, steps| {
        let mut desk = Desk::new(limits(1, 1), drafting(3));
        for id in 0..sequences {
            desk.admit(asks(id, 30)).expect("room");
        }
        (0..steps).for_each(|_| assert!(desk.step()));
        desk.rows()[0]
    };
    assert_eq!((rows_at(1, 2), rows_at(8, 2)), (4, 1), "one guess of one was right");
    assert!(rows_at(8, 10) > 1, "all were, as nobody who made them would know");
}

#[test]
fn guesses_come_last_and_never_with_penalties() {
    let mut desk = Desk::new(limits(1, 1), drafting(3));
    let params = SampleParams { presence_penalty: 1.0, ..SampleParams::default() };
    desk.admit(Request { params: Arc::new(params), ..asks(1, 9) }).expect("room");
    desk.finish();
    assert_eq!(desk.scheduler.stats().drafts_proposed, 0);
    let mut desk = Desk::new(limits(1, 1), Policy { step_tokens_max: 8, ..drafting(3) });
    desk.admit(asks(2, 20)).expect("room");
    desk.step();
    desk.admit(Request { tokens: ids([0; 20]), ..request(3, 1, 2) }).expect("room");
    desk.step();
    assert_eq!(desk.rows(), [1, 7], "a prompt goes before guesses");
    desk.finish();
}

/// A grammar may not know what follows a guess, and then allows nothing there.
#[test]
fn a_fault_behind_a_right_guess_is_asked_again() {
    let fault = |step, output| (step, Incident::RowFault { output });
    let mut desk =
        Desk::with_incidents(limits(1, 1), drafting(3), &[fault(1, 2), fault(2, 0), fault(3, 0)]);
    desk.admit(asks(1, 20)).expect("room");
    desk.step();
    desk.step();
    assert_eq!((desk.rows(), desk.tokens(1, 0).len()), (vec![4], 1 + 2));
    desk.step();
    assert_eq!(desk.end(1, 0), Some(Finish::Fault(RowFault::NotFinite)), "no guess before it");
}
