//! Golden models of each family, lowered and run: prompts in chunks, then tokens of several sequences at
//! once, in blocks that lie anywhere, against the interpreter of graphs and against other projects' logits.

use std::collections::BTreeMap;

use gimbal_batch::{Bucket, Kv};
use gimbal_hlo::DType;
use gimbal_hlo::golden::{self, BLOCKS, CONTEXT, DECODE, Golden, KV, PREFILL, folder, wants};
use gimbal_hlo::rig::{Rig, Step};
use gimbal_model::Model;
use gimbal_model::graph::{Op, Val};
use gimbal_model::interp::{Interp, Run};
use gimbal_neuron::hlo::{Target, lint};
use gimbal_neuron::lower::{Part, Pick, Wants};

/// Sums in another order, over two to six layers.
const TOLERANCE: f32 = 1e-4;
/// llama.cpp's logits: its own order of sums, and an f16 cache.
const GOLDEN_TOLERANCE: f32 = 1e-3;
/// Of the largest logit: what rounding sides of products to bf16 leaves.
const BF16_TOLERANCE: f32 = 2e-2;

fn golden() -> Golden {
    Golden::read().expect("golden files are there")
}

fn furthest(found: &[f32], expect: &[f32]) -> f32 {
    assert_eq!(found.len(), expect.len());
    found.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn largest(of: &[f32]) -> f32 {
    of.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Two prompts side by side: all but their last tokens in chunks, then the last ones together.
fn both(rig: &mut Rig, dtype: DType, prompts: [&[u32]; 2]) -> Result<Step, String> {
    let prefill = rig.load(&wants(PREFILL, dtype))?;
    let decode = rig.load(&wants(DECODE, dtype))?;
    // Nothing of them is known to be refused by the compiler that they are for.
    for target in Target::ALL {
        let refused =
            [&prefill, &decode].map(|loaded| lint(&loaded.program.module.proto(), target));
        assert_eq!(refused, [vec![], vec![]], "{}", target.name());
    }
    for parts in golden::chunks(prompts) {
        let step = rig.step(&prefill, &parts, &golden::picks(&parts))?;
        chosen_are_the_most_probable(&step);
    }
    let parts = golden::last(prompts);
    let step = rig.step(&decode, &parts, &golden::picks(&parts))?;
    chosen_are_the_most_probable(&step);
    Ok(step)
}

fn chosen_are_the_most_probable(step: &Step) {
    for (id, logits) in step.ids.iter().zip(&step.logits) {
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let first = logits.iter().position(|logit| *logit == most).expect("it is one of them");
        assert_eq!(*id, i32::try_from(first).expect("few tokens"));
    }
}

fn oracle(model: &Model, prompt: &[u32]) -> Vec<f32> {
    let mut interp = Interp::new(&model.graph, &model.weights);
    interp.forward(&[Run { sequence: 0, tokens: prompt }], &[prompt.len() - 1]).remove(0)
}

/// Every golden model, of both files, by one type.
fn every_family(dtype: DType) -> BTreeMap<String, f32> {
    let golden = golden();
    let mut worst = BTreeMap::new();
    for (family, expect) in &golden.families {
        for source in [format!("{family}.gguf"), family.clone()] {
            let model = Model::open(&folder().join(&source)).expect("a golden model");
            let mut most = 0.0_f32;
            // The longest prompt beside each of the others.
            for which in 0..2 {
                let mut rig = Rig::new(&model, 1, &wants(DECODE, dtype)).expect(&source);
                let prompts = [&golden.prompts[2], &golden.prompts[which]].map(Vec::as_slice);
                let step = both(&mut rig, dtype, prompts).expect(&source);
                let theirs = [&expect[2], &expect[which]];
                for ((found, prompt), theirs) in step.logits.iter().zip(prompts).zip(theirs) {
                    let ours = oracle(&model, prompt);
                    let scale = if dtype == DType::F32 { 1.0 } else { largest(&ours) };
                    most = most.max(furthest(found, &ours) / scale);
                    if dtype == DType::F32 {
                        let off = furthest(found, theirs);
                        assert!(off <= GOLDEN_TOLERANCE, "{source}: {off} from other projects'");
                    }
                }
            }
            worst.insert(source, most);
        }
    }
    eprintln!("{} at most: {worst:#?}", dtype.name());
    worst
}

#[test]
fn every_family_is_computed_in_f32() {
    let worst = every_family(DType::F32);
    assert!(worst.len() >= 40 && worst.values().all(|off| *off <= TOLERANCE), "{worst:#?}");
}

#[test]
fn every_family_is_computed_in_bf16() {
    let worst = every_family(DType::Bf16);
    assert!(worst.len() >= 40 && worst.values().all(|off| *off <= BF16_TOLERANCE), "{worst:#?}");
}

/// Rows that pad a step change nothing but the block that is theirs, to the bit.
#[test]
fn padding_touches_no_living_row() {
    let golden = golden();
    for dtype in [DType::F32, DType::Bf16] {
        let model = Model::open(&folder().join("mistral")).expect("a golden model");
        let mut rig = Rig::new(&model, 1, &wants(DECODE, dtype)).expect("it is lowered");
        let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
        both(&mut rig, dtype, prompts).expect("it runs");
        let rows = |rig: &Rig| -> Vec<Vec<Vec<u8>>> {
            let row = |buffer: &gimbal_hlo::Buffer| {
                let bytes = buffer.shape().dims[1] * dtype.bytes();
                buffer.bytes().chunks_exact(bytes).map(<[u8]>::to_vec).collect()
            };
            rig.cache(0).into_iter().map(|(_, buffer)| row(buffer)).collect()
        };
        let before = rows(&rig);
        let start = u32::try_from(prompts[1].len()).expect("short");
        // Of both buckets: three rows of four pad, and then thirty-one of thirty-two.
        for (bucket, position) in [(DECODE, start), (PREFILL, start + 1)] {
            let loaded = rig.load(&wants(bucket, dtype)).expect("it is lowered");
            let part = Part { tokens: &[7], start: position, blocks: &BLOCKS[1] };
            rig.step(&loaded, &[part], &golden::picks(&[part])).expect("it runs");
        }
        let written: Vec<usize> = [start, start + 1]
            .map(|p| {
                let block = BLOCKS[1][(p / KV.block_tokens) as usize];
                (block * KV.block_tokens + p % KV.block_tokens) as usize
            })
            .to_vec();
        let trash = (KV.blocks * KV.block_tokens) as usize;
        for (before, after) in before.iter().zip(rows(&rig)) {
            for (slot, (before, after)) in before.iter().zip(&after).enumerate() {
                if slot < trash {
                    assert_eq!(before == after, !written.contains(&slot), "slot {slot}");
                }
            }
        }
    }
}

/// What a block held before, even if it was no number, is never part of a row that has not reached it.
#[test]
fn what_a_block_held_before_does_not_matter() {
    let golden = golden();
    let model = Model::open(&folder().join("qwen3")).expect("a golden model");
    let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
    let [fresh, used] = [false, true].map(|is_used| {
        let mut rig = Rig::new(&model, 1, &wants(DECODE, DType::F32)).expect("it is lowered");
        if is_used {
            rig.soil(f32::NAN);
        }
        both(&mut rig, DType::F32, prompts).expect("it runs")
    });
    assert!(fresh == used, "bits of what was there before are in a result");
}

/// Two ranks are one, and the graph interpreter's group of two.
#[test]
fn two_ranks_compute_what_one_does() {
    let golden = golden();
    let mut worst = BTreeMap::new();
    for family in golden.families.keys() {
        let model = Model::open(&folder().join(family)).expect("a golden model");
        let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
        let [one, two] = [1, 2].map(|ranks| {
            let mut rig = Rig::new(&model, ranks, &wants(DECODE, DType::F32)).expect(family);
            both(&mut rig, DType::F32, prompts).expect(family)
        });
        let off = one.logits.iter().zip(&two.logits).map(|(one, two)| furthest(one, two));
        worst.insert(family.clone(), off.fold(0.0, f32::max));
    }
    eprintln!("two ranks, at most: {worst:#?}");
    assert!(worst.values().all(|off| *off <= TOLERANCE), "{worst:#?}");
}

/// What golden families do not have: soft caps of scores and of logits, heads that turn in part.
#[test]
fn what_no_golden_family_has_is_computed() {
    let golden = golden();
    let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
    // One whose pairs lie side by side, and one whose pairs lie in halves.
    for family in ["llama.gguf", "qwen3"] {
        let mut model = Model::open(&folder().join(family)).expect("a golden model");
        let plain = oracle(&model, prompts[0]);
        for node in &mut model.graph.nodes {
            if let Op::Attend { softcap, .. } = &mut node.op {
                *softcap = Some(0.7);
            }
        }
        for rope in &mut model.graph.ropes {
            let part = rope.frequencies.len() / 2 - 1;
            rope.frequencies.truncate(part);
            rope.magnitude = 1.25;
        }
        let last = Val(model.graph.nodes.len() - 1);
        model.graph.add(Op::Softcap(0.9), &[last]);
        let mut rig = Rig::new(&model, 1, &wants(DECODE, DType::F32)).expect(family);
        let step = both(&mut rig, DType::F32, prompts).expect(family);
        for (found, prompt) in step.logits.iter().zip(prompts) {
            let expect = oracle(&model, prompt);
            assert!(furthest(found, &expect) <= TOLERANCE, "{family}");
        }
        assert!(furthest(&step.logits[0], &plain) > 0.01, "{family}: they change something");
    }
}

/// What fits no program is told by name and size.
#[test]
fn what_cannot_be_lowered_is_refused() {
    let model = Model::open(&folder().join("llama")).expect("a golden model");
    let right = wants(DECODE, DType::F32);
    let told = |wants: &Wants| Rig::new(&model, 1, wants).expect_err("it is refused");
    let bucket = Bucket { context: CONTEXT + 1, ..DECODE };
    assert!(told(&Wants { bucket, ..right.clone() }).contains("beyond what there is"));
    let dtype = DType::S32;
    assert!(told(&Wants { dtype, ..right.clone() }).contains("products of s32"));
    let kv = Kv { blocks: 1 << 20, block_tokens: 32 };
    assert!(told(&Wants { kv, ..right.clone() }).contains("33554464 places"));
    let rig = Rig::new(&model, 1, &right).expect("it is lowered");
    let loaded = rig.load(&right).expect("it is lowered");
    let part = Part { tokens: &[1], start: 20, blocks: &BLOCKS[0] };
    let few = Part { blocks: &BLOCKS[0][..2], ..part };
    let foreign = Part { blocks: &[0, 1, KV.blocks], ..part };
    let cases = [
        (vec![part; 5], "5 parts for 4"),
        (vec![Part { tokens: &[1, 2], ..part }], "part 0: 2 rows up to token 22"),
        (vec![Part { start: CONTEXT, ..part }], "up to token 97"),
        (vec![few], "in 2 blocks"),
        (vec![foreign], "block 24 of 24"),
    ];
    for (parts, why) in cases {
        let told = rig.arguments(&loaded, &parts, &[], 0).expect_err("it is refused");
        assert!(told.contains(why), "{told}: not {why}");
    }
    let missing = Pick { part: 1, ..Pick::default() };
    let told = rig.arguments(&loaded, &[part], &[missing], 0).expect_err("it is refused");
    assert_eq!(told, "a result of row 0 of part 1, which has 0");
}
