//! A mask that is late costs the row it is for and nothing else.

use gimbal_batch::TokenId;
use gimbal_scheduler::{Finish, Micros, Policy, Request, RequestId};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, limits, policy, request};

/// What each step of a life says of requests 1 and 2.
fn life(hold: impl Fn(&mut Desk, u32)) -> Vec<(usize, Vec<TokenId>, Vec<TokenId>)> {
    let mut desk = Desk::new(limits(), Policy { step_tokens_max: 8, ..policy() });
    for (id, prompt) in [(1, 5), (2, 20), (3, 3)] {
        desk.admit(request(id, prompt, 9)).expect("room");
    }
    let steps = 0..30;
    let said = steps.map(|step| {
        hold(&mut desk, step);
        let steps_made = usize::from(desk.step());
        (steps_made, desk.tokens(1, 0), desk.tokens(2, 0))
    });
    said.collect()
}

#[test]
fn a_late_mask_costs_its_own_row_only() {
    let undisturbed = life(|_, _| {});
    let steps: usize = undisturbed.iter().map(|(made, ..)| made).sum();
    let held = life(|desk, step| match step {
        4 => desk.hold(3),
        9 => desk.free(3),
        _ => {}
    });
    for (step, (one, other)) in undisturbed.iter().zip(&held).enumerate() {
        assert_eq!((&one.1, &one.2), (&other.1, &other.2), "after step {step}");
    }
    assert!(steps < 30, "the lives end");
}

#[test]
fn a_held_sequence_goes_on_where_it_was() {
    let mut desk = Desk::new(limits(), policy());
    desk.admit(request(1, 5, 6)).expect("room");
    desk.admit(request(2, 5, 6)).expect("room");
    desk.step();
    desk.step();
    assert_eq!(desk.rows(), [1, 1]);
    desk.hold(1);
    desk.step();
    assert_eq!((desk.rows(), desk.tokens(1, 0).len()), (vec![1], 2));
    assert_eq!(desk.scheduler.stats().held, 1);
    desk.free(1);
    assert_eq!(desk.scheduler.stats().held, 0);
    desk.step();
    assert_eq!((desk.rows(), desk.tokens(1, 0).len()), (vec![1, 1], 3));
    desk.finish();
    let mut alone = Desk::new(limits(), policy());
    alone.admit(request(1, 5, 6)).expect("room");
    alone.finish();
    assert_eq!(desk.tokens(1, 0), alone.tokens(1, 0));
}

#[test]
fn where_everybody_is_held_there_is_no_step() {
    let mut desk = Desk::new(limits(), policy());
    desk.admit(request(1, 5, 2)).expect("room");
    desk.admit(request(2, 5, 2)).expect("room");
    desk.hold(1);
    desk.hold(2);
    assert!(!desk.step());
    assert_eq!((desk.scheduler.stats().held, desk.scheduler.stats().running), (2, 0));
    desk.scheduler.hold(RequestId(1), 1);
    desk.scheduler.hold(RequestId(9), 0);
    assert_eq!(desk.scheduler.stats().held, 2, "nobody else is there");
    desk.free(2);
    assert!(desk.step());
    assert_eq!(desk.rows(), [5]);
    desk.free(1);
    desk.finish();
}

#[test]
fn a_held_sequence_takes_no_seat_and_keeps_no_prefix() {
    let mut desk = Desk::new(limits(), Policy { max_rolling_batch_size: 1, ..policy() });
    desk.admit(request(1, 5, 2)).expect("room");
    desk.admit(request(2, 5, 2)).expect("room");
    desk.hold(1);
    desk.step();
    assert_eq!(desk.started(), [2], "the seat is not kept for who is held");
    desk.free(1);
    desk.finish();
    let cached = Policy { prefix_cache: true, step_tokens_max: 8, ..policy() };
    let mut desk = Desk::new(limits(), cached);
    let first = request(1, 20, 2);
    desk.admit(first.clone()).expect("room");
    desk.step();
    desk.hold(1);
    desk.admit(Request { id: RequestId(2), ..first }).expect("room");
    desk.step();
    assert_eq!(desk.started(), [1, 2], "nobody waits for a prefix of who is held");
    desk.free(1);
    desk.finish();
}

#[test]
fn held_sequences_are_cancelled_expire_and_survive_a_loss() {
    let incidents = [(2, Incident::Lost)];
    let mut desk = Desk::with_incidents(limits(), policy(), &incidents);
    let deadline = Some(Micros(50));
    desk.admit(request(1, 5, 4)).expect("room");
    desk.admit(request(2, 5, 4)).expect("room");
    desk.admit(Request { deadline, ..request(3, 5, 4) }).expect("room");
    desk.admit(request(4, 5, 4)).expect("room");
    desk.step();
    for id in 1..=3 {
        desk.hold(id);
    }
    desk.step();
    assert_eq!(desk.rows(), [1]);
    desk.cancel(1);
    assert_eq!(desk.end(1, 0), Some(Finish::Cancelled));
    desk.now = Micros(50);
    desk.scheduler.expire(desk.now, &mut desk.events);
    assert_eq!(desk.end(3, 0), Some(Finish::Deadline));
    desk.step();
    assert_eq!(desk.scheduler.stats().losses, 1);
    assert_eq!(desk.scheduler.stats().held, 1, "who was held is held");
    desk.step();
    assert_eq!(desk.batch.parts.len(), 1, "the fourth is computed again, alone");
    while desk.step() {}
    assert_eq!(desk.end(4, 0), Some(Finish::Length));
    assert_eq!((desk.end(2, 0), desk.tokens(2, 0).len()), (None, 1));
    desk.free(2);
    desk.finish();
    assert_eq!(desk.end(2, 0), Some(Finish::Length));
}

#[test]
fn choices_are_held_one_by_one() {
    let mut desk = Desk::new(limits(), policy());
    desk.admit(Request { choices: 2, ..request(1, 5, 4) }).expect("room");
    desk.step();
    desk.step();
    assert_eq!(desk.batch.parts.len(), 2);
    desk.scheduler.hold(RequestId(1), 1);
    desk.step();
    let had = |desk: &Desk| (desk.tokens(1, 0).len(), desk.tokens(1, 1).len());
    assert_eq!(had(&desk), (3, 1));
    desk.scheduler.free(RequestId(1), 1);
    desk.finish();
    assert_eq!(had(&desk), (4, 4));
}
