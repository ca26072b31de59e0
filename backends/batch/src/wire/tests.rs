//! Whatever is written is read again; whatever was not written so is a named error.

use std::ops::Range;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::frame::TEXT_BYTES_MAX;
use super::*;
use crate::check::tests::limits;
use crate::*;

/// The frame after its length, which is checked.
fn payload(frame: &[u8]) -> &[u8] {
    let (prefix, payload) = frame.split_first_chunk().expect("a frame has a length");
    assert_eq!(frame_bytes(*prefix), Ok(payload.len()));
    payload
}

fn frame(write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>) -> Vec<u8> {
    let mut out = vec![7; 99];
    write(&mut out).expect("it fits a frame");
    payload(&out).to_vec()
}

fn number() -> impl Strategy<Value = f32> {
    -1e6f32..1e6
}

fn numbers(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    vec(number(), count)
}

fn token() -> impl Strategy<Value = TokenId> {
    any::<u32>().prop_map(TokenId::new)
}

fn tokens(count: Range<usize>) -> impl Strategy<Value = Arc<[TokenId]>> {
    vec((0..40u32).prop_map(TokenId::new), count).prop_map(Into::into)
}

fn params() -> impl Strategy<Value = Arc<SampleParams>> {
    let penalties = (number(), number(), number());
    let parts = (number(), number(), number(), penalties, option::of(0..=20u8));
    let lists = (tokens(0..4), tokens(0..4));
    (parts, any::<(u32, u64, u32)>(), lists).prop_map(|(floats, integers, (ends, logprob_ids))| {
        let (temperature, top_p, min_p, penalties, logprobs) = floats;
        let (repetition_penalty, presence_penalty, frequency_penalty) = penalties;
        let (top_k, seed, min_tokens) = integers;
        Arc::new(SampleParams {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            seed,
            logprobs,
            logprob_ids,
            min_tokens,
            ends,
        })
    })
}

fn wants() -> impl Strategy<Value = (Want, Option<TokenMask>)> {
    let mask = [any::<u32>(), any::<u32>()].prop_map(|words| TokenMask(words.into()));
    prop_oneof![
        option::of(mask).prop_map(|mask| (Want::Sample, mask)),
        (tokens(0..3), 0..=20u8).prop_map(|(ids, top)| (Want::Score { ids, top }, None)),
        Just((Want::Row, None)),
    ]
}

fn part(slot: u32, rows: u32) -> impl Strategy<Value = Part> {
    (0..=16 - rows, 0..=2u16, 0..2u32).prop_map(move |(start, adapter, first)| Part {
        slot: SeqSlot(slot),
        rows,
        start,
        blocks: first..first + 4,
        adapter: AdapterSlot(adapter),
    })
}

fn open(slot: u32) -> impl Strategy<Value = Open> {
    (tokens(1..16), params(), any::<prop::sample::Index>()).prop_map(
        move |(tokens, params, prompt)| {
            let prompt = u32::try_from(prompt.index(tokens.len() + 1)).expect("few tokens");
            Open { slot: SeqSlot(slot), tokens, prompt, params }
        },
    )
}

/// Any legal batch of at most 6 rows.
fn batch() -> impl Strategy<Value = Batch> {
    let parts = (1..4u32, 1..4u32).prop_flat_map(|(a, b)| (part(1, a), part(0, b)));
    let row = (option::of(0..40u32), option::of(wants()), option::of(numbers(3)));
    let adapter = (any::<u64>(), "[a-zé/]{0,9}");
    let adapter = option::of(adapter.prop_map(|(generation, path)| {
        Arc::new(Adapter { generation: generation.max(1), path: path.into() })
    }));
    let loads = [option::of(adapter.clone()), option::of(adapter)];
    let slots = (option::of(open(0)), option::of(open(1)), any::<[bool; 2]>());
    let blocks = vec((0..8u32).prop_map(BlockId), 5);
    (parts, vec(row, 6), blocks, loads, slots).prop_map(|(parts, rows, blocks, loads, slots)| {
        let mut batch = Batch { blocks, ..Batch::default() };
        batch.parts.extend([parts.0, parts.1]);
        let count: u32 = batch.parts.iter().map(|part| part.rows).sum();
        let firsts = [0, batch.parts[0].rows];
        for (row, (id, output, numbers)) in (0..count).zip(rows) {
            let last = id.is_none() && firsts.contains(&row);
            let id = TokenId::new(id.unwrap_or(39));
            batch.tokens.push(if last { Token::Last } else { Token::Id(id) });
            batch.outputs.extend(output.map(|(want, mask)| Output { row, want, mask }));
            batch.inject.extend(numbers.map(|numbers| (row, numbers.into())));
        }
        let loads = (1..).zip(loads).filter_map(|(slot, load)| Some((AdapterSlot(slot), load?)));
        batch.adapters.extend(loads);
        batch.opens.extend([slots.0, slots.1].into_iter().flatten());
        let closed = (0..).zip(slots.2).filter(|(_, closed)| *closed);
        batch.closes.extend(closed.map(|(slot, _)| SeqSlot(slot)));
        batch
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let top = || vec((token(), number()), 0..4);
    let sample = (token(), number(), top());
    let score = (number(), any::<u32>()).prop_map(|(logprob, rank)| Score { logprob, rank });
    let answer = prop_oneof![
        sample.prop_map(|(token, logprob, top)| Ok(Answer::Sample { token, logprob, top })),
        (vec(score, 0..5), top()).prop_map(|(scores, top)| Ok(Answer::Score { scores, top })),
        numbers(0..5).prop_map(|row| Ok(Answer::Row(row))),
        Just(Err(RowFault::NotFinite)),
        Just(Err(RowFault::EmptyMask)),
    ];
    vec(answer, 0..9)
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let bucket = (1..9u32, 1..9u32, 1..9u32);
    let bucket =
        bucket.prop_map(|(sequences, rows_each, context)| Bucket { sequences, rows_each, context });
    let shape = prop_oneof![
        (1..=u32::MAX).prop_map(|rows_max| Shape::Varlen { rows_max }),
        vec(bucket, 1..5).prop_map(Shape::Buckets),
    ];
    let sampling = (any::<[bool; 5]>(), any::<[u32; 3]>(), any::<u8>());
    let sizes = (1..99u32, 1..=u32::MAX, 1..=65536u32, 1..=u32::MAX, 0..=4096u32);
    let rest = (any::<(bool, bool, u32)>(), 1..=256u32);
    (shape, sampling, sizes, rest).prop_map(|(shape, sampling, sizes, rest)| {
        let ([random, penalties, masks, rows, drafts], counts, logprobs_max) = sampling;
        let [top_k_max, ends_max, scores_max] = counts;
        let (blocks, block_tokens, sequences_max, context_tokens_max, adapters_max) = sizes;
        let ((whole, batch_invariant, inject_width), depth) = rest;
        let (kv, vocab) = (Kv { blocks, block_tokens }, context_tokens_max);
        let prefill = if whole { Prefill::Whole } else { Prefill::Chunked };
        let sampling = Sampling {
            random,
            top_k_max,
            penalties,
            masks,
            ends_max,
            logprobs_max,
            scores_max,
            rows,
            drafts,
        };
        Limits {
            kv,
            shape,
            prefill,
            sequences_max,
            context_tokens_max,
            vocab,
            adapters_max,
            inject_width,
            depth,
            sampling,
            batch_invariant,
        }
    })
}

/// Reads bytes as a device and as a device's caller would; what can be read is what was written.
fn read_any(bytes: &[u8], batch: &mut Batch) {
    let mut again = Vec::new();
    if let Ok(step) = read_submit(bytes, &limits(), batch) {
        write_submit(step, batch, &mut again).expect("as long as it was");
        assert_eq!(payload(&again), bytes);
    }
    let written = match read_reply(bytes) {
        Ok(Reply::Hello(limits)) => write_hello(&limits, &mut again),
        Ok(Reply::Fault(fault)) => write_fault(&fault, &mut again),
        Ok(Reply::Answer(answers)) => {
            let step = answers.step;
            let Ok(outcome) = answers.outcome(4) else { return };
            write_answer(step, &outcome, &mut again)
        }
        Err(_) => return,
    };
    written.expect("as long as it was");
    assert_eq!(payload(&again), bytes);
}

/// No beginning of a message is a message, nor is one with more behind it.
fn is_whole(message: &[u8], is_read: impl Fn(&[u8]) -> bool) {
    assert!(is_read(message));
    for end in 0..message.len() {
        assert!(!is_read(&message[..end]), "the first {end} of {} bytes", message.len());
    }
    assert!(!is_read(&[message, &[0]].concat()));
}

proptest! {
    #[test]
    fn a_step_is_read_as_it_was_written(batch in batch(), used in batch(), step: u64) {
        prop_assert_eq!(batch.check(&limits()), Ok(()));
        let written = frame(|out| write_submit(StepId(step), &batch, out));
        let mut read = used;
        prop_assert_eq!(read_submit(&written, &limits(), &mut read), Ok(StepId(step)));
        prop_assert_eq!(&read, &batch);
        is_whole(&written, |bytes| read_submit(bytes, &limits(), &mut Batch::default()).is_ok());
        prop_assert!(read_submit(&[], &limits(), &mut read).is_err());
        prop_assert_eq!(read, Batch::default(), "a batch that could not be read is empty");
    }

    #[test]
    fn an_outcome_is_read_as_it_was_written(outcome in outcome(), step: u64) {
        let written = frame(|out| write_answer(StepId(step), &outcome, out));
        let read = |bytes: &[u8], outputs| match read_reply(bytes) {
            Ok(Reply::Answer(answers)) if answers.step == StepId(step) => {
                answers.outcome(outputs).ok()
            }
            _ => None,
        };
        let found = read(&written, outcome.len());
        prop_assert_eq!(found.as_ref(), Some(&outcome));
        is_whole(&written, |bytes| read(bytes, outcome.len()).is_some());
        prop_assert_eq!(read(&written, outcome.len() + 1), None);
        prop_assert!(outcome.is_empty() || read(&written, outcome.len() - 1).is_none());
    }

    #[test]
    fn limits_are_read_as_they_were_written(limits in some_limits()) {
        let written = frame(|out| write_hello(&limits, out));
        let read = |bytes: &[u8]| match read_reply(bytes) {
            Ok(Reply::Hello(limits)) => Some(limits),
            _ => None,
        };
        prop_assert_eq!(read(&written), Some(limits));
        is_whole(&written, |bytes| read(bytes).is_some());
    }

    #[test]
    fn spoiled_bytes_are_read_as_written_or_not_at_all(
        batch in batch(),
        outcome in outcome(),
        limits in some_limits(),
        spoils in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let messages = [
            frame(|out| write_submit(StepId(1), &batch, out)),
            frame(|out| write_answer(StepId(1), &outcome, out)),
            frame(|out| write_hello(&limits, out)),
        ];
        for mut message in messages {
            for (at, byte) in &spoils {
                let at = at.index(message.len());
                message[at] = *byte;
                read_any(&message, &mut Batch::default());
            }
        }
    }

    #[test]
    fn foreign_bytes_are_read_as_written_or_not_at_all(bytes in vec(any::<u8>(), 0..99)) {
        read_any(&bytes, &mut Batch::default());
    }
}

#[test]
fn a_fault_is_read_as_it_was_written() {
    let text = || "CUDA_ERROR_ILLEGAL_ADDRESS: é".to_owned();
    let faults = [
        Fault::Memory { need_bytes: u64::MAX, have_bytes: 7 },
        Fault::Lost { why: text() },
        Fault::Model { why: String::new() },
        Fault::Library { library: "libcuda.so.1".to_owned(), why: text() },
        Fault::Bug { why: text() },
    ];
    for fault in faults {
        let written = frame(|out| write_fault(&fault, out));
        let read = |bytes: &[u8]| match read_reply(bytes) {
            Ok(Reply::Fault(fault)) => Some(fault),
            _ => None,
        };
        assert_eq!(read(&written), Some(fault));
        is_whole(&written, |bytes| read(bytes).is_some());
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let why = format!("a{}", "é".repeat(TEXT_BYTES_MAX));
    let written = frame(|out| write_fault(&Fault::Bug { why: why.clone() }, out));
    let Ok(Reply::Fault(Fault::Bug { why: read })) = read_reply(&written) else {
        panic!("a fault was written");
    };
    assert_eq!(read.len(), TEXT_BYTES_MAX - 1);
    assert!(why.starts_with(&read));
}

fn check(message: &[u8], expect: WireError) {
    let found = match message.first() {
        Some(&SUBMIT) => read_submit(message, &limits(), &mut Batch::default()).err(),
        _ => match read_reply(message) {
            Ok(Reply::Answer(answers)) => answers.outcome(1).err(),
            Ok(_) => None,
            Err(error) => Some(error),
        },
    };
    assert_eq!(found, Some(expect), "{message:?}");
}

#[test]
fn what_is_wrong_with_a_message_is_named() {
    check(&[], WireError::Short { what: "a kind of message", need: 1, have: 0 });
    check(&[9], WireError::Tag { what: "kind of message from a device", found: 9 });
    let mut batch = Batch::default();
    let hello = frame(|out| write_hello(&limits(), out));
    let found = read_submit(&hello, &limits(), &mut batch);
    let kind = WireError::Tag { what: "kind of message to a device", found: HELLO };
    assert_eq!(found, Err(kind));
    check(b"\x01HTTP/1.1 400", WireError::Foreign { found: *b"HTTP" });
    check(b"\x01GMBL\x03\x00", WireError::Version { found: 3 });
    let illegal = Limits { depth: 0, ..limits() };
    let broken = Illegal("broken rule: from 1 to 256 steps are in flight".to_owned());
    let message = frame(|out| write_hello(&illegal, out));
    check(&message, WireError::Illegal(broken));
    check(&[hello, vec![1, 2]].concat(), WireError::Long { bytes: 2 });
    let submit = |rest: &[u8]| [&[SUBMIT], &[0; 8][..], rest].concat();
    let rows = |found, max| WireError::TooMany { what: "rows", found, max };
    check(&submit(&[7, 0, 0, 0]), rows(7, 6));
    check(&submit(&[255; 4]), rows(u64::from(u32::MAX), 6));
    check(&submit(&[6, 0, 0, 0]), WireError::Short { what: "rows", need: 6, have: 0 });
    check(&submit(&[1, 0, 0, 0, 9]), WireError::Tag { what: "token", found: 9 });
    let strange = Batch { closes: vec![SeqSlot(2)], ..Batch::default() };
    let message = frame(|out| write_submit(StepId(0), &strange, out));
    let broken = Illegal("broken rule: a closed slot exists".to_owned());
    check(&message, WireError::Illegal(broken));
    let answer = |rest: &[u8]| [&[ANSWER], &[0; 8][..], rest].concat();
    let answers = |found| WireError::TooMany { what: "answers", found, max: 1 };
    check(&answer(&[2, 0, 0, 0, 3, 3]), answers(2));
    check(&answer(&[255; 4]), answers(u64::from(u32::MAX)));
    let none = WireError::Short { what: "one answer for each output", need: 1, have: 0 };
    check(&answer(&[0; 4]), none);
    check(&answer(&[1, 0, 0, 0, 5]), WireError::Tag { what: "answer", found: 5 });
    check(&[FAULT, 5], WireError::Tag { what: "fault", found: 5 });
    check(&[FAULT, 1, 1, 0, 0, 0, 255], WireError::Text { what: "a reason" });
}

#[test]
fn a_frames_length_is_bounded() {
    assert_eq!(frame_bytes([1, 0, 0, 0]), Ok(1));
    assert_eq!(frame_bytes(FRAME_BYTES_MAX.to_le_bytes()), Ok(1 << 28));
    let (what, found, max) = ("bytes in a frame", (1 << 28) + 1, 1 << 28);
    let long = WireError::TooMany { what, found, max };
    assert_eq!(frame_bytes((FRAME_BYTES_MAX + 1).to_le_bytes()), Err(long));
    assert!(frame_bytes([0; 4]).is_err());
    assert!(frame_bytes(*b"HTTP").is_err(), "a foreign greeting is too long");
}

#[test]
fn a_path_that_is_no_text_is_refused_when_it_is_written() {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::OsStr::from_bytes(b"\xff").into();
    let adapter = Some(Arc::new(Adapter { generation: 1, path }));
    let batch = Batch { adapters: vec![(AdapterSlot(1), adapter)], ..Batch::default() };
    let found = write_submit(StepId(0), &batch, &mut Vec::new());
    assert_eq!(found, Err(WireError::Text { what: "an adapter's path" }));
}
