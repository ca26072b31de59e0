//! Tests of the tokenizer: its own promises, and equality with the `tokenizers` crate on a
//! vocabulary that is trained here.

use ::tokenizers::TokenizerImpl;
use ::tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use ::tokenizers::pre_tokenizers::PreTokenizerWrapper;
use ::tokenizers::pre_tokenizers::byte_level::ByteLevel;
use ::tokenizers::pre_tokenizers::digits::Digits;
use ::tokenizers::pre_tokenizers::sequence::Sequence;
use proptest::prelude::*;

use super::*;
use crate::alphabet::byte_alphabet;

const CORPUS: &str = include_str!("../tokenizer.rs");

type Oracle = TokenizerImpl<
    BPE,
    ::tokenizers::normalizers::NormalizerWrapper,
    PreTokenizerWrapper,
    ::tokenizers::processors::PostProcessorWrapper,
    ::tokenizers::decoders::DecoderWrapper,
>;

/// A vocabulary of 600 tokens learnt from this crate's source, in both implementations.
fn trained() -> (Oracle, Tokenizer) {
    let mut oracle = Oracle::new(BPE::default());
    oracle.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, true)),
    ]))));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(600)
        .show_progress(false)
        .initial_alphabet(byte_alphabet().into_iter().map(|(_, c)| c).collect())
        .build();
    oracle.train(&mut trainer, CORPUS.lines()).expect("training on a fixed text");
    let json = serde_json::to_value(oracle.get_model()).expect("a model is plain data");
    let vocabulary = oracle.get_model().get_vocab();
    let mut tokens = vec![String::new(); vocabulary.len()];
    for (token, id) in vocabulary {
        tokens[id as usize] = token;
    }
    let merges = json["merges"].as_array().expect("merges").iter();
    let pair = |m: &serde_json::Value| match m {
        serde_json::Value::Array(pair) => {
            let half = |i: usize| pair[i].as_str().expect("a token").to_owned();
            format!("{} {}", half(0), half(1))
        }
        other => other.as_str().expect("a merge").to_owned(),
    };
    let data = TokenizerData {
        kind: "gpt2".into(),
        pre: "smollm".into(),
        tokens,
        merges: merges.map(pair).collect(),
        ..TokenizerData::default()
    };
    (oracle, Tokenizer::new(&data).expect("consistent data"))
}

fn check_text(oracle: &Oracle, tokenizer: &Tokenizer, text: &str) {
    let expect = oracle.encode(text, false).expect("any text").get_ids().to_vec();
    let found = tokenizer.encode(text, false).expect("short text");
    assert_eq!(found, expect, "{text:?}");
    assert_eq!(tokenizer.decode(&found, true), text);
}

#[test]
fn tokens_equal_those_of_the_tokenizers_crate() {
    let (oracle, tokenizer) = trained();
    assert!(tokenizer.vocabulary_len() > 500);
    for line in CORPUS.lines() {
        check_text(&oracle, &tokenizer, line);
    }
    check_text(&oracle, &tokenizer, CORPUS);
    check_text(&oracle, &tokenizer, &"a".repeat(5000));
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&(any::<String>(), "[ \n\ta-c1-3é🦀']{0,40}"), |(any, dense)| {
            check_text(&oracle, &tokenizer, &any);
            check_text(&oracle, &tokenizer, &dense);
            Ok(())
        })
        .expect("no counterexample");
}

#[test]
fn a_token_stream_decodes_like_the_whole() {
    let (_, tokenizer) = trained();
    let mut runner = proptest::test_runner::TestRunner::default();
    let ids = proptest::collection::vec(0_u32..700, 0..40);
    runner
        .run(&ids, |ids| {
            let (mut decoder, mut text) = (Decoder::default(), String::new());
            for id in &ids {
                text.push_str(&decoder.push(tokenizer.bytes(*id)));
            }
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, tokenizer.decode(&ids, false));
            Ok(())
        })
        .expect("no counterexample");
}

#[test]
fn byte_level_data_round_trips() {
    let tokenizer = Tokenizer::new(&TokenizerData::byte_level()).expect("own data");
    assert_eq!(tokenizer.encode("Aé", false), Ok(vec![65, 0xC3, 0xA9]));
    assert_eq!(tokenizer.encode("<|im_end|>", true), Ok(vec![257]));
    assert_eq!(tokenizer.encode("<|im_end|>", false).map(|ids| ids.len()), Ok(10));
    assert_eq!(tokenizer.end_tokens(), [257]);
    assert_eq!(tokenizer.decode(&[256, 65, 257], true), "A");
    assert_eq!(tokenizer.decode(&[256, 65, 257], false), "<|im_start|>A<|im_end|>");
    assert_eq!(tokenizer.bytes(9999), b"");
    assert_eq!(tokenizer.tokens_min(120), 10);
}

#[test]
fn bos_is_added_once() {
    let data = TokenizerData { add_bos: true, add_eos: true, ..TokenizerData::byte_level() };
    let tokenizer = Tokenizer::new(&data).expect("own data");
    assert_eq!(tokenizer.encode("A", true), Ok(vec![256, 65, 257]));
    assert_eq!(tokenizer.encode("<|im_start|>A", true), Ok(vec![256, 65, 257]));
    assert_eq!(tokenizer.encode_plain("A", true), Ok(vec![65]));
}

#[test]
fn broken_data_is_refused_with_the_reason() {
    let byte = TokenizerData::byte_level;
    let cases = [
        (TokenizerData { kind: "bert".into(), ..byte() }, "supported are: gpt2, llama, t5"),
        (TokenizerData { kind: "llama".into(), ..byte() }, "0 scores for 258 tokens"),
        (TokenizerData { pre: "x".into(), ..byte() }, "tokenizer.ggml.pre = \"x\""),
        (TokenizerData { tokens: vec![], ..byte() }, "tokens is empty"),
        (TokenizerData { token_types: vec![1], ..byte() }, "1 token types for 258 tokens"),
        (TokenizerData { eos: Some(258), ..byte() }, "eos token 258 is not one of 258"),
        (TokenizerData { merges: vec!["ab".into()], ..byte() }, "merge 0 (\"ab\"): no space"),
        (TokenizerData { merges: vec!["a b".into()], ..byte() }, "merge 0 (\"a b\"): not made"),
    ];
    for (data, expect) in cases {
        let error = Tokenizer::new(&data).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error:?} should say {expect:?}");
    }
}

/// SentencePiece data: `<unk> <s> </s>`, the bytes at 3, then `pieces` of falling score.
fn scored(kind: &str, pieces: &[&str]) -> TokenizerData {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let mut token_types = [vec![2, 3, 3], vec![6; 256]].concat();
    let mut scores = vec![0.0; tokens.len()];
    for (i, piece) in (1_u8..).zip(pieces) {
        tokens.push((*piece).to_owned());
        token_types.push(1);
        scores.push(-f32::from(i));
    }
    TokenizerData {
        kind: kind.into(),
        tokens,
        token_types,
        scores,
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        add_space_prefix: true,
        ..TokenizerData::default()
    }
}

#[test]
fn neighbours_of_the_best_score_merge_first() {
    let pieces = ["bc", "ab", "▁a", "abc", "▁", "a", "b", "c", "</", "s>"];
    let data = scored("llama", &pieces);
    let tokenizer = Tokenizer::new(&data).expect("consistent data");
    let check = |text: &str, special: bool, expect: &[&str]| {
        let ids = tokenizer.encode_plain(text, special).expect("short text");
        let found: Vec<&str> = ids.iter().map(|id| data.tokens[*id as usize].as_str()).collect();
        assert_eq!(found, expect, "{text:?}");
        assert!(text.len() <= ids.len() * 8 && tokenizer.tokens_min(text.len()) <= ids.len());
    };
    check("abc", true, &["▁a", "bc"]);
    check("", true, &[]);
    check("cab ab", true, &["▁", "c", "ab", "▁", "ab"]);
    check("c é\n", true, &["▁", "c", "▁", "<0xC3>", "<0xA9>", "<0x0A>"]);
    check("c</s>c", true, &["▁", "c", "</s>", "▁", "c"]);
    check(
        "c</s><0x0A>",
        false,
        &["▁", "c", "</", "s>", "<0x3C>", "<0x30>", "<0x78>", "<0x30>", "<0x41>", "<0x3E>"],
    );
    let ids = tokenizer.encode_plain("aé b", true).expect("short text");
    assert_eq!(tokenizer.decode(&ids, true), " aé b");
    assert_eq!(tokenizer.bytes(3 + 0xC3), [0xC3]);
    assert_eq!(tokenizer.decode(&[1, 2], false), "<s></s>");
    let plain = TokenizerData { token_types: vec![1; data.tokens.len()], ..data.clone() };
    let plain = Tokenizer::new(&plain).expect("consistent data");
    assert_eq!(plain.encode_plain("é", true).map(|ids| ids.len()), Ok(2), "unknown, no bytes");
}

/// Microsoft's tokens take the blanks behind them along; the file does not say it, its name does.
#[test]
fn a_models_name_says_what_its_tokens_do_with_blanks() {
    let mut data = scored("llama", &["▁", "H", "i", "\n"]);
    for (text, kind) in [("<|user|>", 3), ("<|end|>", 3), ("<tool>", 4), ("<|endoftext|>", 3)] {
        data.tokens.push(text.to_owned());
        data.token_types.push(kind);
        data.scores.push(0.0);
    }
    let check = |name: &str, text: &str, expect: &[&str]| {
        let data = TokenizerData { name: name.to_owned(), ..data.clone() };
        let tokenizer = Tokenizer::new(&data).expect("consistent data");
        let ids = tokenizer.encode_plain(text, true).expect("short text");
        let found: Vec<&str> = ids.iter().map(|id| data.tokens[*id as usize].as_str()).collect();
        assert_eq!(found, expect, "{name}: {text:?}");
    };
    let turn = "<|user|>\nHi<|end|>\n \t<tool> i";
    for name in ["Phi-3-mini-4k-instruct", "a PHI3 merge"] {
        check(name, turn, &["<|user|>", "▁", "H", "i", "<|end|>", "<tool>", "▁", "i"]);
        check(name, "<s> i</s> i", &["<s>", "▁", "▁", "i", "</s>", "▁", "i"]);
        check(name, "<|endoftext|>\n", &["<|endoftext|>", "▁", "\n"]);
    }
    check("Phi-4", "<|end|>\ni", &["<|end|>", "▁", "\n", "i"]);
}

/// As llama.cpp does for vocabularies whose types or keys are wrong.
#[test]
fn a_tokens_text_says_that_it_ends_a_text() {
    let mut data = TokenizerData::byte_level();
    let normal = ["<|endoftext|>", "</", "s>", "</s>", "<|fim_prefix|>", "<|channel|>"];
    for text in normal {
        data.tokens.push(text.to_owned());
        data.token_types.push(1);
    }
    let end = |data: &TokenizerData| Tokenizer::new(data).expect("own data").end_tokens().to_vec();
    assert_eq!(end(&data), [257, 258, 261]);
    // A merge that makes one of them is passed over, as it is no text.
    data.merges = vec!["< /".into(), "s >".into(), "</ s>".into()];
    let tokenizer = Tokenizer::new(&data).expect("own data");
    assert_eq!(tokenizer.encode_plain("</s>", false), Ok(vec![259, 115, 62]), "a user's");
    assert_eq!(tokenizer.encode_plain("</s>", true), Ok(vec![261]));
    assert!(tokenizer.is_control(262), "around what is filled in");
    assert!(!tokenizer.is_control(263), "always part of the text");
    let parts = ["<|end|>", "<|return|>", "<|call|>"];
    data.tokens.extend(parts.map(String::from));
    data.token_types.extend([3; 3]);
    assert_eq!(end(&data), [257, 258, 261, 265, 266], "an end of a part is none");
}

/// A megabyte takes 0.3 s where merging is n log n, and hours where it is n².
#[test]
fn long_texts_are_merged_in_time() {
    let pieces = ["▁▁", "▁▁▁▁", "aa", "aaaa", "▁", "a"];
    for kind in ["llama", "t5"] {
        let tokenizer = Tokenizer::new(&scored(kind, &pieces)).expect("consistent data");
        for text in ["a", " ", "é"] {
            let ids = tokenizer.encode_plain(&text.repeat(1 << 20), true).expect("long text");
            assert!(ids.len() <= 1 << 21 | 1, "{kind} {text:?}");
        }
    }
}

#[test]
fn unigram_takes_the_greatest_sum() {
    let pieces = ["▁ab", "c", "▁", "a", "b", "</s>"];
    let data = TokenizerData { remove_extra_whitespaces: true, ..scored("t5", &pieces) };
    let tokenizer = Tokenizer::new(&data).expect("consistent data");
    let check = |text: &str, expect: &[u32]| {
        assert_eq!(tokenizer.encode_plain(text, false).as_deref(), Ok(expect), "{text:?}");
    };
    check("abc", &[259, 260]);
    check("  ab  c ", &[259, 261, 260]);
    check("éé a", &[261, 0, 261, 262]);
    check("   ", &[]);
    assert_eq!(tokenizer.tokens_min(3), 0);
    let broken = TokenizerData { charsmap: vec![255; 9], ..data };
    let error = Tokenizer::new(&broken).expect_err("broken").to_string();
    assert!(error.contains("precompiled_charsmap"), "{error}");
}

#[test]
fn tokens_the_model_has_no_row_for_are_refused() {
    let all = Tokenizer::new(&TokenizerData::byte_level()).expect("own data");
    let id = all.encode("z", false).expect("one byte")[0];
    let some = all.of_model(id as usize);
    assert_eq!(some.vocabulary_len(), id as usize);
    assert!(some.encode("a", false).is_ok());
    let error = some.encode("z", false).expect_err("no row").to_string();
    assert!(error.contains(&format!("token {id} is not one of the {id}")), "{error}");
}
