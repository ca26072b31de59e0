//! What an image is made of, and how: a bill of materials for each processor, and a statement of
//! provenance. Both lie beside the layout; neither is signed.
//!
//! **Source**: CycloneDX 1.5; in-toto statement 1, SLSA provenance 1.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::packages::Package;
use super::{Arch, Commit, hex};
use crate::{assets, command, dist, root};

/// An image and what went into it.
pub(super) struct Made<'a> {
    pub(super) arch: &'static Arch,
    pub(super) digest: String,
    pub(super) packages: Vec<Package>,
    pub(super) library: &'a Path,
}

/// The bill of one image: crates, ONNX Runtime, Debian's packages.
pub(super) fn bill(made: &Made<'_>, version: &str) -> anyhow::Result<String> {
    let mut bill: Value = serde_json::from_str(&dist::bill(made.arch.rust, version)?)?;
    let components = bill["components"].as_array_mut().context("components")?;
    for package in &made.packages {
        let licence = format!("/usr/share/doc/{}/copyright", package.name);
        components.push(json!({
            "type": "library", "name": package.name, "version": package.version,
            "hashes": [{ "alg": "SHA-256", "content": package.sha256 }],
            "purl": package.purl(),
            "properties": [{ "name": "licence in the image", "value": licence }],
        }));
    }
    bill["metadata"]["component"]["type"] = json!("container");
    bill["metadata"]["component"]["hashes"] =
        json!([{ "alg": "SHA-256", "content": plain(&made.digest) }]);
    Ok(serde_json::to_string_pretty(&bill)?)
}

/// The statement about the index and each image.
pub(super) fn provenance(
    index: &str,
    made: &[Made<'_>],
    commit: &Commit,
) -> anyhow::Result<String> {
    let subject =
        |name: String, digest: &str| json!({ "name": name, "digest": { "sha256": plain(digest) } });
    let mut subjects = vec![subject("gimbal".to_owned(), index)];
    let mut inputs = vec![
        json!({ "uri": "git:gimbal", "digest": { "gitCommit": commit.id } }),
        file("Cargo.lock", &root().join("Cargo.lock"))?,
    ];
    for image in made {
        subjects.push(subject(format!("gimbal-{}", image.arch.oci), &image.digest));
        let (name, version) = assets::runtime_name().split_once("==").context("a version")?;
        let library = format!("pkg:pypi/{name}@{version}#libonnxruntime.so.{}", image.arch.rust);
        inputs.push(file(&library, image.library)?);
        for package in &image.packages {
            let input = json!({ "uri": package.purl(), "digest": { "sha256": package.sha256 } });
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
    }
    let arches: Vec<&str> = made.iter().map(|image| image.arch.oci).collect();
    let compiler = command::output(Command::new("rustc").current_dir(root()).arg("--version"))?;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:gimbal:xtask-image-container:1",
                "externalParameters": {
                    "command": "cargo xtask image container", "architectures": arches,
                },
                "internalParameters": { "compiler": compiler.trim() },
                "resolvedDependencies": inputs,
            },
            "runDetails": { "builder": { "id": "urn:gimbal:xtask" } },
        },
    });
    Ok(serde_json::to_string_pretty(&statement)?)
}

fn file(uri: &str, path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(json!({ "uri": uri, "digest": { "sha256": hex(&Sha256::digest(bytes)) } }))
}

/// A digest without its algorithm.
fn plain(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}
