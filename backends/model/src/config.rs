//! From a model file's metadata to a `Decoder`: keys, defaults, and checks.
//!
//! A file that says something the builder cannot express is refused by name, never approximated.

use crate::decoder::Decoder;
use crate::graph::Pair;
use crate::weights::Gguf;
use crate::{ModelError, graph};

/// What a family does that others do not.
struct Family {
    /// Its GGUF name.
    name: &'static str,
    rope_pair: Pair,
    qkv_bias: bool,
    head_norms: bool,
}

/// Families the builder knows. **Source**: llama.cpp `src/models/*.cpp` and, for the pairs,
/// `llama_model_rope_type`.
const FAMILIES: [Family; 3] = [
    // Also SmolLM2; what has a window says so by another name.
    Family { name: "llama", rope_pair: Pair::Adjacent, qkv_bias: false, head_norms: false },
    // Qwen 2 and 2.5.
    Family { name: "qwen2", rope_pair: Pair::Halves, qkv_bias: true, head_norms: false },
    Family { name: "qwen3", rope_pair: Pair::Halves, qkv_bias: false, head_norms: true },
];
/// Larger sizes than any real model; keeps products far from overflow.
const SIZE_MAX: u64 = 1 << 24;

/// Reads the configuration and the context length.
pub(crate) fn from_gguf(file: &Gguf) -> Result<(Decoder, u32), ModelError> {
    let read = Keys { file, arch: text(file, "general.architecture")? };
    let Some(family) = FAMILIES.iter().find(|family| family.name == read.arch) else {
        let known = FAMILIES.each_ref().map(|family| family.name).join(", ");
        return Err(unsupported(file, format!("architecture {}", read.arch), known));
    };
    if let Some(kind) = file.text(&read.key("rope.scaling.type"))
        && kind != "none"
    {
        return Err(unsupported(file, format!("rope scaling {kind}"), "none".to_owned()));
    }
    let (hidden, heads) = (read.size("embedding_length")?, read.size("attention.head_count")?);
    let kv_heads = read.size_or("attention.head_count_kv", heads)?;
    let head_dim = read.size_or("attention.key_length", hidden / heads)?;
    let rope_dims = read.size_or("rope.dimension_count", head_dim)?;
    if heads % kv_heads != 0 {
        return Err(broken(file, format!("{heads} heads over {kv_heads} kv heads")));
    }
    if rope_dims > head_dim || rope_dims % 2 != 0 {
        return Err(broken(file, format!("{rope_dims} of {head_dim} columns rotate")));
    }
    let rope_factors = rope_factors(file, rope_dims)?;
    let embedding = file.weights().get("token_embd.weight");
    let vocab =
        embedding.map(|t| t.rows).ok_or_else(|| missing_tensor(file, "token_embd.weight"))?;
    let context = read.size("context_length")?;
    let decoder = Decoder {
        vocab,
        hidden,
        feed_forward: read.size("feed_forward_length")?,
        layers: read.size("block_count")?,
        heads,
        kv_heads,
        head_dim,
        rope_dims,
        rope_theta: read.float_or("rope.freq_base", 1e4)?,
        rope_pair: family.rope_pair,
        rope_factors,
        qkv_bias: family.qkv_bias,
        head_norms: family.head_norms,
        eps: read.float_or("attention.layer_norm_rms_epsilon", 1e-5)?,
        tied: file.weights().get("output.weight").is_none(),
    };
    Ok((decoder, u32::try_from(context).unwrap_or(u32::MAX)))
}

/// What divides each frequency, where the file says so (Llama 3).
fn rope_factors(file: &Gguf, rope_dims: usize) -> Result<Vec<f32>, ModelError> {
    let Some(tensor) = file.weights().get("rope_freqs.weight") else { return Ok(Vec::new()) };
    let (found, pairs) = (tensor.rows * tensor.cols, rope_dims / 2);
    if found != pairs {
        return Err(broken(file, format!("rope_freqs.weight has {found} factors, not {pairs}")));
    }
    let factors = tensor.to_f32();
    match factors.iter().find(|f| !f.is_finite() || **f <= 0.0) {
        Some(factor) => Err(broken(file, format!("rope_freqs.weight has the factor {factor}"))),
        None => Ok(factors),
    }
}

/// Checks that the file has every weight of the graph, in its shape.
pub(crate) fn check_weights(file: &Gguf, graph: &graph::Graph) -> Result<(), ModelError> {
    for w in &graph.weights {
        let t = file.weights().get(&w.name).ok_or_else(|| missing_tensor(file, &w.name))?;
        let fits = if w.inp == 1 {
            t.rows == 1 && t.cols == w.out
        } else {
            t.rows == w.out && t.cols == w.inp
        };
        if !fits {
            let why = format!(
                "tensor {} is [{}, {}], the metadata says [{}, {}]",
                w.name, t.rows, t.cols, w.out, w.inp
            );
            return Err(broken(file, why));
        }
    }
    Ok(())
}

struct Keys<'a> {
    file: &'a Gguf,
    arch: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn size(&self, name: &str) -> Result<usize, ModelError> {
        let key = self.key(name);
        match self.file.integer(&key) {
            Some(n) if (1..=SIZE_MAX).contains(&n) => Ok(usize::try_from(n).unwrap_or(1)),
            Some(n) => Err(broken(self.file, format!("{key} is {n}, not 1 to {SIZE_MAX}"))),
            None => Err(broken(self.file, format!("{key} is missing or no integer"))),
        }
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize, ModelError> {
        if self.file.get(&self.key(name)).is_none() { Ok(default.max(1)) } else { self.size(name) }
    }

    fn float_or(&self, name: &str, default: f32) -> Result<f32, ModelError> {
        let key = self.key(name);
        if self.file.get(&key).is_none() {
            return Ok(default);
        }
        match self.file.float(&key) {
            #[expect(clippy::cast_possible_truncation, reason = "the file holds an f32")]
            Some(x) if x.is_finite() && x > 0.0 => Ok(x as f32),
            other => Err(broken(self.file, format!("{key} is {other:?}, not a positive float"))),
        }
    }
}

fn text<'a>(file: &'a Gguf, key: &str) -> Result<&'a str, ModelError> {
    file.text(key).ok_or_else(|| broken(file, format!("{key} is missing or no string")))
}

fn missing_tensor(file: &Gguf, name: &str) -> ModelError {
    broken(file, format!("tensor {name} is missing"))
}

fn broken(file: &Gguf, why: String) -> ModelError {
    ModelError::Broken { path: file.path().to_owned(), why }
}

fn unsupported(file: &Gguf, what: String, known: String) -> ModelError {
    ModelError::Unsupported { path: file.path().to_owned(), what, known }
}
