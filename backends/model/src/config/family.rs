//! What families of models differ in.
//!
//! Next: `class.rs` for what a silent `config.json` of each means.

use crate::decoder::HeadNorm;
use crate::graph::{Act, Pair};

/// What a family does that others do not.
pub(crate) struct Family {
    /// Its `general.architecture` in a GGUF file.
    pub(super) name: &'static str,
    /// Its `model_type`s in a `config.json`.
    pub(super) model_types: &'static [&'static str],
    /// Which columns rotate together in a GGUF file; `config.json` always means halves.
    pub(super) pair: Pair,
    pub(super) head_norms: Option<HeadNorm>,
    pub(super) pre_norms: bool,
    pub(super) post_norms: bool,
    pub(super) act: Act,
    /// Embeddings are multiplied with the root of their columns, and norms store `weight - 1` in
    /// safetensors.
    pub(super) gemma: bool,
    /// Where there is a window, every so many layers one has none; 0 where all have it.
    pub(super) window_period: usize,
    /// Every so many layers one does not rotate.
    pub(super) rope_period: usize,
}

const PLAIN: Family = Family {
    name: "llama",
    model_types: &["llama", "mistral"],
    pair: Pair::Adjacent,
    head_norms: None,
    pre_norms: true,
    post_norms: false,
    act: Act::Silu,
    gemma: false,
    window_period: 0,
    rope_period: 0,
};

/// Families the builder knows. **Source**: llama.cpp `src/models/*.cpp` and, for the pairs,
/// `llama_model_rope_type`; Hugging Face `modeling_*.py` of the model types.
pub(super) const FAMILIES: [Family; 7] = [
    // Llama 2 and 3, SmolLM2, Mistral.
    PLAIN,
    // Qwen 2 and 2.5.
    Family { name: "qwen2", model_types: &["qwen2"], pair: Pair::Halves, ..PLAIN },
    Family {
        name: "qwen3",
        model_types: &["qwen3"],
        pair: Pair::Halves,
        head_norms: Some(HeadNorm::Head),
        ..PLAIN
    },
    Family {
        name: "gemma3",
        model_types: &["gemma3_text"],
        pair: Pair::Halves,
        head_norms: Some(HeadNorm::Head),
        post_norms: true,
        act: Act::GeluTanh,
        gemma: true,
        window_period: 6,
        ..PLAIN
    },
    Family { name: "phi3", model_types: &["phi3"], pair: Pair::Halves, ..PLAIN },
    // OLMo 2, and OLMo 3 with a window.
    Family {
        name: "olmo2",
        model_types: &["olmo2", "olmo3"],
        pair: Pair::Halves,
        head_norms: Some(HeadNorm::Row),
        pre_norms: false,
        post_norms: true,
        window_period: 4,
        ..PLAIN
    },
    Family { name: "smollm3", model_types: &["smollm3"], rope_period: 4, ..PLAIN },
];
