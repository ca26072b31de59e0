//! The library that is installed: what it says of itself, and what it says of its machine.
//!
//! Next: `library.rs`.

use std::path::{Path, PathBuf};

use neuron_sys::{Family, InstanceInfo, Library};

use super::error::{RuntimeError, check};
use super::library::{EMULATOR, Runtime, text};
use crate::probe::Chip;

/// A library that was loaded, and not initialised: no core is taken, and no device needed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, major and minor.
    pub version: [u64; 2],
    /// No hardware is behind it: nothing that runs on it may be called verified.
    pub is_emulated: bool,
}

impl Installed {
    /// Loads the library; `path` is the setting `libnrt`.
    ///
    /// # Errors
    /// It is not there, or another one than is known.
    pub fn find(path: Option<&Path>) -> Result<Self, RuntimeError> {
        // SAFETY: the file is AWS's libnrt, or what a person has set in its place.
        Ok(Self::of(&unsafe { Library::open(path) }?))
    }

    pub(super) fn of(library: &Library) -> Self {
        Self {
            path: library.path.clone(),
            version: [library.version.rt_major, library.version.rt_minor],
            is_emulated: text(&library.version.rt_detail).starts_with(EMULATOR),
        }
    }
}

impl Runtime {
    /// The chip of the machine; none if the runtime does not tell, or tells one that is not known.
    ///
    /// # Errors
    /// What the runtime answered.
    pub fn chip(&self) -> Result<Option<Chip>, RuntimeError> {
        let Some(call) = self.functions().nrt_get_instance_info else { return Ok(None) };
        let mut info = InstanceInfo {
            family: Family::UNKNOWN,
            size: neuron_sys::InstanceSize::UNKNOWN,
            arch_name: [0; 16],
            device_revision: [0; 8],
        };
        // SAFETY: the place is a structure of the length that is told, and may be written.
        let status = unsafe { call(&raw mut info, size_of::<InstanceInfo>()) };
        check("nrt_get_instance_info", status, || "the machine".to_owned())?;
        Ok(match info.family {
            Family::INF2 => Some(Chip::Inf2),
            Family::TRN1 | Family::TRN1N => Some(Chip::Trn1),
            Family::TRN2 | Family::TRN2N => Some(Chip::Trn2),
            _ => None,
        })
    }
}
