//! Who gets seats and rows where not everybody can have them; `scheduler/docs/scheduler.md` names
//! these rules.

use gimbal_batch::Limits;
use gimbal_scheduler::{Client, Event, Policy, Priority, Request, RequestId};
use gimbal_simulate::desk::{Desk, limits, policy, request};

const LONG: u32 = 100;

fn desk(change: impl FnOnce(&mut Limits, &mut Policy)) -> Desk {
    let (mut limits, mut policy) = (limits(), policy());
    (policy.max_rolling_batch_size, policy.prefix_cache) = (4, true);
    limits.kv.blocks = 512;
    change(&mut limits, &mut policy);
    Desk::new(limits, policy)
}

fn from(address: u64, key: u64, request: Request) -> Request {
    Request { client: Client { address, key }, ..request }
}

/// Steps until a request has its first token.
fn steps_to_first_token(desk: &mut Desk, id: u64) -> usize {
    let has_token = |desk: &Desk| {
        let mut tokens = desk.events.iter().filter_map(|event| match event {
            Event::Token(token) => Some(token.id),
            _ => None,
        });
        tokens.any(|of| of == RequestId(id))
    };
    for steps in 0..2000 {
        if has_token(desk) {
            return steps;
        }
        assert!(desk.step(), "it waits");
    }
    panic!("request {id} starves");
}

fn run(desk: &mut Desk, steps: usize) {
    for _ in 0..steps {
        assert!(desk.step(), "there is work");
    }
}

#[test]
fn choices_of_one_request_leave_a_seat_to_others() {
    for depth in [1, 2] {
        let mut desk = desk(|limits, _| limits.depth = depth);
        desk.admit(Request { choices: 8, ..request(1, 3, LONG) }).expect("room");
        run(&mut desk, 6);
        assert_eq!(desk.scheduler.stats().running, 4, "all seats are taken");
        desk.admit(request(2, 3, 5)).expect("room");
        let steps = steps_to_first_token(&mut desk, 2);
        assert!(steps <= 1 + 2 * depth as usize, "{steps} steps at depth {depth}");
        desk.finish();
    }
}

#[test]
fn a_newcomer_gets_a_seat_of_the_client_with_the_most() {
    let mut desk = desk(|_, _| {});
    for id in 1..=3 {
        desk.admit(from(1, 0, request(id, 3, LONG))).expect("room");
    }
    desk.admit(from(2, 0, request(4, 3, LONG))).expect("room");
    for id in 5..=20 {
        desk.admit(from(1, 0, request(id, 3, LONG))).expect("room");
    }
    run(&mut desk, 4);
    desk.admit(from(3, 0, request(21, 3, 5))).expect("room");
    assert!(steps_to_first_token(&mut desk, 21) <= 2, "before sixteen who came earlier");
    assert_eq!(desk.scheduler.stats().turns, 1, "one seat was given up, the third of its owner");
    assert!(!desk.waits(4), "who has one seat keeps it");
    desk.finish();
}

#[test]
fn keys_of_one_address_share_what_the_address_has() {
    let mut desk = desk(|_, _| {});
    for id in 1..=8 {
        desk.admit(from(1, 1, request(id, 3, LONG))).expect("room");
    }
    run(&mut desk, 4);
    desk.admit(from(1, 2, request(9, 3, 5))).expect("room");
    assert!(steps_to_first_token(&mut desk, 9) <= 2);
    desk.finish();
}

#[test]
fn many_keys_do_not_make_an_address_richer() {
    let mut desk = desk(|_, policy| policy.turn_tokens = 0);
    for id in 1..=40 {
        desk.admit(from(1, id, request(id, 3, LONG))).expect("room");
    }
    run(&mut desk, 4);
    for id in 41..=42 {
        desk.admit(from(2, 0, request(id, 3, 5))).expect("room");
        assert!(steps_to_first_token(&mut desk, id) <= 3, "request {id}");
    }
    desk.finish();
}

#[test]
fn who_has_had_a_turn_gives_way_and_comes_again() {
    let mut desk = desk(|_, policy| policy.turn_tokens = 10);
    for id in 1..=4 {
        desk.admit(request(id, 3, LONG)).expect("room");
    }
    run(&mut desk, 5);
    desk.admit(request(5, 3, LONG)).expect("room");
    let steps = steps_to_first_token(&mut desk, 5);
    assert!((3..=12).contains(&steps), "the rest of a turn, not of an answer: {steps}");
    desk.finish();
    assert!(desk.scheduler.stats().turns >= 20, "seats go round");
    assert_eq!(desk.scheduler.stats().preemptions, 0);
}

#[test]
fn without_turns_and_differences_a_seat_is_kept_to_the_end() {
    let mut desk = desk(|_, policy| policy.turn_tokens = 0);
    for id in 1..=5 {
        desk.admit(request(id, 3, LONG)).expect("room");
    }
    assert!(steps_to_first_token(&mut desk, 5) >= LONG as usize);
    assert_eq!(desk.scheduler.stats().turns, 0);
    desk.finish();
}

#[test]
fn a_seat_is_never_given_up_for_a_lower_priority() {
    let mut desk = desk(|_, policy| policy.turn_tokens = 10);
    for id in 1..=4 {
        let high = Request { priority: Priority(1), ..request(id, 3, LONG) };
        desk.admit(from(1, 0, high)).expect("room");
    }
    run(&mut desk, 5);
    desk.admit(from(2, 0, request(5, 3, 5))).expect("room");
    assert!(steps_to_first_token(&mut desk, 5) >= LONG as usize - 10);
    desk.finish();
}

#[test]
fn a_turn_costs_little_where_prefixes_are_cached() {
    let mut desk = desk(|_, policy| policy.turn_tokens = 10);
    for id in 1..=5 {
        desk.admit(request(id, 40, 60)).expect("room");
    }
    desk.finish();
    let stats = desk.scheduler.stats();
    assert!(stats.turns > 0);
    // A block of 4 tokens at most is computed again at each turn, and the newest token.
    assert!(stats.prefill_tokens <= 5 * 40 + stats.turns * 5, "{stats:?}");
}

#[test]
fn a_newcomer_that_lacks_blocks_gets_those_of_the_client_with_the_most() {
    let mut desk = desk(|limits, policy| {
        limits.kv.blocks = 24;
        policy.turn_tokens = 0;
        policy.max_rolling_batch_size = 8;
    });
    for id in 1..=3 {
        desk.admit(from(1, 0, request(id, 24, 8))).expect("room");
    }
    run(&mut desk, 2);
    desk.admit(from(2, 0, request(4, 20, 2))).expect("room");
    assert!(steps_to_first_token(&mut desk, 4) <= 4, "before the others end");
    desk.finish();
}

#[test]
fn a_short_prompt_is_not_kept_waiting_by_long_ones() {
    let mut desk = desk(|limits, policy| {
        policy.step_tokens_max = 16;
        limits.context_tokens_max = 1000;
    });
    for id in 1..=3 {
        desk.admit(request(id, 400, 2)).expect("room");
    }
    run(&mut desk, 2);
    desk.admit(request(4, 8, 2)).expect("room");
    assert!(steps_to_first_token(&mut desk, 4) <= 2);
    desk.finish();
}

#[test]
fn short_prompts_do_not_keep_a_long_one_waiting() {
    let mut desk = desk(|_, policy| policy.step_tokens_max = 16);
    desk.admit(request(1, 80, 1)).expect("room");
    desk.step();
    let mut next = 2;
    for _ in 0..12 {
        // As many short ones as find a seat, all the time.
        while desk.scheduler.stats().waiting == 0 {
            desk.admit(request(next, 12, 1)).expect("room");
            next += 1;
        }
        desk.step();
    }
    assert!(steps_to_first_token(&mut desk, 1) == 0, "half of every step was its own");
    desk.finish();
}

#[test]
fn prompts_of_one_length_come_out_in_order() {
    let mut desk = desk(|_, policy| policy.step_tokens_max = 16);
    for id in 1..=4 {
        desk.admit(request(id, 24, 1)).expect("room");
    }
    desk.finish();
    let firsts: Vec<u64> = desk
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Token(token) => Some(token.id.0),
            _ => None,
        })
        .collect();
    assert_eq!(firsts, [1, 2, 3, 4]);
}
