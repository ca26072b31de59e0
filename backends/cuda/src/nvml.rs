//! How devices are, by NVIDIA's management library: memory, load, heat, errors. No context is made for it.
//!
//! Loaded once a process, beside the library of the setting `libcuda` or by the loader; where it is missing
//! nothing is told. A function that a driver lacks costs its own figure only. Next: `platform.rs`.
//!
//! **Source**: `nvml.h`.

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::sync::OnceLock;

use gimbal_hal::{DeviceId, Reading};
use libloading::{Library, Symbol};

use crate::probe::NAME;

/// The name that the loader knows it by.
const SONAME: &str = "libnvidia-ml.so.1";
/// `NVML_SUCCESS`.
const SUCCESS: u32 = 0;
/// `NVML_TEMPERATURE_GPU`.
const SENSOR: u32 = 0;
/// `NVML_MEMORY_ERROR_TYPE_UNCORRECTED`, `NVML_VOLATILE_ECC`: since the driver was loaded.
const ERRORS: [u32; 2] = [1, 0];
/// Room for a name, with the zero at its end (`NVML_DEVICE_UUID_V2_BUFFER_SIZE`).
const NAME_BYTES: u32 = 96;
/// Most devices that are asked.
const DEVICES_MAX: u32 = 256;

type Handle = *mut c_void;
type Answer = u32;

/// The library, begun; it is never ended.
struct Nvml(Library);

/// What was found when somebody asked first.
static LOADED: OnceLock<Option<Nvml>> = OnceLock::new();

/// Every device that the library knows; empty where there is none. `set` is the setting `libcuda`.
pub(crate) fn readings(set: Option<&Path>) -> Vec<Reading> {
    let Some(nvml) = LOADED.get_or_init(|| Nvml::load(set)) else { return Vec::new() };
    (0..nvml.count()).filter_map(|index| nvml.reading(index)).collect()
}

impl Nvml {
    fn load(set: Option<&Path>) -> Option<Self> {
        let beside = set.map(|path| path.with_file_name(SONAME)).filter(|path| path.is_file());
        let library = match beside {
            Some(path) => open(&path)?,
            None => open(Path::new(SONAME))?,
        };
        let nvml = Self(library);
        let init = nvml.function::<unsafe extern "C" fn() -> Answer>("nvmlInit_v2")?;
        // SAFETY: it takes nothing, and may be called once more than it was ended.
        let begun = unsafe { init() } == SUCCESS;
        begun.then_some(nvml)
    }

    /// A function; `None` where this driver has none of that name.
    fn function<T>(&self, name: &str) -> Option<Symbol<'_, T>> {
        // SAFETY: each caller names a function of `nvml.h` with the type that it has there.
        unsafe { self.0.get::<T>(name.as_bytes()) }.ok()
    }

    fn count(&self) -> u32 {
        type Count = unsafe extern "C" fn(*mut u32) -> Answer;
        let mut count = 0;
        let answer = self.function::<Count>("nvmlDeviceGetCount_v2").map(|ask| {
            // SAFETY: there is room for the number.
            unsafe { ask(&raw mut count) }
        });
        if answer == Some(SUCCESS) { count.min(DEVICES_MAX) } else { 0 }
    }

    fn reading(&self, index: u32) -> Option<Reading> {
        let device = self.device(index)?;
        let memory: Option<[u64; 3]> = self.figure("nvmlDeviceGetMemoryInfo", device);
        let rates: Option<[u32; 2]> = self.figure("nvmlDeviceGetUtilizationRates", device);
        Some(Reading {
            device: DeviceId::new(NAME, &self.uuid(device)?),
            // Total, free, used.
            memory_used_bytes: memory.map(|[_, _, used]| used),
            memory_total_bytes: memory.map(|[total, ..]| total),
            load: rates.map(|[percent, _]| f64::from(percent.min(100)) / 100.0),
            temperature: self.temperature(device).map(f64::from),
            errors: self.errors(device),
        })
    }

    fn device(&self, index: u32) -> Option<Handle> {
        type ByIndex = unsafe extern "C" fn(u32, *mut Handle) -> Answer;
        let ask = self.function::<ByIndex>("nvmlDeviceGetHandleByIndex_v2")?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: there is room for the handle.
        let answer = unsafe { ask(index, &raw mut handle) };
        (answer == SUCCESS).then_some(handle)
    }

    /// As `cuDeviceGetUuid` has it: `GPU-` and 32 digits.
    fn uuid(&self, device: Handle) -> Option<String> {
        type Uuid = unsafe extern "C" fn(Handle, *mut c_char, u32) -> Answer;
        let ask = self.function::<Uuid>("nvmlDeviceGetUUID")?;
        let mut room = [0_u8; NAME_BYTES as usize];
        // SAFETY: the handle is the library's own, and there is as much room as is said.
        let answer = unsafe { ask(device, room.as_mut_ptr().cast(), NAME_BYTES) };
        let text = CStr::from_bytes_until_nul(&room).ok().filter(|_| answer == SUCCESS)?;
        text.to_str().ok().map(str::to_owned)
    }

    /// A function that fills plain numbers for a device; `None` where it is missing or does not tell.
    fn figure<T: Default>(&self, name: &str, device: Handle) -> Option<T> {
        type Figure<T> = unsafe extern "C" fn(Handle, *mut T) -> Answer;
        let ask = self.function::<Figure<T>>(name)?;
        let mut figure = T::default();
        // SAFETY: the handle is the library's own, and each caller has room of the function's type.
        let answer = unsafe { ask(device, &raw mut figure) };
        (answer == SUCCESS).then_some(figure)
    }

    fn temperature(&self, device: Handle) -> Option<u32> {
        type Temperature = unsafe extern "C" fn(Handle, u32, *mut u32) -> Answer;
        let ask = self.function::<Temperature>("nvmlDeviceGetTemperature")?;
        let mut celsius = 0;
        // SAFETY: the handle is the library's own, and there is room for the number.
        let answer = unsafe { ask(device, SENSOR, &raw mut celsius) };
        (answer == SUCCESS).then_some(celsius)
    }

    fn errors(&self, device: Handle) -> Option<u64> {
        type Errors = unsafe extern "C" fn(Handle, u32, u32, *mut u64) -> Answer;
        let ask = self.function::<Errors>("nvmlDeviceGetTotalEccErrors")?;
        let (mut count, [kind, since]) = (0, ERRORS);
        // SAFETY: the handle is the library's own, and there is room for the number.
        let answer = unsafe { ask(device, kind, since, &raw mut count) };
        (answer == SUCCESS).then_some(count)
    }
}

fn open(path: &Path) -> Option<Library> {
    // SAFETY: loading runs the library's initialisers; it is NVIDIA's, or lies beside what a person has set
    // in libcuda's place.
    unsafe { Library::new(path) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_nothing_is_told() {
        // Neither beside it nor, on a machine without a driver, anywhere else.
        let nvml = Nvml::load(Some(Path::new("/nowhere/libcuda.so.1")));
        let is_here = open(Path::new(SONAME)).is_some();
        assert!(is_here || nvml.is_none());
    }
}
