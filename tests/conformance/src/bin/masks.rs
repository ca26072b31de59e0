//! What grammars cost: `masks MODEL`. Times of the vocabulary, of a schema's first mask, of one seen
//! before, and of each token's mask while a document is written; one line of JSON, in microseconds.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use gimbal_conformance::tokenizer;
use gimbal_model::{Model, Text};
use gimbal_text::{Grammar, GrammarSource, Grammars, Tokenizer};
use serde_json::{Value, json};

/// Answers that are written with one grammar, one after the other.
const ANSWERS: usize = 8;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("masks MODEL")?;
    let Text::Data(text) = Model::open(Path::new(&path))?.text else {
        anyhow::bail!("a GGUF file");
    };
    let tokenizer = Tokenizer::new(&tokenizer::data(*text))?;
    let from = Instant::now();
    let grammars = Grammars::new(&tokenizer)?;
    let vocabulary = from.elapsed();
    let (schema, document) = example();
    let ids = tokenizer.encode_plain(&document, false)?;
    let source = GrammarSource::JsonSchema(schema);
    let from = Instant::now();
    let grammar = grammars.compile(&source)?;
    grammar.begin().mask()?;
    let first = from.elapsed();
    let from = Instant::now();
    grammars.compile(&source)?.begin().mask()?;
    let again = from.elapsed();
    let mut answers = Vec::new();
    for _ in 0..ANSWERS {
        answers.push(write_out(&grammar, &ids)?);
    }
    let fresh = write_out(&grammars.compile(&source)?, &ids)?;
    let line = json!({
        "vocabulary": micros(vocabulary),
        "schema_bytes": source_bytes(&source),
        "document_tokens": ids.len(),
        "first_mask": micros(first),
        "known_first_mask": micros(again),
        "answers": answers,
        "one_more": fresh,
    });
    let line = format!("{line}\n");
    std::io::stdout().write_all(line.as_bytes()).context("the result")
}

/// Writes a document; the median and the longest time of a token's mask, its acceptance included.
fn write_out(grammar: &std::sync::Arc<Grammar>, ids: &[u32]) -> anyhow::Result<Value> {
    let from = Instant::now();
    let mut matching = grammar.begin();
    let begun = from.elapsed();
    let mut times = Vec::new();
    for id in ids {
        let from = Instant::now();
        let mask = matching.mask()?;
        let allowed = mask.get(*id as usize / 32).is_some_and(|w| w >> (id % 32) & 1 == 1);
        anyhow::ensure!(allowed, "token {id} does not fit");
        matching.accept(*id)?;
        times.push(from.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let most = times.last().copied().unwrap_or_default();
    Ok(json!({
        "begin": micros(begun), "p50": micros(at(50)), "p90": micros(at(90)), "most": micros(most),
        "mean": micros(times.iter().sum::<Duration>() / u32::try_from(times.len().max(1))?),
    }))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn source_bytes(source: &GrammarSource) -> usize {
    match source {
        GrammarSource::JsonSchema(schema) => schema.to_string().len(),
        _ => 0,
    }
}

/// A schema of about 2 KB and a document of it.
fn example() -> (Value, String) {
    let text = json!({ "type": "string", "maxLength": 200 });
    let person = json!({
        "type": "object",
        "properties": {
            "name": text, "email": { "type": "string", "pattern": "^[a-z0-9.]+@[a-z]+\\.(com|org)$" },
            "age": { "type": "integer", "minimum": 0, "maximum": 130 },
            "born": { "type": "string", "format": "date" },
            "roles": { "type": "array", "items": { "enum": ["admin", "user", "guest", "auditor"] } },
        },
        "required": ["name", "email", "age", "born", "roles"],
        "additionalProperties": false,
    });
    let mut properties = serde_json::Map::new();
    for name in ["title", "summary", "category", "language", "publisher", "series", "note"] {
        properties.insert(name.to_owned(), text.clone());
    }
    for name in ["authors", "editors", "readers"] {
        let list = json!({ "type": "array", "items": { "$ref": "#/$defs/person" }, "maxItems": 9 });
        properties.insert(name.to_owned(), list);
    }
    for name in ["price", "weight", "width", "height"] {
        properties.insert(name.to_owned(), json!({ "type": "number" }));
    }
    let required: Vec<&String> = properties.keys().collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false, "$defs": { "person": person },
    });
    let someone = json!({
        "name": "Ada Lovelace", "email": "ada.l@example.org", "age": 36, "born": "1815-12-10",
        "roles": ["admin", "guest"],
    });
    let document = json!({
        "title": "Notes on the Analytical Engine", "category": "mathematics", "language": "English",
        "summary": "What a machine of wheels could compute, and how to tell it \"to do so\".",
        "publisher": "Taylor", "series": "Scientific Memoirs", "note": "with seven notes, A to G",
        "authors": [someone], "editors": [someone, someone], "readers": [],
        "price": 12.5, "weight": 0.25, "width": 148, "height": 210,
    });
    let mut ordered = serde_json::Map::new();
    for name in required {
        ordered.insert(name.clone(), document[name].clone());
    }
    (schema.clone(), Value::Object(ordered).to_string())
}
