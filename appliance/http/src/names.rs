//! Every field that clients of OpenAI, Anthropic, vLLM, llama.cpp, Ollama, TGI, LMI and SGLang send, and what becomes of
//! it: done, harmless, or refused. What could change an answer is never read past.
//!
//! `docs/fields.md` is written from this table, and a test sends every row by every route. A name
//! that stands in no row is ignored and told in `x-gimbal-ignored`. Next: `names/rows.rs`, `fields.rs`.

mod rows;

use serde_json::Value;

use Neutral::{Empty, Numbers, TextFormat, TextOnly, True, Words};
use Verdict::Harmless;

pub(crate) use rows::TABLE;

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Chat,
    Completion,
    /// The body in LMI's schema.
    Lmi,
    /// `parameters` in LMI's schema.
    LmiParameters,
    Tokenize,
    Detokenize,
    StreamOptions,
    /// The bodies of Anthropic's routes.
    Messages,
    Responses,
    /// The bodies of llama.cpp's `/completion`.
    Llama,
    /// The bodies of llama.cpp's `/apply-template`.
    Template,
    OllamaChat,
    OllamaGenerate,
    OllamaOptions,
    OllamaShow,
}

impl Scope {
    /// Its letter in the table.
    fn letter(self) -> char {
        match self {
            Self::Chat => 'c',
            Self::Completion => 'p',
            Self::Lmi => 'l',
            Self::LmiParameters => 'm',
            Self::Tokenize => 't',
            Self::Detokenize => 'd',
            Self::StreamOptions => 's',
            Self::Messages => 'a',
            Self::Responses => 'r',
            Self::Llama => 'k',
            Self::Template => 'x',
            Self::OllamaChat => 'o',
            Self::OllamaGenerate => 'g',
            Self::OllamaOptions => 'i',
            Self::OllamaShow => 'h',
        }
    }
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It has its effect.
    Done,
    /// It could change nothing here; told in a header.
    Harmless,
    /// It has its effect in `parameters` only: 400 says so.
    Misplaced,
    /// It would change the answer: 400, unless its value asks for nothing.
    Refused(Neutral),
}

/// Values that ask for nothing; `null` always does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Neutral {
    /// `[]`, `{}`, `""`, `false`.
    Empty,
    True,
    Numbers(&'static [f64]),
    Words(&'static [&'static str]),
    /// `{"type": "text"}`, or empty.
    TextFormat,
    /// `["text"]`, or empty.
    TextOnly,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Letters of the scopes where it is done.
    done: &'static str,
    /// What becomes of it elsewhere.
    elsewhere: Verdict,
    /// A legal value that asks for something, as JSON.
    #[cfg_attr(not(test), expect(dead_code, reason = "what the tests send"))]
    pub(crate) sample: &'static str,
    /// Whose it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document"))]
    origin: &'static str,
    doc: &'static str,
}

const fn row(
    name: &'static str,
    done: &'static str,
    elsewhere: Verdict,
    sample: &'static str,
    origin: &'static str,
    doc: &'static str,
) -> Row {
    Row { name, done, elsewhere, sample, origin, doc }
}

impl Row {
    fn verdict(&self, scope: Scope) -> Verdict {
        let is_done = |scope: Scope| self.done.contains(scope.letter());
        match scope {
            _ if is_done(scope) => Verdict::Done,
            Scope::Lmi if is_done(Scope::LmiParameters) => Verdict::Misplaced,
            _ => self.elsewhere,
        }
    }
}

impl Neutral {
    /// True if a value asks for nothing.
    pub(crate) fn holds(self, json: &[u8]) -> bool {
        // What asks for nothing is short; a long value need not become a tree to be refused.
        const NEUTRAL_BYTES_MAX: usize = 64;
        if json.len() > NEUTRAL_BYTES_MAX {
            return false;
        }
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return false };
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(flag) => !flag,
            Value::String(text) => text.is_empty(),
            Value::Number(_) => false,
        };
        match self {
            _ if value.is_null() => true,
            Empty => is_empty,
            True => value == true,
            Numbers(numbers) => is_empty || value.as_f64().is_some_and(|n| numbers.contains(&n)),
            Words(words) => {
                is_empty && !value.is_boolean()
                    || value.as_str().is_some_and(|w| words.contains(&w))
            }
            TextFormat => is_empty || value["type"] == "text",
            TextOnly => is_empty || value.as_array().is_some_and(|k| k.iter().all(|k| k == "text")),
        }
    }
}

/// The table's own name for a field.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    find(name).map(|row| row.name)
}

pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// What becomes of a field of the table.
pub(crate) fn verdict(name: &str, scope: Scope) -> Verdict {
    find(name).map_or(Harmless, |row| row.verdict(scope))
}

/// What a field of the table is for.
pub(crate) fn doc(name: &str) -> &'static str {
    find(name).map_or("", |row| row.doc)
}

fn find(name: &str) -> Option<&'static Row> {
    let index = TABLE.binary_search_by(|row| row.name.cmp(name)).ok()?;
    TABLE.get(index)
}

#[cfg(test)]
mod tests {
    use super::Verdict::Refused;
    use super::*;

    const HEAD: &str = "\
# Request fields

Written from the table in `src/names.rs`; do not edit. *done*: it has its effect. *harmless*: it
could change nothing here, and `x-gimbal-ignored` names it. *refused*: 400 `not_supported`, unless
its value asks for nothing. *in parameters*: 400, for it has its effect there. Names that stand in
no row are ignored and told likewise.
";
    const SCOPES: [(Scope, &str); 14] = [
        (Scope::Chat, "chat"),
        (Scope::Completion, "completions"),
        (Scope::Lmi, "LMI"),
        (Scope::LmiParameters, "LMI parameters"),
        (Scope::Tokenize, "tokenize"),
        (Scope::Detokenize, "detokenize"),
        (Scope::Messages, "messages"),
        (Scope::Responses, "responses"),
        (Scope::Llama, "llama.cpp completion"),
        (Scope::Template, "apply-template"),
        (Scope::OllamaChat, "Ollama chat"),
        (Scope::OllamaGenerate, "Ollama generate"),
        (Scope::OllamaOptions, "Ollama options"),
        (Scope::OllamaShow, "Ollama show"),
    ];

    fn markdown() -> String {
        let mut text = format!("{HEAD}\n| field | of | meaning | example |");
        SCOPES.iter().for_each(|(_, name)| text += &format!(" {name} |"));
        text += &format!("\n|---|---|---|---|{}\n", "---|".repeat(SCOPES.len()));
        for row in TABLE {
            text +=
                &format!("| `{}` | {} | {} | `{}` |", row.name, row.origin, row.doc, row.sample);
            for (scope, _) in SCOPES {
                let word = match row.verdict(scope) {
                    Verdict::Done => "done",
                    Harmless => "harmless",
                    Verdict::Misplaced => "in parameters",
                    Refused(_) => "refused",
                };
                text += &format!(" {word} |");
            }
            text.push('\n');
        }
        text
    }

    /// `GIMBAL_TEST_UPDATE=1 cargo test` writes it.
    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md");
        if std::env::var_os("GIMBAL_TEST_UPDATE").is_some() {
            std::fs::write(path, markdown()).expect("a writable tree");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "run GIMBAL_TEST_UPDATE=1 cargo test -p gimbal-http");
    }

    #[test]
    fn rows_are_in_order_and_their_samples_ask_for_something() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for row in TABLE {
            assert!(serde_json::from_str::<Value>(row.sample).is_ok(), "{}", row.name);
            if let Refused(neutral) = row.elsewhere {
                let is_plain = row.sample == "{}";
                assert!(is_plain || !neutral.holds(row.sample.as_bytes()), "{}", row.name);
                assert!(neutral.holds(b"null"), "{}", row.name);
            }
        }
    }

    #[test]
    fn neutral_values_ask_for_nothing() {
        let check = |neutral: Neutral, json: &str, holds: bool| {
            assert_eq!(neutral.holds(json.as_bytes()), holds, "{neutral:?} {json}");
        };
        check(Empty, "[]", true);
        check(Empty, "{ }", true);
        check(Empty, "0", false);
        check(True, "true", true);
        check(True, "false", false);
        check(Numbers(&[1.0]), "1", true);
        check(Numbers(&[1.0]), "1.0", true);
        check(Numbers(&[1.0]), "2", false);
        check(Words(&["none"]), "\"none\"", true);
        check(Words(&["none"]), "\"f\"", false);
        check(TextFormat, r#"{"type": "text"}"#, true);
        check(TextFormat, r#"{"type": "json_object"}"#, false);
        check(TextOnly, r#"["text"]"#, true);
        check(TextOnly, r#"["text", "audio"]"#, false);
    }
}
