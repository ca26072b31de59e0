//! The files of `firmware-configs`, in the binary.

/// One file: its path in the repository and its text.
pub type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $path)))),*]
    };
}

/// The instance catalogue.
pub(crate) const INSTANCES: File =
    ("firmware-configs/instances.yaml", include_str!("../../../firmware-configs/instances.yaml"));

/// Every family; the one that matches anything is last.
pub(crate) const FAMILIES: &[File] = files![
    "firmware-configs/families/graviton2.yaml",
    "firmware-configs/families/graviton3.yaml",
    "firmware-configs/families/graviton4.yaml",
    "firmware-configs/families/graviton5.yaml",
    "firmware-configs/families/intel.yaml",
    "firmware-configs/families/amd.yaml",
    "firmware-configs/families/laptop.yaml",
];

/// Every fragment.
pub(crate) const FRAGMENTS: &[File] = files![
    "firmware-configs/fragments/base.yaml",
    "firmware-configs/fragments/few-sequences.yaml",
    "firmware-configs/fragments/many-rows.yaml",
];

/// What holds on the devices of a platform, by the platform's name.
pub(crate) const ACCELERATORS: &[File] = files![
    "firmware-configs/accelerators/cuda.yaml",
    "firmware-configs/accelerators/neuron.yaml",
    "firmware-configs/accelerators/sim.yaml",
];

/// Settings for models on a platform's devices, path and text, where something is known of them.
#[must_use]
pub fn accelerator_settings(platform: &str) -> Option<File> {
    ACCELERATORS.iter().copied().find(|(path, _)| stem(path) == platform)
}

/// `NAME` of `…/NAME.yaml`.
pub(crate) fn stem(path: &'static str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".yaml").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = BTreeSet::new();
        for folder in ["", "/accelerators", "/families", "/fragments"] {
            let folder = format!("firmware-configs{folder}");
            for entry in std::fs::read_dir(root.join(&folder)).expect("the folder is there") {
                let name = entry.expect("a name").file_name().into_string().expect("text");
                if name.ends_with(".yaml") {
                    found.insert(format!("{folder}/{name}"));
                }
            }
        }
        let files = [ACCELERATORS, FAMILIES, FRAGMENTS].concat();
        let table = files.iter().chain([&INSTANCES]);
        assert_eq!(found, table.map(|(path, _)| (*path).to_owned()).collect());
    }

    #[test]
    fn a_fragment_says_who_uses_it_and_no_key_is_written_twice() {
        let mut keys = BTreeSet::new();
        for (path, text) in FRAGMENTS {
            assert!(text.starts_with("# Used by "), "{path}");
            for (i, line) in text.lines().enumerate() {
                let Some((key, _)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
                    continue;
                };
                assert!(keys.insert(key), "{path}: {key} is in two fragments");
                assert!(
                    text.lines().nth(i - 1).is_some_and(|l| l.starts_with('#')),
                    "{path}: {key}"
                );
            }
        }
    }
}
