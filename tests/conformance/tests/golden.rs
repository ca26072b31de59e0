//! The interpreter and the tokenizer against golden files of independent implementations.

use gimbal_conformance::golden::{self, Greedy};
use gimbal_conformance::{model_path, quality};
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};

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
