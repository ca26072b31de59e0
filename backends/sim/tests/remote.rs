//! A device at the other end of a socket, and several that act as one: equal answers, and every way
//! of failing told as such. The other end is a thread here; real processes are the binary's tests.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gimbal_batch::wire;
use gimbal_batch::{
    AdapterSlot, Answer, Batch, BlockId, Kv, Limits, Open, Output, Part, Prefill, SampleParams,
    Sampling, SeqSlot, Shape, StepId, Token, TokenId, Want,
};
use gimbal_hal::{Backend, DeviceError, Group, Remote, worker};
use gimbal_sim::{Config, Cost, Incident, Reads, Script, SimBackend, Time};

const VOCAB: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(20);

fn limits(blocks: u32) -> Limits {
    Limits {
        kv: Kv { blocks, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 16 },
        prefill: Prefill::Chunked,
        sequences_max: 2,
        context_tokens_max: 16,
        vocab: VOCAB,
        adapters_max: 0,
        inject_width: 0,
        depth: 2,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

fn sim(blocks: u32, script: &Script) -> Box<dyn Backend> {
    let (cost, time, reads) = (Cost::NONE, Time::Real, Reads::All);
    let config = Config { vocab: VOCAB, cost, time, reads, script: script.clone() };
    Box::new(SimBackend::new(limits(blocks), config))
}

/// A worker on a thread, and the device that speaks to it.
fn remote(script: &Script) -> (Remote, JoinHandle<std::io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let script = script.clone();
    let other = std::thread::spawn(move || {
        worker::run(theirs, |opening| {
            assert_eq!(opening, b"open it");
            Ok(sim(8, &script))
        })
    });
    (Remote::over(ours, b"open it", PATIENCE).expect("it opens"), other)
}

/// The first step of a prompt, or the one after it.
fn batch(step: u64) -> Batch {
    let ids = [3, 1, 4, 1, 5].map(TokenId::new);
    let (slot, adapter) = (SeqSlot(0), AdapterSlot(0));
    let (tokens, start, opens) = match step {
        0 => {
            let params = Arc::new(SampleParams::default());
            let open = Open { slot, tokens: ids.into(), prompt: 5, params };
            (ids.map(Token::Id).to_vec(), 0, vec![open])
        }
        n => (vec![Token::Last], 4 + u32::try_from(n).expect("few steps"), Vec::new()),
    };
    let rows = u32::try_from(tokens.len()).expect("few rows");
    Batch {
        tokens,
        parts: vec![Part { slot, rows, start, blocks: 0..3, adapter }],
        blocks: vec![BlockId(2), BlockId(5), BlockId(1)],
        outputs: vec![Output { row: rows - 1, want: Want::Sample, mask: None }],
        opens,
        ..Batch::default()
    }
}

/// Runs steps two at a time and gives their tokens.
fn tokens(device: &mut dyn Backend, steps: u64) -> Result<Vec<TokenId>, DeviceError> {
    within(device, steps, LONG)
}

fn within(
    device: &mut dyn Backend,
    steps: u64,
    timeout: Duration,
) -> Result<Vec<TokenId>, DeviceError> {
    let mut tokens = Vec::new();
    for step in 0..steps + 1 {
        if step < steps {
            device.submit(StepId(step), &batch(step))?;
        }
        if step == 0 {
            continue;
        }
        let (found, outcome) = device.collect(timeout)?;
        assert_eq!(found, StepId(step - 1));
        match &outcome[..] {
            [Ok(Answer::Sample { token, .. })] => tokens.push(*token),
            other => panic!("one sample, not {other:?}"),
        }
    }
    Ok(tokens)
}

fn lost(answer: Result<Vec<TokenId>, DeviceError>, expect: &str) {
    match answer {
        Err(DeviceError::Lost { why }) => assert!(why.contains(expect), "{expect:?} in {why:?}"),
        other => panic!("a loss was expected, not {other:?}"),
    }
}

#[test]
fn a_device_behind_a_socket_answers_as_it_does_here() {
    let alone = tokens(&mut *sim(8, &Script::default()), 7).expect("alive");
    let (mut device, other) = remote(&Script::default());
    assert_eq!(device.limits(), &limits(8));
    assert_eq!(tokens(&mut device, 7).expect("alive"), alone);
    drop(device);
    other.join().expect("no panic").expect("a closed socket is the end");
}

#[test]
fn what_a_device_says_of_its_end_crosses_the_socket() {
    let (mut device, other) = remote(&Script::new(&[(3, Incident::Lost)]));
    lost(tokens(&mut device, 7), "");
    other.join().expect("no panic").expect("it told so");
    for (fault, expect) in [
        (DeviceError::OutOfMemory { need_bytes: 5, have_bytes: 3 }, "5 bytes needed, 3 available"),
        (DeviceError::Model { why: "no such file".into() }, "no such file"),
        (
            DeviceError::Library { library: "lib".into(), why: "too old".into() },
            "lib cannot be used",
        ),
    ] {
        let (ours, theirs) = UnixStream::pair().expect("a socket");
        let other = std::thread::spawn(move || worker::run(theirs, |_| Err(fault)));
        let error = Remote::over(ours, b"", PATIENCE).expect_err("it cannot be opened");
        assert!(error.to_string().contains(expect), "{error}");
        other.join().expect("no panic").expect("it told so");
    }
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let other = std::thread::spawn(move || worker::run(theirs, |_| panic!("a slip")));
    let error = Remote::over(ours, b"", PATIENCE).expect_err("it cannot be opened");
    assert!(error.to_string().contains("a bug in the backend: a slip"), "{error}");
    other.join().expect("it caught it").expect("it told so");
}

/// The other end says these bytes after its greeting, and then nothing.
fn says(bytes: &[u8], greets: bool) -> Result<Vec<TokenId>, DeviceError> {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket");
    let bytes = bytes.to_vec();
    let other = std::thread::spawn(move || {
        let mut hello = Vec::new();
        wire::write_hello(&limits(8), &mut hello).expect("legal");
        if greets {
            theirs.write_all(&hello).expect("open");
        }
        theirs.write_all(&bytes).expect("open");
        // Until the device lets go, as a process that hangs.
        let mut rest = Vec::new();
        drop(theirs.read_to_end(&mut rest));
    });
    let patience = Duration::from_millis(50);
    let slice = Duration::from_millis(5);
    let answer = Remote::over(ours, b"", patience).and_then(|mut device| {
        let mut answer = within(&mut device, 1, slice);
        // A step that is not answered stays queued, until patience ends.
        while matches!(answer, Err(DeviceError::Timeout { .. })) {
            answer = device.collect(slice).map(|_| panic!("nothing was answered"));
        }
        answer
    });
    other.join().expect("no panic");
    answer
}

#[test]
fn broken_messages_end_the_worker_and_nothing_else() {
    let mut answer = Vec::new();
    wire::write_answer(StepId(0), &Vec::new(), &mut answer).expect("short");
    let mut wrong = Vec::new();
    let outcome =
        vec![Ok(Answer::Sample { token: TokenId::new(1), logprob: 0.0, top: Vec::new() })];
    wire::write_answer(StepId(7), &outcome, &mut wrong).expect("short");
    let mut hello = Vec::new();
    wire::write_hello(&limits(8), &mut hello).expect("legal");
    for (bytes, greets, expect) in [
        (&b"\x05\x00\x00\x00\x01HTTP"[..], false, "foreign bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", false, "bytes in a frame, at most"),
        (b"\x00\x00\x00\x00", true, "a frame needs 1 bytes"),
        (b"\x01\x00\x00\x00\x09", true, "9 is no kind of message from a device"),
        (b"\xff\xff\xff\xff", true, "bytes in a frame, at most"),
        (b"\x05\x00\x00\x00\x03ab", true, "no answer for"),
        (&answer, true, ""),
        (&wrong, true, "step 7 instead of 0"),
        (&hello, true, "second greeting"),
    ] {
        lost(says(bytes, greets), expect);
    }
}

#[test]
fn illegal_steps_end_a_worker_with_an_error() {
    for bytes in [&b"\x05\x00\x00\x00\x02abcd"[..], b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"] {
        let (mut ours, theirs) = UnixStream::pair().expect("a socket");
        let other =
            std::thread::spawn(move || worker::run(theirs, |_| Ok(sim(8, &Script::default()))));
        ours.write_all(b"\x00\x00\x00\x00").expect("open");
        ours.write_all(bytes).expect("open");
        let error = other.join().expect("no panic").expect_err("no message of ours");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    }
}

#[test]
fn a_group_is_as_good_as_its_worst_rank() {
    let alone = tokens(&mut *sim(8, &Script::default()), 7).expect("alive");
    let group = |scripts: &[Script]| {
        Group::new(scripts.iter().map(|script| sim(8, script)).collect()).expect("equal limits")
    };
    let healthy = [Script::default(), Script::default(), Script::default()];
    assert_eq!(tokens(&mut group(&healthy), 7).expect("alive"), alone);
    for (rank, incident) in [(0, Incident::Lost), (1, Incident::LostAtSubmit), (2, Incident::Lost)]
    {
        let mut scripts = healthy.clone().map(|_| Script::default());
        scripts[rank] = Script::new(&[(4, incident)]);
        let mut broken = group(&scripts);
        lost(tokens(&mut broken, 7), &format!("rank {rank} of 3"));
        // Nothing more is heard of any.
        lost(tokens(&mut broken, 1), &format!("rank {rank} of 3"));
        // A script's incident happens once: the group that is opened again works.
        assert_eq!(tokens(&mut group(&scripts), 7).expect("alive"), alone);
    }
    let unequal = Group::new(vec![sim(8, &Script::default()), sim(7, &Script::default())]);
    let error = unequal.expect_err("they differ").to_string();
    assert!(error.contains("rank 1 has other limits"), "{error}");
}

#[test]
fn a_slow_rank_is_waited_for_and_its_step_stays_queued() {
    let slow = Script::new(&[(0, Incident::Slow(Duration::from_millis(60)))]);
    let mut group = Group::new(vec![sim(8, &Script::default()), sim(8, &slow)]).expect("equal");
    group.submit(StepId(0), &batch(0)).expect("alive");
    let early = group.collect(Duration::from_millis(1));
    assert!(matches!(early, Err(DeviceError::Timeout { step: StepId(0), .. })), "{early:?}");
    assert_eq!(group.collect(LONG).expect("it comes").0, StepId(0));
}
