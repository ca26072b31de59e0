//! The simulated device itself: equal answers, scripted faults, time that passes.

use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    Adapter, AdapterSlot, Answer, Batch, BlockId, Kv, Limits, Open, Output, Part, Prefill,
    RowFault, SampleParams, Sampling, SeqSlot, Shape, StepId, Token, TokenId, Want,
};
use gimbal_hal::{Backend, DeviceError};
use gimbal_sim::{Chain, Config, Cost, Incident, Reads, Row, Script, SimBackend, Time, injected};

const VOCAB: u32 = 1000;

fn device(time: Time, reads: Reads, incidents: &[(u64, Incident)]) -> SimBackend {
    let limits = Limits {
        kv: Kv { blocks: 8, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 16 },
        prefill: Prefill::Chunked,
        sequences_max: 2,
        context_tokens_max: 16,
        vocab: VOCAB,
        adapters_max: 1,
        inject_width: 2,
        depth: 2,
        sampling: Sampling::HOST,
        batch_invariant: true,
    };
    let (cost, script) = (Cost { step_us: 5.0, ..Cost::NONE }, Script::new(incidents));
    SimBackend::new(limits, Config { vocab: VOCAB, cost, time, reads, script })
}

/// Rows of one sequence in slot 0, blocks 2 and 5, with an output at the last one.
fn batch(tokens: &[Token], start: u32, want: Want) -> Batch {
    let rows = u32::try_from(tokens.len()).expect("few rows");
    Batch {
        tokens: tokens.to_vec(),
        parts: vec![Part { slot: SeqSlot(0), rows, start, blocks: 0..2, adapter: AdapterSlot(0) }],
        blocks: vec![BlockId(2), BlockId(5)],
        outputs: vec![Output { row: rows - 1, want, mask: None }],
        ..Batch::default()
    }
}

/// The first step of a prompt of five tokens.
fn prompt(want: Want) -> Batch {
    let ids = [3, 1, 4, 1, 5].map(TokenId::new);
    let params = Arc::new(SampleParams::default());
    let open = Open { slot: SeqSlot(0), tokens: ids.into(), prompt: 5, params };
    Batch { opens: vec![open], ..batch(&ids.map(Token::Id), 0, want) }
}

fn token(answer: &Result<Answer, RowFault>) -> TokenId {
    match answer {
        Ok(Answer::Sample { token, .. }) => *token,
        other => panic!("a sample was asked, not {other:?}"),
    }
}

#[test]
fn two_steps_in_flight_give_the_tokens_of_a_hash() {
    for reads in [Reads::All, Reads::Newest] {
        let mut device = device(Time::Virtual, reads, &[]);
        device.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
        device.submit(StepId(1), &batch(&[Token::Last], 5, Want::Sample)).expect("alive");
        let chain = Chain::of(&[3, 1, 4, 1, 5].map(TokenId::new), 0);
        let first = chain.next_token(VOCAB, &SampleParams::default());
        let chain = chain.then(Row::of(first));
        let second = chain.next_token(VOCAB, &SampleParams::default());
        for (step, expect) in [(0, first), (1, second)] {
            let (id, outcome) = device.collect(Duration::ZERO).expect("alive");
            assert_eq!((id, token(&outcome[0])), (StepId(step), expect));
        }
    }
}

#[test]
fn scores_and_rows_are_answered() {
    let mut device = device(Time::Virtual, Reads::All, &[]);
    let ids: Arc<[TokenId]> = Arc::from([7, 8].map(TokenId::new));
    let want = Want::Score { ids: Arc::clone(&ids), top: 3 };
    device.submit(StepId(0), &prompt(want)).expect("alive");
    device.submit(StepId(1), &batch(&[Token::Id(TokenId::new(9))], 5, Want::Row)).expect("alive");
    let chain = Chain::of(&[3, 1, 4, 1, 5].map(TokenId::new), 0);
    let (_, scores) = device.collect(Duration::ZERO).expect("alive");
    assert_eq!(scores, [Ok(chain.score(VOCAB, &ids, 3))]);
    let Ok(Answer::Score { scores, top }) = &scores[0] else { panic!("scores were asked") };
    let logprobs: Vec<_> = scores.iter().map(|score| score.logprob).collect();
    assert_eq!(logprobs, [7, 8].map(|id| chain.logprob(TokenId::new(id))));
    assert_eq!(top.len(), 3);
    let (_, row) = device.collect(Duration::ZERO).expect("alive");
    assert_eq!(row, [Ok(Answer::Row(chain.then(Row::of(TokenId::new(9))).row()))]);
}

#[test]
fn incidents_happen_once_although_the_device_is_opened_again() {
    let fault = Incident::RowFault { output: 0 };
    let mut first = device(Time::Virtual, Reads::All, &[(0, fault), (1, Incident::Lost)]);
    first.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
    let (_, outcome) = first.collect(Duration::ZERO).expect("alive");
    assert_eq!(outcome, [Err(RowFault::NotFinite)]);
    let close = Batch { closes: vec![SeqSlot(0)], ..prompt(Want::Sample) };
    first.submit(StepId(1), &close).expect("the loss shows when it is collected");
    assert!(matches!(first.collect(Duration::ZERO), Err(DeviceError::Lost { .. })));
    let again = first.submit(StepId(2), &prompt(Want::Sample));
    assert!(matches!(again, Err(DeviceError::Lost { .. })), "a lost device stays lost");
}

#[test]
fn a_device_can_be_lost_at_submit() {
    let lost = [(1, Incident::LostAtSubmit)];
    let mut device = device(Time::Virtual, Reads::All, &lost);
    device.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
    let second = device.submit(StepId(1), &batch(&[Token::Last], 5, Want::Sample));
    assert!(matches!(second, Err(DeviceError::Lost { .. })));
    let first = device.collect(Duration::ZERO);
    assert!(matches!(first, Err(DeviceError::Lost { .. })), "the queued step is gone too");
}

#[test]
fn a_killed_device_works_again_when_opened_again() {
    let script = Script::default();
    let limits = device(Time::Virtual, Reads::All, &[]).limits().clone();
    let (cost, time, reads) = (Cost::NONE, Time::Virtual, Reads::All);
    let config = Config { vocab: VOCAB, cost, time, reads, script: script.clone() };
    let mut first = SimBackend::new(limits.clone(), config.clone());
    first.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
    script.kill();
    assert!(matches!(first.collect(Duration::ZERO), Err(DeviceError::Lost { .. })));
    let mut second = SimBackend::new(limits, config);
    second.submit(StepId(1), &prompt(Want::Sample)).expect("a new device");
    second.collect(Duration::ZERO).expect("alive");
    assert_eq!(script.steps(), 2);
}

#[test]
fn a_slow_step_times_out_and_stays() {
    let slow = Incident::Slow(Duration::from_secs(2));
    let mut real = device(Time::Real, Reads::All, &[(0, slow)]);
    real.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
    assert_eq!(real.newest_cost(), Duration::from_micros(2_000_005));
    for _ in 0..2 {
        let early = real.collect(Duration::ZERO);
        assert!(matches!(early, Err(DeviceError::Timeout { step: StepId(0), .. })));
    }
    let mut simulated = device(Time::Virtual, Reads::All, &[(0, slow)]);
    simulated.submit(StepId(0), &prompt(Want::Sample)).expect("alive");
    simulated.collect(Duration::ZERO).expect("virtual time passes at once");
}

#[test]
fn injected_rows_and_adapters_change_the_answer() {
    let answer = |generation: Option<u64>, inject: Vec<(u32, Arc<[f32]>)>| {
        let mut device = device(Time::Virtual, Reads::All, &[]);
        let mut batch = Batch { inject, ..prompt(Want::Sample) };
        if let Some(generation) = generation {
            let adapter = Arc::new(Adapter { generation, path: "a".into() });
            batch.adapters.push((AdapterSlot(1), Some(adapter)));
            batch.parts[0].adapter = AdapterSlot(1);
        }
        device.submit(StepId(0), &batch).expect("alive");
        let (_, outcome) = device.collect(Duration::ZERO).expect("alive");
        token(&outcome[0])
    };
    let row = |numbers: [f32; 2]| vec![(1, Arc::from(numbers))];
    let answers = [
        answer(None, Vec::new()),
        answer(Some(1), Vec::new()),
        answer(Some(2), Vec::new()),
        answer(None, row([0.0, 1.0])),
        answer(None, row([1.0, 0.0])),
        answer(Some(1), row([1.0, 0.0])),
    ];
    for (at, one) in answers.iter().enumerate() {
        assert!(!answers[..at].contains(one), "answer {at} is like an earlier one");
    }
    assert_eq!(answers[5], answer(Some(1), row([1.0, 0.0])));
    let numbers = injected(&[1.0, 0.0]);
    let rows = [3, 1, 4, 1, 5].map(TokenId::new).map(Row::of);
    let rows = (0..).zip(rows).map(|(at, row)| Row {
        adapter: 1,
        injected: if at == 1 { numbers } else { 0 },
        ..row
    });
    let chain = rows.fold(Chain::default(), Chain::then);
    assert_eq!(answers[5], chain.next_token(VOCAB, &SampleParams::default()));
}
