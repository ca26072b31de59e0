//! The container of a compiled program: reads and writes NEFF files, and checks all of their headers that is
//! known.
//!
//! What is in the archive for a chip is not interpreted. Next: `hlo/mod.rs`.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use md5::Md5;
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType};

/// Bytes of the header.
///
/// **Source**: of this and of all offsets below, AWS Neuron's `neuron-runtime/explore/work-with-neff-files` and
/// public notes on libnrt 2.31. There is no magic number.
pub const HEADER_BYTES: usize = 1024;

/// The newest major version that runtime 2 reads.
const MAJOR_MAX: u64 = 2;
/// Features that runtime 2 does not know, and refuses.
const FEATURES_UNKNOWN: u64 = 0x7FFF_FFFF_F800_0000;
/// Files of an archive at most: a program has some dozens a core.
const FILES_MAX: usize = 65_536;

/// How the data is packed, and by what digest it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// A plain archive, SHA-256 (package version 1).
    Plain,
    /// An archive packed by gzip, MD5 of the packed bytes (package version 2).
    Gzip,
}

/// What a NEFF says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the data is packed.
    pub package: Package,
    /// Version of the format: major and minor.
    pub version: [u64; 2],
    /// The compiler's version, as it wrote it.
    pub compiler: String,
    /// Physical cores of the program.
    pub cores: u32,
    /// An id that the compiler drew.
    pub uuid: [u8; 16],
    /// The program's name.
    pub name: String,
    /// Logical cores that a load takes.
    pub cores_wanted: u32,
    /// Features that a runtime must know, a bit each.
    pub features: u64,
    /// Physical cores of a logical one, for which it was compiled: 1 or 2.
    pub lnc: u32,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, without `..` and not absolute.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Why a file is no NEFF that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field}: {why}; {remedy}")]
pub struct NeffError {
    /// Which file.
    pub file: String,
    /// Which field, and where it is.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub remedy: Remedy,
}

/// What makes a NEFF that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Bytes are missing or were changed.
    CopyAgain,
    /// The compiler and the runtime are of different times.
    MatchVersions,
    /// It is something else.
    CompileAgain,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CopyAgain => "copy it again from where it was compiled",
            Self::MatchVersions => {
                "compile with the compiler of the Neuron SDK whose runtime is installed, or update \
                 the runtime (aws-neuronx-runtime-lib)"
            }
            Self::CompileAgain => "compile it again with neuronx-cc",
        })
    }
}

/// Fields by name and offset.
mod field {
    pub(super) const PACKAGE: &str = "package version (byte 0)";
    pub(super) const HEADER: &str = "header size (byte 8)";
    pub(super) const DATA: &str = "data size (byte 16)";
    pub(super) const VERSION: &str = "version (byte 24)";
    pub(super) const COMPILER: &str = "compiler's version (byte 40)";
    pub(super) const CORES: &str = "cores (byte 168)";
    pub(super) const DIGEST: &str = "digest (byte 172)";
    pub(super) const NAME: &str = "name (byte 220)";
    pub(super) const WANTED: &str = "cores of a load (byte 476)";
    pub(super) const FEATURES: &str = "features (byte 544)";
    pub(super) const LNC: &str = "physical cores of a logical core (byte 552)";
    pub(super) const ARCHIVE: &str = "archive (byte 1024)";
}

/// Checks a NEFF's header and digest; `file` is its name in errors. Nothing is unpacked.
///
/// # Errors
/// The first field that is not as a runtime wants it.
pub fn verify(file: &str, bytes: &[u8]) -> Result<Header, NeffError> {
    let refuse =
        |field, remedy, why: String| NeffError { file: file.to_owned(), field, why, remedy };
    let Some((header, data)) = bytes.split_at_checked(HEADER_BYTES) else {
        let why =
            format!("the file has {} bytes, and its header alone {HEADER_BYTES}", bytes.len());
        return Err(refuse(field::HEADER, Remedy::CopyAgain, why));
    };
    let package = match word(header, 0x00) {
        1 => Package::Plain,
        2 => Package::Gzip,
        other => {
            let why = format!("{other} is not 1 or 2: this is no NEFF, or one of a newer compiler");
            return Err(refuse(field::PACKAGE, Remedy::CompileAgain, why));
        }
    };
    let size = word(header, 0x08);
    if size != HEADER_BYTES as u64 {
        let why = format!("{size} bytes, not {HEADER_BYTES}: this is no NEFF");
        return Err(refuse(field::HEADER, Remedy::CompileAgain, why));
    }
    let said = word(header, 0x10);
    if said != data.len() as u64 {
        let why = format!("it says {said} bytes, and there are {}", data.len());
        return Err(refuse(field::DATA, Remedy::CopyAgain, why));
    }
    let version = [word(header, 0x18), word(header, 0x20)];
    if version[0] > MAJOR_MAX {
        let why = format!("{}.{} is newer than {MAJOR_MAX}", version[0], version[1]);
        return Err(refuse(field::VERSION, Remedy::MatchVersions, why));
    }
    if header[0xAC..0xCC] != digest(package, data) {
        let why = "it is not that of the data".to_owned();
        return Err(refuse(field::DIGEST, Remedy::CopyAgain, why));
    }
    let features = word(header, 0x220);
    if features & FEATURES_UNKNOWN != 0 {
        let why = format!("{:#x} are not known to runtime 2", features & FEATURES_UNKNOWN);
        return Err(refuse(field::FEATURES, Remedy::MatchVersions, why));
    }
    let [cores, cores_wanted, lnc] = [0xA8, 0x1DC, 0x228].map(|at| half(header, at));
    for (field, count) in [(field::CORES, cores), (field::WANTED, cores_wanted)] {
        if count == 0 {
            return Err(refuse(field, Remedy::CompileAgain, "0 cores".to_owned()));
        }
    }
    if !(1..=2).contains(&lnc) {
        return Err(refuse(field::LNC, Remedy::MatchVersions, format!("{lnc}, not 1 or 2")));
    }
    let text = |field, range: std::ops::Range<usize>| {
        text(&header[range]).map_err(|why| refuse(field, Remedy::CompileAgain, why.to_owned()))
    };
    Ok(Header {
        package,
        version,
        compiler: text(field::COMPILER, 0x28..0xA8)?,
        cores,
        uuid: std::array::from_fn(|i| header[0xCC + i]),
        name: text(field::NAME, 0xDC..0x1DC)?,
        cores_wanted,
        features,
        lnc,
    })
}

/// Checks a NEFF and unpacks its archive, of no more than `unpacked_max` bytes.
///
/// # Errors
/// As [`verify`], and an archive that cannot be read, that has anything but files, or is too large.
pub fn unpack(
    file: &str,
    bytes: &[u8],
    unpacked_max: u64,
) -> Result<(Header, Vec<File>), NeffError> {
    let header = verify(file, bytes)?;
    let data = &bytes[HEADER_BYTES..];
    let files = match header.package {
        Package::Plain => files(data, unpacked_max),
        Package::Gzip => files(GzDecoder::new(data), unpacked_max),
    };
    let refuse = |why| NeffError {
        file: file.to_owned(),
        field: field::ARCHIVE,
        why,
        remedy: Remedy::CompileAgain,
    };
    Ok((header, files.map_err(refuse)?))
}

/// Writes a NEFF. The same header and files make the same bytes.
///
/// # Errors
/// A text of the header or a path is longer than its field, or a field is none that [`verify`] takes.
pub fn pack(header: &Header, files: &[File]) -> io::Result<Vec<u8>> {
    let data = match header.package {
        Package::Plain => archive(Vec::new(), files)?,
        Package::Gzip => {
            archive(GzEncoder::new(Vec::new(), Compression::fast()), files)?.finish()?
        }
    };
    let mut bytes = vec![0; HEADER_BYTES];
    let package: u64 = match header.package {
        Package::Plain => 1,
        Package::Gzip => 2,
    };
    let [major, minor] = header.version;
    let words = [package, HEADER_BYTES as u64, data.len() as u64, major, minor];
    for (room, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *room = word.to_le_bytes();
    }
    let texts = [(0x28..0xA8, &header.compiler), (0xDC..0x1DC, &header.name)];
    for (range, text) in texts {
        // A zero must end it.
        if text.len() >= range.len() || text.contains('\0') {
            return Err(io::Error::other(format!("{text:?} does not fit {} bytes", range.len())));
        }
        bytes[range.start..range.start + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes[0xAC..0xCC].copy_from_slice(&digest(header.package, &data));
    bytes[0xCC..0xDC].copy_from_slice(&header.uuid);
    let halves = [(0xA8, header.cores), (0x1DC, header.cores_wanted), (0x228, header.lnc)];
    for (at, half) in halves {
        bytes[at..at + 4].copy_from_slice(&half.to_le_bytes());
    }
    bytes[0x220..0x228].copy_from_slice(&header.features.to_le_bytes());
    bytes.extend(data);
    match verify("what was written", &bytes) {
        Ok(read) if read == *header => Ok(bytes),
        Ok(_) => Err(io::Error::other("what was written reads as something else")),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// 32 bytes: SHA-256, or MD5 with zeros of ASCII behind it.
fn digest(package: Package, data: &[u8]) -> [u8; 32] {
    match package {
        Package::Plain => Sha256::digest(data).into(),
        Package::Gzip => {
            let md5 = Md5::digest(data);
            std::array::from_fn(|i| md5.get(i).copied().unwrap_or(b'0'))
        }
    }
}

fn files(data: impl Read, unpacked_max: u64) -> Result<Vec<File>, String> {
    let said = |error: io::Error| error.to_string();
    // One more than allowed, so that what is too large is told from what fits.
    let mut archive = Archive::new(data.take(unpacked_max.saturating_add(1)));
    let (mut files, mut paths, mut unpacked) = (Vec::new(), BTreeSet::new(), 0_u64);
    for entry in archive.entries().map_err(said)? {
        let entry = entry.map_err(said)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous => {}
            other => return Err(format!("{path:?} is no file ({other:?})")),
        }
        let plain = path.strip_prefix("./").unwrap_or(&path);
        if plain.is_empty() || plain.split('/').any(|part| ["", ".", ".."].contains(&part)) {
            return Err(format!("{path:?} is no path within it"));
        }
        if !paths.insert(plain.to_owned()) {
            return Err(format!("{plain:?} is there twice"));
        }
        unpacked = unpacked.saturating_add(entry.size());
        if unpacked > unpacked_max || files.len() >= FILES_MAX {
            return Err(format!("more than {unpacked_max} bytes or {FILES_MAX} files"));
        }
        let (size, mut bytes) = (entry.size(), Vec::new());
        let mut limited = entry.take(size);
        limited.read_to_end(&mut bytes).map_err(said)?;
        if bytes.len() as u64 != size {
            return Err(format!("{plain:?} has {} bytes of {size}", bytes.len()));
        }
        files.push(File { path: plain.to_owned(), bytes });
    }
    Ok(files)
}

fn archive<W: Write>(to: W, files: &[File]) -> io::Result<W> {
    let mut builder = Builder::new(to);
    for file in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        builder.append_data(&mut header, &file.path, file.bytes.as_slice())?;
    }
    builder.into_inner()
}

/// A text that ends with a zero, in room that it does not fill.
fn text(room: &[u8]) -> Result<String, &'static str> {
    let end = room.iter().position(|byte| *byte == 0).ok_or("no zero ends it")?;
    let text = std::str::from_utf8(&room[..end]).map_err(|_| "it is not UTF-8")?;
    Ok(text.to_owned())
}

fn word(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

fn half(header: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}
