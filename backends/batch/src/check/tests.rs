//! Every rule of `check.rs`, at its boundary.

use std::sync::Arc;

use crate::*;

pub(crate) fn limits() -> Limits {
    Limits {
        kv: Kv { blocks: 8, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 6 },
        prefill: Prefill::Chunked,
        sequences_max: 2,
        context_tokens_max: 16,
        vocab: 40,
        adapters_max: 2,
        inject_width: 3,
        depth: 1,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

fn part(slot: u32, rows: u32, start: u32, blocks: std::ops::Range<u32>) -> Part {
    Part { slot: SeqSlot(slot), rows, start, blocks, adapter: AdapterSlot(0) }
}

fn token(id: u32) -> Token {
    Token::Id(TokenId::new(id))
}

fn ids(ids: &[u32]) -> Arc<[TokenId]> {
    ids.iter().map(|id| TokenId::new(*id)).collect()
}

fn batch(parts: Vec<Part>, rows: usize) -> Batch {
    let (tokens, blocks) = (vec![token(1); rows], (0..4).map(BlockId).collect());
    Batch { tokens, parts, blocks, ..Batch::default() }
}

fn expect(batch: &Batch, limits: &Limits, broken: Option<&str>) {
    let found = batch.check(limits).map_err(|illegal| illegal.0);
    let broken = broken.map(|rule| format!("broken rule: {rule}"));
    assert_eq!(found.err(), broken, "{batch:?}");
}

#[test]
fn illegal_parts_name_the_rule() {
    let check = |parts, rows, broken| expect(&batch(parts, rows), &limits(), broken);
    check(vec![part(0, 5, 0, 0..2), part(1, 1, 7, 2..4)], 6, None);
    check(vec![part(0, 0, 0, 0..1)], 0, Some("a part has rows"));
    check(vec![part(0, 5, 0, 0..1)], 5, Some("a block table covers its part"));
    check(vec![part(0, 5, 0, 0..2)], 6, Some("parts cover the rows exactly"));
    check(vec![part(0, 5, 0, 0..2)], 4, Some("parts cover the rows exactly"));
    check(vec![part(2, 1, 0, 0..1)], 1, Some("a part's slot exists"));
    let twice = vec![part(0, 1, 0, 0..1), part(0, 1, 0, 1..2)];
    check(twice, 2, Some("a slot has at most one part"));
    let many = vec![part(0, 4, 0, 0..1), part(1, 4, 0, 1..2)];
    check(many, 8, Some("rows are within rows_max"));
    check(vec![part(0, 1, 16, 0..4)], 1, Some("a part ends within the context"));
    check(vec![part(0, 2, u32::MAX, 0..4)], 2, Some("a part ends within the context"));
    check(vec![part(0, u32::MAX, 0, 0..4)], 1, Some("a part ends within the context"));
    check(vec![part(0, 1, 0, 0..9)], 1, Some("a block table lies in the batch"));
    check(vec![part(0, 1, 0, std::ops::Range { start: 2, end: 1 })], 1, {
        Some("a block range is not reversed")
    });
    let mut strange = batch(vec![part(0, 2, 0, 0..1)], 2);
    strange.tokens[1] = token(40);
    expect(&strange, &limits(), Some("a token is one of the vocabulary"));
    strange.tokens = vec![Token::Last; 2];
    expect(&strange, &limits(), Some("a part has at most one Token::Last"));
    strange.tokens[0] = token(39);
    expect(&strange, &limits(), None);
    strange.blocks[0] = BlockId(8);
    expect(&strange, &limits(), Some("a block exists"));
}

#[test]
fn a_step_must_fit_one_bucket() {
    let shape = Shape::Buckets(vec![
        Bucket { sequences: 1, rows_each: 8, context: 16 },
        Bucket { sequences: 2, rows_each: 1, context: 16 },
    ]);
    let limits = Limits { shape, ..limits() };
    let check = |parts: Vec<Part>, broken| {
        let rows = parts.iter().map(|p| p.rows as usize).sum();
        expect(&batch(parts, rows), &limits, broken);
    };
    check(vec![part(0, 8, 0, 0..2)], None);
    check(vec![part(0, 1, 3, 0..1), part(1, 1, 0, 1..2)], None);
    let wide = vec![part(0, 2, 0, 0..1), part(1, 1, 0, 1..2)];
    check(wide, Some("the step fits a bucket"));
}

#[test]
fn an_adapter_exists_or_the_batch_is_illegal() {
    let with = |adapter| {
        let part = Part { adapter: AdapterSlot(adapter), ..part(0, 1, 0, 0..1) };
        batch(vec![part], 1)
    };
    let none = Limits { adapters_max: 0, ..limits() };
    expect(&with(0), &none, None);
    expect(&with(1), &none, Some("a part's adapter exists"));
    expect(&with(2), &limits(), None);
    expect(&with(3), &limits(), Some("a part's adapter exists"));
    let load = |slots: &[u16], generation: u64| {
        let path = "adapter".into();
        let adapter = Some(Arc::new(Adapter { generation, path }));
        let adapters = slots.iter().map(|slot| (AdapterSlot(*slot), adapter.clone())).collect();
        Batch { adapters, ..with(0) }
    };
    expect(&load(&[1, 2], 7), &limits(), None);
    expect(&load(&[1], 7), &none, Some("a loaded adapter's slot exists"));
    expect(&load(&[0], 7), &limits(), Some("a loaded adapter's slot exists"));
    expect(&load(&[3], 7), &limits(), Some("a loaded adapter's slot exists"));
    let order = Some("adapters are in order of their slots, each once");
    expect(&load(&[1, 1], 7), &limits(), order);
    expect(&load(&[2, 1], 7), &limits(), order);
    expect(&load(&[1], 0), &limits(), Some("an adapter has a generation"));
    let unload = Batch { adapters: vec![(AdapterSlot(1), None)], ..with(0) };
    expect(&unload, &limits(), None);
}

#[test]
fn only_what_the_device_gives_is_wanted() {
    let want = |want, mask: Option<usize>| {
        let mask = mask.map(|words| TokenMask(vec![1; words].into()));
        let outputs = vec![Output { row: 0, want, mask }];
        Batch { outputs, ..batch(vec![part(0, 1, 0, 0..1)], 1) }
    };
    let scores_of = |ids: &[u32], top| want(Want::Score { ids: self::ids(ids), top }, None);
    let score = |ids: &[u32]| scores_of(ids, 20);
    let sampling = Sampling { scores_max: 2, ..Sampling::HOST };
    let scores = Limits { sampling, ..limits() };
    let sampling = Sampling { masks: false, scores_max: 0, rows: false, ..Sampling::HOST };
    let none = Limits { sampling, ..limits() };
    expect(&want(Want::Sample, None), &none, None);
    expect(&want(Want::Row, None), &scores, None);
    expect(&want(Want::Row, None), &none, Some("the device gives output rows"));
    expect(&score(&[1, 39]), &scores, None);
    let few = Some("the device scores so many tokens");
    expect(&score(&[1, 2, 3]), &scores, few);
    expect(&score(&[]), &none, few);
    let alternatives = Some("the device gives so many alternatives");
    expect(&scores_of(&[1], 21), &scores, alternatives);
    expect(&score(&[40]), &scores, Some("a scored token is one of the vocabulary"));
    let sampling = Sampling { drafts: false, ..Sampling::HOST };
    let plain = Limits { sampling, ..limits() };
    let last = Some("the device samples of a part's last row only");
    for (row, want, broken) in
        [(1, Want::Sample, None), (0, Want::Sample, last), (0, Want::Row, None)]
    {
        let outputs = vec![Output { row, want, mask: None }];
        let guesses = Batch { outputs, ..batch(vec![part(0, 2, 0, 0..1)], 2) };
        expect(&guesses, &plain, broken);
        expect(&guesses, &limits(), None);
    }
    expect(&want(Want::Sample, Some(2)), &scores, None);
    expect(&want(Want::Sample, Some(2)), &none, Some("the device takes masks"));
    expect(&want(Want::Row, Some(2)), &scores, Some("a mask is for a sample"));
    let covers = Some("a mask covers the vocabulary");
    expect(&want(Want::Sample, Some(1)), &scores, covers);
    expect(&want(Want::Sample, Some(3)), &scores, covers);
    let mut late = want(Want::Sample, None);
    late.outputs[0].row = 1;
    expect(&late, &limits(), Some("an output is one of the rows"));
    let outputs = [1, 0].map(|row| Output { row, want: Want::Sample, mask: None }).to_vec();
    let reversed = Batch { outputs, ..batch(vec![part(0, 2, 0, 0..1)], 2) };
    expect(&reversed, &limits(), Some("outputs are in row order"));
    let mut crowded = want(Want::Sample, None);
    crowded.outputs = vec![crowded.outputs[0].clone(); 3];
    expect(&crowded, &limits(), None);
    crowded.outputs.push(crowded.outputs[0].clone());
    expect(&crowded, &limits(), Some("a row has at most three outputs"));
}

#[test]
fn injected_rows_are_of_the_step_and_of_the_models_width() {
    let with = |rows: &[u32], width: usize| {
        let numbers: Arc<[f32]> = vec![0.5; width].into();
        let inject = rows.iter().map(|row| (*row, Arc::clone(&numbers))).collect();
        Batch { inject, ..batch(vec![part(0, 3, 0, 0..1)], 3) }
    };
    expect(&with(&[0, 2], 3), &limits(), None);
    let none = Limits { inject_width: 0, ..limits() };
    expect(&with(&[], 0), &none, None);
    expect(&with(&[0], 0), &none, Some("the device takes injected rows"));
    expect(&with(&[3], 3), &limits(), Some("an injected row is one of the rows"));
    expect(&with(&[0], 2), &limits(), Some("an injected row is as wide as the model"));
    let order = Some("injected rows are in row order, each once");
    expect(&with(&[1, 1], 3), &limits(), order);
    expect(&with(&[2, 1], 3), &limits(), order);
}

#[test]
fn slots_open_and_close_once_with_what_fits() {
    let open = |slot, tokens: &[u32], prompt| Open {
        slot: SeqSlot(slot),
        tokens: ids(tokens),
        prompt,
        params: Arc::default(),
    };
    let check = |opens: Vec<Open>, closes: &[u32], broken| {
        let closes = closes.iter().copied().map(SeqSlot).collect();
        expect(&Batch { opens, closes, ..Batch::default() }, &limits(), broken);
    };
    check(vec![open(0, &[1], 1), open(1, &[1, 39], 0)], &[1, 0], None);
    check(vec![open(2, &[1], 1)], &[], Some("an opened slot exists"));
    check(vec![open(0, &[1], 1); 2], &[], Some("a slot is opened at most once"));
    check(vec![], &[2], Some("a closed slot exists"));
    check(vec![], &[1, 1], Some("a slot is closed at most once"));
    let tokens = Some("an opened slot has tokens for its context");
    check(vec![open(0, &[], 0)], &[], tokens);
    check(vec![open(0, &[1; 16], 1)], &[], None);
    check(vec![open(0, &[1; 17], 1)], &[], tokens);
    check(vec![open(0, &[1], 2)], &[], Some("a prompt is some of the tokens"));
    check(vec![open(0, &[40], 1)], &[], Some("an opened slot's tokens are of the vocabulary"));
    let params = SampleParams { logprobs: Some(21), ..SampleParams::default() };
    let asks = Open { params: Arc::new(params), ..open(0, &[1], 1) };
    check(vec![asks], &[], Some("the device understands an opened slot's parameters"));
}

#[test]
fn limits_that_nothing_can_run_on_are_refused() {
    let check = |change: fn(&mut Limits), broken: Option<&str>| {
        let mut limits = limits();
        change(&mut limits);
        let broken = broken.map(|rule| format!("broken rule: {rule}"));
        assert_eq!(limits.check().map_err(|illegal| illegal.0).err(), broken);
    };
    check(|_| {}, None);
    check(|l| l.kv.blocks = 1 << 26, None);
    let blocks = Some("a device has blocks, up to 2^26");
    check(|l| l.kv.blocks = 0, blocks);
    check(|l| l.kv.blocks = (1 << 26) + 1, blocks);
    check(|l| l.kv.block_tokens = 0, Some("a block holds tokens"));
    let slots = Some("a device has sequence slots, up to 65536");
    check(|l| l.sequences_max = 0, slots);
    check(|l| l.sequences_max = 65_537, slots);
    check(|l| l.depth = 256, None);
    check(|l| l.depth = 0, Some("from 1 to 256 steps are in flight"));
    check(|l| l.depth = 257, Some("from 1 to 256 steps are in flight"));
    check(|l| l.context_tokens_max = 0, Some("a sequence has tokens"));
    check(|l| l.vocab = 0, Some("a model knows tokens"));
    check(|l| l.adapters_max = 4097, Some("at most 4096 adapters are loaded"));
    check(|l| l.shape = Shape::Varlen { rows_max: 0 }, Some("a step has rows"));
    let bucket = |rows_each| Bucket { sequences: 1, rows_each, context: 1 };
    let with = |buckets: Vec<Bucket>, broken: &str| {
        let limits = Limits { shape: Shape::Buckets(buckets), ..limits() };
        assert_eq!(limits.check(), Err(Illegal(format!("broken rule: {broken}"))));
    };
    with(Vec::new(), "a device has from 1 to 4096 buckets");
    with(vec![bucket(1); 4097], "a device has from 1 to 4096 buckets");
    with(vec![bucket(1), bucket(0)], "a bucket has sequences, rows and context");
}
