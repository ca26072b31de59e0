//! The file of packed weights: written whole or not at all, and believed only when it is what was
//! written.
//!
//! A writer has a name nobody else has, waits for the disk before the header is written, and again
//! before the file gets its name. A reader looks at the very file it maps: regular, of this user or the
//! system's, not writable by others; with the header and the checksum of all weights. Anything else is
//! made anew. Next: `store.rs`.
//!
//! **Layout**: 4 KiB of header (mark, length, checksum, name), then the weights. The file is mapped whole,
//! so it is the same for pages of any size; all numbers in it are of the packing in its name and little
//! endian, so it is the same for every processor whose kernels want that packing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use memmap2::{Advice, Mmap};
use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::cpu::Cpu;
use crate::memory::{Shared, ask_for_huge_pages};

/// The first bytes of a file; the number changes with the layout.
pub(crate) const MARK: &[u8; 8] = b"GIMBALP3";
/// Bytes before the first weight: as many on every machine, whatever its pages have.
pub(crate) const HEADER: usize = 4096;
/// Bytes of one call that writes, and of one part of the checksum.
const PIECE: usize = 8 << 20;
/// Pieces of the checksum that each thread reads in one turn: other models wait for no more.
const PIECES_A_TURN: usize = 4;
/// Pieces after which the disk is waited for: the last wait, which nothing interrupts, is then for no
/// more than these.
const SYNC: usize = 8;
/// Files that are kept in a folder; the ones used longest ago make room.
const FILES_MAX: usize = 16;
const SUFFIX: &str = "packed";

/// A file of packed weights.
#[derive(Debug)]
pub(crate) struct PackedFile {
    pub(crate) path: PathBuf,
    pub(crate) length: usize,
}

/// A checksum of all weights: SHA-256 of the CRC-32 of each piece. It finds what a crash or a disk
/// left; that nobody else wrote is seen by the file's owner.
pub(crate) type Sum = [u8; 32];

impl PackedFile {
    /// Maps the file, if it is there, ours and whole. Its weights are read once for it, by all threads:
    /// they are needed for the first token anyway.
    pub(crate) fn map(&self, cpu: &Cpu) -> io::Result<Mmap> {
        // A pipe of that name must not make anybody wait, and a link not lead elsewhere.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        check_owner(&file)?;
        let mut header = vec![0; HEADER];
        file.read_exact(&mut header)?;
        let map = map(&file)?;
        ask_for_huge_pages(map.advise(Advice::HugePage));
        if map.len() != self.length || !header.starts_with(&self.begin()) {
            return Err(io::Error::other("another file, or a part of one"));
        }
        if header != self.header(&self.sum(&map, cpu)) {
            return Err(io::Error::other("its content is not what was written"));
        }
        // For whoever makes room later; without the right to, it looks older than it is.
        file.set_modified(SystemTime::now()).ok();
        Ok(map)
    }

    fn begin(&self) -> Vec<u8> {
        [MARK.as_slice(), &(self.length as u64).to_le_bytes()].concat()
    }

    fn header(&self, sum: &Sum) -> Vec<u8> {
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut header = [&self.begin()[..], sum, name].concat();
        header.resize(HEADER, 0);
        header
    }

    /// The checksum of all weights of a whole file.
    pub(crate) fn sum(&self, bytes: &[u8], cpu: &Cpu) -> Sum {
        let weights = bytes.get(HEADER..).unwrap_or_default();
        let mut sums = vec![0_u32; weights.len().div_ceil(PIECE)];
        let count = sums.len();
        let out = Shared::new(&mut sums);
        let pieces = PIECES_A_TURN * cpu.pool.threads();
        for first in (0..count).step_by(pieces) {
            let _turn = cpu.turn();
            cpu.pool.run(pieces.min(count - first), &|i| {
                let piece = first + i;
                let end = weights.len().min((piece + 1) * PIECE);
                let sum = crc32fast::hash(&weights[piece * PIECE..end]);
                // SAFETY: each piece has its own place in `out`, which outlives the run.
                let place = unsafe { out.slice_mut(piece..piece + 1) };
                place[0] = sum;
            });
        }
        let mut hash = Sha256::new();
        sums.iter().for_each(|sum| hash.update(sum.to_le_bytes()));
        hash.finalize().into()
    }

    /// Writes the file under a name of its own, waits for the disk and gives it its name. Who sets
    /// `stop` meanwhile waits for 64 MiB at most, and nothing is left.
    pub(crate) fn write(&self, bytes: &[u8], sum: &Sum, stop: &AtomicBool) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        remove_abandoned(folder);
        make_room(folder, FILES_MAX - 1);
        let part = self.path.with_extension(format!("{:016x}.part", random()?));
        let written = self.write_part(bytes, sum, &part, stop);
        if written.is_err()
            && let Err(error) = fs::remove_file(&part)
        {
            debug!(path = %part.display(), %error, "cannot be removed");
        }
        written
    }

    fn write_part(
        &self,
        bytes: &[u8],
        sum: &Sum,
        part: &Path,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
        // Held as long as it is written: who can have it finds an abandoned file.
        flock(&file, FlockOperation::LockExclusive)?;
        file.seek(io::SeekFrom::Start(HEADER as u64))?;
        // Large pieces become large pages of the page cache.
        for (i, piece) in bytes[HEADER..].chunks(PIECE).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped before it was whole"));
            }
            file.write_all(piece)?;
            if i % SYNC == SYNC - 1 {
                file.sync_data()?;
            }
        }
        file.sync_all()?;
        file.write_all_at(&self.header(sum), 0)?;
        file.sync_all()?;
        fs::rename(part, &self.path)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

/// A file that is mapped must be one that nobody else can change or cut.
fn check_owner(file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&about.uid());
    if !is_ours || about.mode() & 0o022 != 0 {
        return Err(io::Error::other("others can write it"));
    }
    Ok(())
}

/// Removes files that were begun and are not written any more.
fn remove_abandoned(folder: &Path) {
    for path in files(folder, "part") {
        let is_abandoned = File::open(&path)
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if is_abandoned {
            let done = fs::remove_file(&path);
            debug!(path = %path.display(), ?done, "a file that was begun and not ended");
        }
    }
}

/// Leaves so many files, those used last. A file that is mapped lives on without its name.
fn make_room(folder: &Path, count: usize) {
    let used = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).ok();
    let mut files: Vec<_> = files(folder, SUFFIX).map(|path| (used(&path), path)).collect();
    files.sort();
    let excess = files.len().saturating_sub(count);
    for (_, path) in files.into_iter().take(excess) {
        let done = fs::remove_file(&path);
        debug!(path = %path.display(), ?done, "packed weights made room for newer ones");
    }
}

fn files(folder: &Path, extension: &'static str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(move |path| path.extension().is_some_and(|found| found == extension))
}

/// A name that nobody else has, in this container or another one.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: `Mmap::map` asks that the file is not changed while it is mapped. `check_owner` has seen
    // by this descriptor that only this user or the system can, and Gimbal never writes a file that
    // has its final name: a newer one takes the name and leaves the mapped one as it is. What the
    // user cuts himself ends the process with SIGBUS (SECURITY.md).
    unsafe { Mmap::map(file) }
}
