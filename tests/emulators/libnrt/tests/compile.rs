//! `gimbal_neuron::compile` with the fake neuronx-cc: a golden model becomes a bundle that is whole.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs};

use gimbal_batch::Bucket;
use gimbal_model::Model;
use gimbal_neuron::bundle::{Bundle, Source};
use gimbal_neuron::compile::{
    Asked, BLOCK_TOKENS, CompileError, Fitted, NeuronxCc, Plan, Told, compile, emit,
};
use gimbal_neuron::hlo::Module;
use gimbal_neuron::probe::Chip;

fn model(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/families");
    Model::open(&folder.join(name)).expect("a golden model")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("compile-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn compiler() -> NeuronxCc {
    let path = Path::new(env!("CARGO_BIN_EXE_neuronx-cc"));
    NeuronxCc::find(Some(path), None, Path::new("/")).expect("it was built")
}

fn plan(ranks: usize) -> Plan {
    let bucket = |sequences, rows_each| Bucket { sequences, rows_each, context: 64 };
    let buckets = vec![bucket(1, 16), bucket(2, 1), bucket(4, 1)];
    Plan { target: Chip::Inf2, lnc: 1, ranks, buckets, kv_blocks: 8 }
}

/// Compiles; the bundle, and for each shape whether it was compiled just now.
fn run(folder: &Path, name: &str, plan: &Plan) -> Result<(Bundle, Vec<bool>), CompileError> {
    let told = Mutex::new(Vec::new());
    let tell = |event| {
        if let Told::Compiled { took, .. } = event {
            told.lock().expect("no panic").push(took.is_some());
        }
    };
    let cache = folder.join("cache");
    let out = folder.join(name);
    let made = compile(&model("llama-64.gguf"), plan, (&compiler(), 2), &cache, &out, &tell)?;
    Ok((made, told.into_inner().expect("no panic")))
}

#[test]
fn a_model_becomes_a_bundle_once() {
    let folder = folder("once");
    let layers = model("llama-64.gguf").graph.states.len();
    for ranks in [1, 2] {
        let plan = plan(ranks);
        let (bundle, told) = run(&folder, &format!("first{ranks}"), &plan).expect("a bundle");
        assert_eq!(told, [true; 3], "nothing was there");
        let manifest = &bundle.manifest;
        assert_eq!((manifest.ranks as usize, manifest.weights.len()), (ranks, ranks));
        assert_eq!(manifest.compiler.version, "2.28.7631.0+FAKE");
        assert_eq!(
            (manifest.compiler.sdk.as_str(), manifest.compiler.runtime),
            ("2.33.0", [2, 35])
        );
        // What differs between programs is not said of all.
        assert!(manifest.compiler.flags.iter().all(|flag| !flag.starts_with("-O")));
        for program in &manifest.programs {
            let of = |from| program.inputs.iter().filter(|input| input.from == from).count();
            // Keys and values of each layer.
            assert_eq!(of(Source::State), 2 * layers);
            assert_eq!(of(Source::Step), if program.rows_each == 1 { 9 } else { 10 } + ranks - 1);
            assert!(of(Source::Weights) > 9 * layers, "{} weights", of(Source::Weights));
            let aliased = program.outputs.iter().filter(|output| output.alias.is_some()).count();
            assert_eq!(aliased, 2 * layers);
        }
        // Each digest is computed again, and each tensor that a program takes is looked for.
        Bundle::open(&folder.join(format!("first{ranks}"))).expect("it").verify().expect("whole");
        let (again, told) = run(&folder, &format!("again{ranks}"), &plan).expect("a bundle");
        assert_eq!((told, &again.manifest), (vec![false; 3], manifest), "from what was kept");
    }
    fs::remove_dir_all(folder).expect("ours");
}

/// Sized for cores that have so many bytes for it.
fn fit(ranks: Option<usize>, bytes: u64, kv_bytes: Option<u64>) -> Result<Fitted, CompileError> {
    let memory_share = bytes as f64 / (16_u64 << 30) as f64;
    let buckets = plan(1).buckets;
    let asked = Asked { target: Chip::Inf2, lnc: 1, ranks, buckets, memory_share, kv_bytes };
    Plan::fit(&model("llama-64.gguf"), &asked)
}

#[test]
fn a_model_is_on_as_few_cores_as_hold_it() {
    let folder = folder("fit");
    let Fitted { plan, sizes, why } = fit(None, 16 << 30, None).expect("it fits");
    assert_eq!((plan.ranks, plan.kv_blocks), (1, 4 * 64 / BLOCK_TOKENS), "four of 64 tokens");
    assert!(why[0].starts_with("ranks = 1: one core holds the model"), "{why:?}");
    // What was planned is what a device is given.
    let (bundle, _) = run(&folder, "whole", &plan).expect("a bundle");
    let of = |from: Source| {
        let inputs = bundle.manifest.programs[0].inputs.iter().filter(|input| input.from == from);
        inputs.filter_map(|input| input.bytes()).sum::<u64>()
    };
    assert_eq!(of(Source::Weights), sizes.weights);
    assert_eq!(of(Source::State), u64::from(plan.kv_blocks + 1) * sizes.block);
    // For one core there is just too little: two have room.
    let one = sizes.weights + sizes.work + 3 * sizes.block;
    assert_eq!(fit(None, one + 4, None).expect("it fits").plan.kv_blocks, 2, "of one sequence");
    let Fitted { plan, sizes: half, why } = fit(None, one - 4, None).expect("two cores");
    assert_eq!(plan.ranks, 2);
    assert!(why[0].contains("the fewest that divide the model and hold it; 1 do not"), "{why:?}");
    // Its one head of keys and values both hold.
    assert!(half.weights < sizes.weights && half.block == sizes.block, "{half:?} {sizes:?}");
    // Somebody wants one, or there is none that is large enough.
    let told = |ranks, bytes, kv| fit(ranks, bytes, kv).expect_err("too little").to_string();
    let why = told(Some(1), one - 4, None);
    let expect = format!("1 × inf2 need {one} bytes each: {} of weights", sizes.weights);
    assert!(why.starts_with(&expect) && why.contains("use more ranks (--tp)"), "{why}");
    let why = told(None, 1000, None);
    assert!(why.starts_with("no instance of inf2 holds the model: it divides among"), "{why}");
    // Less for keys and values, as was said.
    let two = 2 * sizes.block;
    assert_eq!(fit(Some(1), 16 << 30, Some(two)).expect("it fits").plan.kv_blocks, 2);
    assert!(told(Some(1), 16 << 30, Some(two - 1)).contains("raise --kv-cache-bytes"));
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn modules_are_written_for_other_compilers() {
    let folder = folder("emit");
    let files = emit(&model("qwen3-64.gguf"), &plan(1), &folder).expect("files");
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(names, ["1x16x64.hlo.pb", "2x1x64.hlo.pb", "4x1x64.hlo.pb"]);
    for file in &files {
        Module::read(&fs::read(file).expect("a file")).expect("a module");
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = folder("wrong");
    let told =
        |plan: &Plan, name: &str| run(&folder, name, plan).expect_err("it is refused").to_string();
    // Heads that do not divide by three.
    let why = told(&plan(3), "ranks");
    assert!(why.contains('3'), "{why}");
    let other = Plan { target: Chip::Trn3, ..plan(1) };
    assert_eq!(told(&other, "trn3"), "--target trn3: inf2, trn1 or trn2");
    // The fake compiler refuses it as the real one is documented to.
    let why = told(&Plan { lnc: 2, ..plan(1) }, "lnc");
    assert!(why.contains("neuronx-cc: exit status: 70: [NCC_EARG001]"), "{why}");
    assert!(!folder.join("lnc").exists(), "nothing is left of it");
    run(&folder, "there", &plan(1)).expect("a bundle");
    assert!(told(&plan(1), "there").contains("there is such a folder"));
    // One that was kept and is broken is compiled again.
    for entry in fs::read_dir(folder.join("cache")).expect("a folder").flatten() {
        fs::write(entry.path(), b"no NEFF").expect("a file");
    }
    let (_, told) = run(&folder, "broken", &plan(1)).expect("a bundle");
    assert_eq!(told, [true; 3]);
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn the_compiler_is_looked_for_where_aws_has_it() {
    let root = folder("root");
    let missing = NeuronxCc::find(None, None, &root).expect_err("there is none").to_string();
    assert!(
        missing.contains("neither on the PATH nor in /opt/aws_neuronx_venv_*/bin"),
        "{missing}"
    );
    let bin = root.join("opt/aws_neuronx_venv_torch_neuronx_2_14_0/bin");
    fs::create_dir_all(&bin).expect("a folder");
    fs::copy(env!("CARGO_BIN_EXE_neuronx-cc"), bin.join("neuronx-cc")).expect("a copy");
    for (search, root) in [(None, &*root), (Some(bin.as_os_str()), Path::new("/nowhere"))] {
        let found = NeuronxCc::find(None, search, root).expect("it is there");
        assert_eq!(found.version, "2.28.7631.0+FAKE");
    }
    let other = NeuronxCc::find(Some(Path::new("/bin/false")), None, &root);
    let told = other.expect_err("it is another program").to_string();
    assert!(told.starts_with("/bin/false --version: exit status: 1"), "{told}");
    fs::remove_dir_all(root).expect("ours");
}

/// As the kernel ends a compiler that takes too much memory.
#[test]
fn a_compiler_that_is_killed_is_told_with_what_would_do() {
    let folder = folder("killed");
    let script = folder.join("neuronx-cc");
    let text = "#!/bin/sh\n[ \"$1\" = --version ] && echo version 2.28.1 && exit\nkill -9 $$\n";
    fs::write(&script, text).expect("a file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("ours");
    let compiler =
        NeuronxCc::find(Some(&script), None, Path::new("/")).expect("it tells a version");
    let (cache, out) = (folder.join("cache"), folder.join("out"));
    let told = compile(&model("llama-64.gguf"), &plan(1), (&compiler, 2), &cache, &out, &|_| {});
    let told = told.expect_err("it is killed").to_string();
    assert!(told.contains("signal: 9") && told.contains("lower --jobs"), "{told}");
    assert_eq!(fs::read_dir(&cache).expect("a folder").count(), 0, "nothing is left");
    assert!(!out.exists());
    fs::remove_dir_all(folder).expect("ours");
}
