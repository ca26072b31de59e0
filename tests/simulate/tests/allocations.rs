//! A step of the steady state allocates nothing: counted by the allocator of this test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gimbal_batch::{Batch, StepId, wire};
use gimbal_simulate::bench::Crowd;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed to `System` unchanged; counting touches no allocated memory, and a
// thread-local `Cell` that is initialised at compile time does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this `layout`, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_steady_step_allocates_nothing() {
    for (sequences, prefix_cache) in [(32, false), (32, true), (256, true)] {
        let mut crowd = Crowd::new(sequences, prefix_cache);
        for _ in 0..50 {
            crowd.step(|_| {});
        }
        let mut allocations = 0;
        let mut before = 0;
        for _ in 0..500 {
            crowd.step(|begins| match begins {
                true => before = COUNT.get(),
                false => allocations += COUNT.get() - before,
            });
        }
        assert_eq!(allocations, 0, "{sequences} sequences, prefix cache: {prefix_cache}");
        assert!(crowd.stats().decode_tokens > 500 * u64::from(sequences), "everybody decoded");
    }
}

#[test]
fn a_steady_step_crosses_a_wire_without_allocations() {
    let (mut crowd, limits) = (Crowd::new(32, false), Crowd::limits(32));
    let (mut frame, mut read) = (Vec::new(), Batch::default());
    let mut allocations = 0;
    for step in 0..550 {
        crowd.step(|_| {});
        let before = COUNT.get();
        wire::write_submit(StepId(step), crowd.batch(), &mut frame).expect("it fits a frame");
        let payload = &frame[wire::PREFIX_BYTES..];
        let found = wire::read_submit(payload, &limits, &mut read);
        allocations += if step < 50 { 0 } else { COUNT.get() - before };
        assert_eq!(found, Ok(StepId(step)));
        assert_eq!(&read, crowd.batch());
    }
    // `Batch::check` makes one list of slots a step; frame and batch grow with the block tables.
    assert!(allocations <= 500 + 8, "{allocations} allocations");
}
