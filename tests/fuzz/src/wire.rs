//! Messages between a server and a device in another process, read by both ends.

use std::sync::Arc;

use gimbal_batch::wire::{self, Fault, Reply, WireError};
use gimbal_batch::{
    Adapter, AdapterSlot, Answer, Batch, BlockId, Bucket, Kv, Limits, Open, Output, Part, Prefill,
    RowFault, SampleParams, Sampling, Score, SeqSlot, Shape, StepId, Token, TokenId, TokenMask,
    Want,
};

pub(crate) const WORDS: &[&str] = &["GMBL", "lora/a.safetensors", "libcuda.so.1"];

/// Answers that the caller waits for.
const OUTPUTS: usize = 3;

/// What can be read is what was written.
pub(crate) fn wire(bytes: &[u8]) {
    let mut batch = Batch::default();
    let mut again = Vec::new();
    match wire::read_submit(bytes, &limits(), &mut batch) {
        Ok(step) => {
            assert_eq!(batch.check(&limits()), Ok(()), "what is read is legal");
            is_same(wire::write_submit(step, &batch, &mut again), &again, bytes);
        }
        Err(_) => assert_eq!(batch, Batch::default(), "what cannot be read leaves nothing"),
    }
    match wire::read_reply(bytes) {
        Ok(Reply::Hello(limits)) => {
            assert_eq!(limits.check(), Ok(()), "what is read is legal");
            is_same(wire::write_hello(&limits, &mut again), &again, bytes);
        }
        Ok(Reply::Fault(fault)) => is_same(wire::write_fault(&fault, &mut again), &again, bytes),
        Ok(Reply::Answer(answers)) => {
            let step = answers.step;
            if let Ok(outcome) = answers.outcome(OUTPUTS) {
                assert_eq!(outcome.len(), OUTPUTS, "as many as were asked");
                is_same(wire::write_answer(step, &outcome, &mut again), &again, bytes);
            }
        }
        Err(_) => {}
    }
}

fn is_same(written: Result<(), WireError>, again: &[u8], bytes: &[u8]) {
    written.expect("as long as it was");
    let (prefix, payload) = again.split_first_chunk().expect("a length");
    assert_eq!(wire::frame_bytes(*prefix), Ok(bytes.len()));
    assert!(payload == bytes, "a message has one form");
}

fn limits() -> Limits {
    Limits {
        kv: Kv { blocks: 64, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 16 },
        prefill: Prefill::Chunked,
        sequences_max: 4,
        context_tokens_max: 64,
        vocab: 100,
        adapters_max: 2,
        inject_width: 3,
        depth: 2,
        sampling: Sampling { scores_max: 8, ends_max: 8, ..Sampling::HOST },
        batch_invariant: true,
    }
}

/// A batch with everything in it.
fn batch() -> Batch {
    let part = |slot, rows, start, blocks| {
        let adapter = AdapterSlot(if slot == 0 { 1 } else { 0 });
        Part { slot: SeqSlot(slot), rows, start, blocks, adapter }
    };
    let adapter = Arc::new(Adapter { generation: 9, path: "lora/a.safetensors".into() });
    let params = SampleParams {
        temperature: 0.7,
        logprobs: Some(2),
        logprob_ids: ids([6]),
        min_tokens: 4,
        ends: ids([2, 3]),
        ..SampleParams::default()
    };
    let output = |row, want, mask| Output { row, want, mask };
    let mask = Some(TokenMask(Arc::new([u32::MAX, 1, 0, 7])));
    Batch {
        tokens: vec![id(1), id(99), id(5), Token::Last],
        parts: vec![part(0, 3, 2, 0..2), part(3, 1, 4, 2..4)],
        blocks: [3, 4, 60, 61].map(BlockId).to_vec(),
        outputs: vec![
            output(1, Want::Score { ids: ids([7, 8]), top: 2 }, None),
            output(2, Want::Sample, mask),
            output(3, Want::Row, None),
        ],
        inject: vec![(0, Arc::new([0.5, -1.0, 2.0]))],
        adapters: vec![(AdapterSlot(1), Some(adapter)), (AdapterSlot(2), None)],
        opens: vec![Open {
            slot: SeqSlot(0),
            tokens: ids([4, 5, 1, 99, 5]),
            prompt: 5,
            params: Arc::new(params),
        }],
        closes: vec![SeqSlot(0), SeqSlot(2)],
    }
}

fn ids<const N: usize>(ids: [u32; N]) -> Arc<[TokenId]> {
    Arc::new(ids.map(TokenId::new))
}

fn id(id: u32) -> Token {
    Token::Id(TokenId::new(id))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let buckets = Shape::Buckets(vec![Bucket { sequences: 1, rows_each: 8, context: 64 }]);
    let compiled = Limits { shape: buckets, prefill: Prefill::Whole, ..limits() };
    let top = vec![(TokenId::new(7), -0.5), (TokenId::new(8), -1.5)];
    let scores = [(-1.0, 1), (-2.0, 5)].map(|(logprob, rank)| Score { logprob, rank }).to_vec();
    let outcome = vec![
        Ok(Answer::Sample { token: TokenId::new(7), logprob: -0.5, top: top.clone() }),
        Ok(Answer::Score { scores, top }),
        Err(RowFault::EmptyMask),
    ];
    let rows = vec![Ok(Answer::Row(vec![0.25; 4])); OUTPUTS];
    let library = Fault::Library { library: "libcuda.so.1".into(), why: "not found".into() };
    let seeds = vec![
        frame(|out| wire::write_submit(StepId(1), &batch(), out)),
        frame(|out| wire::write_submit(StepId(2), &Batch::default(), out)),
        frame(|out| wire::write_hello(&limits(), out)),
        frame(|out| wire::write_hello(&compiled, out)),
        frame(|out| wire::write_answer(StepId(1), &outcome, out)),
        frame(|out| wire::write_answer(StepId(2), &rows, out)),
        frame(|out| wire::write_fault(&library, out)),
        frame(|out| wire::write_fault(&Fault::Memory { need_bytes: 2, have_bytes: 1 }, out)),
    ];
    let read = wire::read_submit(&seeds[0], &limits(), &mut Batch::default());
    assert_eq!(read, Ok(StepId(1)), "the first seed is a legal step");
    seeds
}

fn frame(write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out).expect("it fits a frame");
    out.split_off(wire::PREFIX_BYTES)
}
