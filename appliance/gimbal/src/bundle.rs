//! What `cargo xtask dist` appends to the binary: ONNX Runtime, licences, the bill of materials.
//!
//! The binary is followed by the files, an index in JSON, the index' length as u64 (little endian)
//! and a mark. A plain `cargo build` has none of it. A library is extracted once into a folder that
//! only this user can write (`folder.rs`), and compared with the appended copy at every start; where nothing is
//! writable it is loaded from memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gimbal_text::random;
use serde_json::Value;
use tracing::debug;

use crate::failure::Failure;
use crate::folder::{Folder, user_folders};

/// The last bytes of a binary with a bundle.
const MARK: &[u8; 8] = b"GIMBALv1";
/// Longest index that is read.
const INDEX_BYTES_MAX: u64 = 1 << 20;
/// The library's name in the bundle.
const LIBRARY: &str = "libonnxruntime.so";
/// Bytes compared at a time.
const CHUNK: usize = 1 << 20;

/// The files appended to a binary.
#[derive(Debug)]
pub(crate) struct Bundle {
    binary: PathBuf,
    entries: Vec<Entry>,
}

/// One appended file.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    offset: u64,
    bytes: u64,
    sha256: String,
}

impl Bundle {
    /// The bundle of this process's binary; `None` where it has none.
    pub(crate) fn of_this_binary() -> Option<Self> {
        // Without /proc only the way it was called tells where it is.
        let called = || std::env::args_os().next().map(PathBuf::from).filter(|p| p.is_absolute());
        Self::read_index(&std::env::current_exe().ok().or_else(called)?)
    }

    fn read_index(binary: &Path) -> Option<Self> {
        let mut file = File::open(binary).ok()?;
        let end = file.seek(SeekFrom::End(-16)).ok()?;
        let mut tail = [0; 16];
        file.read_exact(&mut tail).ok()?;
        let (length, mark) = tail.split_at(8);
        let length = u64::from_le_bytes(length.try_into().ok()?);
        if mark != MARK || length > INDEX_BYTES_MAX {
            return None;
        }
        let start = end.checked_sub(length)?;
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut index = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut index).ok()?;
        let index: Value = serde_json::from_slice(&index).ok()?;
        let entry = |entry: &Value| {
            let entry = Entry {
                name: entry["name"].as_str()?.to_owned(),
                offset: entry["offset"].as_u64()?,
                bytes: entry["bytes"].as_u64()?,
                sha256: entry["sha256"].as_str()?.to_owned(),
            };
            (entry.offset.checked_add(entry.bytes)? <= start).then_some(entry)
        };
        let entries = index["files"].as_array()?.iter().map(entry).collect::<Option<_>>()?;
        Some(Self { binary: binary.to_owned(), entries })
    }

    /// The bytes of a file; `None` where there is no such file.
    pub(crate) fn file(&self, name: &str) -> Option<io::Result<Vec<u8>>> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        let read = || {
            let mut bytes = Vec::new();
            self.open(entry)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Some(read())
    }

    fn open(&self, entry: &Entry) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.binary)?;
        file.seek(SeekFrom::Start(entry.offset))?;
        Ok(file.take(entry.bytes))
    }

    /// A path from which ONNX Runtime can be loaded; `None` where it is not in the bundle.
    pub(crate) fn library(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == LIBRARY) else {
            return Ok(None);
        };
        let mut tried = Vec::new();
        for folder in folders() {
            match self.extract(entry, &folder) {
                Ok(path) => return Ok(Some(path)),
                Err(error) => tried.push(format!("{}: {error}", folder.display())),
            }
        }
        debug!(?tried, "no folder for the library; it is loaded from memory");
        let in_memory = self.in_memory(entry).map(Some);
        in_memory.map_err(|error| {
            let tried = tried.join("; ");
            Failure::unavailable(format!(
                "cannot extract ONNX Runtime ({tried}; from memory: {error}); make one of these \
                 writable, or set --onnxruntime to a library on disk"
            ))
        })
    }

    /// The library in a folder of its own hash, written if it is not there or not the same. The path
    /// leads to the very file that was compared, whatever becomes of its name.
    fn extract(&self, entry: &Entry, cache: &Path) -> io::Result<PathBuf> {
        let short = entry.sha256.get(..16).unwrap_or(&entry.sha256);
        let folder = Folder::open(cache, &["gimbal", short])?;
        let mut file = folder.read(LIBRARY);
        if !file.as_ref().is_ok_and(|file| self.is_same(entry, file)) {
            let part = format!("{LIBRARY}.{:016x}", random());
            let written = folder.create(&part).and_then(|mut file| {
                io::copy(&mut self.open(entry)?, &mut file)?;
                file.flush()?;
                folder.rename(&part, LIBRARY)
            });
            if written.is_err() {
                folder.remove(&part).ok();
            }
            written?;
            file = folder.read(LIBRARY);
        }
        let file = file?;
        if !self.is_same(entry, &file) {
            return Err(io::Error::other("the library changed while it was written"));
        }
        held(file).or_else(|_| Ok(cache.join("gimbal").join(short).join(LIBRARY)))
    }

    /// True if a file has exactly the bytes of an entry.
    fn is_same(&self, entry: &Entry, file: &File) -> bool {
        self.open(entry).is_ok_and(|appended| same(appended, file))
    }

    /// The library as a file without a name, which lives as long as the process.
    fn in_memory(&self, entry: &Entry) -> io::Result<PathBuf> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::memfd_create(LIBRARY, flags)?);
        io::copy(&mut self.open(entry)?, &mut file)?;
        held(file)
    }
}

/// A path to an open file that holds as long as the process. Fails where nothing is mounted at /proc.
fn held(file: File) -> io::Result<PathBuf> {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    fs::metadata(&path)?;
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    Ok(path)
}

/// Where a cache may be, the best first.
fn folders() -> impl Iterator<Item = PathBuf> {
    let shared = [PathBuf::from("/var/cache"), std::env::temp_dir()];
    user_folders().chain(shared)
}

/// True if a file has exactly these bytes.
fn same(mut appended: impl Read, mut file: &File) -> bool {
    if file.rewind().is_err() {
        return false;
    }
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let Ok(n) = appended.read(&mut ours) else { return false };
        if n == 0 {
            return matches!(file.read(&mut theirs), Ok(0));
        }
        if file.read_exact(&mut theirs[..n]).is_err() || ours[..n] != theirs[..n] {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use serde_json::json;

    /// A file with a bundle of one library, in a folder of its own.
    fn bundled(name: &str, library: &[u8]) -> (PathBuf, PathBuf) {
        let folder =
            std::env::temp_dir().join(format!("gimbal-bundle-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let binary = folder.join("binary");
        let mut bytes = b"the program".to_vec();
        let offset = bytes.len();
        bytes.extend(library);
        let index = json!({"files": [{
            "name": LIBRARY, "offset": offset, "bytes": library.len(), "sha256": "0123456789abcdef01",
        }]});
        let index = index.to_string();
        bytes.extend(index.as_bytes());
        bytes.extend((index.len() as u64).to_le_bytes());
        bytes.extend(MARK);
        fs::write(&binary, bytes).expect("a file");
        (folder, binary)
    }

    #[test]
    fn a_library_is_extracted_once_and_mended() {
        let library: Vec<u8> = (0..=250).cycle().take(3 * CHUNK / 2).collect();
        let (folder, binary) = bundled("once", &library);
        let bundle = Bundle::read_index(&binary).expect("a bundle");
        let entry = bundle.entries[0].clone();
        let path = bundle.extract(&entry, &folder).expect("extracted");
        assert_eq!(fs::read(&path).expect("a file"), library);
        let first = fs::metadata(&path).expect("a file").ino();
        let again = bundle.extract(&entry, &folder).expect("there");
        assert_eq!(fs::metadata(&again).expect("a file").ino(), first, "written once");
        let path = folder.join("gimbal/0123456789abcdef").join(LIBRARY);
        for broken in [&library[..library.len() - 1], &[&library[..], b"x"].concat(), b""] {
            fs::write(&path, broken).expect("written");
            bundle.extract(&entry, &folder).expect("mended");
            assert_eq!(fs::read(&path).expect("a file"), library);
        }
        assert_eq!(bundle.file(LIBRARY).expect("there").expect("read"), library);
        assert!(bundle.file("nothing").is_none());
        let memory = bundle.in_memory(&entry).expect("memory");
        assert_eq!(fs::read(memory).expect("a file"), library);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, binary) = bundled("others", b"library");
        let bundle = Bundle::read_index(&binary).expect("a bundle");
        let open = folder.join("gimbal/0123456789abcdef");
        fs::create_dir_all(&open).expect("a folder");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("changed");
        let error = bundle.extract(&bundle.entries[0].clone(), &folder).expect_err("refused");
        assert_eq!(error.to_string(), "others can write there");
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn files_without_a_whole_bundle_have_none() {
        let (folder, binary) = bundled("cut", b"library");
        let bytes = fs::read(&binary).expect("a file");
        for length in 0..bytes.len() {
            fs::write(&binary, &bytes[..length]).expect("written");
            assert!(Bundle::read_index(&binary).is_none(), "{length}");
        }
        let mut bytes = bytes;
        let at = bytes.len() - 16;
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(&binary, &bytes).expect("written");
        assert!(Bundle::read_index(&binary).is_none());
        fs::remove_dir_all(folder).expect("removed");
    }
}
