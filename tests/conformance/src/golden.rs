//! The committed golden files of `tests/golden`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Greedy continuations by the f32 reference.
#[derive(Clone, Debug, Deserialize)]
pub struct Greedy {
    /// Which case is the README's.
    pub readme: usize,
    /// One for each prompt.
    pub cases: Vec<GreedyCase>,
}

/// One prompt of `Greedy`.
#[derive(Clone, Debug, Deserialize)]
pub struct GreedyCase {
    /// The prompt.
    pub text: String,
    /// Its tokens.
    pub prompt: Vec<u32>,
    /// What follows.
    pub tokens: Vec<u32>,
    /// Distance of the two best logits at each token.
    pub gaps: Vec<f32>,
    /// Some logits after the prompt, by token.
    pub logits: HashMap<String, f32>,
}

/// Choices and distances along the reference's continuations.
#[derive(Clone, Debug, Deserialize)]
pub struct Quality {
    /// Which llama.cpp was measured.
    pub llama_cpp: String,
    /// Its KV type.
    pub llama_kv: String,
    /// One for each prompt.
    pub cases: Vec<QualityCase>,
}

/// One prompt of `Quality`.
#[derive(Clone, Debug, Deserialize)]
pub struct QualityCase {
    /// The prompt.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// The reference's continuation.
    pub tokens: Vec<u32>,
    /// The reference's choice at each position.
    pub choice: Vec<u32>,
    /// Distance of its two best logits.
    pub gap: Vec<f32>,
    /// llama.cpp's choice.
    pub llama_choice: Vec<u32>,
    /// KL(reference ‖ llama.cpp), in nats.
    pub llama_kl: Vec<f64>,
}

/// Strings with their token ids by llama.cpp.
#[derive(Clone, Debug, Deserialize)]
pub struct Tokens {
    /// Text and ids.
    pub cases: Vec<(String, Vec<u32>)>,
}

/// Reads a golden file by its name without extension.
///
/// # Errors
/// The file is missing or has another shape.
pub fn read<T: DeserializeOwned>(name: &str) -> anyhow::Result<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
