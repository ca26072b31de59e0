//! Cubins: their machine code is not run here. What runs instead is the PTX of which a cubin was
//! assembled, found by the cubin's hash in a manifest that the machine's file names.
//!
//! So that shows what the driver does with a cubin (whether it fits the device, what it is refused with),
//! and nothing about what an assembler made of the PTX. Next: `module`.
//!
//! **Source**: of the file's form, ELF-64 and what ptxas 11.8, 12.9 and 13.5 write (NVIDIA documents
//! neither flags nor versions); of what fits, NVIDIA Ada GPU Architecture Compatibility Guide, 1.2.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::border;
use super::code::{Code, INVALID_IMAGE, NO_BINARY_FOR_GPU};
use super::machine::Machine;
use crate::Module;

/// How a cubin begins.
pub(super) const OPENING: [u8; 4] = *b"\x7fELF";
/// Bytes of the header, of an entry of the table of segments, and of one of sections.
const SIZES: [usize; 3] = [64, 56, 64];
/// The most bytes that a cubin may have here: what is larger is no cubin.
const BYTES_MAX: usize = 64 << 20;
/// `EM_CUDA`.
const MACHINE: u16 = 190;

/// What a cubin's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// The architecture: `86` is 8.6.
    sm: u32,
    /// Bytes of the whole file.
    bytes: usize,
}

impl Header {
    fn read(header: &[u8; SIZES[0]]) -> Result<Self, String> {
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if header[4..7] != [2, 1, 1] {
            return Err("no ELF file of 64 bits, little-endian, version 1".to_owned());
        }
        if half(18) != MACHINE {
            return Err(format!("an ELF file for machine {}, not {MACHINE}", half(18)));
        }
        // The assemblers of CUDA 11 write the version 7, with the architecture in the lowest byte of the
        // flags; those of 12.9 and 13.5 for new architectures 8, with it in the byte above.
        let sm = match header[8] {
            7 => word(48) & 0xff,
            8 => word(48) >> 8 & 0xff,
            other => return Err(format!("a cubin of ABI version {other}: 7 and 8 are known")),
        };
        if [half(52), half(54), half(58)].map(usize::from) != SIZES {
            return Err("a cubin with a header or tables of unknown sizes".to_owned());
        }
        // Both tables are at the end, one of them last.
        let end = |start: u64, count: u16, size: usize| {
            usize::try_from(start).ok()?.checked_add(usize::from(count) * size)
        };
        let ends = [end(long(32), half(56), SIZES[1]), end(long(40), half(60), SIZES[2])];
        let bytes = match ends {
            [Some(segments), Some(sections)] => segments.max(sections),
            _ => usize::MAX,
        };
        if bytes > BYTES_MAX {
            return Err(format!("a cubin of more than {BYTES_MAX} bytes"));
        }
        Ok(Self { sm, bytes: bytes.max(SIZES[0]) })
    }

    /// Whether a device of that capability runs it.
    fn fits(self, device: u32) -> bool {
        self.sm / 10 == device / 10 && self.sm % 10 <= device % 10
    }
}

/// What a manifest says of PTX files and of the cubins that were made of them; the rest is for people.
#[derive(Deserialize)]
struct Manifest {
    ptx: BTreeMap<String, String>,
    cubins: BTreeMap<String, Made>,
}

/// How a cubin was made.
#[derive(Deserialize)]
struct Made {
    sha256: String,
    ptx: String,
}

/// The module that a cubin was assembled of, and the cubin's architecture.
pub(super) fn read(machine: &Machine, image: usize) -> Result<(Module, u32), (Code, String)> {
    let invalid = |what| (INVALID_IMAGE, what);
    let none = |what| (NO_BINARY_FOR_GPU, what);
    let header: [u8; SIZES[0]] =
        border::read(image, SIZES[0]).try_into().map_err(|_| invalid("no header".to_owned()))?;
    let header = Header::read(&header).map_err(invalid)?;
    if !header.fits(machine.sm) {
        let what = format!("a cubin for sm_{} on a device of sm_{}", header.sm, machine.sm);
        return Err(none(what));
    }
    let hash = hash(&border::read(image, header.bytes));
    let Some(manifest) = &machine.cubins else {
        return Err(none(format!(
            "a cubin (SHA-256 {hash}): machine code is not run here, and the machine's file has no \
             `cubins` that tells of which PTX it was made"
        )));
    };
    let text = find(manifest, &hash).map_err(|what| none(format!("a cubin: {what}")))?;
    let module = Module::parse(&text).map_err(|error| none(error.to_string()))?;
    Ok((module, header.sm))
}

/// The PTX beside a manifest of which a cubin was made.
fn find(manifest: &Path, cubin: &str) -> Result<String, String> {
    let place = manifest.display();
    let told = |error: &dyn std::fmt::Display| format!("cubins = {place}: {error}");
    let text = fs::read_to_string(manifest).map_err(|error| told(&error))?;
    let known: Manifest = toml::from_str(&text).map_err(|error| told(&error))?;
    let made = known.cubins.values().find(|made| made.sha256 == cubin);
    let made = made.ok_or_else(|| told(&format!("none has the SHA-256 {cubin}")))?;
    let path = manifest.with_file_name(&made.ptx);
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    if known.ptx.get(&made.ptx) != Some(&hash(text.as_bytes())) {
        return Err(told(&format!("{} is not the one that the cubin was made of", made.ptx)));
    }
    Ok(text)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ptxas writes them, with the tables' places cut short.
    fn header(abi: u8, flags: u32) -> [u8; SIZES[0]] {
        let mut header = [0; SIZES[0]];
        header[..9].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0x33, abi]);
        header[18] = 190;
        header[32..34].copy_from_slice(&[0, 3]);
        header[40..42].copy_from_slice(&[0, 2]);
        header[48..52].copy_from_slice(&flags.to_le_bytes());
        for (at, value) in [(52, 64), (54, 56), (56, 4), (58, 64), (60, 4)] {
            header[at] = value;
        }
        header
    }

    #[test]
    fn both_layouts_of_flags_are_read() {
        let cases = [
            // Of 11.8: sm_75, sm_90; of 12.9: sm_100, sm_120.
            (7, 0x004b_054b, 75),
            (7, 0x0050_055a, 90),
            (8, 0x0600_6402, 100),
            (8, 0x0600_7802, 120),
        ];
        for (abi, flags, sm) in cases {
            let expect = Header { sm, bytes: 0x300 + 4 * 56 };
            assert_eq!(Header::read(&header(abi, flags)), Ok(expect), "{abi} {flags:#x}");
        }
    }

    #[test]
    fn what_is_no_cubin_is_told() {
        let cases: [(usize, u8, &str); 7] = [
            (4, 1, "64 bits"),
            (5, 2, "little-endian"),
            (18, 62, "machine 62"),
            (8, 6, "ABI version 6"),
            (54, 32, "unknown sizes"),
            (37, 1, "more than"),
            (47, 0xff, "more than"),
        ];
        for (at, byte, expect) in cases {
            let mut wrong = header(7, 0x0050_0550);
            wrong[at] = byte;
            let told = Header::read(&wrong).expect_err(expect);
            assert!(told.contains(expect), "{at}: {told}");
        }
    }

    #[test]
    fn a_cubin_runs_on_its_major_and_no_lower_minor() {
        let fits = |sm, device| Header { sm, bytes: 0 }.fits(device);
        for (sm, device) in [(75, 75), (80, 80), (80, 89), (86, 89), (100, 103), (120, 120)] {
            assert!(fits(sm, device), "{sm} on {device}");
        }
        for (sm, device) in [(86, 80), (89, 86), (80, 90), (75, 80), (100, 120), (103, 100)] {
            assert!(!fits(sm, device), "{sm} on {device}");
        }
    }
}
