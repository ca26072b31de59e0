//! Grammars over a vocabulary of bytes: what they take, to the last byte, and what they refuse.

use serde_json::json;

use super::*;
use crate::TokenizerData;

/// The token that ends a turn in `TokenizerData::byte_level`.
const END: u32 = 257;

fn grammars() -> Grammars {
    let tokenizer = Tokenizer::new(&TokenizerData::byte_level()).expect("bytes");
    Grammars::new(&tokenizer).expect("a vocabulary")
}

fn allows(mask: &[u32], token: u32) -> bool {
    mask[token as usize / 32] >> (token % 32) & 1 == 1
}

/// True if a grammar takes a text and may end there.
fn takes(grammar: &Arc<Grammar>, text: &str) -> bool {
    let mut matching = grammar.begin();
    for byte in text.bytes() {
        let Ok(mask) = matching.mask() else { return false };
        if !allows(&mask, byte.into()) {
            return false;
        }
        matching.accept(byte.into()).expect("it was allowed");
    }
    allows(&matching.mask().expect("a mask"), END)
}

fn check(source: &GrammarSource, taken: &[&str], refused: &[&str]) {
    let grammar = grammars().compile(source).unwrap_or_else(|e| panic!("{source:?}: {e}"));
    for text in taken {
        assert!(takes(&grammar, text), "{source:?} takes {text:?}");
    }
    for text in refused {
        assert!(!takes(&grammar, text), "{source:?} refuses {text:?}");
    }
}

fn gbnf(text: &str, taken: &[&str], refused: &[&str]) {
    check(&GrammarSource::ebnf(text.to_owned()), taken, refused);
}

#[test]
fn each_form_takes_what_it_says() {
    check(&GrammarSource::JsonObject, &["{}", r#"{"a": [1, {"b": null}]}"#], &["[]", "1", "{"]);
    let schema = json!({
        "type": "object", "required": ["n", "ü"], "additionalProperties": false,
        "properties": {
            "n": { "type": "integer", "minimum": 1, "maximum": 12 },
            "ü": { "enum": ["a", null] },
        },
    });
    let schema = GrammarSource::JsonSchema(schema);
    check(&schema, &[r#"{"n": 12, "ü": null}"#], &[r#"{"n": 13, "ü": null}"#, r#"{"n": 1}"#]);
    check(
        &schema,
        &["{\n  \"n\": 1,\n\n\t\"ü\": \"a\"\n}"],
        &["{\n\n\n\"n\": 1, \"ü\": null}", "{  }"],
    );
    check(&GrammarSource::JsonSchema(json!(true)), &["1", "null", "[{}]"], &["", "x"]);
    let regex = GrammarSource::Regex(r"\d{3}-[a-f]+/".to_owned());
    check(&regex, &["123-abc/"], &["12-abc/", "123-abc", "123-abc/ "]);
    let choice = GrammarSource::Choice(vec!["yes \"sir\"".into(), "no".into(), "yes".into()]);
    check(&choice, &["no", "yes", "yes \"sir\""], &["yes ", "y", ""]);
    let lark = "start: a+ \";\"\na: /[0-9]+/ \",\"";
    check(&GrammarSource::Lark(lark.to_owned()), &["1,22,;"], &[";", "1"]);
}

#[test]
fn llama_cpps_grammars_mean_the_same() {
    gbnf(r#"root ::= "a"{5,5}"#, &["aaaaa"], &["aaaa", "aaaaaa"]);
    gbnf(r#"root ::= "a"{2,} # twice"#, &["aa", "aaaa"], &["a"]);
    gbnf("root ::= [a-cé\\n-]+ | \"x\\x41\\u00e9\"", &["ab-é\n", "xAé"], &["d", "x", "xA"]);
    gbnf("root ::= [^\\]\"]*", &["", "a[b"], &["a]", "\""]);
    gbnf("root ::= . .", &["ab", "\n\n"], &["a", "abc"]);
    // Names that differ in letters only, a rule over several lines, an empty alternative.
    let list = "root ::= (Item\n  \",\")* item\nItem ::= [0-9]\nitem ::= \"z\" |\n";
    gbnf(list, &["1,2,z", "z", "", "1,"], &["1z", "zz"]);
    // A rule that begins with itself.
    gbnf("root ::= sum\nsum ::= sum \"+\" n | n\nn ::= [0-9]+", &["1", "1+22+3"], &["+", "1+"]);
    gbnf("root ::= \"<\" <|im_start|> \">\"", &[], &["<>"]);
    let json = "root ::= object\nvalue ::= object | array | string | number | (\"true\" | \"null\") ws\n\
        object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n\
        array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n\
        string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\" ws\n\
        number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ws\nws ::= | \" \" | \"\\n\" [ \\t]{0,20}";
    gbnf(json, &[r#"{"a": [1, -2.5, "x\n"], "b": {}}"#], &["[]", r#"{"a" 1}"#]);
}

#[test]
fn what_is_wrong_with_a_grammar_is_said() {
    let grammars = grammars();
    let error = |source: GrammarSource| match grammars.compile(&source) {
        Err(GrammarError(what)) => what,
        Ok(_) => panic!("{source:?} is fine"),
    };
    let of = |text: &str| error(GrammarSource::Gbnf(text.to_owned()));
    assert_eq!(of("root ::= x"), "rule root: there is no rule x");
    assert_eq!(of("a ::= \"x\""), "there is no rule root");
    assert_eq!(of("root ::= \"x"), "a \" without its end");
    assert_eq!(of("root ::= (\"x\""), "rule root: a ( without its )");
    assert_eq!(of("root ::= \"x\")"), "rule root: a ) too many");
    assert_eq!(of("root ::= *"), "rule root: nothing stands before *");
    assert!(!of("root ::= [z-a]").is_empty());
    assert_eq!(of("root ::= \"a\"{3,2}"), "{3,2} repeats nothing");
    assert_eq!(of("root ::= \"a\"{99999}"), "{99999} is no count from 0 to 2000");
    assert_eq!(of("root ::= \"a\"\nroot ::= \"b\""), "the rule root stands there twice");
    assert_eq!(of("x"), "there is no rule root");
    assert_eq!(of("root ::= \"\\q\""), "what \\q means is not known");
    assert_eq!(error(GrammarSource::Regex(String::new())), "the expression is empty");
    assert!(error(GrammarSource::Regex("(".into())).contains("unclosed group"));
    assert!(error(GrammarSource::Choice(Vec::new())).contains("0 texts"));
    let long = GrammarSource::Choice(vec!["x".repeat(300 << 10)]);
    assert_eq!(error(long), "it has 307205 bytes; at most 262144 are taken");
    let bad = json!({ "type": "string", "format": "odd" });
    let deep = json!({ "properties": { "a": {}, "b": { "items": { "anyOf": [true, bad] } } } });
    let error_of = |schema: Value| error(GrammarSource::JsonSchema(schema));
    assert_eq!(error_of(deep), "/properties/b/items/anyOf/1: Unknown format: odd");
    let used =
        json!({ "$ref": "#/$defs/x", "$defs": { "x": { "type": "string", "format": "odd" } } });
    assert_eq!(error_of(used), "/$defs/x: Unknown format: odd");
    for schema in [
        json!({ "type": "object", "minProperties": 3, "unevaluatedProperties": false }),
        json!({ "type": "nothing" }),
        json!({ "$ref": "#/$defs/none" }),
        json!({ "$ref": "https://example.org/x.json" }),
        json!({ "type": "integer", "minimum": 5, "maximum": 4 }),
        json!({ "type": "string", "pattern": "(" }),
    ] {
        assert!(!error_of(schema.clone()).is_empty(), "{schema}");
    }
}

/// What would take minutes is refused at once, wherever it stands.
#[test]
fn multiples_of_large_numbers_are_refused() {
    let grammars = grammars();
    let multiple = |of: f64| json!({ "type": "number", "multipleOf": of });
    let both = json!({ "allOf": [multiple(9973.0), multiple(9967.0)] });
    let lark = format!("start: %json {}", json!({ "properties": { "a": multiple(1e7) } }));
    for source in [
        GrammarSource::JsonSchema(json!({ "items": multiple(9_999_991.0) })),
        GrammarSource::JsonSchema(multiple(1e-30)),
        GrammarSource::JsonSchema(both),
        GrammarSource::Lark(lark),
    ] {
        let error = grammars.compile(&source).expect_err("it takes too long");
        assert!(error.0.contains("multipleOf"), "{error}");
    }
    check(&GrammarSource::JsonSchema(multiple(0.25)), &["0.75", "2"], &["0.3"]);
}

#[test]
fn classes_are_those_of_ascii() {
    let regex = |text: &str| GrammarSource::Regex(text.to_owned());
    check(&regex(r"\d\w\s"), &["1a ", "2_\t"], &["٣a ", "1é ", "1a\u{85}"]);
    check(&regex(r"[\d.]+\\[^\s]\D"), &["1.5\\xé"], &["1.5x", "1\\ x", "1\\x2"]);
    let schema = json!({ "type": "string", "pattern": r"^\d{2}$" });
    check(&GrammarSource::JsonSchema(schema), &["\"12\""], &["\"٣٣\""]);
}

#[test]
fn control_tokens_come_only_where_a_grammar_names_them() {
    let grammar = GrammarSource::Gbnf("root ::= \"a\" <|im_start|> | \"a<\"".to_owned());
    let mut matching = grammars().compile(&grammar).expect("fine").begin();
    let first = matching.mask().expect("a mask");
    assert!(allows(&first, b'a'.into()) && !allows(&first, 256) && !allows(&first, END));
    matching.accept(b'a'.into()).expect("it fits");
    let mask = matching.mask().expect("a mask");
    assert!(allows(&mask, 256) && allows(&mask, b'<'.into()));
    matching.accept(256).expect("it fits");
    let last = matching.mask().expect("a mask");
    assert!(allows(&last, END) && last.iter().map(|word| word.count_ones()).sum::<u32>() == 1);
}

#[test]
fn a_grammar_is_compiled_once_and_each_answer_begins_at_its_beginning() {
    let grammars = grammars();
    let source = GrammarSource::Choice(vec!["ab".into(), "cd".into()]);
    let grammar = grammars.compile(&source).expect("fine");
    assert!(Arc::ptr_eq(&grammar, &grammars.compile(&source).expect("fine")));
    let mut left = grammar.begin();
    left.accept(b'a'.into()).expect("it fits");
    drop(left);
    assert!(takes(&grammar, "cd"), "the next one takes its place at the beginning");
    let mut wrong = grammar.begin();
    assert!(wrong.accept(b'x'.into()).is_err());
    drop(wrong);
    assert!(takes(&grammar, "ab"));
}
