//! What the files beside a `tokenizer.json` say: which tokens are which, and the chat template.
//!
//! The files are read elsewhere; here are their bytes. Next: `json.rs`.

use serde::Deserialize;

use crate::TextError;

/// The named tokens of a model, as written in `tokenizer_config.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text.
    pub eos: Option<String>,
    /// Stands for what cannot be written.
    pub unk: Option<String>,
    /// Fills rows.
    pub pad: Option<String>,
    /// Whether an encoded text begins with `bos`; `None` leaves it to `tokenizer.json`.
    pub add_bos: Option<bool>,
    /// Whether an encoded text ends with `eos`; `None` leaves it to `tokenizer.json`.
    pub add_eos: Option<bool>,
    /// The chat template; of several, the one named `default`.
    pub chat_template: Option<String>,
    /// More tokens that end generation, from `generation_config.json` or `config.json`.
    pub end_tokens: Vec<u32>,
}

impl Named {
    /// Reads `tokenizer_config.json`. It knows no `end_tokens`.
    ///
    /// # Errors
    /// It is not JSON, or a value has another type than all known files give it.
    pub fn from_config(json: &[u8]) -> Result<Self, TextError> {
        let broken = |e| TextError::broken(format!("tokenizer_config.json: {e}"));
        // By way of a tree, in which the last of two equal keys counts, as in Python.
        let tree: serde_json::Value = serde_json::from_slice(json).map_err(broken)?;
        let file: File = serde_json::from_value(tree).map_err(broken)?;
        let text = |token: Option<Token>| match token? {
            Token::Text(text) | Token::Added { content: text } => Some(text),
        };
        let chat_template = file.chat_template.and_then(|template| match template {
            Templates::One(text) => Some(text),
            Templates::Many(many) => {
                many.into_iter().find(|t| t.name == "default").map(|t| t.template)
            }
        });
        Ok(Self {
            bos: text(file.bos_token),
            eos: text(file.eos_token),
            unk: text(file.unk_token),
            pad: text(file.pad_token),
            add_bos: file.add_bos_token,
            add_eos: file.add_eos_token,
            chat_template,
            end_tokens: Vec::new(),
        })
    }
}

#[derive(Deserialize)]
struct File {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    pad_token: Option<Token>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    chat_template: Option<Templates>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Added { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Many(Vec<Template>),
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_texts_or_objects_and_templates_one_or_many() {
        let json = br#"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
            "unk_token": null, "add_bos_token": true, "model_max_length": 1e30,
            "chat_template": [{"name": "rag", "template": "r"},
                              {"name": "default", "template": "d"}]}"#;
        let expect = Named {
            bos: Some("<s>".into()),
            eos: Some("</s>".into()),
            add_bos: Some(true),
            chat_template: Some("d".into()),
            ..Named::default()
        };
        assert_eq!(Named::from_config(json), Ok(expect));
        let twice = br#"{"bos_token": "a", "x": 1, "bos_token": {"content": "b"}, "x": 2}"#;
        assert_eq!(Named::from_config(twice).map(|named| named.bos), Ok(Some("b".into())));
        let one = Named::from_config(br#"{"chat_template": "t"}"#).expect("a template");
        assert_eq!(one.chat_template.as_deref(), Some("t"));
        for broken in ["", "[]", r#"{"bos_token": 1}"#, r#"{"chat_template": [1]}"#] {
            let error = Named::from_config(broken.as_bytes()).map_err(|e| e.to_string());
            assert!(error.is_err_and(|e| e.contains("tokenizer_config.json")), "{broken}");
        }
    }
}
