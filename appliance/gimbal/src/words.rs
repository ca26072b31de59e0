//! From a model's files to its tokenizer and chat template.
//!
//! A GGUF file has both inside; a folder has `tokenizer.json`, `tokenizer_config.json`,
//! `chat_template.jinja`, and end tokens in `generation_config.json` or `config.json`.

use std::path::Path;
use std::sync::Arc;

use gimbal_model::{Model, Text, TextData, json_text};
use gimbal_text::{ChatTemplate, Named, Tokenizer, TokenizerData};
use serde_json::Value;
use tracing::warn;

use crate::failure::Failure;

/// Bytes of a `tokenizer.json` or template that are read; the largest known have 40 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// How a model reads and writes.
pub(crate) struct Words {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<Arc<ChatTemplate>>,
    /// The tokenizer's kind, for people.
    pub(crate) kind: String,
    /// Where the template came from, for people; also where it could not be used.
    pub(crate) template_source: Option<String>,
}

impl Words {
    /// Makes them of the model's text.
    pub(crate) fn open(
        model: &Model,
        text: Text,
        chat_template: Option<&Path>,
    ) -> Result<Self, Failure> {
        let in_model = |e: &dyn std::fmt::Display| {
            Failure::data(e).context(format!("in the tokenizer of {}", model.path.display()))
        };
        let (tokenizer, kind, own) = match text {
            Text::Data(mut text) => {
                let kind = format!("GGUF {} ({})", text.kind, text.pre);
                for odd in std::mem::take(&mut text.odd) {
                    warn!(odd, "the model's file contradicts itself");
                }
                let own = text.chat_template.take();
                let tokenizer = Tokenizer::new(&data(*text)).map_err(|e| in_model(&e))?;
                (tokenizer, kind, own)
            }
            Text::Folder(folder) => {
                let json = read(&folder.join("tokenizer.json"))?.ok_or_else(|| {
                    Failure::no_input(format!("{} has no tokenizer.json", folder.display()))
                })?;
                let named = named(&folder).map_err(|e| in_model(&e))?;
                let tokenizer = from_json(&json, &named).map_err(|e| in_model(&e))?;
                for odd in tokenizer.odd() {
                    warn!(odd, "the model's files contradict each other");
                }
                (tokenizer, "tokenizer.json".to_owned(), named.chat_template)
            }
        };
        let tokenizer = tokenizer.of_model(model.decoder.vocab);
        let found = template(model, chat_template, own)?;
        let new = |source: &str| {
            ChatTemplate::new(source, tokenizer.bos_text(), tokenizer.eos_text()).map(Arc::new)
        };
        let (mut template, mut template_source) = (None, None);
        if let Some((source, from)) = found {
            match new(&source) {
                Ok(made) => template = Some(made),
                // One that was asked for must be right.
                Err(error) if chat_template.is_some() => {
                    return Err(Failure::usage(format!("{from}: {error}")));
                }
                // A model with a broken one still serves text; chat requests say what is wrong.
                Err(error) => warn!(%error, from, "the model's chat template cannot be used"),
            }
            let broken = if template.is_some() { "" } else { ", which cannot be used" };
            template_source = Some(format!("{from}{broken}"));
        }
        Ok(Self { tokenizer: Arc::new(tokenizer), template, kind, template_source })
    }
}

/// The template of the setting, of a file beside the model, or the model's own, and where it is from.
fn template(
    model: &Model,
    set: Option<&Path>,
    own: Option<String>,
) -> Result<Option<(String, String)>, Failure> {
    let text = |path: &Path, bytes: Vec<u8>| {
        let from = path.display().to_string();
        String::from_utf8(bytes)
            .map(|source| (source, from.clone()))
            .map_err(|e| Failure::data(format!("{from}: {e}")))
    };
    if let Some(path) = set {
        let missing = || Failure::no_input(format!("chat_template: no {}", path.display()));
        return text(path, read(path)?.ok_or_else(missing)?).map(Some);
    }
    let folder = if model.path.is_dir() { Some(model.path.as_path()) } else { model.path.parent() };
    if let Some(folder) = folder {
        let beside = folder.join("chat_template.jinja");
        if leads_outside(folder, &beside) {
            // What a template says can be read back by whoever sends a chat.
            warn!(path = %beside.display(), "not read: it is a link that leads outside the model");
        } else if let Some(bytes) = read(&beside)? {
            return text(&beside, bytes).map(Some);
        }
    }
    Ok(own.map(|source| (source, "the model's own".to_owned())))
}

/// True if a file of a model's folder is a link to what is none of the model's. In Hugging Face's cache
/// `snapshots/REVISION` is made of links to `blobs` beside `snapshots`.
fn leads_outside(folder: &Path, file: &Path) -> bool {
    let (Ok(folder), Ok(file)) = (folder.canonicalize(), file.canonicalize()) else { return false };
    let snapshots = folder.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
    !file.starts_with(&folder) && !blobs.is_some_and(|blobs| file.starts_with(blobs))
}

/// A tokenizer of a file as Python may have written it; only one that is no JSON is gone through.
fn from_json(json: &[u8], named: &Named) -> Result<Tokenizer, gimbal_text::TextError> {
    Tokenizer::from_json(json, named).or_else(|error| match json_text::strict(json) {
        strict if strict.len() != json.len() => Tokenizer::from_json(&strict, named),
        _ => Err(error),
    })
}

fn named(folder: &Path) -> Result<Named, String> {
    let file = |name: &str| read(&folder.join(name)).map_err(|e| e.to_string());
    let named = file("tokenizer_config.json")?;
    let named = named.map(|json| Named::from_config(&json_text::strict(&json))).transpose();
    let mut named = named.map_err(|e| e.to_string())?.unwrap_or_default();
    for name in ["generation_config.json", "config.json"] {
        let read = file(name).and_then(|json| {
            let json = json.unwrap_or_else(|| b"null".to_vec());
            let json = serde_json::from_slice(&json_text::strict(&json));
            json.map_err(|e| format!("{name}: {e}"))
        });
        let json: Value = match read {
            Ok(json) => json,
            // Hints never stop a model; the settings tell that this one is not read.
            Err(_) if name == "generation_config.json" => continue,
            Err(error) => return Err(error),
        };
        let ids = match &json["eos_token_id"] {
            Value::Array(ids) => ids.as_slice(),
            id => std::slice::from_ref(id),
        };
        let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
        named.end_tokens.extend(ids.iter().filter_map(id));
    }
    Ok(named)
}

/// A file's bytes; `None` where there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |e: std::io::Error| Failure::data(format!("{}: {e}", path.display()));
    let Ok(about) = std::fs::metadata(path) else { return Ok(None) };
    if about.len() > FILE_BYTES_MAX {
        let (path, bytes) = (path.display(), about.len());
        let why = format!("{path} has {bytes} bytes; at most {FILE_BYTES_MAX} are read");
        return Err(Failure::data(why));
    }
    std::fs::read(path).map(Some).map_err(failed)
}

fn data(text: TextData) -> TokenizerData {
    TokenizerData {
        kind: text.kind,
        pre: text.pre,
        name: text.name,
        tokens: text.tokens,
        token_types: text.token_types,
        merges: text.merges,
        scores: text.scores,
        bos: text.bos,
        eos: text.eos,
        unk: text.unknown,
        pad: text.padding,
        add_bos: text.add_bos,
        add_eos: text.add_eos,
        eog: text.end_tokens,
        add_space_prefix: text.add_space_prefix,
        remove_extra_whitespaces: text.remove_extra_whitespaces,
        charsmap: text.charsmap,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_template_may_be_a_link_within_its_model_only() {
        let base = std::env::temp_dir().join(format!("gimbal-words-{}", std::process::id()));
        let snapshot = base.join("models--a--b/snapshots/0a");
        let blobs = base.join("models--a--b/blobs");
        let plain = base.join("plain");
        for folder in [&snapshot, &blobs, &plain] {
            std::fs::create_dir_all(folder).expect("a temporary folder");
        }
        for file in [blobs.join("f"), plain.join("own"), base.join("secret")] {
            std::fs::write(file, "text").expect("a temporary file");
        }
        let check = |folder: &Path, target: &str, outside: bool| {
            let link = folder.join("chat_template.jinja");
            symlink(target, &link).expect("a link");
            assert_eq!(leads_outside(folder, &link), outside, "{} -> {target}", folder.display());
            std::fs::remove_file(link).expect("ours");
        };
        check(&snapshot, "../../blobs/f", false);
        check(&snapshot, "../../../secret", true);
        check(&plain, "own", false);
        check(&plain, "../secret", true);
        check(&plain, "../models--a--b/blobs/f", true);
        check(&plain, "/etc/hostname", true);
        assert!(!leads_outside(&plain, &plain.join("own")));
        std::fs::remove_dir_all(base).expect("ours");
    }
}
