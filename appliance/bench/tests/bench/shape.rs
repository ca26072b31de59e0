//! The JSON is what `docs/bench.md` says, and the page needs nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Act, Fake, Load, Log, one, plan, run};

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

#[tokio::test]
async fn the_page_is_whole_and_asks_nobody_for_anything() {
    let log = Log::default();
    let a = Fake::start("A", &[Act::Whole, Act::Status(429)], &log).await;
    let b = Fake::start("B", &[Act::Whole], &log).await;
    let mut plan = plan(vec![a.target(), b.target()]);
    (plan.loads, plan.repeats) = (vec![Load::Closed(1), Load::Closed(2), Load::Poisson(900.0)], 2);
    plan.limits.ttft_ms = Some(50.0);
    plan.model = Some("<script>alert(1)</script>".to_owned());
    let report = run(&plan).await.expect("a report");
    let page = report.page();
    // Throughput over clients and over rate, and two distributions.
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("&lt;script&gt;") && page.contains("A over B"), "{page}");
    assert!(page.contains("failed with 429, such as: not now"), "{page}");
    for mark in ["<script", "src=", "href=", "url(", "@import", "<link", "NaN", "inf "] {
        assert!(!page.contains(mark), "{mark}");
    }
    for tag in ["svg", "table", "ul", "pre"] {
        let count = |mark: String| page.matches(mark.as_str()).count();
        assert_eq!(count(format!("<{tag}")), count(format!("</{tag}>")), "{tag}");
    }
}
