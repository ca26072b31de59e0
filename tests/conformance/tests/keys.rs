//! Keys of `config.json` that change a number: logits of the families' tiny weights under other
//! configurations, by the interpreter, against Transformers'. `tests/golden/keys.py` makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gimbal_conformance::golden;
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};
use gimbal_model::weights::Mapping;
use serde::Deserialize;
use serde_json::Value;

/// f32 against f64, in another order of sums.
const TOLERANCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<Vec<u32>>,
    cases: BTreeMap<String, Case>,
}

/// A family's weights under another configuration.
#[derive(Deserialize)]
struct Case {
    family: String,
    config: Value,
    /// Of the last position of each prompt.
    logits: Vec<Vec<f32>>,
}

fn open(family: &str, config: &Value) -> anyhow::Result<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/families").join(family);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    let map = |path: PathBuf| Ok((path.clone(), Mapping::open(&path)?));
    let files = files.into_iter().map(map).collect::<anyhow::Result<_>>()?;
    Ok(Model::from_safetensors(&folder, config, files)?)
}

#[test]
fn a_key_changes_what_it_changes_in_transformers() -> anyhow::Result<()> {
    let golden: Golden = golden::read("keys")?;
    let mut off = BTreeMap::new();
    for (name, Case { family, config, logits }) in &golden.cases {
        let model = open(family, config).map_err(|e| anyhow::anyhow!("{name}: {e}"))?;
        for (prompt, expect) in golden.prompts.iter().zip(logits) {
            let mut interp = Interp::new(&model.graph, &model.weights);
            let run = Run { sequence: 0, tokens: prompt };
            let found = interp.forward(&[run], &[prompt.len() - 1]).remove(0);
            let far = found.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if found.len() != expect.len() || far > TOLERANCE {
                off.insert(format!("{name}, {} tokens", prompt.len()), far);
            }
        }
    }
    assert!(golden.cases.len() >= 30, "{} cases", golden.cases.len());
    assert!(off.is_empty(), "{off:#?}");
    Ok(())
}
