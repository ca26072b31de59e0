//! The interpreter and the tokenizer against golden files of independent implementations.

use std::collections::BTreeMap;

use anyhow::Context;
use gimbal_conformance::golden::{self, Greedy, Tokens};
use gimbal_conformance::{model_path, quality, tokenizer};
use gimbal_model::interp::{Group, Interp, Run};
use gimbal_model::weights::{DType, Tensor};
use gimbal_model::{Model, Text, ranks_possible, shard};
use gimbal_text::Tokenizer;
use serde::Deserialize;

/// Within 1e-3 of numpy: both are f32, only the order of sums differs (measured 2e-5).
#[test]
fn the_interpreter_equals_the_f32_reference() -> anyhow::Result<()> {
    let Some(path) = model_path() else { return Ok(()) };
    let model = Model::open(&path)?;
    let golden: Greedy = golden::read("smollm2")?;
    let mut interp = Interp::new(&model.graph, &model.weights);
    for (sequence, case) in golden.cases.iter().enumerate() {
        let (last, mut tokens) = (case.prompt.len() - 1, Vec::new());
        let mut logits =
            interp.forward(&[Run { sequence, tokens: &case.prompt }], &[last]).remove(0);
        for (id, expect) in &case.logits {
            let found = logits[id.parse::<usize>()?];
            assert!((found - expect).abs() < 1e-3, "{:?} {id}: {found}, not {expect}", case.text);
        }
        for _ in &case.tokens {
            tokens.push(quality::choice(&logits));
            let next = [*tokens.last().expect("just pushed")];
            logits = interp.forward(&[Run { sequence, tokens: &next }], &[0]).remove(0);
        }
        assert_eq!(tokens, case.tokens, "{:?}", case.text);
    }
    Ok(())
}

/// The real file's blocks among ranks: 9 heads and 3 of keys and values give three. As above.
#[test]
fn three_ranks_equal_the_f32_reference() -> anyhow::Result<()> {
    let Some(path) = model_path() else { return Ok(()) };
    let Model { graph, weights, .. } = Model::open(&path)?;
    let block = |name: &str| weights.block(name);
    assert_eq!(ranks_possible(&graph, &block, 8).count, 3);
    let shards = shard(&graph, &block, 3).map_err(anyhow::Error::msg)?;
    let mut group = Group::new(&shards, &weights).map_err(anyhow::Error::msg)?;
    let golden: Greedy = golden::read("smollm2")?;
    for (sequence, case) in golden.cases.iter().enumerate() {
        let (run, last) = (Run { sequence, tokens: &case.prompt }, case.prompt.len() - 1);
        let logits = group.forward(&[run], &[last]).remove(0);
        for (id, expect) in &case.logits {
            let found = logits[id.parse::<usize>()?];
            assert!((found - expect).abs() < 1e-3, "{:?} {id}: {found}, not {expect}", case.text);
        }
        assert_eq!(Some(&quality::choice(&logits)), case.tokens.first(), "{:?}", case.text);
    }
    Ok(())
}

/// 1,500 strings: plain text, code, spaces, many scripts, unassigned code points. Control tokens in
/// text are text here.
#[test]
fn token_ids_equal_llama_cpps() -> anyhow::Result<()> {
    let Some(path) = model_path() else { return Ok(()) };
    let Text::Data(text) = Model::open(&path)?.text else { anyhow::bail!("a GGUF file") };
    let tokenizer = Tokenizer::new(&tokenizer::data(*text))?;
    let golden: Tokens = golden::read("tokens")?;
    let mut wrong = Vec::new();
    for (text, expect) in &golden.cases {
        let found = tokenizer.encode_plain(text, false)?;
        if found != *expect {
            wrong.push(format!("{text:?}: {found:?}, not {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
    Ok(())
}

/// Every quantised type: values of random blocks equal ggml's to the bit.
#[test]
fn quantised_values_equal_ggmls_to_the_bit() -> anyhow::Result<()> {
    let golden: BTreeMap<String, Blocks> = golden::read("quants")?;
    let quantised = DType::ALL.into_iter().filter(|dtype| dtype.is_quantised());
    for dtype in quantised {
        let found = golden.get(dtype.name());
        let found = found.with_context(|| format!("{} in the file", dtype.name()))?;
        let (bytes, values) = (bytes_of(&found.blocks)?, bytes_of(&found.values)?);
        let (elements, size) = dtype.block();
        let cols = bytes.len() / size * elements;
        let values = values.as_chunks::<4>().0.iter().map(|v| u32::from_le_bytes(*v));
        let expect: Vec<u32> = values.collect();
        let read = Tensor { dtype, rows: 1, cols, bytes: &bytes }.to_f32();
        let read: Vec<u32> = read.into_iter().map(f32::to_bits).collect();
        assert_eq!(expect.len(), cols);
        assert!(read == expect, "{}", dtype.name());
    }
    Ok(())
}

/// Blocks and their values, in hexadecimal digits.
#[derive(Deserialize)]
struct Blocks {
    blocks: String,
    values: String,
}

fn bytes_of(hexadecimal: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = hexadecimal.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    pairs.iter().map(byte).collect()
}
