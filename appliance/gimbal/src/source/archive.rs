//! What of an archive is written: files, folders, and links that stay inside.
//!
//! Whoever packed it may be anybody. A member that is absolute, climbs out, goes through a link, is
//! there twice or is a device is refused by its name, and nothing of the archive is taken. Every member
//! lies below real folders, and a link climbs only at its beginning, from such a folder: so what a link
//! leads to can be told from its text. Modes, owners and times are not taken. Next: `kept.rs`.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use gimbal_model::printable;
use tar::{Archive, Entry, EntryType};

use crate::failure::Failure;

/// Members: a model has some dozens of files, one of many shards some hundreds.
const MEMBERS_MAX: usize = 100_000;
/// Bytes of a member's path, and its parts.
const PATH_MAX: (usize, usize) = (1024, 32);
/// Bytes between two members: headers with long names, and what ends an archive.
const BETWEEN_BYTES_MAX: u64 = 1 << 20;
/// Unpacked bytes for each packed one. Weights hardly shrink, JSON to a tenth; gzip reaches 1,000.
const RATIO_MAX: u64 = 100;
/// Unpacked bytes that any archive may have.
const SMALL_BYTES: u64 = 64 << 20;
/// Bytes that are read and written at a time.
const CHUNK: usize = 1 << 20;

/// What an archive may take.
#[derive(Debug)]
pub(super) struct Limits {
    /// Bytes of all its files.
    pub(super) bytes_max: u64,
    /// Bytes that are free where a folder lies.
    pub(super) free: fn(&Path) -> io::Result<u64>,
    /// Brings a file to the disk: a model that was renamed into its place must be whole after a loss of
    /// power, too.
    pub(super) sync: fn(&File) -> io::Result<()>,
}

impl Limits {
    /// Those of an archive of that many bytes.
    pub(super) fn of(packed_bytes: u64) -> Self {
        let bytes_max = packed_bytes.saturating_mul(RATIO_MAX).saturating_add(SMALL_BYTES);
        Self { bytes_max, free, sync: File::sync_data }
    }
}

/// Unpacks a compressed archive into an empty folder; what was written before an error stays there.
///
/// # Errors
/// A member that is refused, an archive that is damaged or too large, or no room.
pub(super) fn unpack(packed: impl Read, into: &Path, limits: &Limits) -> Result<(), Failure> {
    let left = Rc::new(Cell::new(BETWEEN_BYTES_MAX));
    let packed = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, packed));
    let metered = Metered { inner: packed, left: Rc::clone(&left) };
    let mut archive = Archive::new(metered);
    let (mut members, mut bytes) = (0_usize, 0_u64);
    let entries = archive.entries().map_err(|error| damaged(&error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        members += 1;
        if members > MEMBERS_MAX {
            return Err(Failure::no_input(format!("more than {MEMBERS_MAX} members")));
        }
        // What is said counts, so that a hole in a file is as large as it will be.
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes_max {
            let name = printable(&String::from_utf8_lossy(&entry.path_bytes())).into_owned();
            return Err(Failure::no_input(format!(
                "{name}: with it the archive has {bytes} bytes, and unpacked it may have {} ({RATIO_MAX} \
                 times its size and 64 MiB); unpack it yourself and name the folder",
                limits.bytes_max
            )));
        }
        left.set(entry.size().saturating_add(BETWEEN_BYTES_MAX));
        place(&mut entry, into, limits)?;
        left.set(BETWEEN_BYTES_MAX);
    }
    // What follows has the checksum.
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map(drop).map_err(|error| damaged(&error))
}

/// Gives an error of reading a sentence.
fn damaged(error: &io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    Failure::no_input(format!("no whole tar.gz ({why}); copy or pack it again"))
}

fn place(entry: &mut Entry<'_, impl Read>, into: &Path, limits: &Limits) -> Result<(), Failure> {
    let said = entry.path_bytes().into_owned();
    let name = printable(&String::from_utf8_lossy(&said)).into_owned();
    let refused = |why: &str| Failure::no_input(format!("member {name}: {why}"));
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let path = inside(&said).map_err(refused)?;
    let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    let (folder, last) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(last)) => (folder, last),
        // The folder itself, as `tar -C folder .` has it.
        _ if kind == EntryType::Directory => return Ok(()),
        _ => return Err(refused("it has no name")),
    };
    // The oldest archives tell a folder by its end.
    let is_folder = kind == EntryType::Directory
        || (matches!(kind, EntryType::Regular) && said.ends_with(b"/"));
    if is_folder {
        return folders(into, &path).map(drop).map_err(|error| unwritten(&error, &name, into));
    }
    let folder = folders(into, folder).map_err(|error| unwritten(&error, &name, into))?;
    let to = folder.join(last);
    let made = match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            return write(entry, &to, (&name, into), limits);
        }
        EntryType::Symlink => {
            let depth = path.components().count() - 1;
            if !stays(&link, depth) {
                return Err(refused("it is a link that leaves the archive's folder"));
            }
            symlink(OsStr::from_bytes(&link), &to)
        }
        EntryType::Link => {
            let target = inside(&link).map_err(|why| refused(&format!("its link: {why}")))?;
            // A member before it, below real folders too.
            let parent = folders(into, target.parent().unwrap_or(Path::new("")));
            let parent = parent.map_err(|error| unwritten(&error, &name, into))?;
            let target = parent.join(target.file_name().unwrap_or_default());
            if !target.symlink_metadata().is_ok_and(|about| about.is_file()) {
                return Err(refused("it is a link to no file of the archive"));
            }
            fs::hard_link(target, &to)
        }
        EntryType::Char | EntryType::Block => return Err(refused("it is a device")),
        EntryType::Fifo => return Err(refused("it is a pipe")),
        other => {
            let kind = char::from(other.as_byte()).escape_default();
            return Err(refused(&format!("its kind '{kind}' is none of a file, folder or link")));
        }
    };
    made.map_err(|error| unwritten(&error, &name, into))
}

/// A path below the folder, or why it is none.
fn inside(said: &[u8]) -> Result<PathBuf, &'static str> {
    let (bytes_max, parts_max) = PATH_MAX;
    if said.len() > bytes_max {
        return Err("its path has more than 1024 bytes");
    }
    let mut path = PathBuf::new();
    let mut parts = 0;
    for part in Path::new(OsStr::from_bytes(said)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => continue,
            Component::ParentDir => return Err("its path leaves the archive's folder (..)"),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute"),
        }
        parts += 1;
    }
    if parts > parts_max {
        return Err("its path has more than 32 parts");
    }
    Ok(path)
}

/// True for a link's text that leads nowhere outside, from a folder that is `depth` below.
///
/// It climbs at its beginning only: behind a name that is itself a link `..` would mean something else.
fn stays(target: &[u8], depth: usize) -> bool {
    let parts = Path::new(OsStr::from_bytes(target)).components();
    let (mut climbed, mut is_down) = (0, false);
    for part in parts {
        match part {
            Component::ParentDir if !is_down => climbed += 1,
            Component::Normal(_) => is_down = true,
            Component::CurDir => {}
            _ => return false,
        }
    }
    is_down && climbed <= depth
}

/// Makes real folders below `into`, as far as they are not there.
fn folders(into: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut at = into.to_owned();
    for part in path.components() {
        at.push(part);
        match at.symlink_metadata() {
            Ok(about) if about.is_dir() => {}
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir(&at)?,
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

fn write(
    entry: &mut Entry<'_, impl Read>,
    to: &Path,
    (name, into): (&str, &Path),
    limits: &Limits,
) -> Result<(), Failure> {
    let failed = |error: io::Error| unwritten(&error, name, into);
    let size = entry.size();
    let free = (limits.free)(into).map_err(failed)?;
    if free < size {
        return Err(Failure::unavailable(format!(
            "{name} has {size} bytes, and {free} are free in {}; {REMEDY}",
            into.display()
        )));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(to).map_err(failed)?;
    let written = copy(entry, &mut file, failed)?;
    if written != size {
        return Err(damaged(&ErrorKind::UnexpectedEof.into()));
    }
    (limits.sync)(&file).map_err(failed)
}

fn copy(
    from: &mut impl Read,
    to: &mut File,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut chunk = vec![0; CHUNK];
    let mut written = 0;
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(&error)),
        };
        to.write_all(&chunk[..read]).map_err(&failed)?;
        written += read as u64;
    }
}

/// What makes room.
pub(super) const REMEDY: &str = "free some, or set XDG_CACHE_HOME to a folder with more";

/// Gives an error of writing a sentence: it is the member's, or the disk's.
fn unwritten(error: &io::Error, name: &str, into: &Path) -> Failure {
    let into = into.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::unavailable(format!("{name}: the disk of {into} is full; {REMEDY}"))
        }
        ErrorKind::AlreadyExists => {
            Failure::no_input(format!("member {name}: another one has its path"))
        }
        ErrorKind::NotADirectory => Failure::no_input(format!(
            "member {name}: its path goes through a member that is no folder"
        )),
        // Of the name: too long, or with a zero in it.
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            Failure::no_input(format!("member {name}: {error}"))
        }
        _ => Failure::unavailable(format!("{name} cannot be written in {into}: {error}")),
    }
}

/// Bytes that are free where a folder lies.
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(folder)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// A stream of which only so many bytes may be read before somebody says that more may be.
///
/// Names and other headers are kept in memory while they are read: a few packed bytes could become
/// gigabytes there.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.get().checked_sub(read as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("more than 1 MiB that belongs to no file")),
        }
        Ok(read)
    }
}
