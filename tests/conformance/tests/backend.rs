//! The real model on the CPU backend: quality, and rows that do not depend on their neighbours.

use gimbal_conformance::golden::{self, Quality};
use gimbal_conformance::rig::{Rig, Run, platforms};
use gimbal_conformance::teacher::compare;
use gimbal_conformance::{library_path, model_path};
use gimbal_hal::KvDtype;

/// Teacher-forced on the f32 reference over 24 prompts of 64 positions: the choice is equal at
/// ≥ 99 % of positions with a gap ≥ 1.0 and ≥ 95 % of those ≥ 0.5, and the mean KL to the reference
/// is ≤ 1.05 × llama.cpp's on the same file with KV in f16; with ours in int8 ≤ 1.35 ×.
#[test]
fn quality_is_at_least_llama_cpps() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (model_path(), library_path()) else { return Ok(()) };
    let golden: Quality = golden::read("quality")?;
    compare(&model, &library, &golden)?.iter().try_for_each(|found| found.judge(&golden))
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

/// A short prompt and a step after it, by each table of kernels that this CPU has: the same bits.
#[test]
fn every_table_of_kernels_computes_the_model() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (model_path(), library_path()) else { return Ok(()) };
    let golden: Quality = golden::read("quality")?;
    let tokens = &golden.cases[4].prompt[..4];
    let mut expect: Option<Vec<Vec<f32>>> = None;
    for platform in platforms(&library) {
        let mut rig = Rig::open_on(&platform, &model, KvDtype::Int8)?;
        let mut found =
            rig.forward(&[Run { sequence: 0, start: 0, tokens: &tokens[..3] }], &[2])?;
        found.extend(rig.forward(&[Run { sequence: 0, start: 3, tokens: &tokens[3..] }], &[0])?);
        let expect = expect.get_or_insert_with(|| found.clone());
        assert!(found == *expect, "{platform:?} computes other bits than the scalar kernels");
    }
    Ok(())
}
