//! A process's runtime: loaded, initialised, and closed when nobody uses it any more.
//!
//! Next: `tensor.rs`.

use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

use neuron_sys::{Framework, Functions, Library, MemoryStats, Status};

use super::error::{RuntimeError, check};

/// How an emulated runtime's detail begins.
pub(super) const EMULATOR: &str = "EMULATOR";

/// The runtime, which has this process's cores until it is dropped. A process opens it once: libnrt cannot be opened
/// again after it was closed.
#[derive(Debug)]
pub struct Runtime {
    library: Library,
    cores: u32,
}

impl Runtime {
    /// Loads the library (`path` is the setting `libnrt`) and takes the visible cores. This takes seconds on a
    /// device.
    ///
    /// # Errors
    /// There is no library, it cannot be used, there is no device, or others have its cores.
    pub fn open(path: Option<&Path>) -> Result<Arc<Self>, RuntimeError> {
        // SAFETY: the file is AWS's libnrt, or what a person has set in its place.
        let library = unsafe { Library::open(path) }?;
        let empty = c"".as_ptr();
        let call = library.functions.nrt_init;
        // SAFETY: both texts end with a zero and live during the call.
        let status = unsafe { call(Framework::NO_FRAMEWORK, empty, empty) };
        check("nrt_init", status, || library.path.display().to_string())?;
        let mut runtime = Self { library, cores: 0 };
        let call = runtime.library.functions.nrt_get_visible_vnc_count;
        // SAFETY: the place is a number of this function's.
        let status = unsafe { call(&raw mut runtime.cores) };
        check("nrt_get_visible_vnc_count", status, || "cores of this process".to_owned())?;
        Ok(Arc::new(runtime))
    }

    /// Where the library is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.library.path
    }

    /// Its version, major and minor.
    #[must_use]
    pub fn version(&self) -> [u64; 2] {
        [self.library.version.rt_major, self.library.version.rt_minor]
    }

    /// What the library says of its build.
    #[must_use]
    pub fn detail(&self) -> String {
        text(&self.library.version.rt_detail)
    }

    /// No hardware is behind it: nothing that runs on it may be called verified.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.detail().starts_with(EMULATOR)
    }

    /// Logical cores of this process.
    #[must_use]
    pub const fn cores(&self) -> u32 {
        self.cores
    }

    /// Bytes of a core's memory that are in use, and bytes there are; none if the runtime does not tell.
    ///
    /// # Errors
    /// There is no such core.
    pub fn memory(&self, core: u32) -> Result<Option<(u64, u64)>, RuntimeError> {
        let Some(call) = self.library.functions.nrt_get_vnc_memory_stats else { return Ok(None) };
        let (mut stats, mut written) = (MemoryStats::default(), 0);
        let bytes = size_of::<MemoryStats>();
        // SAFETY: both places are this function's, and the length is the structure's.
        let status = unsafe { call(core, &raw mut stats, bytes, &raw mut written) };
        check("nrt_get_vnc_memory_stats", status, || format!("core {core}"))?;
        // An older runtime may know a shorter structure.
        Ok((written >= bytes).then_some((stats.bytes_used as u64, stats.bytes_limit as u64)))
    }

    /// What can be called.
    pub(super) const fn functions(&self) -> &Functions {
        &self.library.functions
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let call = self.library.functions.nrt_close;
        // SAFETY: the runtime was initialised, and everything that was made of it kept it: all is gone.
        unsafe { call() };
    }
}

/// A text of C in a field that it need not fill.
pub(super) fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> =
        field.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A pointer that the library must have set.
pub(super) fn given<T>(
    call: &'static str,
    handle: *mut T,
    about: impl FnOnce() -> String,
) -> Result<std::ptr::NonNull<T>, RuntimeError> {
    std::ptr::NonNull::new(handle).ok_or_else(|| RuntimeError::Told {
        call,
        about: about(),
        told: "success and no handle".to_owned(),
    })
}

/// A text for C; none if it has a zero in it.
pub(super) fn spelled(call: &'static str, name: &str) -> Result<std::ffi::CString, RuntimeError> {
    std::ffi::CString::new(name).map_err(|_| RuntimeError::Call {
        call,
        about: format!("name {name:?} with a zero in it"),
        status: Status::INVALID,
    })
}
