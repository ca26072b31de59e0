//! What a lane does with its device: opens it again beside its commands, goes on with a smaller one,
//! fills masks between planning and computing.
//!
//! Next: `bugs.rs`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use gimbal_batch::{Kv, Limits, TokenId, TokenMask};
use gimbal_engine::*;
use gimbal_hal::Backend;
use gimbal_sim::{Config, Cost, Incident, Reads, Script, SimBackend, Time};

use crate::rig::*;

/// A device of so many blocks.
fn sized(blocks: u32, script: &Script) -> Box<dyn Backend> {
    let limits = Limits { kv: Kv { blocks, block_tokens: 4 }, ..limits(1) };
    let (cost, time, reads) = (Cost::NONE, Time::Virtual, Reads::All);
    let config = Config { vocab: 256, cost, time, reads, script: script.clone() };
    Box::new(SimBackend::new(limits, config))
}

fn start(name: &str, source: LaneSource) -> Arc<Service> {
    named_service(name, policy(), source)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_back_smaller_goes_on_with_what_fits() {
    let alone = answer(&start("whole", sim_lane(1, &Script::default())), request("abc", 60)).await;
    let script = Script::new(&[(3, Incident::Lost)]);
    let again = script.clone();
    let (backend, steps) = held(sized(40, &script));
    let reopen = move || Ok(sized(20, &again));
    let service = start("smaller", LaneSource { backend, reopen: Box::new(reopen) });
    assert_eq!((service.limits().kv.blocks, service.max_model_len()), (40, 128));
    let mut begun = Vec::new();
    // The last one needs more than the smaller device can hold.
    for max_new_tokens in [60, 60, 60, 110] {
        let permit = service.permits(1).expect("room").remove(0);
        let generation = service.submit(permit, request("abc", max_new_tokens)).await;
        begun.push(generation.expect("it fits the first device"));
    }
    drop(steps);
    for (generation, max_new_tokens) in begun.into_iter().zip([60, 60, 60, 110]) {
        let choice = generation.complete().await.0.remove(0);
        if max_new_tokens == 60 {
            let tokens: Vec<u32> = choice.tokens.iter().map(|(token, _)| token.id).collect();
            assert_eq!((tokens, choice.finish), alone);
        } else {
            let FinishReason::Error(why) = &choice.finish else { panic!("{:?}", choice.finish) };
            assert!(why.contains("80"), "{why}");
        }
    }
    assert_eq!((service.limits().kv.blocks, service.max_model_len()), (20, 80));
    assert_eq!(service.states()[0].stats.losses, 1);
    let refused = service.generate(request("abc", 110)).await.expect_err("it does not fit");
    assert!(matches!(refused, Refusal::TooLong { max_model_len: 80, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_takes_commands_while_its_device_is_opened() {
    let script = Script::new(&[(0, Incident::Lost)]);
    let (go, wait) = sync_channel::<()>(1);
    let (again, wait) = (script.clone(), Mutex::new(wait));
    let reopen = move || {
        wait.lock().expect("no panic").recv().expect("the test says when");
        Ok(sim(1, &again))
    };
    let service =
        start("opening", LaneSource { backend: sim(1, &script), reopen: Box::new(reopen) });
    let begun = Arc::clone(&service);
    let first = tokio::spawn(async move { answer(&begun, request("abc", 3)).await });
    until(|| matches!(service.states()[0].condition, Condition::Reopening { .. })).await;
    assert_eq!(service.health(), Health::Serving, "it is not late yet");
    let permits = service.permits(1).expect("room");
    let permit = permits.into_iter().next().expect("one");
    let leaving = service.submit(permit, request("x", 3)).await.expect("it is taken meanwhile");
    assert_eq!(service.requests_inside(), 2);
    drop(leaving);
    until(|| service.requests_inside() == 1).await;
    go.send(()).expect("it waits");
    assert_eq!(first.await.expect("no panic").0.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_lane_whose_device_is_being_opened() {
    let (go, wait) = sync_channel::<()>(1);
    let wait = Mutex::new(wait);
    let reopen = move || {
        wait.lock().expect("no panic").recv().expect_err("the test lets go");
        Ok(sim(1, &Script::default()))
    };
    let backend = sim(1, &Script::new(&[(0, Incident::Lost)]));
    let service = start("stopped", LaneSource { backend, reopen: Box::new(reopen) });
    let begun = Arc::clone(&service);
    let first = tokio::spawn(async move { answer(&begun, request("abc", 3)).await });
    until(|| matches!(service.states()[0].condition, Condition::Reopening { .. })).await;
    let drained = service.drain(std::time::Duration::ZERO).await;
    assert_eq!((drained.cut, first.await.expect("no panic").1), (1, FinishReason::Drained));
    drop(go);
}

/// Allows tokens of one remainder by 3, in turns; masks are late until they are let go, and each one
/// but the first once more.
struct Turns {
    next: u32,
    is_new: bool,
    is_late: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

struct EveryThird {
    is_late: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Constrain for EveryThird {
    fn begin(&self, _ready: Ready) -> Box<dyn Constraint> {
        let (is_late, asked) = (Arc::clone(&self.is_late), Arc::clone(&self.asked));
        Box::new(Turns { next: 0, is_new: false, is_late, asked })
    }
}

fn every_third(remainder: u32) -> TokenMask {
    let word = |w: u32| {
        let allowed = (0..32).filter(|bit| (32 * w + bit) % 3 == remainder);
        allowed.fold(0_u32, |word, bit| word | 1 << bit)
    };
    TokenMask((0..8).map(word).collect())
}

impl Constraint for Turns {
    fn mask(&mut self) -> Option<TokenMask> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_late.load(Ordering::SeqCst) || std::mem::take(&mut self.is_new) {
            return None;
        }
        Some(every_third(self.next))
    }

    fn ahead(&mut self, _mask: &TokenMask, guesses: &[TokenId]) -> Vec<TokenMask> {
        (1..).zip(guesses).map(|(later, _)| every_third((self.next + later) % 3)).collect()
    }

    fn accept(&mut self, token: TokenId) {
        assert_eq!(token.get() % 3, self.next, "only what was allowed comes");
        self.next = (self.next + 1) % 3;
        self.is_new = true;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_hold_and_a_late_one_costs_its_own_row_only() {
    for depth in [1, 2] {
        let source = || sim_lane(depth, &Script::new(&[(20, Incident::Lost)]));
        let free = answer(&start("free", source()), request("abc", 30)).await;
        let service = start("masked", source());
        let (is_late, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let constrain: Arc<dyn Constrain> =
            Arc::new(EveryThird { is_late: Arc::clone(&is_late), asked: Arc::clone(&asked) });
        let masked =
            GenerateRequest { constrain: Some(constrain), choices: 2, ..request("xyz", 12) };
        let begun = Arc::clone(&service);
        let masked = tokio::spawn(async move {
            let generation = begun.generate(masked).await.expect("admitted");
            generation.complete().await.0
        });
        until(|| asked.load(Ordering::SeqCst) > 0).await;
        let noted = service.states()[0].progress;
        until(|| service.states()[0].progress > noted).await;
        assert_eq!(service.health(), Health::Serving, "the device is not what is late");
        // Nothing comes of the one that waits; everything of the other.
        assert_eq!(answer(&service, request("abc", 30)).await, free, "depth {depth}");
        assert!(!masked.is_finished());
        is_late.store(false, Ordering::SeqCst);
        for choice in masked.await.expect("no panic") {
            let tokens: Vec<u32> = choice.tokens.iter().map(|(token, _)| token.id % 3).collect();
            assert_eq!(tokens, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], "depth {depth}");
        }
    }
}
