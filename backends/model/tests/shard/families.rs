//! The golden tiny models, from GGUF and from safetensors: two ranks against the whole graph and
//! against the logits of llama.cpp (of numpy, where it has none).

use std::path::Path;

use gimbal_model::interp::{Group, Interp, Run};
use gimbal_model::{Model, ranks_possible};
use serde_json::Value;

use crate::rig::{argmax, close, cut};

/// As `tests/conformance/tests/families.rs` holds the whole graph to llama.cpp.
const GOLDEN_TOLERANCE: f32 = 1e-3;

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("the golden file is of its own form")
}

#[test]
fn two_ranks_compute_every_family() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    let golden = std::fs::read(folder.join("logits.json")).expect("the golden file");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let prompts: Vec<Vec<u32>> = list(&golden["prompts"]);
    let families = golden["families"].as_object().expect("families by name");
    assert!(families.len() >= 30);
    for (family, expect) in families {
        let expect: Vec<Vec<f32>> = list(expect);
        for source in [folder.join(format!("{family}.gguf")), folder.join(family)] {
            let model = Model::open(&source).unwrap_or_else(|e| panic!("{e}"));
            let (graph, weights) = (&model.graph, &model.weights);
            let shards = cut(graph, weights, 2).unwrap_or_else(|e| panic!("{family}: {e}"));
            assert_eq!(shards.kept_whole, [""; 0], "{family}");
            for (prompt, golden) in prompts.iter().zip(&expect) {
                let run = Run { sequence: 0, tokens: prompt };
                let outputs = [prompt.len() - 1];
                let whole = Interp::new(graph, weights).forward(&[run], &outputs).remove(0);
                let mut group = Group::new(&shards, weights).expect("its own shards");
                let found = group.forward(&[run], &outputs).remove(0);
                close(family, &found, &whole);
                assert_eq!(argmax(&found), argmax(&whole), "{}", source.display());
                for (a, b) in found.iter().zip(golden) {
                    let off = (a - b).abs();
                    assert!(off <= GOLDEN_TOLERANCE, "{}: {off} off llama.cpp's", source.display());
                }
            }
        }
    }
}

#[test]
fn two_heads_give_two_ranks_at_most() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    let model = Model::open(&folder.join("olmo2.gguf")).expect("golden");
    for wanted in [3, 4, 8, usize::MAX] {
        let found = ranks_possible(&model.graph, &|name| model.weights.block(name), wanted);
        assert_eq!(found.count, 2, "of {wanted}");
        let why = format!("layer 0: 2 query heads do not divide among {wanted} ranks");
        assert_eq!(found.why, Some(why));
    }
}
