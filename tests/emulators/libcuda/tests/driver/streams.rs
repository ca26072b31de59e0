//! Streams and events, in both orders.

use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::{result, sys};

use super::kernels::{WORDS, mix, small};
use super::process::{code, context, in_both_orders, on};

#[test]
fn an_event_orders_two_streams() {
    in_both_orders("streams::an_event_orders_two_streams", || {
        let context = context();
        let kernel = small(&context, "mix");
        let streams = [(); 2].map(|()| context.new_stream().expect("a stream"));
        // Either stream begins.
        for [one, other] in [[0, 1], [1, 0]] {
            let words = streams[one].clone_htod(&[1_u32; WORDS]).expect("a copy");
            mix(&streams[one], &kernel, &words, 10);
            streams[other].join(&streams[one]).expect("a wait");
            mix(&streams[other], &kernel, &words, 1);
            assert_eq!(streams[other].clone_dtoh(&words).expect("a copy"), [25; WORDS]);
        }
    });
}

#[test]
fn a_forgotten_event_is_seen_in_one_of_the_orders() {
    for (order, expect) in [("first", 25), ("last", 16)] {
        let machine = format!("order = \"{order}\"\nname = \"{expect}\"");
        on(&machine, "streams::a_forgotten_event_is_seen_in_one_of_the_orders", || {
            let context = context();
            let kernel = small(&context, "mix");
            let streams = [(); 2].map(|()| context.new_stream().expect("a stream"));
            let words = streams[0].clone_htod(&[1_u32; WORDS]).expect("a copy");
            streams[0].synchronize().expect("fine");
            mix(&streams[0], &kernel, &words, 10);
            mix(&streams[1], &kernel, &words, 1);
            context.synchronize().expect("fine");
            let found = streams[0].clone_dtoh(&words).expect("a copy");
            let name = context.name().expect("a name");
            assert_eq!(format!("EMULATED {}", found[0]), name);
        });
    }
}

#[test]
fn the_default_stream_and_blocking_ones_wait_for_each_other() {
    in_both_orders("streams::the_default_stream_and_blocking_ones_wait_for_each_other", || {
        let context = context();
        let kernel = small(&context, "mix");
        let default = context.default_stream();
        let blocking = result::stream::create(result::stream::StreamKind::Default).expect("fine");
        // SAFETY: it is of this context, and destroyed by nobody before the end of the process.
        let blocking = unsafe { context.wrap_borrowed_stream(blocking) };
        let words = default.clone_htod(&[1_u32; WORDS]).expect("a copy");
        mix(&default, &kernel, &words, 10);
        mix(&blocking, &kernel, &words, 1);
        mix(&default, &kernel, &words, 3);
        assert_eq!(blocking.clone_dtoh(&words).expect("a copy"), [53; WORDS]);
    });
}

#[test]
fn an_event_that_was_never_recorded_is_not_waited_for() {
    in_both_orders("streams::an_event_that_was_never_recorded_is_not_waited_for", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let event = context.new_event(None).expect("an event");
        stream.wait(&event).expect("no wait");
        stream.synchronize().expect("fine");
        event.synchronize().expect("fine");
        assert_eq!(event.try_is_complete(), Ok(true));
    });
}

#[test]
fn a_wait_is_for_what_was_recorded_before_it() {
    in_both_orders("streams::a_wait_is_for_what_was_recorded_before_it", || {
        let context = context();
        let kernel = small(&context, "mix");
        let streams = [(); 2].map(|()| context.new_stream().expect("a stream"));
        let words = streams[0].clone_htod(&[1_u32; WORDS]).expect("a copy");
        let event = streams[0].record_event(None).expect("an event");
        streams[1].wait(&event).expect("a wait");
        // Each would wait for the other, if a wait were for what comes later.
        mix(&streams[1], &kernel, &words, 0);
        let back = streams[1].record_event(None).expect("an event");
        streams[0].wait(&back).expect("a wait");
        event.record(&streams[0]).expect("again");
        assert_eq!(streams[0].clone_dtoh(&words).expect("a copy"), [2; WORDS]);
    });
}

#[test]
fn who_asks_often_enough_sees_an_end() {
    in_both_orders("streams::who_asks_often_enough_sees_an_end", || {
        let context = context();
        let kernel = small(&context, "mix");
        let stream = context.new_stream().expect("a stream");
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        let begin = stream.record_event(timed).expect("an event");
        mix(&stream, &kernel, &words, 1);
        mix(&stream, &kernel, &words, 1);
        let end = stream.record_event(timed).expect("an event");
        assert_eq!(end.try_is_complete(), Ok(false));
        // SAFETY: both events are of this context.
        let early = unsafe { result::event::elapsed(begin.cu_event(), end.cu_event()) };
        assert_eq!(code(early), sys::CUresult::CUDA_ERROR_NOT_READY);
        let asked = (1..10).find(|_| end.try_is_complete() == Ok(true));
        assert!(asked.is_some_and(|asked| asked > 1), "{asked:?}");
        // A copy, two kernels, and the event itself.
        assert!((begin.elapsed_ms(&end).expect("a time") - 0.003).abs() < 1e-6);
    });
}

#[test]
fn an_event_that_is_recorded_again_has_not_happened() {
    in_both_orders("streams::an_event_that_is_recorded_again_has_not_happened", || {
        let context = context();
        let kernel = small(&context, "mix");
        let stream = context.new_stream().expect("a stream");
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        stream.synchronize().expect("fine");
        let event = stream.record_event(timed).expect("an event");
        mix(&stream, &kernel, &words, 1);
        event.record(&stream).expect("again");
        // One piece of work: the first record.
        assert_eq!(event.try_is_complete(), Ok(false));
        // SAFETY: the event is of this context.
        let early = unsafe { result::event::elapsed(event.cu_event(), event.cu_event()) };
        assert_eq!(code(early), sys::CUresult::CUDA_ERROR_NOT_READY);
        stream.synchronize().expect("fine");
        assert_eq!(event.elapsed_ms(&event), Ok(0.0));
    });
}

#[test]
fn memory_of_the_host_is_read_when_the_driver_says() {
    on("", "streams::memory_of_the_host_is_read_when_the_driver_says", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let mut there = stream.alloc_zeros::<u32>(4).expect("memory");
        // Pageable memory may change once the call is back.
        let mut pageable = vec![1_u32; 4];
        stream.memcpy_htod(&pageable, &mut there).expect("a copy");
        pageable.fill(2);
        assert_eq!(stream.clone_dtoh(&there).expect("a copy"), [1; 4]);
        // Pinned memory may not: here it is read late. Whoever changes it too early sees it.
        // SAFETY: it is written before it is read.
        let mut pinned = unsafe { context.alloc_pinned::<u32>(4) }.expect("memory");
        let at = pinned.as_mut_ptr().expect("fine");
        let fill = |value: u32| {
            // SAFETY: four words are there, and nothing runs that reads them.
            unsafe { std::slice::from_raw_parts_mut(at, 4) }.fill(value);
        };
        fill(3);
        stream.memcpy_htod(&pinned, &mut there).expect("a copy");
        fill(4);
        assert_eq!(stream.clone_dtoh(&there).expect("a copy"), [4; 4]);
        // And it is written late.
        fill(0);
        stream.memcpy_dtoh(&there, &mut pinned).expect("a copy");
        // SAFETY: nothing runs that writes it.
        assert_eq!(unsafe { at.read() }, 0);
        stream.synchronize().expect("fine");
        assert_eq!(pinned.as_slice().expect("fine"), [4; 4]);
    });
}

#[test]
fn a_function_of_the_host_runs_in_its_stream() {
    static HAS_RUN: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(argument: *mut std::ffi::c_void) {
        // It may call nothing of the driver.
        let refused = result::ctx::get_current();
        let is_refused =
            refused == Err(result::DriverError(sys::CUresult::CUDA_ERROR_NOT_PERMITTED));
        HAS_RUN.store(is_refused && argument.addr() == 7, Ordering::Relaxed);
    }
    on("", "streams::a_function_of_the_host_runs_in_its_stream", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let argument = std::ptr::without_provenance_mut(7);
        // SAFETY: the function takes any argument, and lives as long as the process.
        let code = unsafe { sys::cuLaunchHostFunc(stream.cu_stream(), Some(note), argument) };
        code.result().expect("fine");
        assert!(!HAS_RUN.load(Ordering::Relaxed));
        stream.synchronize().expect("fine");
        assert!(HAS_RUN.load(Ordering::Relaxed));
    });
}
