//! Where a model comes from: a path as it was said becomes one that can be opened.
//!
//! A file or a folder is what it is. A model of Hugging Face's cache is its snapshot (`snapshot.rs`);
//! an archive is unpacked once (`kept.rs`: where to; `archive.rs`: what of it). Nothing is fetched from
//! a network. Whether there is a model in it is told by whoever opens it.

mod archive;
mod kept;
mod snapshot;

use std::path::{Path, PathBuf};

pub(crate) use kept::Progress;

use crate::failure::Failure;
use crate::folder::user_folders;

/// Endings of archives. SageMaker's is `model.tar.gz`.
const ENDINGS: [&str; 2] = [".tar.gz", ".tgz"];
/// Folders that an archive has around its model, at most.
const WRAPPED_MAX: usize = 4;

/// A model that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// What is opened.
    pub(crate) path: PathBuf,
    /// What to call it, where the path's last name is none.
    pub(crate) name: Option<String>,
}

/// True for a path that is unpacked before it is opened.
pub(crate) fn is_archive(path: &Path) -> bool {
    stem(path).is_some() && !path.is_dir()
}

/// Makes a path one that can be opened; `told` hears how far that is.
///
/// # Errors
/// An archive that is refused, no room for it, or snapshots of which none is the one.
pub(crate) fn arrive(path: &Path, told: &mut dyn FnMut(&Progress)) -> Result<Arrived, Failure> {
    arrive_in(path, user_folders(), told)
}

fn arrive_in(
    path: &Path,
    caches: impl Iterator<Item = PathBuf>,
    told: &mut dyn FnMut(&Progress),
) -> Result<Arrived, Failure> {
    if !is_archive(path) || !path.exists() {
        return located(path.to_owned());
    }
    let folder = kept::unpacked(path, caches, told)?;
    let inner = innermost(&folder);
    let is_wrapped = inner != folder;
    let arrived = located(inner)?;
    // A file has a name of its own, and so has a folder that was packed; ours is a digest.
    let is_nameless = arrived.name.is_none() && !is_wrapped && !has_gguf(&arrived.path);
    let name = if is_nameless { stem(path).map(str::to_owned) } else { arrived.name };
    Ok(Arrived { name, ..arrived })
}

fn located(path: PathBuf) -> Result<Arrived, Failure> {
    let path = snapshot::of(&path)?.unwrap_or(path);
    Ok(Arrived { name: snapshot::name(&path), path })
}

/// The file's name before its ending.
fn stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let ending = ENDINGS.iter().find(|ending| {
        let at = name.len().checked_sub(ending.len());
        at.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    })?;
    Some(&name[..name.len() - ending.len()])
}

/// The folder itself, or the only one in it: many archives are of a folder, not of what is in it.
fn innermost(folder: &Path) -> PathBuf {
    let mut inner = folder.to_owned();
    for _ in 0..WRAPPED_MAX {
        let is_cache = snapshot::name_of_model(&inner).is_some();
        match &entries(&inner)[..] {
            [only] if !is_cache && is_folder(only) => inner.clone_from(only),
            _ => break,
        }
    }
    inner
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_dir())
}

fn has_gguf(folder: &Path) -> bool {
    let is_gguf = |path: &PathBuf| path.extension().is_some_and(|end| end == "gguf");
    entries(folder).iter().any(is_gguf)
}

/// What lies in a folder, but for what file systems leave there (macOS's `._model`).
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_hidden =
        |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    read.map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect()
}

#[cfg(test)]
mod tests;
