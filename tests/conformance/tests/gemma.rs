//! Gemma 3 270M, where `cargo xtask gemma` has fetched it: its tokens and its quality.

use std::path::PathBuf;

use gimbal_conformance::golden::{self, Quality, Tokens};
use gimbal_conformance::teacher::compare;
use gimbal_conformance::{library_path, skip, tokenizer};
use gimbal_model::{Model, Text};
use gimbal_text::Tokenizer;

/// The file, which is not under a free licence: only `cargo xtask gemma` fetches it.
fn gemma() -> Option<PathBuf> {
    let path = std::env::var_os("GIMBAL_TEST_GEMMA").map(PathBuf::from);
    if path.is_none() {
        skip("Gemma 3 270M, whole: its terms are its own (cargo xtask gemma)");
    }
    path
}

/// 1,500 strings, as for the default model.
#[test]
fn gemmas_token_ids_equal_llama_cpps() -> anyhow::Result<()> {
    let Some(path) = gemma() else { return Ok(()) };
    let Text::Data(text) = Model::open(&path)?.text else { anyhow::bail!("a GGUF file") };
    let tokenizer = Tokenizer::new(&tokenizer::data(*text))?;
    let golden: Tokens = golden::read("tokens-gemma3")?;
    for (text, expect) in &golden.cases {
        assert_eq!(tokenizer.encode_plain(text, false)?, *expect, "{text:?}");
    }
    Ok(())
}

/// As `quality_is_at_least_llama_cpps` of the default model, over 13 prompts of 48 positions; one
/// prompt is longer than the window.
#[test]
fn gemma_is_at_least_as_good_as_llama_cpps() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (gemma(), library_path()) else {
        return Ok(());
    };
    let golden: Quality = golden::read("quality-gemma3")?;
    compare(&model, &library, &golden)?.iter().try_for_each(|found| found.judge(&golden))
}
