//! A GGUF file's metadata as `Facts`.

use super::rope::KINDS;
use super::{FAMILIES, Facts, SIZE_MAX, Scaling, cut_fused, decoder, known, missing_tensor};
use crate::weights::{Gguf, Value, Weights};
use crate::{Decoder, ModelError};

/// Reads the configuration, the weights as the graph names them, and the context length.
pub(crate) fn from_gguf(file: &Gguf) -> Result<(Decoder, Weights, u32), ModelError> {
    let mut weights = file.weights().clone();
    let facts = facts(file)?;
    cut_fused(&facts, &mut weights);
    let decoder = decoder(&facts, &weights, file.path())?;
    Ok((decoder, weights, facts.context))
}

fn facts(file: &Gguf) -> Result<Facts, ModelError> {
    let read = Keys { file, arch: text(file, "general.architecture")? };
    let Some(family) = FAMILIES.iter().find(|family| family.name == read.arch) else {
        let known = known(FAMILIES.iter().map(|family| family.name));
        return Err(unsupported(file, format!("architecture {}", read.arch), known));
    };
    if let Some(parts @ 2..) = file.integer("split.count") {
        let known = "models in one file (llama-gguf-split --merge)".to_owned();
        return Err(unsupported(file, format!("one of {parts} files of a model"), known));
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if file.float(&read.key(key)).is_some_and(|cap| cap != 0.0) {
            return Err(unsupported(file, read.key(key), "no soft cap".to_owned()));
        }
    }
    let (hidden, heads) = (read.size("embedding_length")?, read.size("attention.head_count")?);
    let head_dim = read.size_or("attention.key_length", hidden / heads)?;
    let rope_dims = read.size_or("rope.dimension_count", head_dim)?;
    let rope_theta = read.float_or("rope.freq_base", 1e4)?;
    let trained = read.size("context_length")?;
    let original = read.size_or("rope.scaling.original_context_length", trained)?;
    let (scaling, context) = scaling(&read, rope_dims, trained, original)?;
    let is_phi = family.name == "phi3"; // whose files name windows that llama.cpp does not keep
    let window = if is_phi { None } else { read.optional_size("attention.sliding_window")? };
    let windowed = match file.get(&read.key("attention.sliding_window_pattern")) {
        Some(Value::Array(layers)) => {
            layers.iter().map(|v| !matches!(v, Value::Bool(false) | Value::Unsigned(0))).collect()
        }
        _ => Vec::new(),
    };
    Ok(Facts {
        family,
        pair: family.pair,
        hidden,
        feed_forward: read.size("feed_forward_length")?,
        layers: read.size("block_count")?,
        heads,
        kv_heads: read.size_or("attention.head_count_kv", heads)?,
        head_dim,
        rope_dims,
        rope_theta,
        scaling,
        // A Gemma 3 file that does not name it means 10,000. Source: llama.cpp `llama-hparams.h`.
        window_theta: read
            .float_or("rope.freq_base_swa", if family.gemma { 1e4 } else { rope_theta })?,
        window,
        windowed,
        rotated: Vec::new(),
        eps: read.float_or("attention.layer_norm_rms_epsilon", 1e-5)?,
        context: u32::try_from(context).unwrap_or(u32::MAX),
    })
}

/// How frequencies are changed, and the context that is good for.
fn scaling(
    read: &Keys<'_>,
    rope_dims: usize,
    trained: usize,
    original: usize,
) -> Result<(Scaling, usize), ModelError> {
    let file = read.file;
    let magnitude = read.float_or("rope.scaling.attn_factor", 1.0)?;
    // Both lists are in the file; the short one is for contexts up to the original.
    let name = "rope_factors_short.weight";
    if file.weights().get(name).is_some() {
        let factors = factors(file, name, rope_dims)?;
        return Ok((Scaling::Factors { factors, magnitude }, trained.min(original)));
    }
    let name = "rope_freqs.weight";
    if file.weights().get(name).is_some() {
        let factors = factors(file, name, rope_dims)?;
        return Ok((Scaling::Factors { factors, magnitude: 1.0 }, trained));
    }
    let factor = read.float_or("rope.scaling.factor", 1.0)?;
    let scaling = match file.text(&read.key("rope.scaling.type")) {
        Some("none") => Scaling::None,
        // A file with a factor and no kind means linear. Source: llama.cpp `load_hparams`.
        None | Some("linear") => Scaling::Linear(factor),
        Some("longrope") => return Err(missing_tensor(file.path(), "rope_factors_short.weight")),
        Some("yarn") => Scaling::Yarn {
            factor,
            original: original as f32,
            fast: read.float_or("rope.scaling.yarn_beta_fast", 32.0)?,
            slow: read.float_or("rope.scaling.yarn_beta_slow", 1.0)?,
            magnitude: magnitude * Scaling::yarn_magnitude(factor),
        },
        Some(kind) => {
            return Err(unsupported(file, format!("rope scaling {kind}"), KINDS.to_owned()));
        }
    };
    Ok((scaling, trained))
}

/// What divides each frequency.
fn factors(file: &Gguf, name: &str, rope_dims: usize) -> Result<Vec<f32>, ModelError> {
    let Some(tensor) = file.weights().get(name) else { return Ok(Vec::new()) };
    let (found, pairs) = (tensor.rows * tensor.cols, rope_dims / 2);
    if found != pairs {
        return Err(broken(file, format!("{name} has {found} factors, not {pairs}")));
    }
    let factors = tensor.to_f32();
    match factors.iter().find(|f| !f.is_finite() || **f <= 0.0) {
        Some(factor) => Err(broken(file, format!("{name} has the factor {factor}"))),
        None => Ok(factors),
    }
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

    /// A size that is absent or 0 where the model has no such thing.
    fn optional_size(&self, name: &str) -> Result<Option<usize>, ModelError> {
        match self.file.get(&self.key(name)) {
            None | Some(Value::Unsigned(0)) => Ok(None),
            Some(_) => self.size(name).map(Some),
        }
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

fn broken(file: &Gguf, why: String) -> ModelError {
    ModelError::Broken { path: file.path().to_owned(), why }
}

fn unsupported(file: &Gguf, what: String, known: String) -> ModelError {
    ModelError::Unsupported { path: file.path().to_owned(), what, known }
}
