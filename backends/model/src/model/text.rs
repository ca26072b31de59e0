//! What a GGUF file says of its tokenizer, as plain data.
//!
//! Nothing is tokenised and nothing of Hugging Face's files is read here. What llama.cpp knows by
//! a model's name or by a token's text is decided in `gimbal-text`. Next: `weights/gguf.rs`.

use std::path::PathBuf;

use crate::ModelError;
use crate::config::shown;
use crate::weights::{Gguf, Value};

/// Larger than any table of SentencePiece; the largest known has 300 KB.
const CHARSMAP_BYTES_MAX: usize = 16 << 20;
/// Most merges; Llama 3 has 280 thousand.
const MERGES_MAX: usize = 1 << 22;
/// Pre-tokenizers whose models begin every text with `bos` where no key says so.
const BEGINS: [&str; 9] = [
    "falcon-h1",
    "falcon3",
    "lfm2",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "midm-2.0",
    "pixtral",
    "tekken",
];
/// Tokens that end a text, besides `eos`, as keys name them. Those of fill-in-the-middle end what
/// is filled in. **Source**: llama.cpp `llama-vocab.cpp`, `special_eog_ids`.
const ENDS: [&str; 5] = ["eot", "eom", "fim_pad", "fim_rep", "fim_sep"];

/// Where tokenizer and template are.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// In the model file.
    Data(Box<TextData>),
    /// `tokenizer.json` and the files beside it, in this folder.
    Folder(PathBuf),
}

impl Default for Text {
    fn default() -> Self {
        Self::Data(Box::default())
    }
}

/// Tokenizer and template as a GGUF file states them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextData {
    /// `tokenizer.ggml.model`: `gpt2`, `llama`, …
    pub kind: String,
    /// `tokenizer.ggml.pre`: the pre-tokenizer's name.
    pub pre: String,
    /// `general.name`, by which some traits of tokens are known that no key holds.
    pub name: String,
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
    /// Put a space before every text (kinds `llama` and `t5`).
    pub add_space_prefix: bool,
    /// Several spaces count as one (kind `t5`).
    pub remove_extra_whitespaces: bool,
    /// Character replacements of SentencePiece, compiled (kind `t5`); empty for none.
    pub charsmap: Vec<u8>,
    /// The chat template, Jinja.
    pub chat_template: Option<String>,
    /// What the file says that cannot be, and what is done instead; for the log.
    pub odd: Vec<String>,
}

/// Reads what a file says of its tokenizer.
///
/// # Errors
/// There is not one token for each row of the embedding.
pub(super) fn text_data(file: &Gguf) -> Result<TextData, ModelError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let broken = |why: String| ModelError::Broken { path: file.path().to_owned(), why };
    let vocab = file.weights().get("token_embd.weight").map_or(0, |t| t.rows);
    // Counted before anything is copied.
    let count = |name: &str| file.array(&key(name)).map_or(0, |all| all.count_left());
    let (tokens, merges) = (count("tokens"), count("merges"));
    if tokens != vocab {
        return Err(broken(format!("{tokens} tokens, the embedding has {vocab} rows")));
    }
    if merges > MERGES_MAX {
        return Err(broken(format!("{merges} merges; at most {MERGES_MAX} are read")));
    }
    let (tokens, merges) = (texts(file, &key("tokens")), texts(file, &key("merges")));
    if tokens.len() != vocab {
        return Err(broken("tokenizer.ggml.tokens holds something else than texts".to_owned()));
    }
    // Longer lists than the vocabulary are read as far as it goes, as in llama.cpp.
    let each = |name: &str| file.array(&key(name)).into_iter().flatten().take(vocab);
    let mut odd = Vec::new();
    let (kind, pre) = (file.text(&key("model")).unwrap_or_default().to_owned(), key("pre"));
    let pre = file.text(&pre).unwrap_or("default").to_owned();
    // What files of these kinds leave unsaid. Source: llama.cpp `llama-vocab.cpp`, `impl::load`.
    let (bos, eos, unknown, padding, adds) = match kind.as_str() {
        "llama" => (Some(1), Some(2), Some(0), None, (true, false)),
        "t5" => (None, Some(1), Some(2), Some(0), (false, true)),
        _ => (None, None, None, None, (BEGINS.contains(&pre.as_str()), false)),
    };
    // As llama.cpp does: an id that is none counts as if the key were not there.
    let mut id = |name: &str, default: Option<u32>| {
        let key = key(&format!("{name}_token_id"));
        let default = default.filter(|id| (*id as usize) < vocab);
        let Some(said) = file.get(&key) else { return default };
        let found = file.integer(&key).and_then(|n| u32::try_from(n).ok());
        if let Some(id) = found.filter(|id| (*id as usize) < vocab) {
            return Some(id);
        }
        let instead = default.map_or("none".to_owned(), |id| id.to_string());
        odd.push(format!("{key} is {}, of {vocab} tokens: {instead} is taken", shown(said)));
        default
    };
    let (bos, eos) = (id("bos", bos), id("eos", eos));
    let (unknown, padding) = (id("unknown", unknown), id("padding", padding));
    let end_tokens = ENDS.into_iter().filter_map(|name| id(name, None)).collect();
    Ok(TextData {
        kind,
        pre,
        name: file.text("general.name").unwrap_or_default().to_owned(),
        tokens,
        token_types: each("token_type").map(|v| signed(&v)).collect(),
        scores: each("scores").map(|v| float(&v)).collect(),
        merges,
        bos,
        eos,
        end_tokens,
        unknown,
        padding,
        add_bos: file.boolean(&key("add_bos_token")).unwrap_or(adds.0),
        add_eos: file.boolean(&key("add_eos_token")).unwrap_or(adds.1),
        add_space_prefix: file.boolean(&key("add_space_prefix")).unwrap_or(true),
        remove_extra_whitespaces: file.boolean(&key("remove_extra_whitespaces")).unwrap_or(false),
        charsmap: charsmap(file, &key("precompiled_charsmap")).map_err(broken)?,
        chat_template: file.text("tokenizer.chat_template").map(str::to_owned),
        odd,
    })
}

fn texts(file: &Gguf, key: &str) -> Vec<String> {
    let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
    file.array(key).into_iter().flatten().filter_map(text).collect()
}

fn charsmap(file: &Gguf, key: &str) -> Result<Vec<u8>, String> {
    let bytes = file.array(key).and_then(|all| all.bytes()).unwrap_or_default();
    match bytes.len() {
        0..=CHARSMAP_BYTES_MAX => Ok(bytes.to_vec()),
        n => Err(format!("{key} has {n} bytes; at most {CHARSMAP_BYTES_MAX} are read")),
    }
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
        // Some converters write scores as whole numbers.
        #[expect(clippy::cast_precision_loss, reason = "ranks, far below 2^24")]
        Value::Signed(n) => *n as f32,
        _ => 0.0,
    }
}
