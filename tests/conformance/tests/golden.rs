//! The interpreter and the tokenizer against golden files of independent implementations.

use gimbal_conformance::golden::{self, Greedy, Tokens};
use gimbal_conformance::{model_path, quality};
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};
use gimbal_text::{Tokenizer, TokenizerData};

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

/// 1,500 strings: plain text, code, spaces, many scripts, unassigned code points. Control tokens in
/// text are text here.
#[test]
fn token_ids_equal_llama_cpps() -> anyhow::Result<()> {
    let Some(path) = model_path() else { return Ok(()) };
    let text = Model::open(&path)?.text;
    let tokenizer = Tokenizer::new(&TokenizerData {
        kind: text.kind,
        pre: text.pre,
        tokens: text.tokens,
        token_types: text.token_types,
        merges: text.merges,
        scores: text.scores,
        bos: text.bos,
        eos: text.eos,
        unk: text.unknown,
        pad: text.padding,
        add_bos: text.add_bos,
        add_eos: text.add_eos,
        eog: text.end_tokens,
    })?;
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
