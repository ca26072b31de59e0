//! The committed PTX and cubins: that they are their sources', and that the emulator's tests know all of its forms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use gimbal_cuda::{images, ptx};
use gimbal_libcuda::Module;
use serde::Deserialize;
use sha2::{Digest, Sha256};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `ptx/MANIFEST.toml`.
#[derive(Deserialize)]
struct Manifest {
    sources: BTreeMap<String, String>,
    ptx: BTreeMap<String, String>,
    cubins: BTreeMap<String, Cubin>,
}

#[derive(Deserialize)]
struct Cubin {
    sha256: String,
    assembler: String,
    ptx: String,
}

impl Manifest {
    /// Files beside it and their hashes, before compression.
    fn kept(&self) -> BTreeMap<String, String> {
        let cubins = self.cubins.iter().map(|(name, cubin)| (name.clone(), cubin.sha256.clone()));
        assert!(self.cubins.values().all(|cubin| self.ptx.contains_key(&cubin.ptx)));
        self.ptx.clone().into_iter().chain(cubins).collect()
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_committed_was_made_of_these_sources() {
    let manifest = fs::read_to_string(here().join("ptx/MANIFEST.toml")).expect("the manifest");
    let manifest: Manifest = toml::from_str(&manifest).expect("the manifest");
    for (folder, expect) in [("kernels", &manifest.sources), ("ptx", &manifest.kept())] {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(here().join(folder)).expect("a folder") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let bytes = fs::read(&path).expect("a file");
            if let Some(cubin) = name.strip_suffix(".gz") {
                let mut whole = Vec::new();
                GzDecoder::new(&bytes[..]).read_to_end(&mut whole).expect("a cubin");
                found.insert(cubin.to_owned(), hash(&whole));
            } else if name != "MANIFEST.toml" {
                found.insert(name, hash(&bytes));
            }
        }
        assert_eq!(&found, expect, "run cargo xtask kernels");
    }
}

/// The files of a device of each architecture under a driver of today, as the manifest has them.
#[test]
fn what_is_embedded_is_what_is_committed() {
    let manifest = fs::read_to_string(here().join("ptx/MANIFEST.toml")).expect("the manifest");
    let manifest: Manifest = toml::from_str(&manifest).expect("the manifest");
    for (name, cubin) in &manifest.cubins {
        let number = name.trim_start_matches("sm").trim_end_matches(".cubin");
        let number: u32 = number.parse().expect("an architecture");
        let images = images([number / 10, number % 10], [13, 0]).expect("images");
        assert_eq!(&images[0].name, name);
        assert_eq!(hash(&images[0].bytes), cubin.sha256, "{name}");
        // The kernels that a device would get without its cubin.
        assert_eq!(images.last().map(|image| &image.name), Some(&cubin.ptx), "{name}");
        // A driver of 11.4 gets what an assembler of its major made, and nothing else.
        let is_old = cubin.assembler.contains("==11.");
        let old = images_of_r470(number);
        assert_eq!(old.contains(name), is_old, "{name} by {}", cubin.assembler);
    }
}

fn images_of_r470(number: u32) -> Vec<String> {
    let images = images([number / 10, number % 10], [11, 4]).expect("images");
    images.into_iter().map(|image| image.name).collect()
}

/// Those without operands, and those that every test's kernel has.
const PLAIN: [&str; 2] = ["ret", "bra.uni"];

#[test]
fn every_form_of_the_shipped_kernels_is_tested_in_the_emulator() {
    let tests = here().join("../../tests/emulators/libcuda/tests");
    let mut texts = String::new();
    for file in ["isa/integers.txt", "isa/floats.txt", "isa/conversions.txt", "isa/comparisons.txt"]
    {
        texts += &fs::read_to_string(tests.join(file)).expect(file);
    }
    for file in ["warps.rs", "tensors.rs", "machine/mod.rs"] {
        texts += &fs::read_to_string(tests.join(file)).expect(file);
    }
    // Line breaks within strings.
    let texts = texts.replace("\\n", " ");
    let tested: BTreeSet<&str> =
        texts.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))).collect();
    let mut missing = BTreeSet::new();
    for capability in [75, 80] {
        let module = Module::parse(ptx(capability).expect("a module")).expect("known forms");
        let forms = module.kernels.into_iter().flat_map(|kernel| kernel.forms);
        missing.extend(forms.filter(|form| {
            let form = form.as_str();
            // Tests of these write the form with the number, the type or the mode left open.
            let is_open = ["mma.", "ldmatrix.", "shfl."].iter().any(|open| form.starts_with(open));
            !is_open && !PLAIN.contains(&form) && !tested.contains(form)
        }));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
