//! Hugging Face's cache: `models--ORG--NAME/` with `snapshots/REV/`, whose files are links into `blobs/`.
//!
//! Nothing is downloaded. **Source**: `huggingface_hub`'s guide "Manage your cache".

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// What a model's folder there begins with.
const PREFIX: &str = "models--";
/// Bytes of a reference that are read: it is a commit's 40 letters.
const REFERENCE_BYTES_MAX: u64 = 256;
/// Snapshots that an error names.
const NAMED_MAX: usize = 8;

/// The snapshot of a model's folder: that of `refs/main`, else the only one. `None` for any other
/// folder.
///
/// # Errors
/// `refs/main` names none that is there, or there are several or none.
pub(super) fn of(folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let snapshots = folder.join("snapshots");
    let is_cache = name_of_model(folder).is_some() || folder.join("refs").is_dir();
    if !is_cache || !snapshots.is_dir() {
        return Ok(None);
    }
    let shown = folder.display();
    let reference = folder.join("refs/main");
    if reference.exists() {
        let refused = |why: String| Failure::no_input(format!("{}: {why}", reference.display()));
        let mut revision = String::new();
        let file = File::open(&reference).map_err(|error| refused(error.to_string()))?;
        let read = file.take(REFERENCE_BYTES_MAX).read_to_string(&mut revision);
        read.map_err(|error| refused(error.to_string()))?;
        let revision = revision.trim();
        let snapshot = snapshots.join(revision);
        if is_plain(revision) && snapshot.is_dir() {
            return Ok(Some(snapshot));
        }
        return Err(refused(format!(
            "it names {revision:?}, which is no folder of {}; download the model again, or name a \
             snapshot's folder",
            snapshots.display()
        )));
    }
    let read = std::fs::read_dir(&snapshots);
    let read = read.map_err(|error| Failure::no_input(format!("{shown}: {error}")))?;
    let mut all: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.is_dir());
    all.sort();
    match &all[..] {
        [only] => Ok(Some(only.clone())),
        [] => Err(Failure::no_input(format!("{shown}: snapshots/ is empty; download the model"))),
        several => {
            let names = several.iter().take(NAMED_MAX).map(|path| path.display().to_string());
            let names: Vec<String> = names.collect();
            let rest = several.len() - names.len();
            let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
            Err(Failure::no_input(format!(
                "{shown}: no refs/main and several snapshots, name one: {}{rest}",
                names.join(", ")
            )))
        }
    }
}

/// `ORG/NAME`, for a snapshot in such a cache.
pub(super) fn name(snapshot: &Path) -> Option<String> {
    let snapshots = snapshot.parent().filter(|folder| folder.ends_with("snapshots"))?;
    name_of_model(snapshots.parent()?)
}

/// `ORG/NAME`, for a model's folder.
pub(super) fn name_of_model(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    Some(name.replace("--", "/")).filter(|name| !name.is_empty())
}

/// True for one name of a folder, which leads nowhere else.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}
