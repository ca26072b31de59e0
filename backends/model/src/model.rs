//! A model, opened: graph, mapped weights, and the plain data text processing needs.
//!
//! Tokenising is not here: `TextData` is what the file says, for others to use. Which files a path
//! means is in `model/source.rs`, the tokenizer's data in `model/text.rs`.

mod source;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use source::{CONFIG, Source, read_json, safetensors_files, source};
pub use text::{Text, TextData};

use crate::config;
use crate::decoder::decoder;
use crate::graph::Graph;
use crate::weights::{DType, Entry, Gguf, Mapping, Weights, safetensors};
use crate::{Decoder, ModelError};

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
        let text = Text::Data(Box::new(text::text_data(file)?));
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
        if said.is_tied()? {
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
}

/// The name of a model's file without the ending, or of its folder, as it was given: what it links to is a storage's own business (a hash, in
/// caches). Only a path without a name, as `.`, is resolved.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let resolved = || std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let whole = if path.file_name().is_some() { path.to_owned() } else { resolved() };
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
