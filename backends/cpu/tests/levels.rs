//! Every table of kernels that this processor has computes whole models, to the bit like the scalar one.
//!
//! `GIMBAL_TEST_KERNELS` names the tables that the processor must have, slowest first; without it any
//! are right. `cargo xtask arm64 --test` sets it for each core that it emulates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimbal_batch::{
    AdapterSlot, Batch, BlockId, Open, Output, Part, SampleParams, SeqSlot, Token, TokenId, Want,
};
use gimbal_cpu::{BLOCK_TOKENS, Cpu, Executor, KernelChoice, Kernels};
use gimbal_hal::{KvDtype, Quantize};
use gimbal_model::Model;
use gimbal_model::fuse::{Fused, fuse};

/// A prompt longer than a block and than one tile of rows.
const PROMPT: usize = 21;
/// Tokens after it, a row each.
const MORE: usize = 3;
const BLOCKS: usize = (PROMPT + MORE).div_ceil(BLOCK_TOKENS);

/// The tables that run here, by their names in the setting.
fn tables() -> Vec<(&'static str, &'static Kernels)> {
    let named = KernelChoice::ALL.into_iter().filter(|(_, choice)| *choice != KernelChoice::Auto);
    named.filter_map(|(name, choice)| Some((name, choice.table().ok()?.0))).collect()
}

/// Rows of one sequence; the last one's logits are wanted.
fn batch(ids: &[TokenId], start: usize) -> Batch {
    let number = |n: usize| u32::try_from(n).expect("few");
    let (rows, slot) = (number(ids.len()), SeqSlot(0));
    let part = |blocks| Part {
        slot,
        rows,
        start: number(start),
        blocks: 0..number(blocks),
        adapter: AdapterSlot(0),
    };
    let params = Arc::new(SampleParams::default());
    let open = Open { slot, tokens: ids.into(), prompt: rows, params };
    Batch {
        tokens: ids.iter().copied().map(Token::Id).collect(),
        parts: vec![part(BLOCKS)],
        blocks: (0..number(BLOCKS)).rev().map(BlockId).collect(),
        outputs: vec![Output { row: rows - 1, want: Want::Sample, mask: None }],
        opens: if start == 0 { vec![open] } else { Vec::new() },
        ..Batch::default()
    }
}

/// The logits after a prompt and after each of the tokens that follow.
fn logits(
    model: &Arc<Model>,
    kernels: &'static Kernels,
    quantize: Option<Quantize>,
    kv: KvDtype,
) -> Vec<u32> {
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let cpu = Arc::new(Cpu::new(2, kernels));
    let stored = gimbal_cpu::open(model, &fused, quantize, None, &cpu).expect("memory");
    let mut executor = Executor::new(model, &fused, &stored, (kv, BLOCKS), PROMPT, cpu.clone())
        .expect("memory for the cache");
    let (hidden, vocab) = executor.columns();
    let ids: Vec<TokenId> = (0..PROMPT + MORE)
        .map(|i| TokenId::new(u32::try_from((7 + 13 * i) % vocab).expect("a small vocabulary")))
        .collect();
    let mut all = Vec::new();
    let steps = std::iter::once((0, PROMPT)).chain((PROMPT..PROMPT + MORE).map(|i| (i, 1)));
    for (start, rows) in steps {
        let step = &ids[start..start + rows];
        executor.begin(&batch(step, start), step);
        let _turn = cpu.turn();
        let mut residual = vec![0.0; rows * hidden];
        for (index, node) in fused.iter().enumerate() {
            match node {
                Fused::Embed { .. } => executor.embed(index, &mut residual),
                Fused::Head(_) => executor.head(index, &residual),
                Fused::Attention(_) | Fused::FeedForward(_) => executor.block(index, &mut residual),
            }
        }
        all.extend(executor.logits().iter().map(|x| x.to_bits()));
    }
    all
}

fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families").join(name)
}

#[test]
fn the_tables_of_this_processor_are_those_it_must_have() {
    let names: Vec<&str> = tables().into_iter().map(|(name, _)| name).collect();
    eprintln!("tables of kernels that run on this processor: {}", names.join(" "));
    assert_eq!(names.first(), Some(&"scalar"));
    let fastest = KernelChoice::Auto.table().expect("there is one").0;
    let last = tables().pop().expect("there is one").1;
    assert!(std::ptr::eq(fastest, last), "{} is taken, not {}", fastest.name(), last.name());
    if let Ok(expect) = std::env::var("GIMBAL_TEST_KERNELS") {
        assert_eq!(names, expect.split_whitespace().collect::<Vec<_>>());
    }
}

/// GELU and SiLU, both orders of pairs, windows and biases are in these families; rounding gives the
/// types of eight and four bits.
#[test]
fn every_table_computes_whole_models_to_the_bit() {
    let mut executed = Vec::new();
    for name in ["gemma3", "llama", "qwen2"] {
        let model = Model::open(&family(name)).expect("a model of the repository");
        let model = Arc::new(model);
        for quantize in [None, Some(Quantize::Q8), Some(Quantize::Q4)] {
            for kv in [KvDtype::F16, KvDtype::Int8] {
                let mut expect = None;
                for (table, kernels) in tables() {
                    let found = logits(&model, kernels, quantize, kv);
                    assert!(found.iter().any(|bits| *bits != 0));
                    let expect = expect.get_or_insert_with(|| found.clone());
                    assert!(*expect == found, "{table}: {name} {quantize:?} {kv:?}");
                    executed.push(table);
                }
            }
        }
    }
    executed.sort_unstable();
    executed.dedup();
    let mut names: Vec<&str> = tables().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(executed, names);
}
