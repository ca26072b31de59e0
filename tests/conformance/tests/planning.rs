//! The real binary plans for machines that are not here: every type of the catalogue, and several side by
//! side. No device is asked, and no weight is read.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use gimbal_conformance::model_path;
use gimbal_conformance::server::binary_path;
use serde_json::Value;

/// The catalogue.
const CATALOGUE: &str = include_str!("../../../firmware-configs/instances.yaml");
/// What types with Amazon's chips begin with.
const CHIPS: [&str; 2] = ["inf2.", "trn"];
/// Beginnings of types with GPUs.
const GPUS: [&str; 2] = ["g", "p"];

/// `gimbal plan ARGUMENTS`, where `cargo xtask test` has set what is needed.
fn plan(arguments: &[&str]) -> anyhow::Result<Option<(Output, PathBuf)>> {
    let (Some(model), Some(binary)) = (model_path(), binary_path()) else { return Ok(None) };
    let output = Command::new(binary).arg("plan").args(arguments).arg(&model).output()?;
    Ok(Some((output, model)))
}

fn text(output: &Output) -> anyhow::Result<String> {
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", output.status);
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// All types, as the file has them, and those of series that are like others.
fn types() -> Vec<String> {
    let (mut types, mut alike) = (Vec::new(), Vec::new());
    for line in CATALOGUE.lines().map(str::trim) {
        if let Some(list) = line.strip_prefix("alike: [") {
            alike = list.trim_end_matches(']').split(", ").collect();
        } else if line.starts_with("processor: ") {
            alike = Vec::new();
        } else if let Some((name, _)) = line.split_once(": { vcpus:") {
            types.push(name.to_owned());
            let size = name.split_once('.').map_or("", |(_, size)| size);
            types.extend(alike.iter().map(|series| format!("{series}.{size}")));
        }
    }
    types
}

fn is_of(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Each row names its platform, what it would hold and how fast that may be, or says what is missing.
#[test]
fn every_type_of_the_catalogue_is_planned_or_says_why_not() -> anyhow::Result<()> {
    let types = types();
    ensure!(types.len() > 1000, "{} types", types.len());
    let Some((output, _)) = plan(&["--json", "--compare", &types.join(",")])? else {
        return Ok(());
    };
    let answer: Value = serde_json::from_str(&text(&output)?)?;
    let rows = answer["compared"].as_array().context("a list")?;
    ensure!(rows.len() == types.len(), "{} of {}", rows.len(), types.len());
    for (row, name) in rows.iter().zip(&types) {
        ensure!(row["type"] == *name && row["fits"] == true, "{row}");
        let is_gpu = is_of(name, &GPUS);
        let is_chip = is_of(name, &CHIPS);
        let platform = match (is_gpu, is_chip) {
            (true, _) => "cuda",
            (_, true) => "neuron",
            _ => "onnx",
        };
        ensure!(row["platform"] == platform, "{name}: {row}");
        ensure!(row["kv_tokens"].as_u64() > Some(0), "{name}: {row}");
        let roofline = &row["roofline"];
        let one = roofline["tokens_s_one"].as_f64();
        let why = roofline["why"].as_str().context("a reason")?;
        match one {
            Some(one) => ensure!(one > 1.0 && why.contains("not measured"), "{name}: {roofline}"),
            None => ensure!(!is_gpu && !is_chip && why.contains("not known"), "{name}: {roofline}"),
        }
        if name.starts_with("inf1.") {
            let told = row["why"].to_string();
            ensure!(told.contains("× Inferentia: its compiler and runtime are others"), "{told}");
        }
    }
    Ok(())
}

/// One copy on each GPU of the type, with its memory, its type of weights and the bound of its memory.
#[test]
fn a_gpu_s_plan_shows_device_copies_memory_and_roofline() -> anyhow::Result<()> {
    for (instance, copies, expect) in [
        ("ml.g4dn.xlarge", 1, ["T4 of g4dn.xlarge", "dtype = f16: ", "320 GB/s"]),
        ("g5.xlarge", 1, ["A10G of g5.xlarge", "dtype = bf16: ", "600 GB/s"]),
        ("g6.12xlarge", 4, ["L4 of g6.12xlarge", "each of 4 copies", "300 GB/s"]),
        ("p5.48xlarge", 8, ["H100 of p5.48xlarge", "planned from the catalogue", "3350 GB/s"]),
    ] {
        let Some((output, _)) = plan(&["--instance", instance])? else { return Ok(()) };
        let text = text(&output)?;
        ensure!(text.contains("planned: on cuda: "), "{text}");
        ensure!(text.contains(&format!("copies = {copies}, ranks of each = 1")), "{text}");
        for word in expect {
            ensure!(text.contains(word), "{instance}: no {word} in {text}");
        }
    }
    Ok(())
}

/// What `gimbal compile` would make for the type's cores: shapes, the KV cache, and the bound of a core's memory.
#[test]
fn a_chip_s_plan_is_what_would_be_compiled() -> anyhow::Result<()> {
    for (instance, copies, expect) in [
        ("ml.inf2.xlarge", 2, ["Inferentia2 of inf2.xlarge", "440.25 GB/s", "1 of 2 cores"]),
        ("trn1.32xlarge", 32, ["Trainium of trn1.32xlarge", "440.25 GB/s", "1 of 2 cores"]),
        ("trn2.48xlarge", 64, ["Trainium2 of trn2.48xlarge", "725 GB/s", "2 of 8 cores"]),
    ] {
        let Some((output, _)) = plan(&["--instance", instance])? else { return Ok(()) };
        let text = text(&output)?;
        let always =
            ["planned: on neuron: ", "32x1x4096", "KV cache = ", "nothing is compiled yet"];
        let count = format!("copies = {copies}, ranks of each = 1");
        for word in expect.into_iter().chain(always).chain([count.as_str()]) {
            ensure!(text.contains(word), "{instance}: no {word} in {text}");
        }
    }
    Ok(())
}

/// The table has a line a type, and below it what it has no column for; flags of both kinds are one.
#[test]
fn types_are_compared_in_a_table() -> anyhow::Result<()> {
    let arguments = ["--compare", "g5.xlarge,c7g.4xlarge", "--compare", "c8a.large"];
    let Some((output, _)) = plan(&arguments)? else { return Ok(()) };
    let text = text(&output)?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines[0].starts_with("type ") && lines[0].ends_with("sequences"), "{text}");
    for (line, [name, platform]) in lines[1..].iter().zip([
        ["g5.xlarge", "cuda"],
        ["c7g.4xlarge", "onnx"],
        ["c8a.large", "onnx"],
    ]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        ensure!(words[..2] == [name, platform], "{line}");
    }
    ensure!(lines[3].contains("unknown"), "{text}");
    ensure!(lines[4].contains("not measured"), "{text}");
    ensure!(text.contains("c8a.large: memory bandwidth"), "{text}");
    Ok(())
}

/// An hour of 4284 tokens a second on two copies, by the file's price; who has no price has no cost.
#[test]
fn prices_are_the_person_s() -> anyhow::Result<()> {
    let file = std::env::temp_dir().join(format!("gimbal-prices-{}.yaml", std::process::id()));
    std::fs::write(&file, "ml.inf2.xlarge: 0.76\n")?;
    let prices = file.to_str().context("a plain path")?;
    let arguments = ["--json", "--compare", "inf2.xlarge,g6.xlarge", "--prices", prices];
    let Some((output, _)) = plan(&arguments)? else { return Ok(()) };
    let answer: Value = serde_json::from_str(&text(&output)?)?;
    let rows = answer["compared"].as_array().context("a list")?;
    let all = rows[0]["roofline"]["tokens_s_all"].as_f64().context("a bound")?;
    let cost = rows[0]["cost_of_million"].as_f64().context("a cost")?;
    let expect = 0.76 / (2.0 * all * 3600.0) * 1e6;
    ensure!((cost / expect - 1.0).abs() < 1e-9, "{cost}, not {expect}");
    ensure!(rows[1]["cost_of_million"].is_null(), "{}", rows[1]);
    for (prices, expect) in [
        ("inf2.xlrge: 1", "--prices inf2.xlrge: not in the catalogue"),
        ("inf2.xlarge: -1", "inf2.xlarge: -1 is no price of an hour"),
        ("inf2.xlarge", "a line is TYPE: PRICE OF AN HOUR"),
    ] {
        std::fs::write(&file, prices)?;
        let Some((output, _)) = plan(&arguments)? else { return Ok(()) };
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && told.contains(expect), "{told}");
    }
    std::fs::remove_file(file)?;
    Ok(())
}

/// What is wrong is named with what would do.
#[test]
fn types_that_are_not_known_and_flags_that_exclude_each_other_are_refused() -> anyhow::Result<()> {
    for (arguments, expect) in [
        (
            &["--compare", "g5.xlarge,g5.xlrge"][..],
            "--compare g5.xlrge: not in the catalogue; did you",
        ),
        (&["--compare", "g5.xlarge", "--instance", "g5.xlarge"], "cannot be used with"),
        (&["--instance", "c7g.xlarge", "--backend", "cuda"], "c7g.xlarge has no device of cuda"),
        (&["--instance", "g5.xlarge", "--devices", "3"], "devices = 3: not there"),
        (&["--instance", "g5.xlarge", "--backend", "cuda", "--replicas", "2"], "there are 1"),
    ] {
        let Some((output, _)) = plan(arguments)? else { return Ok(()) };
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = told + &String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains(expect), "{arguments:?}: {said}");
    }
    Ok(())
}
