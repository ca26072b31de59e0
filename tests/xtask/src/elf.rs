//! Headers of ELF files of 64 bits, little endian: the processor, and how segments are aligned.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Bytes of a file's header, and of a segment's.
const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// `p_type` of a segment that is loaded.
const LOAD: u64 = 1;
/// `e_machine`, by Rust's names.
const MACHINES: [(u64, &str); 2] = [(62, "x86_64"), (183, "aarch64")];

/// What a file's header says.
pub(crate) struct Header {
    /// The processor, by its name in Rust.
    pub(crate) arch: &'static str,
    segments: u64,
    first: u64,
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// It is no such file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut bytes = [0; HEADER];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
        read.with_context(|| path.display().to_string())?;
        Self::parse(&bytes).with_context(|| path.display().to_string())
    }

    fn parse(bytes: &[u8; HEADER]) -> anyhow::Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "no ELF file of 64 bits, little endian");
        let machine = number(bytes, 18, 2);
        let Some((_, arch)) = MACHINES.iter().find(|(known, _)| *known == machine) else {
            bail!("for machine {machine} of ELF");
        };
        ensure!(number(bytes, 54, 2) == SEGMENT as u64, "segments of another size");
        Ok(Self { arch, segments: number(bytes, 56, 2), first: number(bytes, 32, 8) })
    }

    /// The least alignment of what is loaded.
    ///
    /// # Errors
    /// Nothing is, or the file cannot be read.
    pub(crate) fn align_min(&self, path: &Path) -> anyhow::Result<u64> {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        file.seek(SeekFrom::Start(self.first))?;
        let mut aligns = Vec::new();
        for _ in 0..self.segments {
            let mut segment = [0; SEGMENT];
            file.read_exact(&mut segment)?;
            if number(&segment, 0, 4) == LOAD {
                aligns.push(number(&segment, 48, 8));
            }
        }
        aligns.into_iter().min().with_context(|| format!("{} loads nothing", path.display()))
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_for_this_processor_and_its_pages() {
        let own = std::env::current_exe().expect("this test");
        let header = Header::read(&own).expect("an ELF file");
        assert_eq!(header.arch, std::env::consts::ARCH);
        let align = header.align_min(&own).expect("it is loaded");
        assert!(align >= 4096 && align.is_power_of_two(), "{align}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Header::read(Path::new(file!())).is_err());
        let mut bytes = [0; HEADER];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[54] = 56;
        for (machine, arch) in [(62, Some("x86_64")), (183, Some("aarch64")), (243, None)] {
            bytes[18] = machine;
            assert_eq!(Header::parse(&bytes).ok().map(|header| header.arch), arch);
        }
    }
}
