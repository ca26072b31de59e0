//! The sampler against its definitions.

use gimbal_batch::{AdapterSlot, Open, TokenMask};

use super::*;

fn ids(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().map(|id| TokenId::new(*id)).collect()
}

fn id(id: u32) -> Token {
    Token::Id(TokenId::new(id))
}

fn part(rows: u32, start: u32) -> Part {
    Part { slot: SeqSlot(0), rows, start, blocks: 0..1, adapter: AdapterSlot(0) }
}

fn batch(tokens: &[Token], start: u32, opens: Vec<Open>) -> Batch {
    let rows = u32::try_from(tokens.len()).expect("few");
    Batch { tokens: tokens.to_vec(), parts: vec![part(rows, start)], opens, ..Batch::default() }
}

fn open(tokens: &[u32], params: SampleParams) -> Open {
    let prompt = u32::try_from(tokens.len()).expect("few");
    Open { slot: SeqSlot(0), tokens: ids(tokens).into(), prompt, params: Arc::new(params) }
}

fn sample_at(
    params: &SampleParams,
    position: u32,
    logits: &[f32],
    mask: Option<&[u32]>,
) -> Result<Answer, RowFault> {
    let mut sampler = Sampler::new(1);
    let history: Vec<u32> = vec![1; position as usize + 1];
    sampler
        .begin(&batch(&[id(1)], position, vec![open(&history, params.clone())]), &mut Vec::new());
    let mask = mask.map(|m| TokenMask(m.into()));
    let output = Output { row: 0, want: Want::Sample, mask };
    sampler.answer(&part(1, position), 0, &output, &mut logits.to_vec())
}

fn token(params: &SampleParams, logits: &[f32]) -> u32 {
    match sample_at(params, 0, logits, None) {
        Ok(Answer::Sample { token, .. }) => token.get(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn greedy_takes_the_first_maximum() {
    assert_eq!(token(&SampleParams::default(), &[1.0, 5.0, 5.0, 2.0]), 1);
}

#[test]
fn faults_are_named() {
    let greedy = SampleParams::default();
    assert_eq!(sample_at(&greedy, 0, &[1.0, f32::NAN], None), Err(RowFault::NotFinite));
    assert_eq!(sample_at(&greedy, 0, &[1.0, f32::INFINITY], None), Err(RowFault::NotFinite));
    assert_eq!(sample_at(&greedy, 0, &[1.0, 2.0], Some(&[0])), Err(RowFault::EmptyMask));
}

#[test]
fn a_mask_forbids() {
    let found = sample_at(&SampleParams::default(), 0, &[1.0, 9.0, 3.0], Some(&[0b101]));
    assert!(matches!(found, Ok(Answer::Sample { token, .. }) if token.get() == 2));
}

/// Every word of a mask, and what it does not reach.
#[test]
fn a_mask_is_applied_word_by_word() {
    let words = [0, u32::MAX, 0b1000_0010, 1];
    for length in [70, 96, 97, 128, 200] {
        let mask = TokenMask(words.into());
        let mut logits = vec![1.0; length];
        apply(&mask, &mut logits);
        for (id, logit) in (0..).zip(&logits) {
            assert_eq!(*logit == 1.0, mask.allows(TokenId::new(id)), "{id} of {length}");
        }
    }
}

/// Ends that come too early come where a grammar leaves nothing else.
#[test]
fn a_grammars_end_is_not_too_early() {
    // One that is named twice is one.
    let ends = [TokenId::new(1); 2].into();
    let params = SampleParams { min_tokens: 5, ends, ..Default::default() };
    for (mask, expect) in [(0b111, 2), (0b010, 1)] {
        let found = sample_at(&params, 0, &[1.0, 9.0, 3.0], Some(&[mask]));
        assert!(matches!(found, Ok(Answer::Sample { token, .. }) if token.get() == expect));
    }
}

/// Frequencies over 20,000 positions match the softmax: |observed − expected| within 4 standard
/// deviations of a binomial (1.5 %).
#[test]
fn noise_samples_the_distribution() {
    let logits = [0.0_f32, 1.0, 2.0, -1.0];
    let params = SampleParams { temperature: 0.8, seed: 7, ..SampleParams::default() };
    let mut counts = [0_u32; 4];
    for position in 0..20_000 {
        let mut kept =
            (0..4).zip(logits).map(|(id, l)| (id, l / 0.8 + gumbel(7, position, TokenId::new(id))));
        let first = kept.next().expect("four");
        let best = kept.fold(first, |a, b| if b.1 > a.1 { b } else { a });
        counts[best.0 as usize] += 1;
    }
    let weights = logits.map(|l| (l / 0.8).exp());
    let total: f32 = weights.iter().sum();
    for (count, weight) in counts.iter().zip(weights) {
        let share = *count as f32 / 20_000.0;
        assert!((share - weight / total).abs() < 0.015, "{counts:?}");
    }
    let Ok(Answer::Sample { token: a, .. }) = sample_at(&params, 9, &logits, None) else {
        panic!()
    };
    let Ok(Answer::Sample { token: b, .. }) = sample_at(&params, 9, &logits, None) else {
        panic!()
    };
    assert_eq!(a, b, "equal seed and position give equal tokens");
}

#[test]
fn filters_keep_what_they_say() {
    let with = |top_k, top_p, min_p| {
        let mut seen = [false; 5];
        for seed in 0..400 {
            let params = SampleParams {
                temperature: 1.0,
                top_k,
                top_p,
                min_p,
                seed,
                ..SampleParams::default()
            };
            seen[token(&params, &[0.0, 1.0, 2.0, 3.0, -30.0]) as usize] = true;
        }
        seen
    };
    assert_eq!(with(0, 1.0, 0.0), [true, true, true, true, false]);
    assert_eq!(with(2, 1.0, 0.0), [false, false, true, true, false]);
    // Probabilities are .032 .087 .237 .644: 0.7 needs two.
    assert_eq!(with(0, 0.7, 0.0), [false, false, true, true, false]);
    // A share of 0.1 of the best keeps e^-1 and e^-2, not e^-3.
    assert_eq!(with(0, 1.0, 0.1), [false, true, true, true, false]);
}

#[test]
fn penalties_read_the_history_up_to_the_row() {
    let params =
        SampleParams { presence_penalty: 1.0, frequency_penalty: 0.5, ..SampleParams::default() };
    let mut logits = vec![3.0, 3.0, 3.0];
    penalise(&ids(&[0, 1, 1, 1]), 1, &params, &mut logits);
    assert_eq!(logits, [3.0, 0.5, 3.0]);
    let params = SampleParams { repetition_penalty: 2.0, ..SampleParams::default() };
    let mut logits = vec![3.0, -3.0, 3.0];
    penalise(&ids(&[0, 1]), 1, &params, &mut logits);
    assert_eq!(logits, [1.5, -6.0, 3.0]);
}

#[test]
fn last_is_the_sampled_token_and_drafts_are_overwritten() {
    let mut sampler = Sampler::new(1);
    let mut rows = Vec::new();
    let prompt = [id(5), id(6)];
    sampler.begin(&batch(&prompt, 0, vec![open(&[5, 6], SampleParams::default())]), &mut rows);
    let output = Output { row: 1, want: Want::Sample, mask: None };
    let answer = sampler.answer(&part(2, 0), 1, &output, &mut [0.0, 9.0]);
    assert!(matches!(answer, Ok(Answer::Sample { token, .. }) if token.get() == 1));
    sampler.begin(&batch(&[Token::Last], 2, Vec::new()), &mut rows);
    assert_eq!(rows, ids(&[1]));
    // Two drafts at 3 and 4 are rejected; the next step writes its own token at 3.
    sampler.begin(&batch(&[id(1), id(7), id(8)], 2, Vec::new()), &mut rows);
    sampler.begin(&batch(&[id(4)], 3, Vec::new()), &mut rows);
    assert_eq!(sampler.slots[0].tokens, ids(&[5, 6, 1, 4]));
}

#[test]
fn logprobs_are_of_the_raw_distribution() {
    let params = SampleParams { temperature: 0.1, logprobs: Some(2), ..SampleParams::default() };
    let Ok(Answer::Sample { token, logprob, top }) = sample_at(&params, 0, &[0.0, 2.0, 1.0], None)
    else {
        panic!()
    };
    assert_eq!(token.get(), 1);
    let expect = 2.0 - (1.0_f32 + 2.0_f32.exp() + 1.0_f32.exp()).ln();
    assert!((logprob - expect).abs() < 1e-6);
    assert_eq!(top.iter().map(|t| t.0.get()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn tokens_that_are_asked_for_are_told_in_their_order() {
    let logprob_ids = ids(&[2, 9, 0]).into();
    let params = SampleParams { logprobs: Some(1), logprob_ids, ..SampleParams::default() };
    let logits = [0.0, 2.0, 1.0];
    let Ok(Answer::Sample { logprob, top, .. }) = sample_at(&params, 0, &logits, None) else {
        panic!("a token")
    };
    let Ok(Answer::Score { scores, .. }) = score(&logits, &ids(&[1, 2, 0]), 0) else {
        panic!("finite")
    };
    let expect = [(TokenId::new(2), scores[1].logprob), (TokenId::new(0), scores[2].logprob)];
    assert_eq!((logprob, &top[..]), (scores[0].logprob, &expect[..]), "9 is no token");
}

/// A penalty changes the choice, not what is told of it.
#[test]
fn penalties_do_not_change_the_logprob_that_is_told() {
    let penalty =
        SampleParams { presence_penalty: 5.0, logprobs: Some(0), ..SampleParams::default() };
    let mut sampler = Sampler::new(1);
    let history = Open { prompt: 0, ..open(&[1], penalty) };
    sampler.begin(&batch(&[id(1)], 0, vec![history]), &mut Vec::new());
    let output = Output { row: 0, want: Want::Sample, mask: None };
    let answer = sampler.answer(&part(1, 0), 0, &output, &mut [0.0, 2.0, 1.0]);
    let Ok(Answer::Sample { token, logprob, top }) = answer else { panic!("{answer:?}") };
    assert_eq!((token.get(), top.len()), (2, 0));
    let expect = 1.0 - (1.0_f32 + 2.0_f32.exp() + 1.0_f32.exp()).ln();
    assert!((logprob - expect).abs() < 1e-6, "{logprob}, not {expect}");
}

#[test]
fn an_end_does_not_come_before_the_least_length() {
    let params = SampleParams { min_tokens: 3, ends: ids(&[2]).into(), ..SampleParams::default() };
    let (mut sampler, mut step) = (Sampler::new(1), Vec::new());
    let mut tokens = vec![0, 1];
    for expect in [1, 1, 1, 2, 2] {
        let rows = if tokens.len() == 2 { 2 } else { 1 };
        let start = u32::try_from(tokens.len()).expect("few") - rows;
        let mut batch = Batch::default();
        if start == 0 {
            let (tokens, params) = (ids(&[0, 1]).into(), Arc::new(params.clone()));
            batch.opens.push(gimbal_batch::Open { slot: SeqSlot(0), tokens, prompt: 2, params });
        }
        batch.tokens.extend(tokens[start as usize..].iter().map(|number| id(*number)));
        let (slot, adapter, blocks) = (SeqSlot(0), gimbal_batch::AdapterSlot(0), 0..0);
        let part = Part { slot, rows, start, blocks, adapter };
        batch.parts.push(part.clone());
        sampler.begin(&batch, &mut step);
        let output = Output { row: rows - 1, want: Want::Sample, mask: None };
        // The end is the most probable, then token 1.
        let answer = sampler.answer(&part, rows - 1, &output, &mut [0.0, 1.0, 2.0]);
        let Ok(Answer::Sample { token, .. }) = answer else { panic!("{answer:?} is no token") };
        assert_eq!(token.get(), expect, "output {}", tokens.len() - 2);
        tokens.push(token.get());
    }
}
