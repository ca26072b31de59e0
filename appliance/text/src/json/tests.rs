//! Tests of `tokenizer.json`: what text may become, and files that are refused. Equality with the
//! library is tested on golden files (`tests/conformance/tests/tokenizers.rs`).

use serde_json::{Value, json};

use crate::jinja::Text;
use crate::{Named, TextError, Tokenizer};

/// BPE with byte fallback: `<unk> <s> </s>`, the bytes at 3, `▁ a b ▁a ab` at 259, `<think>`.
fn pairs() -> Value {
    let mut vocab: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    vocab.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    vocab.extend(["▁", "a", "b", "▁a", "ab"].map(String::from));
    let vocab: Value = (0..).zip(vocab).map(|(id, token)| (token, Value::from(id))).collect();
    let added =
        |(id, content): (u32, &str)| json!({"id": id, "content": content, "special": id < 9});
    let added = [(0, "<unk>"), (1, "<s>"), (2, "</s>"), (264, "<think>")].map(added);
    let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let blank = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, space]},
        "post_processor": {"type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            blank, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["▁", "a"], "a b"],
            "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true},
    })
}

/// Unigram whose control token is in the vocabulary with the best score.
fn unigram() -> Value {
    json!({
        "added_tokens": [{"id": 1, "content": "</s>", "special": true, "normalized": true}],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [
            ["<unk>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["a", -3.0], ["s", -3.0], ["<", -3.0],
            ["/", -3.0], [">", -3.0], ["▁a", -1.0]]},
    })
}

fn load(file: &Value, named: &Named) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(file.to_string().as_bytes(), named)
}

fn tokenizer(file: &Value) -> Tokenizer {
    load(file, &Named::default()).expect("a good file")
}

/// A copy of `file` with the value at a JSON pointer replaced.
fn with(mut file: Value, pointer: &str, value: Value) -> Value {
    *file.pointer_mut(pointer).expect("a place in the file") = value;
    file
}

#[test]
fn text_becomes_ids_and_text_again() {
    let tokenizer = tokenizer(&pairs());
    assert_eq!(tokenizer.vocabulary_len(), 265);
    assert_eq!(tokenizer.encode("a ab", true), Ok(vec![1, 262, 262, 261]));
    assert_eq!(tokenizer.encode_plain("é", true), Ok(vec![259, 3 + 0xC3, 3 + 0xA9]));
    assert_eq!(tokenizer.encode("<s>a", true), Ok(vec![1, 262]), "once");
    assert_eq!(tokenizer.encode_plain("", true), Ok(vec![]));
    assert_eq!(tokenizer.decode(&[1, 262, 3 + 0xC3, 3 + 0xA9, 264, 2], true), " aé<think>");
    assert_eq!(tokenizer.decode(&[1, 262, 2], false), "<s> a</s>");
    assert_eq!(tokenizer.bytes(3 + 0xC3), [0xC3]);
    assert_eq!(tokenizer.bytes(9999), b"");
    assert_eq!(tokenizer.end_tokens(), [2]);
    assert_eq!(tokenizer.tokens_min(8), 2, "`<think>` has 7 bytes");
}

#[test]
fn named_tokens_begin_and_end_texts() {
    let named = Named {
        bos: Some("<s>".into()),
        eos: Some("ab".into()),
        add_bos: Some(false),
        add_eos: Some(true),
        end_tokens: vec![400],
        ..Named::default()
    };
    let tokenizer = load(&pairs(), &named).expect("a good file");
    assert_eq!(tokenizer.encode("a", true), Ok(vec![262, 263]));
    assert_eq!(tokenizer.end_tokens(), [2, 263, 400]);
    assert_eq!((tokenizer.bos_text(), tokenizer.eos_text()), ("<s>".into(), "ab".into()));
    assert_eq!(tokenizer.odd(), [] as [&str; 0]);
    assert_eq!(tokenizer.of_model(265).end_tokens(), [2, 263], "no row has 400");
}

#[test]
fn a_name_without_a_token_counts_as_none() {
    let named = Named {
        bos: Some("<x>".into()),
        eos: Some("<y>".into()),
        add_eos: Some(true),
        ..Named::default()
    };
    let tokenizer = load(&pairs(), &named).expect("a good file");
    assert_eq!(tokenizer.encode("a", true), Ok(vec![1, 262]), "as the post-processor says");
    assert_eq!((tokenizer.bos_text(), tokenizer.eos_text()), (String::new(), String::new()));
    assert_eq!(tokenizer.end_tokens(), [2]);
    let [bos, eos] = tokenizer.odd() else { panic!("{:?}", tokenizer.odd()) };
    assert!(bos.contains("bos_token \"<x>\" is not in tokenizer.json"), "{bos}");
    assert!(eos.contains("eos_token \"<y>\""), "{eos}");
}

/// Python's `json` takes the last one.
#[test]
fn the_last_of_two_equal_keys_counts() {
    let file = pairs().to_string();
    let twice = [
        file.replacen('{', r#"{"version": "0.9", "decoder": null, "#, 1),
        file.replacen(r#""type":"BPE""#, r#""type":"WordPiece","type":"BPE""#, 1),
        file.replacen(r#""fuse_unk":true"#, r#""fuse_unk":false,"fuse_unk":true"#, 1),
        file.replacen(r#"{"id":0,"#, r#"{"id":7,"id":0,"#, 1),
        file.replacen(r#""vocab":{"#, r#""vocab":{"ab":1,"#, 1),
    ];
    let once = load(&pairs(), &Named::default()).expect("a good file");
    for twice in &twice {
        assert_ne!(*twice, file, "something stands twice");
        let tokenizer = Tokenizer::from_json(twice.as_bytes(), &Named::default());
        let tokenizer = tokenizer.unwrap_or_else(|e| panic!("{twice:.90}: {e}"));
        assert_eq!(tokenizer.encode("ab é<think>", true), once.encode("ab é<think>", true));
    }
}

#[test]
fn user_text_never_becomes_a_control_token() {
    let whole_words = with(pairs(), "/normalizer", Value::Null);
    let mut whole_words = with(whole_words, "/model/merges", json!([]));
    whole_words["model"]["ignore_merges"] = true.into();
    for file in [pairs(), whole_words, unigram()] {
        let tokenizer = tokenizer(&file);
        let is_forged = |id: &u32| *id != 0 && tokenizer.is_control(*id);
        let end = if file["model"]["type"] == "Unigram" { 1 } else { 2 };
        assert_eq!(tokenizer.encode_plain("</s>", true), Ok(vec![end]));
        for text in ["</s>", "a</s>", "</S>", "</</s>s>", "\u{FDD0}</s>", "<\u{FDD0}/s>", "<unk>"] {
            let plain = tokenizer.encode_plain(text, false).expect("any text");
            assert!(!plain.iter().any(is_forged), "{text:?}: {plain:?}");
            let sent = tokenizer.encode_prompt(Text::client(text).letters()).expect("any text");
            assert_eq!(sent, plain, "{text:?}");
        }
    }
    let tokenizer = tokenizer(&pairs());
    let letters = tokenizer.encode_prompt(Text::client("a</s><think>").letters());
    assert_eq!(tokenizer.decode(&letters.expect("any text"), true), " a</s><think>");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        ("/model/type", json!("WordPiece"), "model.type = \"WordPiece\" is not supported"),
        ("/model/type", json!("WordLevel"), "supported are: BPE, Unigram"),
        ("/decoder", Value::Null, "decoder = null is not supported"),
        ("/decoder", json!({"type": "CTC"}), "decoder = CTC is not supported"),
        ("/decoder", json!({"type": "Replace", "pattern": {"Regex": "a"}}), "regular expression"),
        ("/added_tokens/0", json!({"id": 0, "content": "x", "single_word": true}), "single_word"),
    ];
    for (pointer, value, expect) in cases {
        let error = load(&with(pairs(), pointer, value), &Named::default());
        let error = error.expect_err(expect);
        assert!(matches!(error, TextError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error} should say {expect:?}");
    }
}

#[test]
fn hostile_files_are_refused_and_nothing_panics() {
    let deep = "[".repeat(100_000);
    for file in ["", "{}", "[]", "null", "\u{0}", deep.as_str(), r#"{"model": {}}"#] {
        let found = Tokenizer::from_json(file.as_bytes(), &Named::default());
        assert!(found.is_err(), "{file:.20}");
    }
    let cases = [
        ("/model/merges", json!([["a", "a"]])),
        ("/model/merges", json!([["<unk><unk><unk>", "b"]])),
        ("/model/merges", json!(["a b a"])),
        ("/model/merges", json!([["a"]])),
        ("/model/vocab", json!({"a": u32::MAX})),
        ("/model/vocab", json!({"a": -1})),
        ("/model/vocab", json!([["a", 0.0]])),
        ("/model/fuse_unk", json!(3)),
        ("/added_tokens/0", json!({"id": u32::MAX, "content": "x"})),
        ("/added_tokens/0", json!({"id": 1 << 30, "content": "x"})),
        ("/added_tokens/0", json!({"content": "x"})),
        ("/normalizer", json!({"type": "Nope"})),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("/post_processor/single", json!([])),
        ("/post_processor/special_tokens", json!({})),
        ("/post_processor/single/1", json!({"Sequence": {"id": "B", "type_id": 0}})),
    ];
    for (pointer, value) in cases {
        let error = load(&with(pairs(), pointer, value.clone()), &Named::default());
        let error = error.err().unwrap_or_else(|| panic!("{pointer} = {value} is refused"));
        assert!(error.to_string().starts_with("broken tokenizer: tokenizer.json: "), "{error}");
    }
    let unknown = with(unigram(), "/model/unk_id", json!(99));
    assert!(load(&unknown, &Named::default()).is_err());
    let unknown = tokenizer(&with(unigram(), "/model/unk_id", Value::Null));
    assert!(matches!(unknown.encode("é", false), Err(TextError::Text { .. })));
}

/// A normaliser's trie of four zero bytes' length and no text: the crate reads behind its end.
#[test]
fn a_file_that_breaks_the_crate_later_is_an_error_then() {
    let trie = json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAAD8//8="});
    let tokenizer = tokenizer(&with(pairs(), "/normalizer", trie));
    assert!(matches!(tokenizer.encode("a", false), Err(TextError::Text { .. })));
}

#[test]
fn a_hostile_expression_ends_with_an_error() {
    let with_split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
            "invert": false});
        let many = json!({"type": "Sequence", "pretokenizers": [split]});
        let mut file = pairs();
        file["pre_tokenizer"] = many;
        file["normalizer"] = Value::Null;
        file
    };
    let replace = json!({"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"Regex": "a*a*(?=b)|."}, "content": "x"}]});
    for file in [
        with_split("a*a*(?=b)|."),
        with_split("(a+)+(?=b)|."),
        with_split("(a*)*(?!c)(?=b)|."),
        with_split("a(?=.*b)|."),
        with(pairs(), "/normalizer", replace),
    ] {
        let tokenizer = tokenizer(&file);
        assert!(tokenizer.encode_plain("aaba", false).is_ok());
        // The last one is linear in each of its steps and takes a longer text.
        let text = "a".repeat(if file.to_string().contains(".*b") { 300_000 } else { 15_600 });
        let error = tokenizer.encode_plain(&text, false).expect_err("too long").to_string();
        assert!(error.contains("the tokenizer's pattern takes too long on this text"), "{error}");
    }
}
