//! Capture of streams, graphs and their replay.

use cudarc::driver::result;
use cudarc::driver::sys::{
    CUgraphInstantiate_flags as Flags, CUresult, CUstreamCaptureMode as Mode,
    CUstreamCaptureStatus as Status,
};

use super::kernels::{WORDS, mix, small};
use super::process::{code, context, in_both_orders, on};

const GLOBAL: Mode = Mode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const RELAXED: Mode = Mode::CU_STREAM_CAPTURE_MODE_RELAXED;

#[test]
fn a_graph_replays_what_was_captured() {
    in_both_orders("graphs::a_graph_replays_what_was_captured", || {
        let context = context();
        let kernel = small(&context, "mix");
        let stream = context.new_stream().expect("a stream");
        let mut words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        stream.synchronize().expect("fine");
        stream.begin_capture(GLOBAL).expect("a capture");
        assert_eq!(stream.capture_status(), Ok(Status::CU_STREAM_CAPTURE_STATUS_ACTIVE));
        mix(&stream, &kernel, &words, 10);
        mix(&stream, &kernel, &words, 1);
        let graph = stream.end_capture(Flags(0)).expect("a graph").expect("a graph");
        // Nothing has run yet.
        assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [1; WORDS]);
        graph.upload().expect("fine");
        graph.launch().expect("a launch");
        assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [25; WORDS]);
        stream.memcpy_htod(&[0_u32; WORDS], &mut words).expect("a copy");
        graph.launch().expect("a launch");
        graph.launch().expect("a launch");
        assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [21 * 4 + 21; WORDS]);
    });
}

#[test]
fn a_graph_reads_the_hosts_memory_when_it_runs() {
    in_both_orders("graphs::a_graph_reads_the_hosts_memory_when_it_runs", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let mut words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        let mut source = vec![2_u32; WORDS];
        stream.begin_capture(GLOBAL).expect("a capture");
        stream.memcpy_htod(&source, &mut words).expect("a node");
        let graph = stream.end_capture(Flags(0)).expect("a graph").expect("a graph");
        for value in [3, 4] {
            source.fill(value);
            graph.launch().expect("a launch");
            assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [value; WORDS]);
        }
    });
}

#[test]
fn streams_that_fork_and_join_become_one_graph() {
    in_both_orders("graphs::streams_that_fork_and_join_become_one_graph", || {
        let context = context();
        let kernel = small(&context, "mix");
        let [main, side] = [(); 2].map(|()| context.new_stream().expect("a stream"));
        let (words, others) = (
            main.clone_htod(&[1_u32; WORDS]).expect("a copy"),
            main.clone_htod(&[2_u32; WORDS]).expect("a copy"),
        );
        main.synchronize().expect("fine");
        main.begin_capture(GLOBAL).expect("a capture");
        mix(&main, &kernel, &others, 5);
        side.join(&main).expect("a fork");
        mix(&side, &kernel, &others, 1);
        mix(&main, &kernel, &words, 3);
        main.join(&side).expect("a join");
        mix(&main, &kernel, &others, 0);
        let graph = main.end_capture(Flags(0)).expect("a graph").expect("a graph");
        graph.launch().expect("a launch");
        assert_eq!(main.clone_dtoh(&words).expect("a copy"), [5; WORDS]);
        assert_eq!(main.clone_dtoh(&others).expect("a copy"), [38; WORDS]);
    });
}

#[test]
fn branches_that_share_memory_show_the_order() {
    for (order, expect) in [("first", 25), ("last", 16)] {
        let machine = format!("order = \"{order}\"\nname = \"{expect}\"");
        let test = "graphs::branches_that_share_memory_show_the_order";
        let _told = on(&machine, test, || {
            let context = context();
            let kernel = small(&context, "mix");
            let [main, side] = [(); 2].map(|()| context.new_stream().expect("a stream"));
            let words = main.clone_htod(&[1_u32; WORDS]).expect("a copy");
            main.synchronize().expect("fine");
            main.begin_capture(GLOBAL).expect("a capture");
            side.join(&main).expect("a fork");
            mix(&main, &kernel, &words, 10);
            mix(&side, &kernel, &words, 1);
            main.join(&side).expect("a join");
            let graph = main.end_capture(Flags(0)).expect("a graph").expect("a graph");
            graph.launch().expect("a launch");
            let found = main.clone_dtoh(&words).expect("a copy");
            assert_eq!(context.name().expect("a name"), format!("EMULATED {}", found[0]));
        });
    }
}

#[test]
fn launches_of_one_graph_follow_each_other() {
    in_both_orders("graphs::launches_of_one_graph_follow_each_other", || {
        let context = context();
        let kernel = small(&context, "mix");
        let streams = [(); 2].map(|()| context.new_stream().expect("a stream"));
        for [one, other] in [[0, 1], [1, 0]] {
            let (one, other) = (&streams[one], &streams[other]);
            let words = one.clone_htod(&[1_u32; WORDS]).expect("a copy");
            one.synchronize().expect("fine");
            one.begin_capture(GLOBAL).expect("a capture");
            mix(one, &kernel, &words, 1);
            let graph = one.end_capture(Flags(0)).expect("a graph").expect("a graph");
            mix(one, &kernel, &words, 10);
            graph.launch().expect("a launch");
            // SAFETY: the graph and the stream are of this context.
            let launched =
                unsafe { result::graph::launch(graph.cu_graph_exec(), other.cu_stream()) };
            launched.expect("a launch");
            // The second waits for the first, and so for what came before that in its stream.
            assert_eq!(other.clone_dtoh(&words).expect("a copy"), [51; WORDS]);
        }
    });
}

#[test]
fn what_a_capture_cannot_have_ends_it() {
    in_both_orders("graphs::what_a_capture_cannot_have_ends_it", || {
        let context = context();
        let kernel = small(&context, "mix");
        let [main, side] = [(); 2].map(|()| context.new_stream().expect("a stream"));
        let words = main.clone_htod(&[1_u32; WORDS]).expect("a copy");
        main.synchronize().expect("fine");
        // Work that is not joined.
        main.begin_capture(GLOBAL).expect("a capture");
        mix(&main, &kernel, &words, 1);
        side.join(&main).expect("a fork");
        mix(&side, &kernel, &words, 1);
        let lost = main.end_capture(Flags(0));
        assert_eq!(code(lost), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        // A wait for the stream that records.
        main.begin_capture(GLOBAL).expect("a capture");
        assert_eq!(code(main.synchronize()), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        let lost = main.end_capture(Flags(0));
        assert_eq!(code(lost), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        // A wait for what was not captured.
        let before = side.record_event(None).expect("an event");
        main.begin_capture(GLOBAL).expect("a capture");
        assert_eq!(code(main.wait(&before)), CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        assert!(main.end_capture(Flags(0)).is_err());
        // An allocation in the capture.
        main.begin_capture(GLOBAL).expect("a capture");
        let more = main.alloc_zeros::<u32>(1);
        assert_eq!(code(more), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        assert!(main.end_capture(Flags(0)).is_err());
        // An event of a capture, asked from outside.
        main.begin_capture(RELAXED).expect("a capture");
        let inside = main.record_event(None).expect("an event");
        assert_eq!(code(inside.synchronize()), CUresult::CUDA_ERROR_CAPTURED_EVENT);
        assert!(main.end_capture(Flags(0)).is_err());
        // A stream that goes takes its capture with it: others may wait again.
        let gone = context.new_stream().expect("a stream");
        gone.begin_capture(GLOBAL).expect("a capture");
        drop(gone);
        context.synchronize().expect("nothing records");
        // The default stream does not record.
        let refused = context.default_stream().begin_capture(GLOBAL);
        assert_eq!(code(refused), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        // And nothing has run.
        assert_eq!(main.clone_dtoh(&words).expect("a copy"), [1; WORDS]);
    });
}
