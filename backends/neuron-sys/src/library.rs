//! Finds libnrt, checks that it has what must be there, and loads it.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use libloading::Library as Loaded;

use crate::functions::Functions;
use crate::status::Status;
use crate::types::Version;

/// The name that the loader knows it by.
pub const SONAME: &str = "libnrt.so.1";

/// Where the package `aws-neuronx-runtime-lib` has it; the loader's configuration does not always say so.
pub const VENDOR_PATH: &str = "/opt/aws/neuron/lib/libnrt.so.1";

/// The major version of the runtime whose ABI this is: `NRT_MAJOR_VERSION`.
pub const VERSION_MAJOR: u64 = 2;

/// A library that was loaded.
///
/// It stays loaded until the process ends: it has threads, and handles outlive every scope.
#[derive(Clone, Debug)]
pub struct Library {
    /// From where; the soname if the loader found it.
    pub path: PathBuf,
    /// What it can be asked.
    pub functions: Functions,
    /// Its version; the major one is [`VERSION_MAJOR`].
    pub version: Version,
}

/// Why no library was loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be loaded. No device is asked for: it is not there, or not a library of this machine.
    Load {
        /// Which.
        path: PathBuf,
        /// What the loader said.
        source: libloading::Error,
    },
    /// It lacks functions that every runtime of this version has.
    Symbols {
        /// Which.
        path: PathBuf,
        /// All that it lacks.
        missing: Vec<&'static str>,
    },
    /// It does not tell its version.
    Silent {
        /// Which.
        path: PathBuf,
        /// What it answered.
        status: Status,
    },
    /// Its version is another one.
    Version {
        /// Which.
        path: PathBuf,
        /// Its major version.
        major: u64,
    },
}

impl Library {
    /// Loads the library at `path`; without one [`VENDOR_PATH`] if there is such a file, else [`SONAME`].
    ///
    /// The library is not initialised: no core is taken, and no device is needed.
    ///
    /// # Safety
    /// The file's initialisers run, and its functions are called by the signatures of runtime 2: it is AWS's
    /// libnrt, or something that keeps the same contract.
    ///
    /// # Errors
    /// It is not there, lacks a required function, or has another major version.
    pub unsafe fn open(path: Option<&Path>) -> Result<Self, OpenError> {
        let vendor = Path::new(VENDOR_PATH);
        let by_default = if vendor.is_file() { vendor } else { Path::new(SONAME) };
        let path = path.unwrap_or(by_default).to_owned();
        // SAFETY: by this function's contract the file is libnrt, whose initialisers may run.
        let loaded = match unsafe { Loaded::new(&path) } {
            Ok(loaded) => loaded,
            Err(source) => return Err(OpenError::Load { path, source }),
        };
        let functions = match Functions::of(&loaded) {
            Ok(functions) => functions,
            Err(missing) => return Err(OpenError::Symbols { path, missing }),
        };
        // From the first call on: a library that has run may have threads and memory of its own, which must not
        // lose their code.
        std::mem::forget(loaded);
        let version = match ask(&functions) {
            Ok(version) => version,
            Err(status) => return Err(OpenError::Silent { path, status }),
        };
        if version.rt_major != VERSION_MAJOR {
            return Err(OpenError::Version { path, major: version.rt_major });
        }
        Ok(Self { path, functions, version })
    }
}

fn ask(functions: &Functions) -> Result<Version, Status> {
    let mut version = Version {
        rt_major: 0,
        rt_minor: 0,
        rt_patch: 0,
        rt_maintenance: 0,
        rt_detail: [0; 128],
        git_hash: [0; 64],
    };
    // SAFETY: the place is a structure of the length that is told, and may be written; the function may be
    // called in every state of the runtime.
    let status = unsafe { (functions.nrt_get_version)(&raw mut version, size_of::<Version>()) };
    match status {
        Status::SUCCESS => Ok(version),
        _ => Err(status),
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { path, source } => {
                write!(f, "{}: ", path.display())?;
                // The loader's own words are behind libloading's.
                match source.source() {
                    Some(why) => write!(f, "{why}"),
                    None => write!(f, "{source}"),
                }
            }
            Self::Symbols { path, missing } => write!(
                f,
                "{}: it lacks {}: a runtime of version {VERSION_MAJOR} is needed (package \
                 aws-neuronx-runtime-lib)",
                path.display(),
                missing.join(", ")
            ),
            Self::Silent { path, status } => {
                write!(f, "{}: nrt_get_version answered {status}", path.display())
            }
            Self::Version { path, major } => write!(
                f,
                "{}: runtime {major}, and {VERSION_MAJOR} is needed (package \
                 aws-neuronx-runtime-lib)",
                path.display()
            ),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Load { source, .. } => Some(source),
            _ => None,
        }
    }
}
