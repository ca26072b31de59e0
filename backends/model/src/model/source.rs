//! Which files a path means: a GGUF file, a folder with one, or a folder with `config.json` and
//! safetensors.
//!
//! Only names and the heads of files are looked at. Next: `model.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::weights::Gguf;
use crate::{ModelError, json_text};

/// Names the files of a sharded model. **Source**: Hugging Face `huggingface_hub`.
const INDEX: &str = "model.safetensors.index.json";
/// The configuration beside safetensors.
pub(super) const CONFIG: &str = "config.json";
/// Bytes of a JSON file that are read; the largest known index has 10 MB.
const JSON_BYTES_MAX: u64 = 64 << 20;

pub(super) enum Source {
    Gguf(PathBuf),
    Folder(PathBuf),
}

pub(super) fn source(path: &Path) -> Result<Source, ModelError> {
    let missing = |why: String| ModelError::Missing { path: path.to_owned(), why };
    if path.is_file() {
        return Ok(match path.parent() {
            Some(folder) if has_ending(path, "safetensors") || has_ending(path, "json") => {
                Source::Folder(folder.to_owned())
            }
            _ => Source::Gguf(path.to_owned()),
        });
    }
    let entries = std::fs::read_dir(path).map_err(|e| missing(e.to_string()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let files: Vec<PathBuf> = files.filter(|p| !is_hidden(p)).collect();
    let mut ggufs: Vec<&PathBuf> = files.iter().filter(|p| has_ending(p, "gguf")).collect();
    ggufs.sort();
    let has_safetensors = files.iter().any(|p| has_ending(p, "safetensors"));
    if ggufs.len() + usize::from(has_safetensors) > 1 {
        ggufs.retain(|p| is_whole_model(p));
    }
    match ggufs.as_slice() {
        [] if has_safetensors && path.join(CONFIG).is_file() => Ok(Source::Folder(path.to_owned())),
        [] if has_safetensors => {
            Err(missing("there are safetensors but no config.json".to_owned()))
        }
        [] => Err(missing("the folder has no .gguf and no .safetensors file".to_owned())),
        [one] if !has_safetensors => Ok(Source::Gguf((*one).clone())),
        [one] => Err(missing(format!("safetensors and {}: name the file", one.display()))),
        // Parts of one model: opening the first says how they are merged.
        [first, ..] if ggufs.iter().all(|p| is_part_beside(p, first)) => {
            Ok(Source::Gguf((*first).clone()))
        }
        several => {
            let names: Vec<_> = several.iter().map(|p| p.to_string_lossy()).collect();
            Err(missing(format!("several weight files, name one: {}", names.join(", "))))
        }
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// Files of the file system, as macOS's `._model.gguf`.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// False for what lies beside a model: projectors of pictures, adapters, importance matrices,
/// vocabularies. One that cannot be read counts as a model, so that its error is told.
fn is_whole_model(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    if name.is_some_and(|name| name.contains("mmproj")) {
        return false;
    }
    let Ok(file) = Gguf::open(path) else { return true };
    let is_model = file.text("general.type").is_none_or(|kind| kind == "model");
    let is_clip = file.text("general.architecture") == Some("clip");
    is_model && !is_clip && file.weights().entries().next().is_some()
}

/// `NAME-00001-of-00003.gguf` beside another number of the same name.
fn is_part_beside(path: &Path, first: &Path) -> bool {
    fn split(path: &Path) -> Option<(String, String)> {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        let (rest, total) = stem.rsplit_once("-of-")?;
        let (name, part) = rest.rsplit_once('-')?;
        let is_number = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
        (is_number(part) && is_number(total)).then(|| (name.to_owned(), total.to_owned()))
    }
    split(path).is_some_and(|found| Some(found) == split(first))
}

/// The files of the index, or the only one.
pub(super) fn safetensors_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
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

/// A JSON file as Python writes and reads it.
pub(super) fn read_json(path: &Path) -> Result<serde_json::Value, ModelError> {
    let missing =
        |e: std::io::Error| ModelError::Missing { path: path.to_owned(), why: e.to_string() };
    let broken = |why: String| ModelError::Broken { path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(missing)?.len();
    if bytes > JSON_BYTES_MAX {
        return Err(broken(format!("{bytes} bytes; at most {JSON_BYTES_MAX} are read")));
    }
    let bytes = std::fs::read(path).map_err(missing)?;
    serde_json::from_slice(&json_text::strict(&bytes)).map_err(|e| broken(e.to_string()))
}
