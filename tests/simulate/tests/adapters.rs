//! Which adapter a row is computed with: what is loaded, when, and who may change it.

use gimbal_batch::{AdapterSlot, Limits};
use gimbal_scheduler::{AdapterRefusal, Policy, Refusal, Request};
use gimbal_sim::Incident;
use gimbal_simulate::desk::{Desk, limits, policy, request};

fn adapted(id: u64, slot: u16) -> Request {
    Request { adapter: AdapterSlot(slot), ..request(id, 9, 4) }
}

/// The same prompt and output under another name.
fn again(id: u64, first: &Request) -> Request {
    Request { id: gimbal_scheduler::RequestId(id), ..first.clone() }
}

fn slots(desk: &Desk) -> Vec<(u16, Option<u64>)> {
    let slots = desk.batch.adapters.iter();
    slots.map(|(slot, adapter)| (slot.0, adapter.as_ref().map(|a| a.generation))).collect()
}

#[test]
fn adapters_are_loaded_with_the_next_step_and_once() {
    let mut desk = Desk::new(limits(), policy());
    desk.load(2, 5).expect("nobody uses it");
    desk.load(1, 4).expect("nobody uses it");
    desk.load(2, 6).expect("nobody uses it yet");
    assert!(!desk.step(), "an adapter alone is no step");
    desk.admit(adapted(1, 2)).expect("loaded");
    desk.step();
    assert_eq!(slots(&desk), [(1, Some(4)), (2, Some(6))]);
    desk.step();
    assert_eq!(slots(&desk), []);
    desk.finish();
    desk.scheduler.load_adapter(AdapterSlot(2), None).expect("nobody uses it now");
    desk.admit(request(2, 9, 4)).expect("room");
    desk.step();
    assert_eq!(slots(&desk), [(2, None)]);
    desk.finish();
}

#[test]
fn an_adapter_in_use_stays_and_one_that_is_not_loaded_is_refused() {
    let mut desk = Desk::new(limits(), policy());
    let refused = Refusal::Invalid { what: "the adapter must be loaded" };
    assert_eq!(desk.admit(adapted(1, 1)), Err(refused));
    assert_eq!(desk.admit(adapted(1, 3)), Err(refused), "there is no such slot");
    for slot in [0, 3] {
        assert_eq!(desk.load(slot, 4), Err(AdapterRefusal::NoSlot { adapters_max: 2 }));
    }
    desk.load(1, 4).expect("nobody uses it");
    desk.admit(adapted(1, 1)).expect("loaded");
    desk.admit(adapted(2, 1)).expect("loaded");
    assert_eq!(desk.load(1, 5), Err(AdapterRefusal::InUse { requests: 2 }));
    let emptied = desk.scheduler.load_adapter(AdapterSlot(1), None);
    assert_eq!(emptied, Err(AdapterRefusal::InUse { requests: 2 }));
    desk.cancel(1);
    desk.finish();
    desk.load(1, 5).expect("nobody uses it now");
    let none = Limits { adapters_max: 0, ..limits() };
    let mut plain = Desk::new(none, policy());
    assert_eq!(plain.load(1, 4), Err(AdapterRefusal::NoSlot { adapters_max: 0 }));
}

#[test]
fn other_weights_in_one_slot_share_nothing_and_say_other_things() {
    let mut desk = Desk::new(limits(), Policy { prefix_cache: true, ..policy() });
    let first = adapted(1, 1);
    for (id, generation, hits) in [(1, 4, 0), (2, 4, 8), (3, 5, 8), (4, 5, 16)] {
        desk.load(1, generation).expect("nobody uses it");
        desk.admit(again(id, &first)).expect("loaded");
        desk.finish();
        assert_eq!(desk.scheduler.stats().prefix_hit_tokens, hits, "request {id}");
    }
    assert_eq!(desk.tokens(1, 0), desk.tokens(2, 0));
    assert_eq!(desk.tokens(3, 0), desk.tokens(4, 0));
    assert_ne!(desk.tokens(1, 0), desk.tokens(3, 0));
}

#[test]
fn a_lost_device_is_told_of_its_adapters_again() {
    let incidents = [(1, Incident::Lost)];
    let mut desk = Desk::with_incidents(limits(), policy(), &incidents);
    desk.load(1, 4).expect("nobody uses it");
    desk.load(2, 5).expect("nobody uses it");
    desk.scheduler.load_adapter(AdapterSlot(2), None).expect("nobody uses it");
    desk.admit(adapted(1, 1)).expect("loaded");
    desk.step();
    assert_eq!(slots(&desk), [(1, Some(4)), (2, None)]);
    desk.step();
    desk.step();
    assert_eq!(slots(&desk), [(1, Some(4))]);
    desk.finish();
    assert_eq!(desk.tokens(1, 0).len(), 4);
}
