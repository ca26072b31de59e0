//! The JSON is what `docs/bench.md` says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Act, Load, one};

const DOCS: &str = include_str!("../../docs/bench.md");

/// Names of all members, whatever they are in.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                into.insert(name.clone());
                names(inner, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[tokio::test]
async fn every_member_of_the_json_is_explained() {
    let (report, _) = one(&[Act::Whole, Act::Short], |plan| {
        plan.loads = vec![Load::Closed(2), Load::Poisson(900.0)];
        plan.limits.ttft_ms = Some(1e6);
    })
    .await;
    let json: Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["cells"][0]["sides"][0]["runs"][0]["figures"]["good"], 6);
    let mut all = BTreeSet::new();
    names(&json, &mut all);
    for name in all {
        assert!(DOCS.contains(&format!("`{name}`")), "docs/bench.md does not explain {name}");
    }
}
