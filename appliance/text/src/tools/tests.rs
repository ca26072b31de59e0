//! What holds for answers of every format; `tests/formats.rs` has a table for each.

mod force;
mod formats;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// All formats.
const FORMATS: [ToolFormat; 10] = [
    ToolFormat::Generic,
    ToolFormat::Hermes,
    ToolFormat::Llama3Json,
    ToolFormat::Pythonic,
    ToolFormat::Mistral,
    ToolFormat::Qwen3Xml,
    ToolFormat::DeepSeekV3,
    ToolFormat::DeepSeekV31,
    ToolFormat::Granite,
    ToolFormat::Phi4Mini,
];

fn tools() -> Vec<ToolSpec> {
    let weather = json!({
        "type": "object",
        "properties": {
            "city": { "type": "string" }, "days": { "type": "integer" },
            "metric": { "type": "boolean" }, "tags": { "type": "array" },
        },
    });
    let tool = |name: &str, parameters| {
        json!({ "type": "function",
        "function": { "name": name, "parameters": parameters } })
    };
    let tools =
        json!([tool("get_weather", weather), tool("f", Value::Null), tool("add", json!({}))]);
    ToolSpec::read(&tools).expect("good tools")
}

/// Neighbours that belong together are one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (out.last_mut(), &piece) {
            (Some(Piece::Text(before)), Piece::Text(more)) => before.push_str(more),
            (
                Some(Piece::Arguments { index, delta }),
                Piece::Arguments { index: same, delta: more },
            ) if *index == *same => delta.push_str(more),
            _ => out.push(piece),
        }
    }
    out
}

fn parsed<'t>(format: ToolFormat, cuts: impl IntoIterator<Item = &'t str>) -> Vec<Piece> {
    let mut parser = ToolParser::new(format, &tools());
    let mut pieces: Vec<Piece> = cuts.into_iter().flat_map(|cut| parser.push(cut)).collect();
    pieces.extend(parser.finish());
    assert_eq!(parser.finish(), [], "there is nothing behind the end");
    joined(pieces)
}

/// Calls stand as `«name arguments»` in the text.
fn written(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => out += text,
            Piece::Call { name, .. } => out += &format!("«{name} "),
            Piece::Arguments { delta, .. } => out += delta,
        }
        let is_last = !matches!(pieces.get(at + 1), Some(Piece::Arguments { .. }));
        if is_last && !matches!(piece, Piece::Text(_)) {
            out.push('»');
        }
    }
    out
}

fn check(format: ToolFormat, text: &str, expect: &str) {
    let whole = parsed(format, [text]);
    assert_eq!(written(&whole), expect, "{format:?}: {text}");
    let letters = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
    assert_eq!(parsed(format, letters), whole, "{format:?}, letter by letter: {text}");
    let indices: Vec<usize> = whole
        .iter()
        .filter_map(|piece| if let Piece::Call { index, .. } = piece { Some(*index) } else { None })
        .collect();
    assert_eq!(indices, (0..indices.len()).collect::<Vec<_>>(), "{text}");
}

/// Is no call in that format.
fn plain(format: ToolFormat, text: &str) {
    check(format, text, text);
}

#[test]
fn no_marker_begins_another_and_what_is_kept_is_a_marker() {
    for format in FORMATS {
        let form = format.form();
        for all in [form.opens, form.ends] {
            let begins = |a: &&&str, b: &&&str| a != b && a.starts_with(**b);
            let found = all.iter().find(|a| all.iter().any(|b| begins(a, &b)));
            assert_eq!(found, None, "{format:?}");
        }
        assert!(form.opens.iter().any(|open| format.keeps().contains(open)), "{format:?}");
    }
}

#[test]
fn what_is_held_back_is_bounded() {
    let long = "x".repeat(300 << 10);
    for text in [
        format!("<tool_call>{{\"arguments\": {{\"a\": \"{long}\"}}, \"name\": \"f\"}}"),
        format!("<tool_call>{}", " ".repeat(300 << 10)),
        format!("{}<tool_call>", "\n".repeat(300 << 10)),
        format!("<tool_call>{{\"name\": \"{long}"),
    ] {
        plain(ToolFormat::Hermes, &text);
    }
    // Arguments that are handed on may be longer.
    let call = format!("<tool_call>{{\"name\": \"f\", \"arguments\": {{\"a\": \"{long}\"}}}}");
    check(ToolFormat::Hermes, &call, &format!("«f {{\"a\": \"{long}\"}}»"));
    plain(ToolFormat::Pythonic, &format!("[f(a='{long}')]"));
}

/// Words of all formats, and what can go wrong between them.
const WORDS: [&str; 48] = [
    "<tool_call>",
    "</tool_call>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "<|python_tag|>",
    "<|python_start|>",
    "<|python_end|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "functools",
    "```json\n",
    "```",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "function",
    "<function=",
    "<parameter=",
    "</parameter>",
    "</function>",
    ">",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "=",
    "\"name\": ",
    "\"arguments\": ",
    "\"parameters\"",
    "\"f\"",
    "f",
    "add",
    "\"",
    "'",
    "\\",
    "é",
    " ",
    "\n",
    "1",
    "null",
    "{\"name\": \"f\", \"arguments\": {\"a\": ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn cuts_never_matter_and_text_is_never_lost(
        words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..24),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        format in proptest::sample::select(&FORMATS[..]),
    ) {
        let text = words.concat();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.retain(|at| text.is_char_boundary(*at));
        at.extend([0, text.len()]);
        at.sort_unstable();
        let whole = parsed(format, [text.as_str()]);
        prop_assert_eq!(&parsed(format, at.windows(2).map(|w| &text[w[0]..w[1]])), &whole);
        let letters = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
        prop_assert_eq!(&parsed(format, letters), &whole);
        if !whole.iter().any(|piece| matches!(piece, Piece::Call { .. })) {
            prop_assert_eq!(written(&whole), text);
        }
    }
}
