//! Token ids of small vocabularies against llama.cpp's (GGUF kinds) and the `tokenizers` library's
//! (`tokenizer.json`). `tests/golden/vocabularies.py` makes the files.
//!
//! 1,150 strings: many scripts, blanks, control tokens, unassigned code points, lone combining
//! marks, U+0000, U+FEFF, U+FFFD, long runs.

use std::path::Path;

use gimbal_conformance::golden;
use gimbal_text::{ChatTemplate, Named, RenderOptions, Tokenizer, TokenizerData};
use serde::Deserialize;

/// What the other implementation says.
#[derive(Deserialize)]
struct Answers {
    /// For each text the ids where control tokens are text, then, if others, where they are such.
    /// `None` where the other implementation lets text forge a control token.
    cases: Vec<Vec<Option<Vec<u32>>>>,
    /// Texts with what the model adds to them.
    added: Vec<(String, Vec<u32>)>,
}

/// A GGUF vocabulary as plain data.
#[derive(Deserialize)]
struct Vocabulary {
    kind: String,
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<i32>,
    charsmap: String,
    bos: u32,
    eos: u32,
    unk: u32,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
}

fn check(name: &str, tokenizer: &Tokenizer) -> anyhow::Result<()> {
    let texts: Vec<String> = golden::read("tokenizers/texts")?;
    let answers: Answers = golden::read(&format!("tokenizers/{name}-ids"))?;
    assert_eq!(answers.cases.len(), texts.len());
    let mut wrong = Vec::new();
    for (text, case) in texts.iter().zip(&answers.cases) {
        for (special, expect) in [(false, case.first()), (true, case.last())] {
            let Some(Some(expect)) = expect else { continue };
            let found = tokenizer.encode_plain(text, special)?;
            assert!(tokenizer.tokens_min(text.len()) <= found.len(), "{text:?}");
            if found != *expect {
                wrong.push(format!("{text:?} {special}: {found:?}, not {expect:?}"));
            }
        }
        // What a user writes never ends a turn.
        let written = ChatTemplate::new("{{ messages[0] }}", String::new(), String::new())?;
        let message = [serde_json::Value::from(text.as_str())];
        let sent = written.encode(tokenizer, &message, &RenderOptions::default())?;
        let unknown = |id: &u32| tokenizer.bytes(*id) == b"<unk>";
        assert!(sent.iter().all(|id| !tokenizer.is_control(*id) || unknown(id)), "{text:?}");
    }
    for (text, expect) in &answers.added {
        let found = tokenizer.encode(text, true)?;
        if found != *expect {
            wrong.push(format!("{text:?} with additions: {found:?}, not {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{name}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn check_gguf(kind: &str) -> anyhow::Result<()> {
    let data: Vocabulary = golden::read(&format!("tokenizers/{kind}"))?;
    let digits = data.charsmap.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let tokenizer = Tokenizer::new(&TokenizerData {
        kind: data.kind,
        tokens: data.tokens,
        scores: data.scores,
        token_types: data.token_types,
        charsmap: digits.iter().map(byte).collect::<anyhow::Result<_>>()?,
        bos: Some(data.bos),
        eos: Some(data.eos),
        unk: Some(data.unk),
        add_bos: data.add_bos,
        add_eos: data.add_eos,
        add_space_prefix: data.add_space_prefix,
        remove_extra_whitespaces: data.remove_extra_whitespaces,
        ..TokenizerData::default()
    })?;
    check(kind, &tokenizer)
}

fn check_json(name: &str) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/tokenizers");
    let json = std::fs::read(folder.join(format!("{name}.json")))?;
    check(name, &Tokenizer::from_json(&json, &Named::default())?)
}

#[test]
fn sentencepiece_bpe_equals_llama_cpps() -> anyhow::Result<()> {
    check_gguf("llama")
}

#[test]
fn unigram_equals_llama_cpps() -> anyhow::Result<()> {
    check_gguf("t5")
}

#[test]
fn byte_level_json_equals_the_library() -> anyhow::Result<()> {
    check_json("byte_level")
}

#[test]
fn byte_fallback_json_equals_the_library() -> anyhow::Result<()> {
    check_json("byte_fallback")
}

#[test]
fn unigram_json_equals_the_library() -> anyhow::Result<()> {
    check_json("unigram")
}
