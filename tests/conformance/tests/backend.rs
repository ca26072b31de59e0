//! The real model on the CPU backend: quality, and rows that do not depend on their neighbours.

use std::path::Path;

use gimbal_conformance::golden::{self, Quality};
use gimbal_conformance::quality::{Agreement, bootstrap_ratio, choice, kl};
use gimbal_conformance::rig::{Rig, Run};
use gimbal_conformance::{library_path, model_path};
use gimbal_model::Model;
use gimbal_model::interp::{self, Interp};

/// Teacher-forced on the f32 reference over 24 prompts of 64 positions: the choice is equal at
/// ≥ 99 % of positions with a gap ≥ 1.0 and ≥ 95 % of those ≥ 0.5, and the mean KL to the reference
/// is ≤ 1.05 × llama.cpp's on the same file. KV is f16 for both.
#[test]
fn quality_is_at_least_llama_cpps() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (model_path(), library_path()) else { return Ok(()) };
    let golden: Quality = golden::read("quality")?;
    let (mut wide, mut narrow, mut llama) = <(Agreement, Agreement, Agreement)>::default();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let reference = references(&model, &golden)?;
    let mut rig = Rig::open(&model, &library, 2)?;
    for (case, reference) in golden.cases.iter().zip(&reference) {
        let (whole, outputs) = teacher_forced(case);
        rig.restart(0);
        let logits = rig.forward(&[Run { sequence: 0, start: 0, tokens: &whole }], &outputs)?;
        for (i, logits) in logits.iter().enumerate() {
            assert_eq!(choice(&reference[i]), case.choice[i], "interpreter and numpy choose alike");
            ours.push(kl(&reference[i], logits)?);
            theirs.push(case.llama_kl[i]);
            let is_equal = choice(logits) == case.choice[i];
            if case.gap[i] >= 1.0 {
                wide.count(is_equal);
            }
            if case.gap[i] >= 0.5 {
                narrow.count(is_equal);
                llama.count(case.llama_choice[i] == case.choice[i]);
            }
        }
    }
    let mean = |kl: &[f64]| kl.iter().sum::<f64>() / kl.len() as f64;
    let ratio = mean(&ours) / mean(&theirs);
    let (low, high) = bootstrap_ratio(&ours, &theirs);
    eprintln!("positions {}; gap >= 1.0: {wide:?} {:.4}", ours.len(), wide.share());
    eprintln!("gap >= 0.5: {narrow:?} {:.4}, {}: {llama:?}", narrow.share(), golden.llama_cpp);
    eprintln!(
        "mean KL {:.6} (KV f16), llama.cpp {:.6} (KV {})",
        mean(&ours),
        mean(&theirs),
        golden.llama_kv
    );
    eprintln!("ratio {ratio:.3}, 95 % interval {low:.3} to {high:.3}");
    assert!(wide.share() >= 0.99, "{wide:?}");
    assert!(narrow.share() >= 0.95, "{narrow:?}");
    assert!(ratio <= 1.05, "{ratio}");
    Ok(())
}

/// The whole sequence and the rows whose logits count.
fn teacher_forced(case: &golden::QualityCase) -> (Vec<u32>, Vec<u32>) {
    let mut whole = case.prompt.clone();
    whole.extend(&case.tokens[..case.tokens.len() - 1]);
    let rows = u32::try_from(whole.len()).expect("short");
    let wanted = u32::try_from(case.tokens.len()).expect("short");
    (whole, (rows - wanted..rows).collect())
}

/// The interpreter's logits, on two threads.
fn references(model: &Path, golden: &Quality) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
    let model = Model::open(model)?;
    let half = golden.cases.len() / 2;
    let run = |cases: &[golden::QualityCase]| -> Vec<Vec<Vec<f32>>> {
        let mut interp = Interp::new(&model.graph, &model.weights);
        let one = |(sequence, case): (usize, &golden::QualityCase)| {
            let (whole, outputs) = teacher_forced(case);
            let outputs: Vec<usize> = outputs.iter().map(|o| *o as usize).collect();
            interp.forward(&[interp::Run { sequence, tokens: &whole }], &outputs)
        };
        cases.iter().enumerate().map(one).collect()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&golden.cases[..half]));
        let mut second = run(&golden.cases[half..]);
        let mut all = first.join().map_err(|_| anyhow::anyhow!("the interpreter panicked"))?;
        all.append(&mut second);
        Ok(all)
    })
}

/// Alone, in a mixed batch, chunked and token by token: the same bits, on one thread and on two.
#[test]
fn rows_are_bit_identical_in_any_company() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (model_path(), library_path()) else { return Ok(()) };
    let golden: Quality = golden::read("quality")?;
    let tokens =
        &golden.cases[4].prompt.iter().chain(&golden.cases[4].tokens).copied().collect::<Vec<_>>()
            [..45];
    let (other, third) = (&golden.cases[5].tokens, &golden.cases[6].tokens);
    let all: Vec<u32> = (0..45).collect();
    let mut rig = Rig::open(&model, &library, 2)?;
    let alone = rig.forward(&[Run { sequence: 0, start: 0, tokens }], &all)?;

    let mut mixed = rig.forward(&[Run { sequence: 1, start: 0, tokens: &other[..9] }], &[8])?;
    mixed.clear();
    let first = [
        Run { sequence: 1, start: 9, tokens: &other[9..10] },
        Run { sequence: 2, start: 0, tokens: &tokens[..17] },
        Run { sequence: 3, start: 0, tokens: &third[..33] },
    ];
    mixed.extend(rig.forward(&first, &(1..18).collect::<Vec<_>>())?);
    let second = [
        Run { sequence: 3, start: 33, tokens: &third[33..34] },
        Run { sequence: 2, start: 17, tokens: &tokens[17..] },
        Run { sequence: 1, start: 10, tokens: &other[10..11] },
    ];
    mixed.extend(rig.forward(&second, &(1..29).collect::<Vec<_>>())?);
    assert_eq!(mixed, alone, "mixed and chunked");

    for (start, expect) in alone.iter().enumerate() {
        let run = Run { sequence: 4, start: u32::try_from(start)?, tokens: &tokens[start..=start] };
        assert_eq!(&rig.forward(&[run], &[0])?[0], expect, "token {start} by itself");
    }

    let mut single = Rig::open(&model, &library, 1)?;
    let one_thread = single.forward(&[Run { sequence: 5, start: 0, tokens }], &all)?;
    assert_eq!(one_thread, alone, "one thread");
    Ok(())
}
