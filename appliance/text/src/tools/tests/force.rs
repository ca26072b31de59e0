//! Grammars of calls: what walks through them at random is always a call that its tool takes.

use std::sync::Arc;

use super::*;
use crate::{Grammar, GrammarError, GrammarSource, Grammars, Tokenizer, TokenizerData};

/// The token that ends a turn in `TokenizerData::byte_level`.
const END: u32 = 257;
/// Walks through each grammar.
const WALKS: u64 = 100;

fn forced() -> Vec<ToolSpec> {
    let weather = json!({
        "type": "object", "required": ["city"],
        "properties": {
            "city": { "type": "string", "maxLength": 8 },
            "days": { "type": "integer", "minimum": 1, "maximum": 14 },
            "unit": { "enum": ["c", "f", null] },
            "tags": { "type": "array", "items": { "$ref": "#/$defs/tag" }, "maxItems": 3 },
        },
        "$defs": { "tag": { "type": "string", "pattern": "^[a-z]{1,4}$" } },
    });
    let either = json!({ "anyOf": [
        { "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"],
          "additionalProperties": false },
        { "type": "object", "properties": { "ok": { "type": "boolean" } }, "required": ["ok"],
          "additionalProperties": false },
    ] });
    let tools = json!([
        { "function": { "name": "get_weather", "parameters": weather } },
        { "function": { "name": "ping" } },
        { "function": { "name": "either.or-1", "parameters": either } },
    ]);
    ToolSpec::read(&tools).expect("good tools")
}

/// By hand, what the schemas above say.
fn takes(name: &str, arguments: &Value) -> bool {
    let arguments = arguments.as_object().expect("an object");
    let is = |key: &str, of: &dyn Fn(&Value) -> bool| arguments.get(key).is_none_or(of);
    let only = |keys: &[&str]| arguments.keys().all(|key| keys.contains(&key.as_str()));
    let is_tag = |tag: &Value| {
        let tag = tag.as_str().unwrap_or_default();
        (1..=4).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    match name {
        "get_weather" => {
            only(&["city", "days", "unit", "tags"])
                && arguments["city"].as_str().is_some_and(|city| city.chars().count() <= 8)
                && is("days", &|days| days.as_i64().is_some_and(|days| (1..=14).contains(&days)))
                && is("unit", &|unit| [json!("c"), json!("f"), json!(null)].contains(unit))
                && is("tags", &|tags| {
                    tags.as_array().is_some_and(|tags| tags.len() <= 3 && tags.iter().all(is_tag))
                })
        }
        "ping" => arguments.is_empty(),
        "either.or-1" => {
            arguments.len() == 1
                && only(&["id", "ok"])
                // Of any length, and -0 too.
                && is("id", &|id| id.as_f64().is_some_and(|id| id.fract() == 0.0 || id.is_infinite()))
                && is("ok", &Value::is_boolean)
        }
        _ => false,
    }
}

/// A vocabulary of bytes, and some control tokens behind it.
fn tokenizer(controls: &[&str]) -> Tokenizer {
    let mut data = TokenizerData::byte_level();
    if data.token_types.is_empty() {
        data.token_types = vec![1; data.tokens.len()];
    }
    for control in controls {
        data.tokens.push((*control).to_owned());
        data.token_types.push(3);
    }
    Tokenizer::new(&data).expect("bytes")
}

/// An answer that a grammar lets through, chosen at random.
fn walk(grammar: &Arc<Grammar>, tokenizer: &Tokenizer, seed: u64) -> String {
    const STEPS_MAX: usize = 4000;
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        usize::try_from(noise >> 33).expect("31 bits") % below
    };
    let (mut matching, mut tokens) = (grammar.begin(), Vec::new());
    for _ in 0..STEPS_MAX {
        let mask = matching.mask().expect("there is always a way on");
        let count = u32::try_from(mask.len() * 32).expect("a small vocabulary");
        let allowed: Vec<u32> =
            (0..count).filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 == 1).collect();
        // What ends strings, lists and answers, or answers would be long.
        let ends: Vec<u32> =
            allowed.iter().copied().filter(|id| [34, 93, 125, END].contains(id)).collect();
        let from = if !ends.is_empty() && random(3) == 0 { &ends } else { &allowed };
        let token = from[random(from.len())];
        if token == END {
            return tokenizer.decode(&tokens, false);
        }
        matching.accept(token).expect("it was allowed");
        tokens.push(token);
    }
    panic!("no end in {STEPS_MAX} steps: {}", tokenizer.decode(&tokens, false));
}

/// What a text says, and its calls.
fn read(format: ToolFormat, tools: &[ToolSpec], text: &str) -> (String, Vec<(String, String)>) {
    let mut parser = ToolParser::new(format, tools);
    let mut pieces = parser.push(text);
    pieces.extend(parser.finish());
    let (mut texts, mut calls) = (String::new(), Vec::<(String, String)>::new());
    for piece in joined(pieces) {
        match piece {
            Piece::Text(said) => texts += &said,
            Piece::Call { name, .. } => calls.push((name, String::new())),
            Piece::Arguments { delta, .. } => calls.last_mut().expect("a call").1 += &delta,
        }
    }
    (texts, calls)
}

/// Walks through a grammar, and says how many calls there were at most.
fn walks(format: ToolFormat, choice: &ToolChoice, is_parallel: bool, controls: &[&str]) -> usize {
    let (tools, tokenizer) = (forced(), tokenizer(controls));
    let first = tokenizer.vocabulary_len() - controls.len();
    let control = |text: &str| {
        let at = controls.iter().position(|control| *control == text)?;
        u32::try_from(first + at).ok()
    };
    let source = grammar(format, &tools, choice, is_parallel, &control).expect("a grammar");
    let grammar = Grammars::new(&tokenizer).expect("a vocabulary").compile(&source);
    let grammar = grammar.unwrap_or_else(|error| panic!("{format:?}: {error}\n{source:?}"));
    let mut most = 0;
    for seed in 0..WALKS {
        let text = walk(&grammar, &tokenizer, seed);
        let (said, calls) = read(format, &tools, &text);
        assert!(said.is_empty(), "{format:?}, seed {seed}: {said:?} in {text:?}");
        assert!(!calls.is_empty(), "{format:?}, seed {seed}: {text:?}");
        for (name, arguments) in &calls {
            let arguments =
                serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(takes(name, &arguments), "{format:?}, seed {seed}: {name} {arguments}");
            assert!(*choice == ToolChoice::Required || *choice == ToolChoice::Named(name.clone()));
        }
        most = most.max(calls.len());
    }
    most
}

#[test]
fn what_a_grammar_lets_through_is_a_call_that_its_tool_takes() {
    for format in FORMATS {
        assert!(walks(format, &ToolChoice::Required, true, &[]) > 1, "{format:?}");
        assert_eq!(walks(format, &ToolChoice::Required, false, &[]), 1, "{format:?}");
        let named = ToolChoice::Named("get_weather".to_owned());
        assert_eq!(walks(format, &named, true, &[]), 1, "{format:?}");
    }
}

/// Where tools may be called and an answer has a form otherwise, it is one or the other, whole.
#[test]
fn an_answer_is_calls_or_has_its_form() {
    let schema = json!({
        "type": "object", "required": ["city", "name"], "additionalProperties": false,
        "properties": {
            "city": { "$ref": "#/$defs/city" },
            "name": { "enum": ["ping", "pong"] },
            "days": { "type": "integer" },
        },
        "$defs": { "city": { "type": "string", "maxLength": 8 } },
    });
    let form = GrammarSource::JsonSchema(schema);
    for format in FORMATS {
        for controls in [&[][..], format.keeps()] {
            let (tools, tokenizer) = (forced(), tokenizer(controls));
            let first = tokenizer.vocabulary_len() - controls.len();
            let control = |text: &str| {
                let at = controls.iter().position(|control| *control == text)?;
                u32::try_from(first + at).ok()
            };
            let source = grammar_or(format, &tools, ("text", &form), true, &control);
            let source = source.expect("a grammar").expect("a form of JSON");
            let grammar = Grammars::new(&tokenizer).expect("a vocabulary").compile(&source);
            let grammar = grammar.unwrap_or_else(|error| panic!("{format:?}: {error}\n{source:?}"));
            let (mut called, mut answered) = (0, 0);
            for seed in 0..WALKS {
                let text = walk(&grammar, &tokenizer, seed);
                let (said, calls) = read(format, &tools, &text);
                for (name, arguments) in &calls {
                    let arguments =
                        serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{text}: {e}"));
                    assert!(takes(name, &arguments), "{format:?}, seed {seed}: {text}");
                }
                if !calls.is_empty() {
                    assert!(said.is_empty(), "{format:?}, seed {seed}: {said:?} in {text:?}");
                    called += 1;
                    continue;
                }
                let said: Value =
                    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{text}: {e}"));
                let members = said.as_object().expect("an object");
                assert!(members.keys().all(|key| ["city", "name", "days"].contains(&key.as_str())));
                assert!(members["city"].is_string() && members.contains_key("name"), "{text}");
                answered += 1;
            }
            assert!(called > 5 && answered > 5, "{format:?}: {called} called, {answered} answered");
        }
    }
    let none = |form: &GrammarSource, tools: &[ToolSpec]| {
        grammar_or(ToolFormat::Hermes, tools, ("text", form), true, &|_| None)
    };
    assert_eq!(none(&GrammarSource::Regex("a".to_owned()), &forced()), Ok(None));
    assert_eq!(none(&form, &[]), Ok(None));
    let broken = GrammarSource::JsonSchema(json!({ "type": "text" }));
    let GrammarError(why) = none(&broken, &forced()).expect_err("no such type");
    assert!(why.starts_with("text: "), "{why}");
}

#[test]
fn markers_that_are_control_tokens_come_as_those() {
    let required = ToolChoice::Required;
    for format in FORMATS {
        assert!(walks(format, &required, true, format.keeps()) > 1, "{format:?}");
    }
    let ids = |text: &str| ["[TOOL_CALLS]", "[ARGS]"].iter().position(|known| *known == text);
    let control = |text: &str| u32::try_from(ids(text)?).ok();
    let named = ToolChoice::Named("ping".to_owned());
    let source = grammar(ToolFormat::Mistral, &forced(), &named, true, &control);
    let lark = "start: call\ncall: call_1\ncall_1: <[0]> \"ping\" <[1]> \"{}\"\n";
    assert_eq!(source, Ok(crate::GrammarSource::Lark(lark.to_owned())));
}

#[test]
fn what_cannot_be_forced_is_named() {
    let of = |parameters: Value, choice: ToolChoice| {
        let tools = json!([
            { "function": { "name": "f" } },
            { "function": { "name": "g", "parameters": parameters } },
        ]);
        let tools = ToolSpec::read(&tools).expect("good tools");
        grammar(ToolFormat::Hermes, &tools, &choice, false, &|_| None).map_err(|error| error.0)
    };
    let required = || ToolChoice::Required;
    let none = ToolChoice::Named("h".to_owned());
    assert_eq!(of(json!({}), none), Err("there is no tool \"h\"".to_owned()));
    for schema in [
        json!({ "properties": { "a": { "type": "nothing" } } }),
        json!({ "properties": { "a": { "$ref": "#/$defs/none" } } }),
        json!({ "properties": { "a": { "type": "string", "pattern": "(" } }, "required": ["a"] }),
        json!({ "unevaluatedProperties": false }),
        json!({ "anyOf": [{ "type": "string" }] }),
    ] {
        let error = of(schema.clone(), required()).expect_err("it cannot be forced");
        assert!(error.starts_with("tools[1].function.parameters: "), "{schema}: {error}");
        // Another tool's schema is no matter.
        assert!(of(schema, ToolChoice::Named("f".to_owned())).is_ok());
    }
    assert!(grammar(ToolFormat::Hermes, &[], &required(), false, &|_| None).is_err());
}
