//! A tiny random model of each family, as GGUF and as safetensors: logits of the interpreter and of
//! the CPU backend against llama.cpp's (or numpy's), with heads of 16, 64 and 128 columns.
//! `tests/golden/families.py` makes the files, and says which are whose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gimbal_conformance::rig::{Rig, Run, platforms};
use gimbal_conformance::{golden, library_path};
// Named so that cargo builds the library that the platform loads.
use gimbal_cuda::CudaPlatform;
use gimbal_hal::KvDtype;
use gimbal_libcuda as _;
use gimbal_model::Model;
use gimbal_model::interp::{self, Interp};
use gimbal_onnx::OnnxPlatform;
use serde::Deserialize;

/// All compute in f32 with another order of sums; the CPU backend keeps KV in f16.
const TOLERANCE: f32 = 1e-3;

/// llama.cpp's logits of the last position of each prompt, by family.
#[derive(Deserialize)]
struct Logits {
    prompts: Vec<Vec<u32>>,
    families: BTreeMap<String, Vec<Vec<f32>>>,
}

/// The file and the folder of a family.
fn sources(family: &str) -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/families");
    [folder.join(format!("{family}.gguf")), folder.join(family)]
}

fn furthest(found: &[f32], expect: &[f32]) -> f32 {
    assert_eq!(found.len(), expect.len());
    found.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_interpreter_computes_every_family() -> anyhow::Result<()> {
    let golden: Logits = golden::read("families/logits")?;
    for (family, expect) in &golden.families {
        for source in sources(family) {
            let model = Model::open(&source)?;
            for (prompt, expect) in golden.prompts.iter().zip(expect) {
                let mut interp = Interp::new(&model.graph, &model.weights);
                let run = interp::Run { sequence: 0, tokens: prompt };
                let found = interp.forward(&[run], &[prompt.len() - 1]).remove(0);
                let off = furthest(&found, expect);
                assert!(off <= TOLERANCE, "{}, {} tokens: {off}", source.display(), prompt.len());
            }
        }
    }
    Ok(())
}

/// Whole prompts, and the same in two chunks, by each table of kernels that this CPU has.
#[test]
fn the_cpu_computes_every_family() -> anyhow::Result<()> {
    let Some(library) = library_path() else { return Ok(()) };
    let golden: Logits = golden::read("families/logits")?;
    for platform in platforms(&library) {
        computes_every_family(&platform, &golden)?;
    }
    Ok(())
}

fn computes_every_family(platform: &OnnxPlatform, golden: &Logits) -> anyhow::Result<()> {
    for (family, expect) in &golden.families {
        for source in sources(family) {
            let mut rig = Rig::open_on(platform, &source, KvDtype::F16)?;
            for (sequence, (prompt, expect)) in (0..).zip(golden.prompts.iter().zip(expect)) {
                let rows = u32::try_from(prompt.len())?;
                let run = Run { sequence: 2 * sequence, start: 0, tokens: prompt };
                let whole = rig.forward(&[run], &[rows - 1])?;
                let off = furthest(&whole[0], expect);
                assert!(off <= TOLERANCE, "{}, {} tokens: {off}", source.display(), prompt.len());
                let mut at = 0;
                let mut last = Vec::new();
                for chunk in prompt.chunks(prompt.len().div_ceil(2)) {
                    let (start, rows) = (at, u32::try_from(chunk.len())?);
                    let run = Run { sequence: 2 * sequence + 1, start, tokens: chunk };
                    last = rig.forward(&[run], &[rows - 1])?;
                    at += rows;
                }
                assert_eq!(last, whole, "{}: chunks change nothing", source.display());
            }
        }
    }
    Ok(())
}

/// Of the largest logit: what rounding activations to bf16 leaves over two layers.
const CUDA_TOLERANCE: f32 = 2e-2;

/// Whole prompts, the same in two chunks, and the last token alone, on an emulated GPU. Models that no kernel
/// is for are refused by name.
#[test]
fn an_emulated_gpu_computes_every_family() -> anyhow::Result<()> {
    let tests = std::env::current_exe()?;
    let library = tests.parent().map(|folder| folder.join("libgimbal_libcuda.so"));
    let platform = CudaPlatform { library };
    let golden: Logits = golden::read("families/logits")?;
    let mut computed = BTreeMap::new();
    for (family, expect) in &golden.families {
        for source in sources(family) {
            let mut rig = match Rig::open_on(&platform, &source, KvDtype::F16) {
                Ok(rig) => rig,
                Err(why) => {
                    let why = why.to_string();
                    assert!(why.contains("cuda cannot compute heads of 16"), "{family}: {why}");
                    assert!(!family.contains('-'), "{family}: {why}");
                    continue;
                }
            };
            let mut worst = 0.0_f32;
            for (sequence, (prompt, expect)) in (0..).zip(golden.prompts.iter().zip(expect)) {
                let largest = expect.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let half = prompt.len() / 2;
                let cuts = [vec![], vec![half], vec![prompt.len() - 1]];
                for (way, cuts) in (0..).zip(cuts) {
                    let (mut start, mut last) = (0, Vec::new());
                    for end in cuts.into_iter().chain([prompt.len()]).filter(|end| *end > 0) {
                        let tokens = &prompt[start as usize..end];
                        let rows = u32::try_from(tokens.len())?;
                        if rows == 0 {
                            continue;
                        }
                        let run = Run { sequence: 3 * sequence + way, start, tokens };
                        last = rig.forward(&[run], &[rows - 1])?;
                        start += rows;
                    }
                    worst = worst.max(furthest(&last[0], expect) / largest);
                }
            }
            assert!(worst <= CUDA_TOLERANCE, "{}: {worst}", source.display());
            computed.insert(source.display().to_string(), worst);
        }
    }
    assert!(computed.len() >= 20, "{computed:#?}");
    Ok(())
}

/// Two models on one platform, each with a thread of its own, step against step: the bits of each alone.
#[test]
fn two_models_at_once_compute_as_each_alone() -> anyhow::Result<()> {
    const STEPS: u32 = 60;
    let Some(library) = library_path() else { return Ok(()) };
    let platform = OnnxPlatform::new(Rig::settings(&library, 3));
    let compute = |family: &str| -> anyhow::Result<Vec<Vec<f32>>> {
        let mut rig = Rig::open_on(&platform, &sources(family)[0], KvDtype::F16)?;
        let prompt: Vec<u32> = (0..40).map(|i| 3 + i * 7 % 50).collect();
        let mut found = rig.forward(&[Run { sequence: 0, start: 0, tokens: &prompt }], &[39])?;
        for step in 0..STEPS {
            let tokens = [3 + step * 5 % 50];
            found.extend(
                rig.forward(&[Run { sequence: 0, start: 40 + step, tokens: &tokens }], &[0])?,
            );
        }
        Ok(found)
    };
    let families = ["qwen3", "llama"];
    let alone = families.map(compute);
    let at_once = std::thread::scope(|scope| {
        families
            .map(|family| scope.spawn(move || compute(family)))
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    for (alone, at_once) in alone.into_iter().zip(at_once) {
        assert!(alone? == at_once?, "another model changes what one computes");
    }
    Ok(())
}
