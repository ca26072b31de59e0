//! Which of our crates may use which, and which licences may come in.

use std::collections::BTreeSet;

use serde_json::Value;

/// The only edges between our crates. A new one is an architecture change: its own commit, with
/// ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("gimbal-batch", &[]),
    ("gimbal-bench", &[]),
    ("gimbal-machine", &[]),
    ("gimbal-model", &[]),
    ("gimbal-settings", &[]),
    ("gimbal-text", &[]),
    ("gimbal-hal", &["gimbal-batch", "gimbal-model"]),
    ("gimbal-sim", &["gimbal-batch", "gimbal-hal", "gimbal-model"]),
    ("gimbal-cpu", &["gimbal-batch", "gimbal-hal", "gimbal-model"]),
    ("gimbal-onnx", &["gimbal-batch", "gimbal-cpu", "gimbal-hal", "gimbal-model"]),
    ("gimbal-scheduler", &["gimbal-batch"]),
    ("gimbal-engine", &["gimbal-batch", "gimbal-hal", "gimbal-scheduler", "gimbal-text"]),
    ("gimbal-http", &["gimbal-engine", "gimbal-text"]),
    (
        "gimbal",
        &[
            "gimbal-batch",
            "gimbal-bench",
            "gimbal-cuda",
            "gimbal-engine",
            "gimbal-hal",
            "gimbal-http",
            "gimbal-machine",
            "gimbal-model",
            "gimbal-neuron",
            "gimbal-onnx",
            "gimbal-settings",
            "gimbal-sim",
            "gimbal-text",
        ],
    ),
    (
        "gimbal-conformance",
        &["gimbal-batch", "gimbal-hal", "gimbal-model", "gimbal-onnx", "gimbal-text"],
    ),
    (
        "gimbal-fuzz",
        &[
            "gimbal-batch",
            "gimbal-conformance",
            "gimbal-engine",
            "gimbal-hal",
            "gimbal-hlo",
            "gimbal-http",
            "gimbal-model",
            "gimbal-neuron",
            "gimbal-sim",
            "gimbal-text",
        ],
    ),
    (
        "gimbal-simulate",
        &["gimbal-batch", "gimbal-hal", "gimbal-neuron", "gimbal-scheduler", "gimbal-sim"],
    ),
    ("gimbal-cuda", &["gimbal-batch", "gimbal-hal", "gimbal-model"]),
    ("gimbal-libcuda", &[]),
    ("gimbal-neuron", &["gimbal-batch", "gimbal-hal", "gimbal-model", "neuron-sys"]),
    ("gimbal-hlo", &["gimbal-batch", "gimbal-model", "gimbal-neuron"]),
    ("gimbal-libnrt", &["gimbal-hlo", "gimbal-neuron", "neuron-sys"]),
    ("neuron-sys", &[]),
    ("xtask", &[]),
];

/// Licences that may come in; an expression passes when one of its alternatives does.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    // Only libFuzzer, in `cargo xtask fuzz`.
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let metadata = super::metadata();
    let ours: Vec<&Value> = packages(&metadata).filter(|p| p["source"].is_null()).collect();
    for package in &ours {
        let name = package["name"].as_str().unwrap_or_default();
        let allowed = ARROWS.iter().find(|(n, _)| *n == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in ARROWS"));
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Tests may look anywhere; the product may not.
            let used = dependency["name"].as_str().unwrap_or_default();
            let is_ours = ours.iter().any(|p| p["name"] == used);
            if is_ours && dependency["kind"].is_null() {
                assert!(allowed.contains(&used), "{name} must not use {used}");
            }
        }
    }
    assert_eq!(ours.len(), ARROWS.len(), "ARROWS names a crate that is gone");
}

#[test]
fn licences_are_known() {
    let metadata = super::metadata();
    let mut refused = BTreeSet::new();
    for package in packages(&metadata) {
        let licence = package["license"].as_str().unwrap_or("none");
        if !passes(licence) {
            refused.insert(format!("{}: {licence}", package["name"].as_str().unwrap_or_default()));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// `A OR B`, `A AND B`, `A/B` over known names.
fn passes(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    let known = |name: &str| {
        let base = name.split(" WITH ").next().unwrap_or_default().trim();
        LICENCES.contains(&base)
    };
    flat.split(" AND ").all(|all| all.split(" OR ").any(known))
}
