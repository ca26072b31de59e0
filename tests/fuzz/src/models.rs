//! Model files: what opens is also computed with, so that a bug behind a reader is found too.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gimbal_conformance::tokenizer;
use gimbal_model::interp::{Interp, Run};
use gimbal_model::weights::{Gguf, Mapping};
use gimbal_model::{Model, ModelError, Text, json_text};
use gimbal_text::Tokenizer;
use serde_json::Value;

use crate::golden;

/// Weights of a model that is run; a mutated size may promise more.
const ELEMENTS_MAX: usize = 1 << 16;

pub(crate) const WORDS: &[&str] = &[
    "general.architecture",
    "gemma3",
    "phi3",
    "olmo2",
    "smollm3",
    "qwen3",
    "rope.scaling.type",
    "yarn",
    "linear",
    "longrope",
    "llama3",
    "attention.sliding_window",
    "rope.scaling.factor",
    "model_type",
    "rope_scaling",
    "rope_parameters",
    "sliding_window",
    "layer_types",
    "null",
    "factor",
    "original_max_position_embeddings",
    "short_factor",
    "no_rope_layers",
    "BF16",
    "F16",
    "data_offsets",
    "__metadata__",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.merges",
    "1e309",
    "NaN",
    "-Infinity",
    "\u{FEFF}",
    "partial_rotary_factor",
    "query_pre_attn_scalar",
    "mscale_all_dim",
    "use_sliding_window",
    "full_attention",
    "sliding_attention",
    "layer_types",
    "no_rope_layer_interval",
    "attention.sliding_window_pattern",
    "rope.scale_linear",
    "general.type",
    "split.count",
    "tokenizer.ggml.padding_token_id",
    "rotary_emb.inv_freq",
    "dynamic",
];

pub(crate) fn gguf(bytes: &[u8]) {
    let Ok(mapping) = Mapping::from_bytes(bytes) else { return };
    let Ok(file) = Gguf::from_mapping(Path::new("fuzz.gguf"), mapping) else { return };
    let opened = Model::from_gguf(&file);
    for (name, _) in file.weights().entries() {
        let Some(tensor) = file.weights().get(name) else { continue };
        let mut row = vec![0.0; tensor.cols.min(ELEMENTS_MAX)];
        if row.len() == tensor.cols {
            tensor.read_row(0, &mut row);
            tensor.read_row(tensor.rows - 1, &mut row);
        }
    }
    // A tokenizer's expressions take most of the time to compile.
    run(opened, bytes.len().is_multiple_of(16));
}

/// Runs a model that is small enough, and its tokenizer.
fn run(opened: Result<Model, ModelError>, with_text: bool) {
    let model = match opened {
        Ok(model) => model,
        // What the user reads is part of the parser.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if let Text::Data(text) = &model.text
        && with_text
    {
        let data = tokenizer::data(text.as_ref().clone());
        if let Ok(tokenizer) = Tokenizer::new(&data) {
            crate::text::speak(&tokenizer);
        }
    }
    let elements: usize = model.graph.weights.iter().map(|w| w.out.saturating_mul(w.inp)).sum();
    if elements > ELEMENTS_MAX || model.graph.nodes.len() > 500 {
        return;
    }
    let mut interp = Interp::new(&model.graph, &model.weights);
    let logits = interp.forward(&[Run { sequence: 0, tokens: &[0, 0] }], &[1]);
    assert_eq!(logits[0].len(), model.decoder.vocab);
}

pub(crate) fn gguf_seeds() -> Vec<Vec<u8>> {
    ["llama", "mistral", "qwen2", "gemma3", "phi3", "olmo2", "yarn"]
        .map(|name| seed(&format!("{name}.gguf")))
        .to_vec()
}

/// Bytes of a `.safetensors` file beside a fixed `config.json`.
pub(crate) fn safetensors(bytes: &[u8]) {
    static CONFIG: OnceLock<Value> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        serde_json::from_slice(&seed("llama/config.json")).expect("a seed is JSON")
    });
    let Ok(mapping) = Mapping::from_bytes(bytes) else { return };
    let files = vec![(PathBuf::from("fuzz.safetensors"), mapping)];
    run(Model::from_safetensors(Path::new("fuzz"), config, files), false);
}

pub(crate) fn safetensors_seeds() -> Vec<Vec<u8>> {
    vec![seed("llama/model.safetensors"), seed("phi3/model.safetensors")]
}

/// Bytes of a `config.json` beside fixed weights: those of the family they name.
pub(crate) fn config(bytes: &[u8]) {
    static WEIGHTS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    let weights = WEIGHTS.get_or_init(|| {
        ["llama", "phi3", "olmo2", "gemma3", "qwen2"]
            .map(|name| (name, seed(&format!("{name}/model.safetensors"))))
            .to_vec()
    });
    let Ok(config) = serde_json::from_slice::<Value>(&json_text::strict(bytes)) else { return };
    let kind = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let of = weights.iter().find(|(name, _)| kind.starts_with(name)).unwrap_or(&weights[0]);
    let Ok(mapping) = Mapping::from_bytes(&of.1) else { return };
    let files = vec![(PathBuf::from("fuzz.safetensors"), mapping)];
    run(Model::from_safetensors(Path::new("fuzz"), &config, files), false);
}

pub(crate) fn config_seeds() -> Vec<Vec<u8>> {
    ["llama", "mistral", "yarn", "phi3", "olmo2", "gemma3", "qwen2"]
        .map(|name| seed(&format!("{name}/config.json")))
        .into_iter()
        .chain(
            ["llama3", "longrope", "smollm3", "olmo3", "qwen3"]
                .map(|n| golden(&format!("families/{n}/config.json"))),
        )
        .collect()
}

/// A file of `seeds`, made by `tests/golden/families.py`.
fn seed(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
