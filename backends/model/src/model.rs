//! A model, opened: graph, mapped weights, and the plain data text processing needs.
//!
//! Tokenising is not here: `TextData` is what the file says, for others to use.

use std::path::{Path, PathBuf};

use crate::config;
use crate::decoder::decoder;
use crate::graph::Graph;
use crate::weights::{Gguf, Value, Weights};
use crate::{Decoder, ModelError};

/// A model, ready to be fitted to a device.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file it came from.
    pub path: PathBuf,
    /// The name in its metadata, or the file's stem.
    pub name: String,
    /// Tokens it was trained to attend over.
    pub context_tokens: u32,
    /// Its configuration.
    pub decoder: Decoder,
    /// What is computed.
    pub graph: Graph,
    /// With what.
    pub weights: Weights,
    /// How text becomes tokens.
    pub text: TextData,
}

/// Tokenizer and template as the model file states them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextData {
    /// `tokenizer.ggml.model`: `gpt2`, `llama`, …
    pub kind: String,
    /// `tokenizer.ggml.pre`: the pre-tokenizer's name.
    pub pre: String,
    /// Token texts, by id.
    pub tokens: Vec<String>,
    /// Token types, by id (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte).
    pub token_types: Vec<i32>,
    /// Scores, by id, where the kind has them.
    pub scores: Vec<f32>,
    /// BPE merges, best first.
    pub merges: Vec<String>,
    /// Beginning-of-sequence token.
    pub bos: Option<u32>,
    /// End-of-sequence token.
    pub eos: Option<u32>,
    /// Other tokens that end a turn or text.
    pub end_tokens: Vec<u32>,
    /// Unknown token.
    pub unknown: Option<u32>,
    /// Padding token.
    pub padding: Option<u32>,
    /// Put the beginning token before every text.
    pub add_bos: bool,
    /// Put the end token after every text.
    pub add_eos: bool,
    /// The chat template, Jinja.
    pub chat_template: Option<String>,
}

impl Model {
    /// Opens a GGUF file, or the only one in a folder.
    ///
    /// # Errors
    /// Which file is missing, broken or not supported, and why.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let path = weight_file(path)?;
        let file = Gguf::open(&path)?;
        let (config, context_tokens) = config::from_gguf(&file)?;
        let graph = decoder(&config);
        config::check_weights(&file, &graph)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = file.text("general.name").map_or(stem, str::to_owned);
        let text = text_data(&file)?;
        let weights = file.weights().clone();
        Ok(Self { path, name, context_tokens, decoder: config, graph, weights, text })
    }
}

fn weight_file(path: &Path) -> Result<PathBuf, ModelError> {
    let missing = |why: String| ModelError::Missing { path: path.to_owned(), why };
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let entries = std::fs::read_dir(path).map_err(|e| missing(e.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")))
        .collect();
    files.sort();
    match files.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(missing("the folder has no .gguf file".to_owned())),
        several => {
            let names: Vec<_> = several.iter().map(|p| p.to_string_lossy()).collect();
            Err(missing(format!("several weight files, name one: {}", names.join(", "))))
        }
    }
}

fn text_data(file: &Gguf) -> Result<TextData, ModelError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| file.integer(&key(name)).and_then(|n| u32::try_from(n).ok());
    let texts = |name: &str| -> Vec<String> {
        let values = file.array(&key(name)).unwrap_or_default();
        values
            .iter()
            .filter_map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None })
            .collect()
    };
    let token_types = file.array(&key("token_type")).unwrap_or_default();
    let scores = file.array(&key("scores")).unwrap_or_default();
    let text = TextData {
        kind: file.text(&key("model")).unwrap_or_default().to_owned(),
        pre: file.text(&key("pre")).unwrap_or("default").to_owned(),
        tokens: texts("tokens"),
        token_types: token_types.iter().map(signed).collect(),
        scores: scores.iter().map(float).collect(),
        merges: texts("merges"),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        end_tokens: ["eot_token_id", "eom_token_id"].into_iter().filter_map(id).collect(),
        unknown: id("unknown_token_id"),
        padding: id("padding_token_id"),
        add_bos: file.boolean(&key("add_bos_token")).unwrap_or(false),
        add_eos: file.boolean(&key("add_eos_token")).unwrap_or(false),
        chat_template: file.text("tokenizer.chat_template").map(str::to_owned),
    };
    let vocab = file.weights().get("token_embd.weight").map_or(0, |t| t.rows);
    let ids = [text.bos, text.eos, text.unknown, text.padding];
    let past = ids
        .into_iter()
        .flatten()
        .chain(text.end_tokens.iter().copied())
        .find(|id| *id as usize >= vocab);
    let why = if text.tokens.len() != vocab {
        format!("{} tokens, the embedding has {vocab} rows", text.tokens.len())
    } else if let Some(id) = past {
        format!("special token {id} is past the {vocab} tokens")
    } else {
        return Ok(text);
    };
    Err(ModelError::Broken { path: file.path().to_owned(), why })
}

fn signed(value: &Value) -> i32 {
    match value {
        Value::Signed(n) => i32::try_from(*n).unwrap_or(1),
        Value::Unsigned(n) => i32::try_from(*n).unwrap_or(1),
        _ => 1,
    }
}

fn float(value: &Value) -> f32 {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
        Value::Float(x) => *x as f32,
        _ => 0.0,
    }
}
