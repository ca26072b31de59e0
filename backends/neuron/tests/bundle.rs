//! Compiled models as folders: what is written is read, and what is of something else, changed or missing is refused by
//! name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use gimbal_neuron::bundle::{
    Bundle, BundleError, Compiler, Dtype, FORMAT, MANIFEST, Machine, Manifest, Output, Program,
    Source, Tensor, Weights, Writer, beside,
};
use gimbal_neuron::neff::{File, Header, Package, pack};
use gimbal_neuron::probe::Chip;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// A folder that is gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("gimbal-bundle-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary folder harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn neff(lnc: u32) -> Vec<u8> {
    let header = Header {
        package: Package::Gzip,
        version: [2, 0],
        compiler: "2.28".to_owned(),
        cores: 1,
        uuid: [0; 16],
        name: "decode".to_owned(),
        cores_wanted: 1,
        features: 0,
        lnc,
    };
    let files = [File { path: "neff.json".to_owned(), bytes: b"{}".to_vec() }];
    pack(&header, &files).expect("a NEFF")
}

fn safetensors(dtype: safetensors::Dtype, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let view = TensorView::new(dtype, shape.to_vec(), bytes).expect("they fit");
    safetensors::serialize([("w", view)], None).expect("a file")
}

fn manifest(writer: &Writer) -> Manifest {
    let weights = |rank: u32| {
        let bytes = safetensors(safetensors::Dtype::BF16, &[2, 3], &[1; 12]);
        let file = format!("weights-{rank}.safetensors");
        Weights { rank, stored: writer.add(&file, bytes.as_slice()).expect("it is written") }
    };
    let program = |sequences: u32, rows_each: u32, file: &str| Program {
        sequences,
        rows_each,
        context: 2048,
        neff: writer.add(file, neff(1).as_slice()).expect("it is written"),
        inputs: vec![
            tensor("tokens", Dtype::I32, &[4], Source::Step),
            tensor("w", Dtype::Bf16, &[2, 3], Source::Weights),
            tensor("keys.0", Dtype::F32, &[9, 2], Source::State),
        ],
        outputs: vec![
            output("ids", Dtype::I32, &[4], None),
            output("keys.0", Dtype::F32, &[9, 2], Some("keys.0")),
        ],
    };
    Manifest {
        format: FORMAT.to_owned(),
        model: "SmolLM2-135M".to_owned(),
        fingerprint: "0".repeat(64),
        target: Chip::Inf2,
        lnc: 1,
        ranks: 2,
        compiler: Compiler {
            version: "2.28.7631.0".to_owned(),
            flags: ["--target", "inf2", "-O1"].map(str::to_owned).to_vec(),
            sdk: "2.33.0".to_owned(),
            runtime: [2, 35],
        },
        programs: vec![program(4, 1, "decode.neff"), program(1, 128, "prefill.neff")],
        weights: vec![weights(0), weights(1)],
    }
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64], from: Source) -> Tensor {
    Tensor { name: name.to_owned(), dtype, shape: shape.to_vec(), from }
}

fn output(name: &str, dtype: Dtype, shape: &[u64], alias: Option<&str>) -> Output {
    let alias = alias.map(str::to_owned);
    Output { name: name.to_owned(), dtype, shape: shape.to_vec(), alias }
}

/// A whole bundle within a folder.
fn whole(folder: &Folder) -> Bundle {
    let writer = Writer::create(&folder.0.join("model")).expect("there is none");
    let manifest = manifest(&writer);
    writer.finish(&manifest).expect("it is whole")
}

/// Writes the manifest anew with a value at a path of it replaced; `null` takes it away.
fn edit(folder: &Path, pointer: &str, value: Value) {
    let file = folder.join(MANIFEST);
    let mut json: Value =
        serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    let (parent, key) = pointer.rsplit_once('/').expect("a path");
    let parent = json.pointer_mut(parent).expect("there is such a value");
    match (parent, value) {
        (Value::Object(map), Value::Null) => drop(map.remove(key)),
        (Value::Object(map), value) => drop(map.insert(key.to_owned(), value)),
        (Value::Array(list), value) => list[key.parse::<usize>().expect("a number")] = value,
        (other, _) => panic!("{other} has no parts"),
    }
    fs::write(file, json.to_string()).expect("it is written");
}

fn refused(folder: &Path) -> String {
    let opened = Bundle::open(folder).and_then(|bundle| bundle.verify());
    opened.expect_err("it must be refused").to_string()
}

#[test]
fn what_is_written_is_read() {
    let folder = Folder::new();
    let bundle = whole(&folder);
    let again = Bundle::open(&folder.0.join("model")).expect("it is there");
    assert_eq!(again.manifest, bundle.manifest);
    again.verify().expect("it is whole");
    assert_eq!(again.neff(&again.manifest.programs[1]).expect("it is there"), neff(1));
    let path = again.path(&again.manifest.weights[1]);
    assert_eq!(path, folder.0.join("model/weights-1.safetensors"));
    let entries = fs::read_dir(&folder.0).expect("ours").count();
    assert_eq!(entries, 1, "nothing is left beside it");
}

#[test]
fn a_bundle_is_there_whole_or_not_at_all() {
    let folder = Folder::new();
    let place = folder.0.join("model");
    let writer = Writer::create(&place).expect("there is none");
    let mut wrong = manifest(&writer);
    wrong.weights[1].stored.sha256 = "0".repeat(64);
    let error = writer.finish(&wrong).expect_err("its digest is another");
    assert!(matches!(error, BundleError::Changed { .. }), "{error}");
    drop(Writer::create(&place).expect("there is still none"));
    assert_eq!(fs::read_dir(&folder.0).expect("ours").count(), 0, "nothing is left");
    fs::create_dir(&place).expect("a folder");
    assert!(Writer::create(&place).is_err(), "nothing is written over");
}

#[test]
fn a_manifest_that_does_not_fit_is_refused_by_its_field() {
    let zeros = "0".repeat(64);
    let cases = [
        ("/format", json!("gimbal.neuron/2"), "format: \"gimbal.neuron/2\" is not"),
        ("/format", Value::Null, "missing field `format`"),
        ("/extra", json!(1), "unknown field `extra`"),
        ("/target", json!("trn9"), "unknown variant `trn9`"),
        ("/target", json!("inf1"), "target: inf1 is not inf2, trn1 or trn2"),
        ("/lnc", json!(2), "lnc: 2 of inf2"),
        ("/ranks", json!(0), "there are none"),
        ("/ranks", json!(1), "weights: rank 1 of 1"),
        ("/programs", json!([]), "there are none"),
        ("/programs/0/sequences", json!(0), "a bucket of (0, 1, 2048)"),
        ("/programs/0/sequences", json!(-1), "invalid value"),
        ("/programs/0/neff/file", json!("../decode.neff"), "no name within the folder"),
        ("/programs/0/neff/file", json!("/etc/passwd"), "no name within the folder"),
        ("/programs/0/neff/file", json!("prefill.neff"), "\"prefill.neff\" is named twice"),
        ("/programs/0/neff/sha256", json!("abc"), "not 64 digits"),
        ("/programs/0/inputs/0/name", json!("w"), "input \"w\" is there twice"),
        ("/programs/0/inputs/0/shape", json!([0]), "input \"tokens\" of shape [0]"),
        ("/programs/0/inputs/0/shape", json!([1_u64 << 63, 8]), "input \"tokens\" of shape"),
        ("/programs/0/inputs/0/dtype", json!("F64"), "unknown variant `F64`"),
        ("/programs/0/outputs/0/name", json!("keys.0"), "output \"keys.0\" is there twice"),
        ("/programs/0/outputs/1/alias", json!("values.0"), "which is no input of its type"),
        ("/programs/0/outputs/1/shape", json!([9, 3]), "which is no input of its type"),
        ("/programs/0/outputs/0/alias", json!("keys.0"), "which is no input of its type"),
        ("/weights/0/stored/sha256", json!(zeros), "its digest is"),
        ("/weights/0/stored/bytes", json!(1), "bytes, and the manifest says 1"),
        ("/weights/0/stored/file", json!("gone.safetensors"), "gone.safetensors: No such file"),
        ("/programs/0/inputs/1/name", json!("v"), "tensor \"v\" of rank 0 is missing"),
        ("/programs/0/inputs/1/dtype", json!("F32"), "tensor \"w\" of rank 0 has (Bf16"),
        ("/programs/0/inputs/1/shape", json!([3, 2]), "tensor \"w\" of rank 0 has (Bf16"),
        ("/weights/1/rank", json!(0), "tensor \"w\" of rank 1 is missing"),
    ];
    for (pointer, value, expect) in cases {
        let folder = Folder::new();
        whole(&folder);
        let place = folder.0.join("model");
        edit(&place, pointer, value);
        let told = refused(&place);
        assert!(told.contains(expect), "{pointer}: {told}");
        assert!(told.contains(place.to_str().expect("text")), "{pointer}: {told}");
    }
}

#[test]
fn a_file_that_changed_is_refused_by_its_name() {
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("it is not empty") ^= 1;
    let shorten = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change, &str); 5] = [
        ("decode.neff", flip, "its digest is"),
        ("decode.neff", shorten, "bytes, and the manifest says"),
        ("weights-1.safetensors", flip, "its digest is"),
        ("weights-0.safetensors", shorten, "bytes, and the manifest says"),
        (MANIFEST, shorten_much, "the form is gimbal.neuron/1"),
    ];
    for (file, change, expect) in cases {
        let folder = Folder::new();
        whole(&folder);
        let path = folder.0.join("model").join(file);
        let mut bytes = fs::read(&path).expect("it is there");
        change(&mut bytes);
        fs::write(&path, bytes).expect("it is written");
        let told = refused(&folder.0.join("model"));
        assert!(told.contains(expect) && told.contains(file), "{file}: {told}");
    }
    let folder = Folder::new();
    let told = refused(&folder.0);
    assert!(told.contains("manifest.json: No such file"), "{told}");
}

fn shorten_much(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

/// Files whose digests fit, since whoever made them wrote the manifest too.
#[test]
fn files_that_are_none_of_their_kind_are_refused() {
    let weights = "weights-0.safetensors";
    let long = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let hole = {
        let text = br#"{"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]}}"#;
        [&(text.len() as u64).to_le_bytes()[..], text, &[0; 16]].concat()
    };
    let behind =
        [safetensors(safetensors::Dtype::BF16, &[2, 3], &[1; 12]), b"more".to_vec()].concat();
    let cases = [
        ("decode.neff", b"not a NEFF".to_vec(), "header size (byte 8): the file has 10 bytes"),
        ("decode.neff", neff(2), "of logical cores of 2, and the manifest's of 1"),
        (weights, long, "a header of 18446744073709551615 bytes"),
        (weights, hole, "weights: "),
        (weights, behind, "12 bytes of tensors behind"),
        (weights, safetensors(safetensors::Dtype::F64, &[1], &[0; 8]), "is of F64"),
    ];
    for (file, bytes, expect) in cases {
        let folder = Folder::new();
        let writer = Writer::create(&folder.0.join("model")).expect("there is none");
        let mut manifest = manifest(&writer);
        let stored = writer.add("other", bytes.as_slice()).expect("it is written");
        match file == weights {
            true => manifest.weights[0].stored = stored,
            false => manifest.programs[0].neff = stored,
        }
        let told = writer.finish(&manifest).expect_err(expect).to_string();
        assert!(told.contains(expect) && told.contains("other"), "{told}");
    }
}

#[test]
fn a_bundle_of_another_machine_is_refused_by_name() {
    let folder = Folder::new();
    let bundle = whole(&folder);
    let here = Machine { chip: Chip::Inf2, lnc: 1, cores: 2, runtime: Some([2, 35]) };
    for machine in [
        here,
        Machine { cores: 24, ..here },
        Machine { runtime: Some([2, 36]), ..here },
        Machine { runtime: None, ..here },
    ] {
        bundle.check(&machine).expect("it fits");
    }
    let cases = [
        (Machine { chip: Chip::Trn1, ..here }, "compiled for inf2, and this machine has trn1"),
        (Machine { lnc: 2, ..here }, "NEURON_LOGICAL_NC_CONFIG=1 or compile it with --lnc 2"),
        (Machine { cores: 1, ..here }, "compiled for 2 ranks, and there are 1 logical cores"),
        (
            Machine { runtime: Some([2, 34]), ..here },
            "compiled by Neuron SDK 2.33.0, whose runtime is 2.35, and here it is 2.34",
        ),
    ];
    for (machine, expect) in cases {
        let told = bundle.check(&machine).expect_err(expect).to_string();
        assert!(told.contains(expect), "{told}");
        assert!(told.starts_with(folder.0.to_str().expect("text")), "{told}");
    }
}

#[test]
fn a_bundle_is_beside_a_file_and_in_a_folder() {
    let folder = Folder::new();
    let file = folder.0.join("X.gguf");
    fs::write(&file, b"").expect("a file");
    assert_eq!(beside(&file), folder.0.join("X.gguf.neuron"));
    assert_eq!(beside(&folder.0), folder.0.join("neuron"));
}
