//! What the binary is made of: every crate that is linked, its licence and its licence's text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{assets, root};

/// Files that hold a licence or what it asks to be kept.
const BEGINNINGS: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

/// One crate.
pub(super) struct Package {
    name: String,
    version: String,
    licence: String,
    is_ours: bool,
    folder: PathBuf,
}

/// All crates that the binary links on a processor, by name.
pub(super) fn packages(arch: &str) -> anyhow::Result<Vec<Package>> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["metadata", "--format-version=1", "--locked"]);
    cargo.args(["--filter-platform", &format!("{arch}-unknown-linux-gnu")]);
    let output = cargo.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let linked = linked(&metadata)?;
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        if !linked.contains(&text("id")) {
            continue;
        }
        let manifest = PathBuf::from(text("manifest_path"));
        packages.push(Package {
            name: text("name"),
            version: text("version"),
            licence: text("license"),
            is_ours: package["source"].is_null(),
            folder: manifest.parent().context("a manifest is in a folder")?.to_owned(),
        });
    }
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

/// Ids of all that `gimbal` needs to run; not what only builds or tests it.
fn linked(metadata: &Value) -> anyhow::Result<BTreeSet<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("nodes")?;
    let by_id: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let is_binary = |id: &&str| id.ends_with("/appliance/gimbal#0.1.0") || id.contains("#gimbal@");
    let binary = by_id.keys().copied().find(is_binary).context("the package gimbal")?;
    let (mut found, mut open) = (BTreeSet::new(), vec![binary]);
    while let Some(id) = open.pop() {
        if !found.insert(id.to_owned()) {
            continue;
        }
        for dependency in by_id[id]["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            if kinds.into_iter().any(|kind| kind["kind"].is_null()) {
                open.push(dependency["pkg"].as_str().context("a package id")?);
            }
        }
    }
    Ok(found)
}

/// All licences as one text: each text once, with the crates it belongs to.
pub(super) fn licences(packages: &[Package], runtime: &[PathBuf]) -> anyhow::Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut text = "Gimbal is made of these parts.\n\n".to_owned();
    for package in packages {
        let shown = format!("{} {} ({})", package.name, package.version, package.licence);
        writeln!(text, "{shown}")?;
        let folder = if package.is_ours { root() } else { package.folder.clone() };
        for file in licence_files(&folder)? {
            texts.entry(read(&file)?).or_default().push(shown.clone());
        }
    }
    writeln!(text, "{} (MIT)", assets::runtime_name())?;
    for file in runtime {
        texts.entry(read(file)?).or_default().push(assets::runtime_name().to_owned());
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, owners)| (owners, text)).collect();
    texts.sort();
    let line = "=".repeat(80);
    for (owners, licence) in texts {
        writeln!(text, "\n{line}\n{}\n{line}\n\n{}", owners.join("\n"), licence.trim_end())?;
    }
    Ok(text)
}

fn licence_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let is_licence = BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
        if is_licence && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

/// The bill of materials. **Source**: CycloneDX 1.5, JSON.
pub(super) fn bill(packages: &[Package], version: &str) -> anyhow::Result<String> {
    let component = |package: &Package| {
        let (name, version) = (&package.name, &package.version);
        json!({
            "type": "library", "name": name, "version": version,
            "licenses": [{ "expression": package.licence }],
            "purl": format!("pkg:cargo/{name}@{version}"),
        })
    };
    let mut components: Vec<Value> =
        packages.iter().filter(|p| !p.is_ours).map(component).collect();
    let (name, runtime) = assets::runtime_name().split_once("==").context("a pinned version")?;
    components.push(json!({
        "type": "library", "name": name, "version": runtime,
        "licenses": [{ "expression": "MIT" }], "purl": format!("pkg:pypi/{name}@{runtime}"),
    }));
    let bill = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": {
            "type": "application", "name": "gimbal", "version": version,
            "licenses": [{ "expression": "Apache-2.0" }],
        }},
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&bill)?)
}
