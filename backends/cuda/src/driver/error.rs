//! What the driver answers, in words.
//!
//! Next: `facts.rs`.

use std::ffi::CStr;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use gimbal_hal::DeviceError;

/// A call's answer with its code: `cuInit: CUDA_ERROR_NO_DEVICE (100), no CUDA-capable device is detected`,
/// and what would help, where that is known.
pub(crate) fn said(call: &str, error: DriverError) -> String {
    let text = |text: Result<&CStr, DriverError>| {
        text.map_or_else(|_| "unknown".to_owned(), |text| text.to_string_lossy().into_owned())
    };
    let (name, words) = (text(error.error_name()), text(error.error_string()));
    let help = help(error.0).map_or(String::new(), |help| format!("; {help}"));
    format!("{call}: {name} ({}), {words}{help}", error.0 as u32)
}

/// The device is not to be used any more.
pub(crate) fn lost(call: &str, error: DriverError) -> DeviceError {
    DeviceError::Lost { why: said(call, error) }
}

/// Source: CUDA driver API, `CUresult`.
const fn help(code: CUresult) -> Option<&'static str> {
    Some(match code {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            "a container needs the NVIDIA container toolkit (--gpus all), a process CUDA_VISIBLE_DEVICES \
             that names a device"
        }
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "the kernel's module and this library are of different drivers: load the module anew, or \
             start the machine again"
        }
        CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "a forward-compatibility library is on the loader's path, and this device does not take it: \
             remove it"
        }
        CUresult::CUDA_ERROR_SYSTEM_NOT_READY => "the fabric manager of this machine does not run",
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE => {
            "the device's memory failed: reset it, or replace the instance"
        }
        CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "another process has it for itself (compute mode), or it is being reset"
        }
        _ => return None,
    })
}
