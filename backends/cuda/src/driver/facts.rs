//! What a device is, without a context on it.
//!
//! Next: `device.rs`.

use cudarc::driver::{DriverError, result, sys};

/// What the driver tells of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its name; an emulated one's begins with EMULATED.
    pub(crate) name: String,
    /// `GPU-`, or `MIG-` of a part of one, and 32 digits: stable over restarts.
    pub(crate) uuid: String,
    /// Compute capability.
    pub(crate) capability: [u32; 2],
    /// Memory it has, in bytes.
    pub(crate) memory_bytes: u64,
    /// Multiprocessors.
    pub(crate) multiprocessors: u32,
    /// CUDA version of the driver.
    pub(crate) driver: [u32; 2],
}

/// How many devices there are.
///
/// # Errors
/// The driver's code.
pub(super) fn count() -> Result<u16, DriverError> {
    result::device::get_count().map(|count| u16::try_from(count).unwrap_or(0))
}

/// What device `ordinal` is.
///
/// # Errors
/// The driver's code.
pub(crate) fn facts(ordinal: u16) -> Result<Facts, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(ordinal.into())?;
    let attribute = |which: Attribute| {
        // SAFETY: the device was found.
        let value = unsafe { result::device::get_attribute(device, which) }?;
        Ok::<u32, DriverError>(value.unsigned_abs())
    };
    // SAFETY: the device was found.
    let memory = unsafe { result::device::total_mem(device) }?;
    let name = result::device::get_name(device)?;
    Ok(Facts {
        uuid: uuid(device, &name)?,
        name,
        capability: [
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ],
        memory_bytes: memory as u64,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        driver: driver()?,
    })
}

/// As `nvidia-smi -L` has it. A `char` of C has a sign on some processors. of a part of a GPU (MIG) its own, not the GPU's.
fn uuid(device: sys::CUdevice, name: &str) -> Result<String, DriverError> {
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    // SAFETY: there is room for the bytes; the device was found.
    unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, device) }.result()?;
    Ok(uuid_text(name.contains(" MIG "), uuid))
}

fn uuid_text(is_part: bool, uuid: sys::CUuuid) -> String {
    let mut text = if is_part { "MIG-" } else { "GPU-" }.to_owned();
    for (i, byte) in uuid.bytes.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        text += &format!("{:02x}", byte.to_ne_bytes()[0]);
    }
    text
}

/// The CUDA version that the driver has; it may be asked before `init`.
///
/// # Errors
/// The driver's code.
pub(super) fn driver() -> Result<[u32; 2], DriverError> {
    let mut version = 0;
    // SAFETY: the number is written before the call returns.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    let version = u32::try_from(version).unwrap_or(0);
    Ok([version / 1000, version % 1000 / 10])
}
