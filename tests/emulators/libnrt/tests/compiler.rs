//! The fake neuronx-cc: which arguments and modules it takes, and that what it makes is loaded and executed.

#[path = "contract/module.rs"]
#[expect(dead_code, reason = "NEFFs come of the compiler here")]
mod module;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use gimbal_neuron::hlo::Module;
use gimbal_neuron::neff::{Package, unpack};
use gimbal_neuron::runtime::{self, Executed, Model, Runtime, Tensor, TensorSet};
use prost::Message;

/// What a program must say.
const USUAL: &str = "compile IN --framework XLA --target inf2 --auto-cast none --output OUT";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("compiler-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs it with a line of words, of which `IN` and `OUT` are files.
fn run(folder: &Path, line: &str) -> Output {
    let file = |word: &str| match word {
        "IN" => folder.join("module.hlo.pb").display().to_string(),
        "OUT" => folder.join("module.neff").display().to_string(),
        _ => word.to_owned(),
    };
    let mut compiler = Command::new(env!("CARGO_BIN_EXE_neuronx-cc"));
    compiler.args(line.split(' ').map(file)).output().expect("it was built")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8(both).expect("text"))
}

#[test]
fn it_says_that_it_is_fake() {
    let folder = folder("version");
    let (code, told) = said(&run(&folder, "--version"));
    assert_eq!(code, Some(0));
    assert_eq!(told, "NeuronX Compiler version 2.28.7631.0+FAKE\n");
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn arguments_that_are_not_known_or_missing_are_refused() {
    let folder = folder("arguments");
    fs::write(folder.join("module.hlo.pb"), module::twice()).expect("a file");
    let cases = [
        ("", 1, "not `compile MODULE"),
        ("compile", 1, "--framework XLA is missing"),
        ("compile IN --framework XLA --target inf2 --output OUT", 1, "--auto-cast none is missing"),
        ("compile IN --framework XLA --auto-cast none --output OUT", 1, "--target is missing"),
        ("compile IN --framework XLA --target inf2 --auto-cast none", 1, "--output is missing"),
        ("compile --framework XLA --target inf2 --auto-cast none --output OUT", 1, "the module is"),
        ("compile IN --framework ONNX", 1, "--framework ONNX: not XLA"),
        ("compile IN --target inf1", 1, "--target inf1: not inf2, trn1, trn1n, trn2"),
        ("compile IN --auto-cast matmult", 1, "--auto-cast matmult: not none"),
        ("compile IN --lnc 4", 1, "--lnc 4: not 1, 2"),
        ("compile IN --output", 1, "--output: its value is missing"),
        ("compile IN -O4", 1, "-O4 is not known"),
        ("compile IN --optlevel=9", 1, "--optlevel 9: not 1, 2, 3"),
        ("compile IN IN", 1, "a second module"),
        ("compile IN --fast", 1, "--fast is not known"),
        (&format!("{USUAL} --lnc 2"), 70, "[NCC_EARG001] --lnc 2 of inf2"),
        (&USUAL.replace("IN", "/nowhere.hlo"), 1, "/nowhere.hlo: No such file"),
        (&USUAL.replace("OUT", "/nowhere/out"), 1, "/nowhere/out: No such file"),
    ];
    for (line, code, expect) in cases {
        let (ended, told) = said(&run(&folder, line));
        assert_eq!(ended, Some(code), "{line}: {told}");
        assert!(told.contains(expect), "{line}: {told}");
        assert!(!folder.join("module.neff").exists(), "{line}");
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn modules_that_would_be_refused_are_refused_by_their_code() {
    let folder = folder("modules");
    let changed = |opcode: &str| {
        let mut proto = Module::read(&module::twice()).expect("a module").proto();
        let entry = proto.computations.first_mut().expect("it has one");
        let add = entry.instructions.iter_mut().find(|i| i.opcode == "add").expect("it adds");
        add.opcode = opcode.to_owned();
        proto.encode_to_vec()
    };
    let cases = [
        (changed("sort"), "NCC_EVRF001"),
        (changed("atan2"), "atan2"),
        (b"\xFF\xFF".to_vec(), ""),
        (module::twice()[..20].to_vec(), ""),
    ];
    for (bytes, expect) in cases {
        fs::write(folder.join("module.hlo.pb"), bytes).expect("a file");
        let (code, told) = said(&run(&folder, USUAL));
        assert_eq!(code, Some(70), "{expect}: {told}");
        assert!(told.contains(expect), "{told}");
        assert!(!folder.join("module.neff").exists(), "{expect}");
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn what_it_makes_is_for_the_chip_that_was_named() {
    let folder = folder("targets");
    fs::write(folder.join("module.hlo.pb"), module::twice()).expect("a file");
    let cases = [
        ("--target inf2 -O1", 1, Package::Gzip),
        ("--target trn1n --model-type=transformer", 1, Package::Gzip),
        ("--target trn2", 2, Package::Gzip),
        ("--target trn2 --lnc=1 -O2", 1, Package::Gzip),
        ("--target trn1 --enable-fast-loading-neuron-binaries", 1, Package::Plain),
    ];
    for (words, lnc, package) in cases {
        let line = USUAL.replace("--target inf2", words);
        let (code, told) = said(&run(&folder, &line));
        assert_eq!(code, Some(0), "{line}: {told}");
        assert!(told.contains("FAKE") && told.contains("PASS"), "{told}");
        let bytes = fs::read(folder.join("module.neff")).expect("it was made");
        let (header, files) = unpack("module.neff", &bytes, 1 << 20).expect("a NEFF");
        assert_eq!((header.lnc, header.package), (lnc, package), "{line}");
        assert_eq!(files[1].bytes, module::twice());
    }
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn what_it_makes_is_loaded_and_executed() {
    let folder = folder("executed");
    fs::write(folder.join("module.hlo.pb"), module::twice()).expect("a file");
    let (code, told) = said(&run(&folder, USUAL));
    assert_eq!(code, Some(0), "{told}");
    let neff = fs::read(folder.join("module.neff")).expect("it was made");
    let tests = env::current_exe().expect("a path");
    let library = tests.parent().expect("a folder").join("libgimbal_libnrt.so");
    let runtime = Runtime::open(Some(&library)).expect("the emulator");
    let model = Model::load(&runtime, "module.neff", &neff, 0).expect("a model");
    let mut inputs = TensorSet::inputs(&model).expect("a set");
    let mut outputs = TensorSet::outputs(&model).expect("a set");
    let [x, y] = ["x", "y"].map(|name| Tensor::new(&runtime, Some(0), 4, name).expect("room"));
    inputs.insert("x", &x).expect("it fits");
    outputs.insert("y", &y).expect("it fits");
    x.write(0, &21_f32.to_le_bytes()).expect("it has room");
    assert_eq!(runtime::execute(&inputs, &mut outputs).expect("it runs"), Executed::Whole);
    let mut made = [0; 4];
    y.read(0, &mut made).expect("it is there");
    assert_eq!(made, 42_f32.to_le_bytes());
    fs::remove_dir_all(folder).expect("ours");
}
