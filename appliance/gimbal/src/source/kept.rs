//! Unpacked archives, kept by content: `gimbal/models/SHA-256` below a user's cache folder.
//!
//! An archive is read once for its digest, and once more only if that folder is not there. It is
//! unpacked beside it and renamed, under a lock: of two starts the second waits. What an interrupted
//! one has left is removed by the next. Next: `archive.rs`.

use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::archive::{self, Limits, REMEDY};
use crate::failure::Failure;
use crate::folder::Folder;

/// Where they are, below a user's caches.
const NAMES: [&str; 2] = ["gimbal", "models"];
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// How far an archive is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress<'a> {
    /// What is done: `reading`, `waiting` (for another process), `unpacking`.
    pub(crate) doing: &'static str,
    /// Which archive.
    pub(crate) archive: &'a Path,
    /// Where it becomes a folder; unknown while it is read.
    pub(crate) folder: Option<&'a Path>,
    /// Share of all there is to do, from 0 to 1.
    pub(crate) share: f32,
}

/// The folder of an archive's content, which is unpacked if it is not there.
///
/// # Errors
/// It cannot be read or is refused, or no base has room for it.
pub(super) fn unpacked(
    archive: &Path,
    bases: impl Iterator<Item = PathBuf>,
    told: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, Failure> {
    let shown = archive.display().to_string();
    let failed = |error: io::Error| Failure::no_input(format!("{shown}: {error}"));
    // A pipe would make its opener wait.
    if !fs::metadata(archive).map_err(failed)?.is_file() {
        return Err(Failure::no_input(format!("{shown}: no regular file")));
    }
    let mut file = File::open(archive).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let cache = cache(bases)?;
    let all = about.len();
    // Two halves: most of the time goes into the second.
    let mut told_of = |doing, folder: Option<&Path>, half: f32, share: f32| {
        told(&Progress { doing, archive, folder, share: half + share / 2.0 });
    };
    let mut share = |share| told_of("reading", None, 0.0, share);
    let digest =
        digest(Told { file: &mut file, read: 0, all, told: &mut share }).map_err(failed)?;
    let folder = cache.join(&digest);
    if folder.is_dir() {
        return Ok(folder);
    }
    let lock = lock(&cache.join(format!("{digest}.lock")), || {
        told_of("waiting", Some(&folder), 0.5, 0.0);
    })?;
    // Another process may have been first.
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = cache.join(format!("{digest}.partial"));
    let made = prepare(&partial, all).and_then(|()| {
        let read = |error: io::Error| Failure::no_input(error);
        file.rewind().map_err(read)?;
        let mut share = |share| told_of("unpacking", Some(&folder), 0.5, share);
        let packed = Told { file: &mut file, read: 0, all, told: &mut share };
        archive::unpack(packed, &partial, &Limits::of(all))?;
        let now = file.metadata().map_err(read)?;
        if is_changed(&about, &now) {
            return Err(Failure::no_input("it was changed while it was unpacked; start again"));
        }
        fs::rename(&partial, &folder).map_err(|error| unusable(&folder, &error))
    });
    if made.is_err() {
        // What cannot be removed now is removed by the next start.
        fs::remove_dir_all(&partial).ok();
    }
    drop(lock);
    made.map_err(|failure| failure.context(shown)).map(|()| folder)
}

/// The first folder for caches that only this user can write.
fn cache(bases: impl Iterator<Item = PathBuf>) -> Result<PathBuf, Failure> {
    let mut tried = Vec::new();
    for base in bases {
        let path = NAMES.iter().fold(base.clone(), |path, name| path.join(name));
        match Folder::open(&base, &NAMES) {
            Ok(_) => return Ok(path),
            Err(error) => tried.push(format!("{}: {error}", path.display())),
        }
    }
    let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) };
    Err(Failure::unavailable(format!(
        "no folder to unpack a model into{tried}; set XDG_CACHE_HOME to one that this user can write, \
         or unpack it yourself and name the folder"
    )))
}

/// An empty folder with room for what is at least as large as it is packed.
fn prepare(partial: &Path, packed_bytes: u64) -> Result<(), Failure> {
    match fs::remove_dir_all(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(partial, &error)),
        _ => {}
    }
    fs::create_dir(partial).map_err(|error| unusable(partial, &error))?;
    let free = archive::free(partial).map_err(|error| unusable(partial, &error))?;
    match free < packed_bytes {
        true => Err(Failure::unavailable(format!(
            "packed it has {packed_bytes} bytes, and {free} are free in {}; {REMEDY}",
            partial.display()
        ))),
        false => Ok(()),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::unavailable(format!("{}: {error}; {REMEDY}", path.display()))
}

/// Holds a file's lock; `waits` is called where somebody else holds it.
fn lock(path: &Path, waits: impl FnOnce()) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waits();
            file.lock().map_err(|error| unusable(path, &error))?;
        }
        Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
    }
    Ok(file)
}

fn is_changed(was: &Metadata, now: &Metadata) -> bool {
    was.len() != now.len() || was.modified().ok() != now.modified().ok()
}

/// The SHA-256 of all that is read, in hexadecimal.
fn digest(mut from: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(text)
}

/// A file that tells what share of it was read.
struct Told<'a> {
    file: &'a mut File,
    read: u64,
    all: u64,
    told: &'a mut dyn FnMut(f32),
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let share = (self.read as f64 / self.all.max(1) as f64) as f32;
        (self.told)(share.min(1.0));
        Ok(read)
    }
}
