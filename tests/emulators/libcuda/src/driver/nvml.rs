//! What `libnvidia-ml.so.1` tells of the same devices: this library is loaded under that name, too, by a
//! link beside it, and then tells what its process has allocated.
//!
//! What an emulated device has not (heat, load) is told only if the machine's file says it. **Source**:
//! `nvml.h`.

use std::ffi::{CStr, c_char};

use super::border::{self, Out};
use super::machine::MARKER;
use super::state::{Driver, look};

/// An `nvmlReturn_t`.
type Answer = u32;

const SUCCESS: Answer = 0;
const UNINITIALIZED: Answer = 1;
const INVALID_ARGUMENT: Answer = 2;
const NOT_SUPPORTED: Answer = 3;
const INSUFFICIENT_SIZE: Answer = 7;
const DRIVER_NOT_LOADED: Answer = 9;

/// Handles of devices count from here.
const DEVICES: usize = 0x4e56_0000;

/// Answers when the library is in use, as often begun as not ended.
fn tell(work: impl FnOnce(&mut Driver) -> Result<(), Answer>) -> Answer {
    let outcome = look(|driver| match driver.monitors {
        0 => Err(UNINITIALIZED),
        _ => work(driver),
    });
    outcome.err().unwrap_or(SUCCESS)
}

fn put<T>(to: &Out<T>, value: T) -> Result<(), Answer> {
    to.put(value).map_err(|_| INVALID_ARGUMENT)
}

fn device(driver: &Driver, handle: usize) -> Result<usize, Answer> {
    let index = handle.checked_sub(DEVICES).filter(|index| *index < driver.devices.len());
    index.ok_or(INVALID_ARGUMENT)
}

fn write(text: &str, to: usize, room: u32) -> Result<(), Answer> {
    match usize::try_from(room) {
        Ok(_) if to == 0 => Err(INVALID_ARGUMENT),
        Ok(room) if text.len() < room => {
            border::write(to, &[text.as_bytes(), &[0]].concat());
            Ok(())
        }
        _ => Err(INSUFFICIENT_SIZE),
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlInit_v2() -> Answer {
    look(|driver| {
        if driver.devices.is_empty() {
            return DRIVER_NOT_LOADED;
        }
        driver.monitors += 1;
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlShutdown() -> Answer {
    tell(|driver| {
        driver.monitors -= 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlErrorString(answer: Answer) -> *const c_char {
    let text: &CStr = match answer {
        SUCCESS => c"The operation was successful",
        UNINITIALIZED => c"NVML was not first initialized with nvmlInit()",
        INVALID_ARGUMENT => c"A supplied argument is invalid",
        NOT_SUPPORTED => c"The requested operation is not available on target device",
        INSUFFICIENT_SIZE => c"An input argument is not large enough",
        DRIVER_NOT_LOADED => c"NVIDIA driver is not loaded",
        _ => c"An error that this library never answers",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlSystemGetDriverVersion(to: usize, room: u32) -> Answer {
    tell(|driver| {
        let version = driver.machine.driver;
        write(&format!("{MARKER}CUDA {}.{}", version / 1000, version % 1000 / 10), to, room)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) -> Answer {
    tell(|driver| put(&version, driver.machine.driver))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetCount_v2(count: Out<u32>) -> Answer {
    tell(|driver| put(&count, driver.machine.devices))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, handle: Out<usize>) -> Answer {
    tell(|driver| {
        let index = usize::try_from(index).ok().filter(|index| *index < driver.devices.len());
        put(&handle, DEVICES + index.ok_or(INVALID_ARGUMENT)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetName(handle: usize, to: usize, room: u32) -> Answer {
    tell(|driver| {
        device(driver, handle)?;
        write(&driver.machine.marked_name(), to, room)
    })
}

/// `GPU-` and the bytes that `cuDeviceGetUuid` tells.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetUUID(handle: usize, to: usize, room: u32) -> Answer {
    tell(|driver| {
        let uuid = driver.machine.uuid(device(driver, handle)?).ok_or(INVALID_ARGUMENT)?;
        let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        write(&format!("GPU-{}", parts.join("-")), to, room)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetCudaComputeCapability(
    handle: usize,
    major: Out<i32>,
    minor: Out<i32>,
) -> Answer {
    tell(|driver| {
        device(driver, handle)?;
        let sm = i32::try_from(driver.machine.sm).map_err(|_| INVALID_ARGUMENT)?;
        put(&major, sm / 10)?;
        put(&minor, sm % 10)
    })
}

/// Total, free and used bytes.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetMemoryInfo(handle: usize, to: Out<[u64; 3]>) -> Answer {
    tell(|driver| {
        let used = driver.machine.others + driver.devices[device(driver, handle)?].used;
        let total = driver.machine.memory;
        put(&to, [total, total - used, used])
    })
}

/// Percent of the time in which kernels ran, and in which memory was used.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetUtilizationRates(handle: usize, to: Out<[u32; 2]>) -> Answer {
    tell(|driver| {
        device(driver, handle)?;
        let busy = driver.machine.busy_percent.ok_or(NOT_SUPPORTED)?;
        put(&to, [busy; 2])
    })
}

/// Degrees Celsius of the one sensor there is.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetTemperature(
    handle: usize,
    sensor: u32,
    to: Out<u32>,
) -> Answer {
    tell(|driver| {
        device(driver, handle)?;
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        put(&to, driver.machine.celsius.ok_or(NOT_SUPPORTED)?)
    })
}

/// Errors of all of a device's memory: of those that it could not correct (kind 1), since whenever.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetTotalEccErrors(
    handle: usize,
    kind: u32,
    since: u32,
    to: Out<u64>,
) -> Answer {
    tell(|driver| {
        device(driver, handle)?;
        if kind > 1 || since > 1 {
            return Err(INVALID_ARGUMENT);
        }
        let errors = driver.machine.ecc_errors.ok_or(NOT_SUPPORTED)?;
        put(&to, if kind == 1 { errors } else { 0 })
    })
}
