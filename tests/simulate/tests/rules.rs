//! Each rule of the scheduler alone; `scheduler/docs/scheduler.md` names them.

use std::sync::Arc;

use gimbal_batch::{Limits, Prefill, SampleParams, Sampling, SeqSlot, Shape, Token};
use gimbal_scheduler::{Event, Finish, Micros, Policy, Priority, Refusal, Request, RequestId};
use gimbal_simulate::desk::{Desk, VOCAB, ids, limits, policy, request};

fn desk(change: impl FnOnce(&mut Limits, &mut Policy)) -> Desk {
    let (mut limits, mut policy) = (limits(), policy());
    change(&mut limits, &mut policy);
    Desk::new(limits, policy)
}

#[test]
fn decode_rows_come_before_prompts() {
    let mut desk = desk(|_, policy| policy.step_tokens_max = 8);
    desk.admit(request(1, 3, 10)).expect("room");
    desk.step();
    desk.admit(request(2, 17, 2)).expect("room");
    let chunks = [vec![1, 7], vec![1, 7], vec![1, 3], vec![1, 1]];
    for expect in chunks {
        desk.step();
        assert_eq!(desk.rows(), expect);
    }
}

#[test]
fn a_begun_prompt_goes_before_a_new_one() {
    let mut desk = desk(|_, policy| policy.step_tokens_max = 8);
    desk.admit(request(1, 12, 1)).expect("room");
    desk.admit(request(2, 12, 1)).expect("room");
    desk.step();
    assert_eq!(desk.rows(), [8]);
    desk.step();
    assert_eq!(desk.rows(), [4, 4]);
    desk.finish();
    assert_eq!(desk.started(), [1, 2]);
}

#[test]
fn higher_priority_starts_first_then_first_come() {
    let mut desk = desk(|_, policy| policy.max_rolling_batch_size = 1);
    for (id, priority) in [(1, 0), (2, -1), (3, 1), (4, 0), (5, 1)] {
        desk.admit(Request { priority: Priority(priority), ..request(id, 3, 2) }).expect("room");
    }
    desk.finish();
    assert_eq!(desk.started(), [3, 5, 1, 4, 2]);
}

#[test]
fn youngest_is_preempted_first() {
    // Eight blocks; each sequence grows from two to four.
    let mut desk = desk(|limits, _| limits.kv.blocks = 8);
    for id in 1..=3 {
        desk.admit(request(id, 7, 9)).expect("room");
    }
    let mut alone = Vec::new();
    while desk.scheduler.stats().preemptions == 0 {
        assert!(desk.step(), "shortage comes");
        alone.push(desk.batch.parts.len());
    }
    assert_eq!(alone.last(), Some(&2), "the two older ones go on");
    assert_eq!(desk.batch.closes, [SeqSlot(2)], "the youngest gave up its slot");
    desk.finish();
    let ends = [1, 2, 3].map(|id| desk.end(id, 0));
    assert_eq!(ends, [Some(Finish::Length); 3]);
}

#[test]
fn lowest_priority_is_preempted_before_the_youngest() {
    let mut desk = desk(|limits, _| limits.kv.blocks = 8);
    desk.admit(Request { priority: Priority(-1), ..request(1, 7, 9) }).expect("room");
    desk.step();
    desk.admit(request(2, 7, 9)).expect("room");
    desk.admit(request(3, 7, 9)).expect("room");
    while desk.scheduler.stats().preemptions == 0 {
        assert!(desk.step(), "shortage comes");
    }
    assert_eq!(desk.batch.closes, [SeqSlot(0)], "the oldest has the lowest priority");
}

#[test]
fn the_pipeline_drains_before_a_preemption() {
    let mut desk = desk(|limits, _| {
        limits.kv.blocks = 6;
        limits.depth = 2;
    });
    desk.admit(request(1, 8, 9)).expect("room");
    desk.admit(request(2, 8, 9)).expect("room");
    desk.submit().expect("prompts");
    let mut preemptions = 0;
    for _ in 0..200 {
        let in_flight = desk.scheduler.stats().in_flight;
        let made = desk.submit().is_some();
        if desk.scheduler.stats().preemptions > preemptions {
            assert_eq!(in_flight, 0, "nothing was in flight at the preemption");
            preemptions += 1;
        }
        if !made || desk.scheduler.stats().in_flight == 2 {
            if desk.scheduler.is_idle() {
                break;
            }
            desk.collect();
        }
    }
    assert!(preemptions > 0, "shortage comes");
    assert!(desk.scheduler.is_idle(), "both end");
}

#[test]
fn a_start_leaves_a_block_for_everybody_who_runs() {
    // Two run and need a third block each later; the third one's two blocks would leave one.
    let mut desk = desk(|limits, _| limits.kv.blocks = 7);
    desk.admit(request(1, 8, 4)).expect("room");
    desk.admit(request(2, 8, 4)).expect("room");
    desk.admit(request(3, 8, 4)).expect("room");
    desk.finish();
    assert_eq!(desk.scheduler.stats().preemptions, 0);
}

#[test]
fn queue_and_batch_are_bounded() {
    let mut desk = desk(|_, policy| {
        policy.max_rolling_batch_size = 2;
        policy.job_queue_size = 1;
    });
    for id in 1..=3 {
        desk.admit(request(id, 3, 5)).expect("two places and one in the queue");
    }
    let full = |queue_len| Err(Refusal::QueueFull { queue_len, job_queue_size: 1 });
    assert_eq!(desk.admit(request(4, 3, 5)), full(3));
    desk.step();
    assert_eq!(desk.batch.parts.len(), 2);
    assert_eq!(desk.scheduler.stats().waiting, 1);
    assert_eq!(desk.admit(request(4, 3, 5)), full(1));
    desk.cancel(1);
    desk.admit(request(4, 3, 5)).expect("a place is free");
    desk.finish();
}

#[test]
fn refusals_carry_numbers() {
    let mut desk = desk(|limits, _| {
        limits.sampling =
            Sampling { random: false, penalties: false, masks: false, ..Sampling::HOST };
    });
    let long = Refusal::TooLong { prompt_tokens: 100, max_new_tokens: 29, max_model_len: 128 };
    assert_eq!(desk.admit(request(1, 100, 29)), Err(long));
    desk.admit(request(1, 100, 28)).expect("exactly the context");
    let with = |params| Request { params: Arc::new(params), ..request(2, 3, 3) };
    let params = SampleParams::default;
    let unsupported = [
        with(SampleParams { temperature: 0.5, ..params() }),
        with(SampleParams { presence_penalty: 0.5, ..params() }),
        with(SampleParams { logprobs: Some(21), ..params() }),
        Request { masked: true, ..request(2, 3, 3) },
    ];
    for request in unsupported {
        assert!(matches!(desk.admit(request), Err(Refusal::Unsupported { .. })));
    }
    let tokens = |last| Request { tokens: ids([1, last]), ..request(2, 3, 3) };
    let invalid = [
        request(2, 0, 3),
        request(2, 3, 0),
        Request { choices: 0, ..request(2, 3, 3) },
        tokens(VOCAB),
        tokens(u32::MAX),
    ];
    for request in invalid {
        assert!(matches!(desk.admit(request), Err(Refusal::Invalid { .. })));
    }
    desk.admit(tokens(VOCAB - 1)).expect("the last token there is");
    desk.finish();
}

#[test]
fn a_small_pool_bounds_the_length_too() {
    let mut desk = desk(|limits, _| limits.kv.blocks = 4);
    assert!(matches!(
        desk.admit(request(1, 10, 7)),
        Err(Refusal::TooLong { max_model_len: 16, .. })
    ));
    desk.admit(request(1, 10, 6)).expect("the whole pool");
    desk.finish();
}

#[test]
fn hopeless_deadlines_are_refused_and_missed_ones_end() {
    let mut desk = desk(|_, policy| policy.step_tokens_max = 8);
    let due = |id, prompt, at| Request { deadline: Some(Micros(at)), ..request(id, prompt, 50) };
    desk.admit(due(1, 8, 500)).expect("no step was measured yet");
    assert_eq!(desk.scheduler.deadline(), Some(Micros(500)));
    desk.submit();
    desk.now = Micros(100);
    desk.collect();
    // One step of 100 µs for the 1 decode row ahead and 7 rows, two for 8.
    let expected = Micros(300);
    assert_eq!(desk.admit(due(2, 8, 299)), Err(Refusal::Deadline { expected }));
    desk.admit(due(2, 8, 300)).expect("just in time");
    assert_eq!(desk.admit(due(3, 1, 100)), Err(Refusal::Deadline { expected }));
    assert_eq!(desk.scheduler.deadline(), Some(Micros(300)));
    for (now, ends) in [(299, [None, None]), (300, [None, Some(Finish::Deadline)])] {
        desk.scheduler.expire(Micros(now), &mut desk.events);
        assert_eq!([desk.end(1, 0), desk.end(2, 0)], ends);
    }
    assert_eq!(desk.scheduler.deadline(), Some(Micros(500)));
    desk.scheduler.expire(Micros(500), &mut desk.events);
    assert_eq!(desk.end(1, 0), Some(Finish::Deadline));
    desk.finish();
}

#[test]
fn a_deadline_before_a_seat_is_free_is_refused() {
    let mut desk = desk(|_, policy| policy.max_rolling_batch_size = 1);
    for id in 1..=5 {
        desk.admit(request(id, 3, 2)).expect("room");
    }
    // Each takes two steps of 100 µs.
    while desk.end(2, 0).is_none() {
        desk.submit();
        desk.now.0 += 100;
        desk.collect();
    }
    // One seat is free and three wait for it: the newcomer has the one after three more ends.
    let due = |at| Request { deadline: Some(Micros(at)), ..request(6, 3, 2) };
    let expected = Micros(400 + 3 * 200);
    assert_eq!(desk.admit(due(999)), Err(Refusal::Deadline { expected }));
    desk.admit(due(1000)).expect("just in time");
    desk.finish();
}

#[test]
fn a_cancelled_slot_is_free_within_depth_steps() {
    for depth in [1, 2, 3] {
        let mut desk = desk(|limits, _| limits.depth = depth);
        desk.admit(request(1, 3, 50)).expect("room");
        while desk.submit().is_some() {}
        assert_eq!(desk.scheduler.stats().in_flight, depth);
        desk.cancel(1);
        assert_eq!(desk.end(1, 0), Some(Finish::Cancelled));
        assert_eq!(desk.scheduler.stats().slots_used, 1, "its rows still arrive");
        for _ in 0..depth {
            assert!(desk.scheduler.stats().blocks_used > 0, "a step writes to them");
            desk.collect();
        }
        let stats = desk.scheduler.stats();
        assert_eq!((stats.slots_used, stats.blocks_used), (0, 0));
        assert!(desk.tokens(1, 0).is_empty(), "nothing comes after the end");
        desk.finish();
    }
}

#[test]
fn a_waiting_request_is_cancelled_at_once() {
    let mut desk = desk(|_, policy| policy.max_rolling_batch_size = 1);
    desk.admit(request(1, 3, 5)).expect("room");
    desk.admit(Request { choices: 3, ..request(2, 3, 5) }).expect("room");
    desk.step();
    desk.cancel(2);
    for choice in 0..3 {
        assert_eq!(desk.end(2, choice), Some(Finish::Cancelled));
    }
    assert_eq!(desk.scheduler.stats().waiting, 0);
    desk.finish();
    assert_eq!(desk.started(), [1]);
}

#[test]
fn a_token_in_flight_is_written_as_last_and_a_late_end_leaves_a_zombie() {
    let mut alone = desk(|_, _| {});
    alone.admit(request(1, 3, 5)).expect("room");
    alone.finish();
    let truth = alone.tokens(1, 0);

    let mut desk = desk(|limits, _| limits.depth = 2);
    let stop = Arc::from([truth[1]]);
    desk.admit(Request { stop_tokens: stop, ..request(1, 3, 5) }).expect("room");
    desk.submit().expect("the prompt");
    desk.submit().expect("a row on a token nobody knows");
    assert_eq!(desk.batch.tokens, [Token::Last]);
    desk.collect();
    desk.submit().expect("another one");
    desk.collect();
    assert_eq!(desk.end(1, 0), Some(Finish::StopToken));
    assert_eq!(desk.scheduler.stats().slots_used, 1, "a step still writes there");
    desk.collect();
    assert_eq!(desk.tokens(1, 0), truth[..2], "the late token is dropped");
    assert!(desk.scheduler.is_idle());
    assert_eq!(desk.scheduler.stats().slots_used, 0);
}

#[test]
fn no_row_is_planned_past_the_last_token() {
    let mut desk = desk(|limits, _| limits.depth = 3);
    desk.admit(request(1, 3, 2)).expect("room");
    assert!(desk.submit().is_some());
    assert!(desk.submit().is_some());
    assert!(desk.submit().is_none(), "two tokens are on their way");
    desk.collect();
    desk.collect();
    assert_eq!(desk.end(1, 0), Some(Finish::Length));
}

#[test]
fn a_masked_sequence_waits_for_its_tokens() {
    let mut desk = desk(|limits, _| limits.depth = 2);
    desk.admit(Request { masked: true, ..request(1, 3, 4) }).expect("room");
    assert!(desk.submit().is_some());
    assert_eq!(desk.scheduler.outputs().collect::<Vec<_>>(), [(RequestId(1), 0)]);
    assert!(desk.submit().is_none(), "its mask needs the token in flight");
    desk.collect();
    assert!(desk.submit().is_some());
    desk.cancel(1);
    desk.collect();
}

#[test]
fn whole_prompts_take_turns_with_decode_rows() {
    let mut desk = desk(|limits, policy| {
        limits.prefill = Prefill::Whole;
        policy.step_tokens_max = 8;
    });
    desk.admit(request(1, 4, 20)).expect("room");
    desk.step();
    for id in 2..=5 {
        desk.admit(request(id, 20, 3)).expect("room");
    }
    let mut since_decode = 0;
    while desk.end(1, 0).is_none() {
        desk.step();
        let decodes = desk.batch.parts.iter().any(|p| p.slot == SeqSlot(0));
        since_decode = if decodes { 0 } else { since_decode + 1 };
        assert!(since_decode <= 1, "decode rows never wait for two steps");
        let whole = |p: &gimbal_batch::Part| p.rows == 1 || (p.start, p.rows) == (0, 20);
        assert!(desk.batch.parts.iter().all(whole), "a prompt is computed in one step");
    }
    desk.finish();
    let too_long = desk.admit(request(9, 30, 3));
    assert!(matches!(too_long, Err(Refusal::TooLong { max_model_len: 32, .. })));
}

#[test]
fn buckets_bound_the_batch_and_take_turns() {
    let bucket = |sequences, rows_each| gimbal_batch::Bucket { sequences, rows_each, context: 64 };
    let mut desk = desk(|limits, _| {
        limits.shape = Shape::Buckets(vec![bucket(1, 16), bucket(2, 1), bucket(4, 1)]);
    });
    for id in 1..=6 {
        desk.admit(request(id, 20, 6)).expect("room");
    }
    let mut kinds = Vec::new();
    while desk.step() {
        assert!(desk.scheduler.stats().running <= 4, "the largest bucket holds four");
        kinds.push(if desk.rows().iter().any(|rows| *rows > 1) { 'p' } else { 'd' });
    }
    let kinds: String = kinds.into_iter().collect();
    assert!(kinds.starts_with("pp"), "nothing to decode at first: {kinds}");
    assert!(!kinds[2..].contains("ppp"), "decode rows do not starve: {kinds}");
    assert!(desk.scheduler.is_idle());
    assert!(matches!(
        desk.admit(request(9, 60, 5)),
        Err(Refusal::TooLong { max_model_len: 64, .. })
    ));
}

#[test]
fn a_started_request_tells_its_wait_once() {
    let mut desk = desk(|_, policy| policy.prefix_cache = true);
    desk.now = Micros(10);
    desk.admit(request(1, 9, 3)).expect("room");
    desk.now = Micros(35);
    desk.finish();
    let started = |id, cached_tokens, waited| Event::Started {
        id: RequestId(id),
        cached_tokens,
        waited: Micros(waited),
    };
    assert_eq!(desk.events[0], started(1, 0, 25));
    desk.admit(Request { id: RequestId(2), ..request(1, 9, 3) }).expect("room");
    desk.finish();
    assert_eq!(desk.events.iter().filter(|e| **e == started(2, 8, 0)).count(), 1);
    assert_eq!(desk.started(), [1, 2]);
}

#[test]
fn prompts_leave_decode_rows_their_pace() {
    let mut desk = desk(|limits, policy| {
        (limits.kv.blocks, limits.context_tokens_max) = (1000, 4000);
        policy.step_time_max = Some(Micros(300));
    });
    desk.admit(request(1, 3, 500)).expect("room");
    desk.step();
    desk.admit(request(2, 900, 2)).expect("room");
    let mut rows = Vec::new();
    while desk.end(2, 0).is_none() {
        desk.submit().expect("a prompt is waiting");
        rows.push(desk.rows()[1]);
        // A step takes 100 µs and 10 µs for each row, so 19 prompt rows fit beside a decode row.
        desk.now.0 += 100 + 10 * u64::from(desk.rows().iter().sum::<u32>());
        desk.collect();
    }
    assert_eq!(rows[0], 31, "nothing was measured yet");
    assert!(rows[5..20].iter().all(|rows| (18..=19).contains(rows)), "{rows:?}");
    desk.cancel(1);
    desk.admit(request(3, 40, 2)).expect("room");
    desk.step();
    assert_eq!(desk.rows(), [32], "nobody decodes, so nobody waits");
    desk.finish();
}
