//! Reads the container of a NEFF as a runtime does, and takes the emulator's program out of it.
//!
//! Written apart from the product's reader, so that both must agree on the format. Next: `storage.rs`.

use std::io::Read;

use flate2::read::GzDecoder;
use md5::Md5;
use neuron_sys::Status;
use sha2::{Digest, Sha256};
use tar::Archive;

use crate::refusal::{Answer, refuse};

/// Where a NEFF of the emulator has its HLO module. A NEFF for a chip has none, and what a chip needs a NEFF of
/// the emulator has not: neither can be taken for the other.
pub const MODULE: &str = "emu/module.hlo.pb";

/// Bytes of the header.
const HEADER: usize = 1024;
/// The newest major version that is read.
const MAJOR_MAX: u64 = 2;
/// Bits of features that a runtime does not know.
///
/// **Source**: public notes on libnrt 2.31's loader.
const FEATURES_UNKNOWN: u64 = 0x7FFF_FFFF_F800_0000;
/// Bytes of a module at most: what is said to be packed is not unpacked without end.
const MODULE_MAX: u64 = 1 << 30;

/// What a runtime takes of a NEFF.
pub(crate) struct Neff {
    /// Physical cores of a logical one, for which it was compiled.
    pub(crate) lnc: u32,
    /// Logical cores that it wants.
    pub(crate) cores: u32,
    /// The HLO module.
    pub(crate) module: Vec<u8>,
    /// The bytes that were verified, as a digest: ranks of one program have the same.
    pub(crate) digest: [u8; 32],
}

impl Neff {
    /// Checks and takes apart.
    pub(crate) fn read(bytes: &[u8]) -> Answer<Self> {
        let Some((header, data)) = bytes.split_at_checked(HEADER) else {
            return refuse(Status::INVALID, "a NEFF shorter than its header");
        };
        let package = word(header, 0x00);
        if word(header, 0x08) != HEADER as u64 {
            return refuse(Status::INVALID, "the NEFF's header is not of 1024 bytes");
        }
        if word(header, 0x10) != data.len() as u64 {
            let (said, there) = (word(header, 0x10), data.len());
            return refuse(
                Status::INVALID,
                format!("the NEFF says {said} bytes of data, and there are {there}"),
            );
        }
        if word(header, 0x18) > MAJOR_MAX {
            return refuse(Status::UNSUPPORTED_NEFF_VERSION, "a NEFF of a newer version");
        }
        let unknown = word(header, 0x220) & FEATURES_UNKNOWN;
        if unknown != 0 {
            return refuse(
                Status::UNSUPPORTED_NEFF_VERSION,
                format!("a NEFF with unknown features {unknown:#x}"),
            );
        }
        let hash = &header[0xAC..0xCC];
        let is_whole = match package {
            1 => Sha256::digest(data)[..] == *hash,
            2 => Md5::digest(data)[..] == hash[..16],
            _ => {
                return refuse(
                    Status::UNSUPPORTED_NEFF_VERSION,
                    format!("a NEFF of package version {package}"),
                );
            }
        };
        if !is_whole {
            return refuse(Status::INVALID, "the NEFF's digest is not that of its data");
        }
        let module = match package {
            1 => module(data),
            _ => module(GzDecoder::new(data)),
        };
        let Some(module) = module else {
            return refuse(
                Status::UNSUPPORTED_NEFF_VERSION,
                format!("a NEFF without {MODULE}: it was not made for the emulator"),
            );
        };
        Ok(Self {
            lnc: half(header, 0x228),
            cores: half(header, 0x1DC),
            module,
            digest: Sha256::digest(bytes).into(),
        })
    }
}

/// The module in an archive.
fn module(archive: impl Read) -> Option<Vec<u8>> {
    let mut archive = Archive::new(archive);
    for entry in archive.entries().ok()? {
        let entry = entry.ok()?;
        if entry.path_bytes().as_ref() == MODULE.as_bytes() {
            let mut bytes = Vec::new();
            entry.take(MODULE_MAX).read_to_end(&mut bytes).ok()?;
            return Some(bytes);
        }
    }
    None
}

fn word(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

fn half(header: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}
