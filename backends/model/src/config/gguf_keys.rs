//! Which keys of a GGUF file's own architecture are known, by name without the prefix.
//!
//! As with `config.json`, what is not known and says something is refused by name. **Source**:
//! llama.cpp `llama-arch.cpp`, `LLM_KV_NAMES`. Next: `gguf.rs` (the reader).

use crate::ModelError;
use crate::weights::{Gguf, Value};

/// Keys that are computed with or checked.
const READ: [&str; 22] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "vocab_size",
];

/// Keys that cannot change a number: the layout of the file they were made from, what is done
/// with embeddings or pictures, norms of a kind that no family here has.
const HARMLESS: [&str; 8] = [
    "attention.group_norm_epsilon",
    "attention.group_norm_groups",
    "attention.layer_norm_epsilon",
    "classifier.output_labels",
    "mm.tokens_per_image",
    "pooling_type",
    "rope.scaling.finetuned",
    "tensor_data_layout",
];

/// Keys that may only say that they are not used, and the value that does (besides 0 and false).
const NEUTRAL: [(&str, f64); 27] = [
    ("attention.causal", 1.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.key_length_swa", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.output_scale", 1.0),
    ("attention.scale", 0.0),
    ("attention.temperature_length", 0.0),
    ("attention.temperature_scale", 0.0),
    ("attention.value_length_swa", 0.0),
    ("attention.value_scale", 1.0),
    ("attn_logit_softcapping", 0.0),
    ("embedding_scale", 1.0),
    ("expert_count", 0.0),
    ("expert_shared_count", 0.0),
    ("expert_used_count", 0.0),
    ("final_logit_softcapping", 0.0),
    ("leading_dense_block_count", 0.0),
    ("logit_scale", 1.0),
    ("nextn_predict_layers", 0.0),
    ("residual_scale", 1.0),
    ("rope.dimension_count_swa", 0.0),
    ("rope.dimension_sections", 0.0),
    ("rope.scaling.alpha", 0.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", -1.0),
    ("rope.scaling.yarn_log_multiplier", 0.0),
    ("use_parallel_residual", 0.0),
];

/// Refuses the first key of the architecture that is not known and says something.
pub(super) fn check(file: &Gguf, arch: &str) -> Result<(), ModelError> {
    let prefix = format!("{arch}.");
    for (key, value) in file.keys(&prefix) {
        let name = &key[prefix.len()..];
        if READ.contains(&name) || HARMLESS.contains(&name) {
            continue;
        }
        let neutral = NEUTRAL.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
        let said = number(value);
        let is_off = match name {
            // On where nothing is said.
            "attention.causal" => false,
            // YaRN's own share is all of it where it says 1.
            "rope.scaling.yarn_ext_factor" => {
                said == Some(1.0)
                    && file.text(&format!("{prefix}rope.scaling.type")) == Some("yarn")
            }
            // Layers with a window are as wide as the others.
            "attention.key_length_swa" | "attention.value_length_swa" => {
                let all = name.trim_end_matches("_swa");
                said.is_some() && said == file.get(&format!("{prefix}{all}")).and_then(number)
            }
            "rope.dimension_count_swa" => {
                said == file.get(&format!("{prefix}rope.dimension_count")).and_then(number)
            }
            _ => said == Some(0.0),
        };
        let is_nothing = is_off || says_nothing(file, key, value);
        if !is_nothing && (neutral.is_none() || said != neutral) {
            let known = match neutral {
                Some(neutral) => format!("{neutral} or no such key"),
                None => "no such key".to_owned(),
            };
            let what = format!("{key} = {}", shown(value));
            return Err(ModelError::Unsupported { path: file.path().to_owned(), what, known });
        }
    }
    Ok(())
}

fn says_nothing(file: &Gguf, key: &str, value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::Array(_) => {
            let mut elements = file.array(key).into_iter().flatten();
            elements.all(|element| number(&element) == Some(0.0))
        }
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Unsigned(n) => Some(*n as f64),
        Value::Signed(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Text(_) | Value::Array(_) => None,
    }
}

/// A value as people write it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Unsigned(n) => n.to_string(),
        Value::Signed(n) => n.to_string(),
        // The file holds an f32, mostly: as it was written.
        #[expect(clippy::cast_possible_truncation, reason = "compared with the whole")]
        Value::Float(x) if f64::from(*x as f32) == *x => (*x as f32).to_string(),
        Value::Float(x) => x.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        Value::Array(_) => "an array".to_owned(),
    }
}
