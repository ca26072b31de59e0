//! Tests of opening: which file a path means, what lies beside a model, and what old or careless
//! writers leave in its files.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};

use super::*;
use crate::OnnxFile;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families").join(name)
}

/// An empty folder of this process's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gimbal-model-{}-{name}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("our own folder");
    }
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

fn copy(from: &str, to: &Path) {
    fs::copy(golden(from), to).unwrap_or_else(|e| panic!("{from} to {}: {e}", to.display()));
}

/// A copy of a golden folder whose `config.json` was edited.
fn edited(name: &str, family: &str, edit: impl Fn(String) -> Vec<u8>) -> PathBuf {
    let folder = folder(name);
    copy(&format!("{family}/model.safetensors"), &folder.join("model.safetensors"));
    let config = fs::read_to_string(golden(&format!("{family}/config.json"))).expect("golden");
    fs::write(folder.join(CONFIG), edit(config)).expect("our own folder");
    folder
}

fn told(path: &Path) -> String {
    Model::open(path).map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn what_lies_beside_a_model_is_not_taken_for_one() {
    let folder = folder("beside");
    copy("llama.gguf", &folder.join("model.gguf"));
    // As its file system leaves them on macOS.
    fs::write(folder.join("._model.gguf"), b"\0\x05\x16\x07").expect("our own folder");
    fs::write(folder.join("._model.safetensors"), b"\0\x05\x16\x07").expect("our own folder");
    assert_eq!(name_of(&Model::open(&folder).expect("one model").path), "model");
    // By name, whatever is in it; by what it says; by what it lacks.
    fs::write(folder.join("MMPROJ-model-f16.gguf"), b"GGUF").expect("our own folder");
    for (name, key, value) in
        [("p.gguf", "general.architecture", "clip"), ("i.gguf", "general.type", "imatrix")]
    {
        let mut bytes = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
        for part in [key, value] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part.as_bytes());
            if part == key {
                bytes.extend(8_u32.to_le_bytes());
            }
        }
        fs::write(folder.join(name), bytes).expect("our own folder");
    }
    let opened = Model::open(&folder).expect("one model");
    assert_eq!(opened.path, folder.join("model.gguf"));
    assert!(told(&folder.join("p.gguf")).contains("a projector of pictures"));
    fs::write(folder.join("v.gguf"), b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
        .expect("our own folder");
    assert_eq!(Model::open(&folder).expect("one model").path, folder.join("model.gguf"));
    assert!(told(&folder.join("v.gguf")).contains("a file without a tensor"));
    copy("qwen2.gguf", &folder.join("other.gguf"));
    assert!(told(&folder).contains("several weight files, name one"), "{}", told(&folder));
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn parts_of_a_split_model_are_one_model() {
    let folder = folder("split");
    for part in 1..=3 {
        let mut bytes = fs::read(golden("llama.gguf")).expect("golden");
        // One entry more, at the place of the first.
        let entries = u64::from_le_bytes(bytes[16..24].try_into().expect("eight"));
        bytes[16..24].copy_from_slice(&(entries + 1).to_le_bytes());
        let mut entry = 11_u64.to_le_bytes().to_vec();
        entry.extend(b"split.count\x02\0\0\0\x03\0");
        bytes.splice(24..24, entry);
        fs::write(folder.join(format!("m-{part:05}-of-00003.gguf")), bytes).expect("our folder");
    }
    let told = told(&folder);
    assert!(told.contains("part 1 of a model in 3 files"), "{told}");
    assert!(told.contains("llama-gguf-split --merge m-00001-of-00003.gguf"), "{told}");
    fs::remove_dir_all(folder).expect("our own folder");
}

#[cfg(unix)]
#[test]
fn a_name_is_that_of_the_path_as_given() {
    let folder = folder("names");
    let link = |to: &Path, at: PathBuf| std::os::unix::fs::symlink(to, at);
    // As Hugging Face's cache keeps them.
    let (blobs, snapshot) = (folder.join("blobs"), folder.join("snapshots/0a1b"));
    fs::create_dir_all(&blobs).expect("our own folder");
    fs::create_dir_all(&snapshot).expect("our own folder");
    copy("llama.gguf", &blobs.join("5f3c"));
    link(&blobs.join("5f3c"), snapshot.join("tiny-q8.gguf")).expect("a link");
    let file = Model::open(&snapshot.join("tiny-q8.gguf")).expect("a model");
    assert_eq!(name_of(&file.path), "tiny-q8");
    fs::remove_file(snapshot.join("tiny-q8.gguf")).expect("our own link");
    for name in ["config.json", "model.safetensors"] {
        copy(&format!("llama/{name}"), &blobs.join(name));
        link(&blobs.join(name), snapshot.join(name)).expect("a link");
    }
    link(&snapshot, folder.join("my-model")).expect("a link");
    let named = Model::open(&folder.join("my-model")).expect("a model");
    assert_eq!((name_of(&named.path).as_str(), named.name.as_str()), ("my-model", "my-model"));
    let dotted = Model::open(&folder.join("my-model/.")).expect("a model");
    assert_eq!(name_of(&dotted.path), "my-model");
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn files_that_python_reads_are_read() {
    type Edit = fn(String) -> Vec<u8>;
    let edits: [(&str, Edit); 5] = [
        ("bom", |json| format!("\u{FEFF}{json}").into_bytes()),
        ("nan", |json| json.replacen('{', "{\"initializer_range\": NaN,", 1).into_bytes()),
        ("inf", |json| {
            json.replacen('{', "{\"time_step_limit\": [0.0, -Infinity, Infinity],", 1).into_bytes()
        }),
        ("twice", |json| json.replacen('{', "{\"hidden_size\": 3, \"x\": null,", 1).into_bytes()),
        ("whole", |json| json.replace("\"hidden_size\": 32", "\"hidden_size\": 32.0").into_bytes()),
    ];
    for (name, edit) in edits {
        let folder = edited(name, "llama", edit);
        Model::open(&folder).unwrap_or_else(|e| panic!("{name}: {e}"));
        fs::remove_dir_all(folder).expect("our own folder");
    }
    let infinite = edited("bad", "llama", |json| json.replace("10000.0", "Infinity").into_bytes());
    let told = told(&infinite);
    assert!(told.contains("rope_theta is \"Infinity\", not a positive number"), "{told}");
    fs::remove_dir_all(infinite).expect("our own folder");
}

/// Writes the tensors of a golden file, and others, as another one.
fn with_tensors(folder: &Path, keeps: impl Fn(&str) -> bool, more: &[(&str, Dtype, Vec<usize>)]) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).expect("a copy");
    let whole = SafeTensors::deserialize(&bytes).expect("golden");
    let zeros = vec![0_u8; 4096];
    let mut tensors: Vec<(String, TensorView<'_>)> =
        whole.tensors().into_iter().filter(|(name, _)| keeps(name)).collect();
    for (name, dtype, shape) in more {
        let size = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let view = TensorView::new(*dtype, shape.clone(), &zeros[..size]).expect("a tensor");
        tensors.push(((*name).to_owned(), view));
    }
    let written = serialize(tensors, None).expect("tensors");
    fs::write(path, Cow::from(written)).expect("our own folder");
}

#[test]
fn buffers_of_old_checkpoints_are_no_weights() {
    let folder = edited("buffers", "llama", String::into_bytes);
    let more = [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", Dtype::F32, vec![8]),
        ("model.rotary_emb.inv_freq", Dtype::F64, vec![8]),
        ("model.layers.1.self_attn.rotary_emb.cos_cached", Dtype::F32, vec![1, 1, 4, 16]),
        ("model.layers.1.self_attn.rotary_emb.sin_cached", Dtype::F32, vec![1, 1, 4, 16]),
        ("model.layers.0.self_attn.masked_bias", Dtype::F32, vec![]),
        ("model.layers.0.attn.bias", Dtype::BOOL, vec![1, 1, 4, 4]),
        ("model.embeddings.position_ids", Dtype::I64, vec![1, 4]),
    ];
    with_tensors(&folder, |_| true, &more);
    let opened = Model::open(&folder).expect("buffers are passed over");
    assert_eq!(opened.weights.entries().count(), opened.graph.weights.len());
    with_tensors(&folder, |_| true, &[("model.layers.0.self_attn.sinks", Dtype::F32, vec![2])]);
    assert!(told(&folder).contains("self_attn.sinks"), "{}", told(&folder));
    fs::remove_dir_all(folder).expect("our own folder");
}

/// Transformers does not read a bias that its class has no place for.
#[test]
fn a_bias_is_where_the_class_has_one() {
    let folder = edited("bias", "llama", String::into_bytes);
    let bias = |part: &str, size: usize| {
        let names = [0, 1].map(|i| format!("model.layers.{i}.self_attn.{part}_proj.bias"));
        names.map(|name| (name, Dtype::BF16, vec![size]))
    };
    let all: Vec<_> = [bias("q", 32), bias("k", 16), bias("v", 16)].into_iter().flatten().collect();
    let all: Vec<_> = all.iter().map(|(n, d, s)| (n.as_str(), *d, s.clone())).collect();
    with_tensors(&folder, |_| true, &all);
    assert!(told(&folder).contains("attn_k.bias, which this architecture"), "{}", told(&folder));
    fs::remove_dir_all(folder).expect("our own folder");
    let folder = edited("no-bias", "qwen2", String::into_bytes);
    with_tensors(&folder, |name| !name.ends_with(".bias"), &[]);
    assert!(told(&folder).contains("blk.0.attn_q.bias is missing"), "{}", told(&folder));
    fs::remove_dir_all(folder).expect("our own folder");
}

#[test]
fn an_index_is_read_as_python_reads_it() {
    let folder = folder("index");
    for name in ["config.json", "model-00001-of-00002.safetensors"] {
        copy(&format!("qwen3/{name}"), &folder.join(name));
    }
    copy(
        "qwen3/model-00002-of-00002.safetensors",
        &folder.join("model-00002-of-00002.safetensors"),
    );
    let name = "model.safetensors.index.json";
    let index = fs::read_to_string(golden(&format!("qwen3/{name}"))).expect("golden");
    let odd =
        index.replacen('{', "\u{FEFF}{\"metadata\": {\"total_size\": NaN}, \"weight_map\": 1,", 1);
    fs::write(folder.join(name), odd).expect("our own folder");
    Model::open(&folder).expect("the last of two keys counts");
    fs::remove_dir_all(folder).expect("our own folder");
}

/// An embedding model has no head; its class would begin with a random one.
#[test]
fn a_missing_head_is_the_embedding_only_where_the_class_says_so() {
    let head = |name: &str| name != "lm_head.weight";
    let folder = edited("head", "llama", String::into_bytes);
    with_tensors(&folder, head, &[]);
    let missing = told(&folder);
    assert!(missing.contains("lm_head.weight is missing, and tie_word_embeddings"), "{missing}");
    let config = folder.join(CONFIG);
    let json = fs::read_to_string(&config).expect("a copy");
    fs::write(&config, json.replace("embeddings\": false", "embeddings\": true")).expect("ours");
    assert!(Model::open(&folder).expect("tied").decoder.tied);
    fs::remove_dir_all(folder).expect("our own folder");
    let untold = |json: String| json.replace(" \"tie_word_embeddings\": true,\n", "").into_bytes();
    let gemma = edited("gemma", "gemma3", untold);
    assert!(Model::open(&gemma).expect("its class ties").decoder.tied);
    fs::remove_dir_all(gemma).expect("our own folder");
}

/// `tokenizer.ggml.padding_token_id` and the like, where the key is rewritten in place.
#[test]
fn special_tokens_that_are_none_count_as_unsaid() {
    let whole = fs::read(golden("llama.gguf")).expect("golden");
    let at = |key: &str| {
        let at = whole.windows(key.len()).position(|w| w == key.as_bytes()).expect("the key");
        at + key.len() + 4
    };
    for (bos, expect) in [(u32::MAX, None), (64, None), (63, Some(63))] {
        let mut bytes = whole.clone();
        let bos_at = at("tokenizer.ggml.bos_token_id");
        bytes[bos_at..bos_at + 4].copy_from_slice(&bos.to_le_bytes());
        let mapping = Mapping::from_bytes(&bytes).expect("memory");
        let file = Gguf::from_mapping(Path::new("m.gguf"), mapping).expect("a good file");
        let Text::Data(text) = Model::from_gguf(&file).expect("it opens").text else {
            panic!("GGUF has its text in it");
        };
        assert_eq!((text.bos, text.eos), (expect, Some(0)));
        let told = text.odd.first().map_or("", String::as_str);
        let names = told.contains(&format!("bos_token_id is {bos}, of 64 tokens: none is taken"));
        assert_eq!(names, expect.is_none(), "{told:?}");
    }
}

/// A vocabulary is counted and an array is passed over before anything of it is copied.
#[test]
fn arrays_of_a_file_take_no_memory_until_they_are_asked_for() {
    let mut bytes = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(b"x\x09\0\0\0\0\0\0\0");
    let count = 1_usize << 24;
    bytes.extend((count as u64).to_le_bytes());
    bytes.resize(bytes.len() + count, 7);
    let mapping = Mapping::from_bytes(&bytes).expect("memory");
    let file = Gguf::from_mapping(Path::new("m.gguf"), mapping).expect("a good file");
    let held = size_of_val(file.get("x").expect("the key"));
    assert!(held < 100, "{held} bytes for {count}");
    let mut elements = file.array("x").expect("an array");
    assert_eq!(elements.count_left(), count);
    assert_eq!(elements.next(), Some(crate::weights::Value::Unsigned(7)));
    assert_eq!(elements.bytes().map(<[u8]>::len), Some(count - 1));
}

#[test]
fn an_onnx_file_is_looked_at_and_nothing_else_is_one() {
    let folder = folder("onnx");
    let (right, wrong) = (folder.join("a.onnx"), folder.join("b.ONNX"));
    fs::write(&right, b"\x08\x0a\x12\x00").expect("our own folder");
    fs::write(&wrong, b"GGUF").expect("our own folder");
    fs::write(folder.join("empty.onnx"), b"").expect("our own folder");
    assert!(OnnxFile::is_at(&right) && OnnxFile::is_at(&wrong));
    assert!(!OnnxFile::is_at(&folder) && !OnnxFile::is_at(&folder.join("missing.onnx")));
    let file = OnnxFile::open(&right).expect("it begins as one");
    assert_eq!((file.bytes, file.path), (4, right));
    for broken in [wrong, folder.join("empty.onnx")] {
        let why = OnnxFile::open(&broken).expect_err("it is none").to_string();
        assert!(why.contains("does not begin as an ONNX model"), "{why}");
    }
    fs::remove_dir_all(folder).expect("our own folder");
}
