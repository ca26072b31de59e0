//! A model, opened: graph, mapped weights, and the plain data text processing needs.
//!
//! Tokenising is not here: `TextData` is what the file says, for others to use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::decoder::decoder;
use crate::graph::Graph;
use crate::weights::{DType, Entry, Gguf, Mapping, Value, Weights, safetensors};
use crate::{Decoder, ModelError};

/// Names the files of a sharded model. **Source**: Hugging Face `huggingface_hub`.
const INDEX: &str = "model.safetensors.index.json";
/// The configuration beside safetensors.
const CONFIG: &str = "config.json";

/// A model, ready to be fitted to a device.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file or folder it came from.
    pub path: PathBuf,
    /// The name in its metadata, or that of the file or folder.
    pub name: String,
    /// Its licence, as its metadata or its `README.md` names it.
    pub licence: Option<String>,
    /// Tokens it was trained to attend over.
    pub context_tokens: u32,
    /// Its configuration.
    pub decoder: Decoder,
    /// What is computed.
    pub graph: Graph,
    /// With what.
    pub weights: Weights,
    /// How text becomes tokens.
    pub text: Text,
}

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
}

impl Model {
    /// Opens a GGUF file, a folder with one, or a folder with `config.json` and safetensors.
    ///
    /// # Errors
    /// Which file is missing, broken or not supported, and why.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        match source(path)? {
            Source::Gguf(path) => Self::open_gguf(&path),
            Source::Folder(folder) => Self::open_folder(&folder),
        }
    }

    /// Takes the tokenizer's data out of the model, which needs it no more when text is made tokens
    /// elsewhere: some megabytes. An empty one stays.
    pub fn take_text(&mut self) -> Text {
        std::mem::take(&mut self.text)
    }

    fn open_gguf(path: &Path) -> Result<Self, ModelError> {
        Self::from_gguf(&Gguf::open(path)?)
    }

    /// Takes a GGUF file that was read.
    ///
    /// # Errors
    /// What in it is broken or not supported.
    pub fn from_gguf(file: &Gguf) -> Result<Self, ModelError> {
        let path = file.path();
        let (config, weights, context_tokens) = config::from_gguf(file)?;
        let graph = decoder(&config);
        config::check_weights(&weights, &graph, path)?;
        let name = file.text("general.name").map_or_else(|| name_of(path), str::to_owned);
        let text = Text::Data(Box::new(text_data(file)?));
        let licence = file.text("general.license").map(str::to_owned);
        let path = path.to_owned();
        Ok(Self { path, name, licence, context_tokens, decoder: config, graph, weights, text })
    }

    fn open_folder(folder: &Path) -> Result<Self, ModelError> {
        let json = read_json(&folder.join(CONFIG))?;
        let open = |file: PathBuf| {
            let missing = |why: String| ModelError::Missing { path: file.clone(), why };
            let mapping = Mapping::open(&file).map_err(|e| missing(e.to_string()))?;
            Ok((file, mapping))
        };
        let files = safetensors_files(folder)?;
        Self::from_safetensors(
            folder,
            &json,
            files.into_iter().map(open).collect::<Result<_, _>>()?,
        )
    }

    /// Takes a `config.json` that was read and the safetensors of the same folder.
    ///
    /// # Errors
    /// What in them is broken or not supported.
    pub fn from_safetensors(
        folder: &Path,
        config: &serde_json::Value,
        files: Vec<(PathBuf, Mapping)>,
    ) -> Result<Self, ModelError> {
        let path = folder.join(CONFIG);
        let said = config::Config::new(&path, config)?;
        let mut weights = Weights::default();
        for (file, mapping) in files {
            let name = |theirs: &str| config::canonical_name(said.family, theirs);
            safetensors::add(&mut weights, &file, mapping, &name)?;
        }
        // Where the output projection is the embedding, some files hold it twice.
        if config.get("tie_word_embeddings") == Some(&serde_json::Value::Bool(true)) {
            weights.remove("output.weight");
        }
        add_offsets(&mut weights, said.family)
            .map_err(|e| ModelError::Missing { path: folder.to_owned(), why: e.to_string() })?;
        let (config, context_tokens) = config::from_json(&said, &mut weights)?;
        let graph = decoder(&config);
        config::check_weights(&weights, &graph, folder)?;
        let (path, name) = (folder.to_owned(), name_of(folder));
        let (text, licence) = (Text::Folder(folder.to_owned()), licence_of(folder));
        Ok(Self { path, name, licence, context_tokens, decoder: config, graph, weights, text })
    }

    /// The name of its file without the ending, or of its folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        name_of(&self.path)
    }
}

fn name_of(path: &Path) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = if path.is_file() { whole.file_stem() } else { whole.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The `license:` of the head of a model card.
fn licence_of(folder: &Path) -> Option<String> {
    let card = std::fs::read_to_string(folder.join("README.md")).ok()?;
    let (head, _) = card.strip_prefix("---")?.split_once("\n---")?;
    let name = head.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

enum Source {
    Gguf(PathBuf),
    Folder(PathBuf),
}

fn source(path: &Path) -> Result<Source, ModelError> {
    let missing = |why: String| ModelError::Missing { path: path.to_owned(), why };
    let has_ending =
        |p: &Path, ending: &str| p.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
    if path.is_file() {
        return Ok(match path.parent() {
            Some(folder) if has_ending(path, "safetensors") || has_ending(path, "json") => {
                Source::Folder(folder.to_owned())
            }
            _ => Source::Gguf(path.to_owned()),
        });
    }
    let entries = std::fs::read_dir(path).map_err(|e| missing(e.to_string()))?;
    let files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let mut ggufs: Vec<&PathBuf> = files.iter().filter(|p| has_ending(p, "gguf")).collect();
    ggufs.sort();
    let has_safetensors = files.iter().any(|p| has_ending(p, "safetensors"));
    match ggufs.as_slice() {
        [] if has_safetensors && path.join(CONFIG).is_file() => Ok(Source::Folder(path.to_owned())),
        [] if has_safetensors => {
            Err(missing("there are safetensors but no config.json".to_owned()))
        }
        [] => Err(missing("the folder has no .gguf and no .safetensors file".to_owned())),
        [one] if !has_safetensors => Ok(Source::Gguf((*one).clone())),
        [one] => Err(missing(format!("safetensors and {}: name the file", one.display()))),
        several => {
            let names: Vec<_> = several.iter().map(|p| p.to_string_lossy()).collect();
            Err(missing(format!("several weight files, name one: {}", names.join(", "))))
        }
    }
}

/// The files of the index, or the only one.
fn safetensors_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let index = folder.join(INDEX);
    if index.is_file() {
        let json = read_json(&index)?;
        let map = json.get("weight_map").and_then(serde_json::Value::as_object);
        let names: Option<BTreeSet<&str>> =
            map.and_then(|map| map.values().map(serde_json::Value::as_str).collect());
        // A name with a path in it would leave the folder.
        let names = names.filter(|n| n.iter().all(|n| !n.contains(['/', '\\'])));
        return match names {
            Some(names) => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
            None => {
                let why = "weight_map does not map tensors to files of the folder".to_owned();
                Err(ModelError::Broken { path: index, why })
            }
        };
    }
    let one = folder.join("model.safetensors");
    if one.is_file() {
        return Ok(vec![one]);
    }
    let why = format!("neither model.safetensors nor {INDEX}");
    Err(ModelError::Missing { path: folder.to_owned(), why })
}

fn read_json(path: &Path) -> Result<serde_json::Value, ModelError> {
    let bytes = std::fs::read(path)
        .map_err(|e| ModelError::Missing { path: path.to_owned(), why: e.to_string() })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| ModelError::Broken { path: path.to_owned(), why: e.to_string() })
}

/// Adds 1 to norms that are stored as `weight - 1`.
fn add_offsets(weights: &mut Weights, family: &config::Family) -> std::io::Result<()> {
    let names = weights.entries().map(|(name, _)| name.to_owned());
    let names: Vec<String> = names.filter(|name| config::has_unit_offset(family, name)).collect();
    let (mut bytes, mut entries) = (Vec::new(), Vec::new());
    for name in names {
        let Some(tensor) = weights.get(&name) else { continue };
        let (start, rows, cols) = (bytes.len(), tensor.rows, tensor.cols);
        bytes.extend(tensor.to_f32().iter().flat_map(|x| (x + 1.0).to_le_bytes()));
        let (dtype, bytes) = (DType::F32, start..bytes.len());
        entries.push((name, Entry { dtype, rows, cols, file: 0, bytes }));
    }
    if !entries.is_empty() {
        weights.add(Arc::new(Mapping::from_bytes(&bytes)?), entries);
    }
    Ok(())
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
    let kind = file.text(&key("model")).unwrap_or_default().to_owned();
    // What files of these kinds leave unsaid. Source: llama.cpp `llama-vocab.cpp`, `impl::load`.
    let (bos, eos, unknown, padding, adds) = match kind.as_str() {
        "llama" => (Some(1), Some(2), Some(0), None, (true, false)),
        "t5" => (None, Some(1), Some(2), Some(0), (false, true)),
        _ => (None, None, None, None, (false, false)),
    };
    let text = TextData {
        kind,
        pre: file.text(&key("pre")).unwrap_or("default").to_owned(),
        tokens: texts("tokens"),
        token_types: token_types.iter().map(signed).collect(),
        scores: scores.iter().map(float).collect(),
        merges: texts("merges"),
        bos: id("bos_token_id").or(bos),
        eos: id("eos_token_id").or(eos),
        end_tokens: ["eot_token_id", "eom_token_id"].into_iter().filter_map(id).collect(),
        unknown: id("unknown_token_id").or(unknown),
        padding: id("padding_token_id").or(padding),
        add_bos: file.boolean(&key("add_bos_token")).unwrap_or(adds.0),
        add_eos: file.boolean(&key("add_eos_token")).unwrap_or(adds.1),
        add_space_prefix: file.boolean(&key("add_space_prefix")).unwrap_or(true),
        remove_extra_whitespaces: file.boolean(&key("remove_extra_whitespaces")).unwrap_or(false),
        charsmap: file.array(&key("precompiled_charsmap")).map(bytes_of).unwrap_or_default(),
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

fn bytes_of(values: &[Value]) -> Vec<u8> {
    let byte = |value: &Value| match value {
        Value::Unsigned(n) => u8::try_from(*n).ok(),
        Value::Signed(n) => i8::try_from(*n).ok().map(i8::cast_unsigned),
        _ => None,
    };
    values.iter().filter_map(byte).collect()
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
