//! ELF files of 64 bits, little endian: the processor, how segments are aligned, and what a library
//! exports.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Bytes of a file's header, and of a segment's.
const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// `p_type` of a segment that is loaded.
const LOAD: u64 = 1;
/// Bytes of a section's header, and of a symbol.
const SECTION: usize = 64;
const SYMBOL: usize = 24;
/// `sh_type` of the symbols that the loader sees.
const DYNSYM: u64 = 11;
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

/// Names of what a shared library defines for others.
///
/// # Errors
/// It is no such file, or its tables end beyond it.
pub(crate) fn exports(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    Header::read(path)?;
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    defined(&bytes).with_context(|| format!("{} has no table of symbols", path.display()))
}

fn defined(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let place = |bytes: &[u8], at| usize::try_from(number(bytes, at, 8)).ok();
    let sections = bytes.get(place(bytes, 40)?..)?.as_chunks::<SECTION>().0;
    let count = usize::try_from(number(bytes, 60, 2)).ok()?;
    let symbols = sections.iter().take(count).find(|section| number(*section, 4, 4) == DYNSYM)?;
    let names = sections.get(usize::try_from(number(symbols, 40, 4)).ok()?)?;
    let content = |section: &[u8]| {
        let (from, length) = (place(section, 24)?, place(section, 32)?);
        bytes.get(from..from.checked_add(length)?)
    };
    let (symbols, names) = (content(symbols)?, content(names)?);
    // Section 0 is none: the library itself needs that symbol.
    let own = symbols.as_chunks::<SYMBOL>().0.iter().filter(|symbol| number(*symbol, 6, 2) != 0);
    own.map(|symbol| {
        let name = names.get(usize::try_from(number(symbol, 0, 4)).ok()?..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&name[..end]).into_owned())
    })
    .collect()
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

    /// A file of one section of symbols and one of names.
    fn library(symbols: &[(u32, u16)], names: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + 2 * SECTION];
        let mut put =
            |at: usize, number: usize| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        put(40, HEADER);
        put(60, 2);
        let table = HEADER + 2 * SECTION;
        put(HEADER + 4, 11);
        put(HEADER + 24, table);
        put(HEADER + 32, SYMBOL * symbols.len());
        put(HEADER + 40, 1);
        put(HEADER + SECTION + 24, table + SYMBOL * symbols.len());
        put(HEADER + SECTION + 32, names.len());
        for (name, section) in symbols {
            bytes.extend(name.to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(section.to_le_bytes());
            bytes.extend([0; 16]);
        }
        bytes.extend(names);
        bytes
    }

    #[test]
    fn what_is_defined_is_exported() {
        let names = b"\0cuInit\0printf\0cuExit\0";
        let whole = library(&[(1, 7), (8, 0), (15, 9)], names);
        let found = defined(&whole).expect("a table");
        assert_eq!(found, ["cuExit", "cuInit"].map(str::to_owned).into());
        assert_eq!(defined(&whole[..whole.len() - 1]), None, "names that end beyond the file");
        assert_eq!(defined(&library(&[(99, 7)], names)), None, "a name beyond its table");
        assert_eq!(defined(&[0; HEADER]), None, "no sections");
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
