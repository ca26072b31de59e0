//! A GGUF file's metadata as `Facts`.
//!
//! Where a file is silent, what llama.cpp takes counts: that is what such files were made for.

use super::family::{FAMILIES, Family};
use super::gguf_keys::{self, shown};
use super::rope::KINDS;
use super::{
    Facts, LAYERS_MAX, SIZE_MAX, Scaling, cut_fused, decoder, known, lengthened, missing_tensor,
};
use crate::weights::{Gguf, Value, Weights};
use crate::{Decoder, ModelError};

/// Layers of the one Gemma 3 whose scores have a scale of their own (27B).
const GEMMA_27B_LAYERS: usize = 62;

/// Reads the configuration, the weights as the graph names them, and the context length.
pub(crate) fn from_gguf(file: &Gguf) -> Result<(Decoder, Weights, u32), ModelError> {
    is_a_model(file)?;
    if file.weights().entries().next().is_none() {
        let known = "a model with its weights".to_owned();
        return Err(unsupported(file, "a file without a tensor".to_owned(), known));
    }
    let mut weights = file.weights().clone();
    let facts = facts(file)?;
    cut_fused(&facts, &mut weights);
    let decoder = decoder(&facts, &weights, file.path())?;
    Ok((decoder, weights, facts.context))
}

pub(super) fn facts(file: &Gguf) -> Result<Facts, ModelError> {
    let read = Keys { file, arch: text(file, "general.architecture")? };
    let Some(family) = FAMILIES.iter().find(|family| family.name == read.arch) else {
        let known = known(FAMILIES.iter().map(|family| family.name));
        return Err(unsupported(file, format!("architecture {}", read.arch), known));
    };
    gguf_keys::check(file, read.arch)?;
    let (hidden, heads) = (read.size("embedding_length")?, read.size("attention.head_count")?);
    let layers = read.size("block_count")?;
    let head_dim = read.size_or("attention.key_length", hidden / heads)?;
    let value_dim = read.size_or("attention.value_length", head_dim)?;
    if value_dim != head_dim {
        let what = format!("{} = {value_dim}", read.key("attention.value_length"));
        return Err(unsupported(file, what, format!("as many columns as keys, {head_dim}")));
    }
    let rope_dims = read.size_or("rope.dimension_count", head_dim)?;
    let rope_theta = read.float_or("rope.freq_base", 1e4)?;
    let trained = read.size("context_length")?;
    let original = read.optional_size("rope.scaling.original_context_length")?;
    let (scaling, context) =
        scaling(&read, family, rope_dims, [trained, original.unwrap_or(trained)])?;
    let (window, windowed) = windows(&read, family, layers, context)?;
    // Source: llama.cpp `load_hparams`, by the number of layers; the files do not say it.
    let is_27b = family.gemma && layers == GEMMA_27B_LAYERS;
    let attention_scale = is_27b.then(|| ((hidden / heads) as f32).sqrt().recip());
    Ok(Facts {
        family,
        pair: family.pair,
        hidden,
        feed_forward: read.size("feed_forward_length")?,
        layers,
        heads,
        kv_heads: read.size_or("attention.head_count_kv", heads)?,
        head_dim,
        rope_dims,
        rope_theta,
        scaling,
        // A Gemma 3 file that does not name it means 10,000. Source: llama.cpp `llama-hparams.h`.
        window_theta: read
            .float_or("rope.freq_base_swa", if family.gemma { 1e4 } else { rope_theta })?,
        window_scaling: Scaling::None,
        window,
        windowed,
        rotated: Vec::new(),
        attention_scale,
        qkv_bias: None,
        eps: read.float("attention.layer_norm_rms_epsilon")?,
        context: u32::try_from(context).unwrap_or(u32::MAX),
    })
}

/// Refuses files that are parts of a model, or belong to one, with what to do.
pub(super) fn is_a_model(file: &Gguf) -> Result<(), ModelError> {
    if let Some(parts @ 2..) = file.integer("split.count") {
        let part = file.integer("split.no").map_or(1, |no| no.saturating_add(1));
        let first = match file.path().file_name().map(|name| name.to_string_lossy()) {
            Some(name) => name.replace(&format!("-{part:05}-of-"), &format!("-{:05}-of-", 1)),
            None => "FIRST-PART.gguf".to_owned(),
        };
        let what = format!("part {part} of a model in {parts} files");
        let known = format!(
            "models in one file; merge the parts: llama-gguf-split --merge {first} MODEL.gguf"
        );
        return Err(unsupported(file, what, known));
    }
    let kind = file.text("general.type").unwrap_or("model");
    let is_clip = file.text("general.architecture") == Some("clip");
    let known = "a model's own file, which lies beside such files".to_owned();
    match kind {
        _ if is_clip => {
            Err(unsupported(file, "a projector of pictures (mmproj)".to_owned(), known))
        }
        "model" => Ok(()),
        kind => Err(unsupported(file, format!("general.type = {kind:?}"), known)),
    }
}

/// The window, and which layers have it; an empty list is the family's own pattern.
fn windows(
    read: &Keys<'_>,
    family: &Family,
    layers: usize,
    context: usize,
) -> Result<(Option<usize>, Vec<bool>), ModelError> {
    let (file, key) = (read.file, "attention.sliding_window");
    // Phi-3's files name windows that llama.cpp does not keep.
    if family.name == "phi3" {
        return Ok((None, Vec::new()));
    }
    let Some(window) = read.optional_size(key)? else { return Ok((None, Vec::new())) };
    let pattern = read.key("attention.sliding_window_pattern");
    let windowed: Vec<bool> = match file.get(&pattern) {
        Some(Value::Array(_)) => {
            let layers = file.array(&pattern).into_iter().flatten();
            layers
                .map(|v| !matches!(v, Value::Bool(false) | Value::Unsigned(0) | Value::Signed(0)))
                .collect()
        }
        // A number is a period: the last layer of each has none. Source: `set_swa_pattern`.
        Some(_) => {
            let period = file.integer(&pattern).and_then(|n| usize::try_from(n).ok());
            let Some(period) = period else {
                return Err(broken(file, format!("{pattern} is no period and no list")));
            };
            let has = |i: usize| period == 0 || i % period < period - 1;
            (0..layers.min(LAYERS_MAX)).map(has).collect()
        }
        None => Vec::new(),
    };
    // Which layers of the others have one, only `llama` files of Mistral say: all of them.
    let is_told = family.window_period != 0 || family.name == "llama" || !windowed.is_empty();
    match window >= context {
        false if !is_told => {
            let what = format!("{} = {window}", read.key(key));
            Err(unsupported(file, what, "no window".to_owned()))
        }
        true if family.window_period == 0 => Ok((None, Vec::new())),
        _ => Ok((Some(window), windowed)),
    }
}

/// How frequencies are changed, and the context that is good for.
fn scaling(
    read: &Keys<'_>,
    family: &Family,
    rope_dims: usize,
    [trained, original]: [usize; 2],
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
    // The key's old name counts where the new one is not there; 0 means none.
    let has_new = file.get(&read.key("rope.scaling.factor")).is_some();
    let name = if has_new { "rope.scaling.factor" } else { "rope.scale_linear" };
    let factor = match file.float(&read.key(name)) {
        Some(0.0) => 1.0,
        _ => read.float_or(name, 1.0)?,
    };
    // Gemma's files already say the longer length.
    let longer = if family.gemma { trained } else { lengthened(trained, original, factor) };
    let scaling = match file.text(&read.key("rope.scaling.type")) {
        Some("none") => return Ok((Scaling::None, trained)),
        // A file with a factor and no kind means linear. Source: llama.cpp `load_hparams`.
        None | Some("linear") => Scaling::Linear(factor),
        Some("longrope") => return Err(missing_tensor(file.path(), "rope_factors_short.weight")),
        Some("yarn") => Scaling::Yarn {
            factor,
            original: original as f32,
            fast: read.float_or("rope.scaling.yarn_beta_fast", 32.0)?,
            slow: read.float_or("rope.scaling.yarn_beta_slow", 1.0)?,
            magnitude: magnitude * Scaling::yarn_magnitude(factor, 1.0),
            is_whole: true,
        },
        Some(kind) => {
            return Err(unsupported(file, format!("rope scaling {kind}"), KINDS.to_owned()));
        }
    };
    Ok((scaling, longer))
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

    /// A size; of a list with one for each layer, the one that all have.
    fn size(&self, name: &str) -> Result<usize, ModelError> {
        let key = self.key(name);
        let said = match self.file.array(&key) {
            Some(mut all) => {
                let first = all.next();
                if let Some(other) = all.find(|n| Some(n) != first.as_ref()) {
                    let first = first.as_ref().map(shown).unwrap_or_default();
                    let what = format!("{key} of {first} and {}", shown(&other));
                    return Err(unsupported(self.file, what, "the same for all layers".to_owned()));
                }
                match first {
                    Some(Value::Unsigned(n)) => Some(n),
                    Some(Value::Signed(n)) => u64::try_from(n).ok(),
                    _ => None,
                }
            }
            None => self.file.integer(&key),
        };
        match said {
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
            None | Some(Value::Unsigned(0) | Value::Signed(..=0)) => Ok(None),
            Some(_) => self.size(name).map(Some),
        }
    }

    fn float_or(&self, name: &str, default: f32) -> Result<f32, ModelError> {
        let is_said = self.file.get(&self.key(name)).is_some();
        if is_said { self.float(name) } else { Ok(default) }
    }

    fn float(&self, name: &str) -> Result<f32, ModelError> {
        let key = self.key(name);
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
