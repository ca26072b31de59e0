//! What can be asked before there is a context: the library, devices and what they are.
//!
//! Next: `context`.

use super::border::{self, Out};
use super::code::{Code, INVALID_VALUE, NO_DEVICE};
use super::machine::{Limits, limits};
use super::state::{Driver, call, tell};

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuInit(flags: u32) -> Code {
    call("cuInit", |driver| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if driver.devices.is_empty() {
            return Err(NO_DEVICE);
        }
        driver.is_ready = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDriverGetVersion(version: Out<i32>) -> Code {
    call("cuDriverGetVersion", |driver| version.put(driver.machine.driver))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetCount(count: Out<i32>) -> Code {
    call("cuDeviceGetCount", |driver| count.put(i32::try_from(driver.devices.len()).unwrap_or(0)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGet(device: Out<i32>, ordinal: i32) -> Code {
    call("cuDeviceGet", |driver| {
        driver.ordinal(ordinal)?;
        device.put(ordinal)
    })
}

/// Writes a text that ends with a zero, cut to its room.
fn write(text: &str, to: usize, room: i32) -> Result<(), Code> {
    let room = usize::try_from(room).ok().filter(|room| *room > 0 && to != 0);
    let cut = text.len().min(room.ok_or(INVALID_VALUE)? - 1);
    border::write(to, &[&text.as_bytes()[..cut], &[0]].concat());
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetName(name: usize, room: i32, device: i32) -> Code {
    call("cuDeviceGetName", |driver| {
        driver.ordinal(device)?;
        write(&driver.machine.marked_name(), name, room)
    })
}

fn uuid(driver: &Driver, device: i32) -> Result<[u8; 16], Code> {
    driver.machine.uuid(driver.ordinal(device)?).ok_or(INVALID_VALUE)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetUuid(to: Out<[u8; 16]>, device: i32) -> Code {
    call("cuDeviceGetUuid", |driver| to.put(uuid(driver, device)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetUuid_v2(to: Out<[u8; 16]>, device: i32) -> Code {
    call("cuDeviceGetUuid_v2", |driver| to.put(uuid(driver, device)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) -> Code {
    call("cuDeviceTotalMem_v2", |driver| {
        driver.ordinal(device)?;
        bytes.put(usize::try_from(driver.machine.memory).map_err(|_| INVALID_VALUE)?)
    })
}

/// Where the first device stands on the bus; the others follow.
const BUS_FIRST: i32 = 0x10;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetPCIBusId(to: usize, room: i32, device: i32) -> Code {
    call("cuDeviceGetPCIBusId", |driver| {
        driver.ordinal(device)?;
        write(&format!("0000:{:02x}:00.0", BUS_FIRST + device), to, room)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetAttribute(
    value: Out<i32>,
    attribute: i32,
    device: i32,
) -> Code {
    call("cuDeviceGetAttribute", |driver| {
        driver.ordinal(device)?;
        let limits = limits(driver.machine.sm).ok_or(INVALID_VALUE)?;
        let found = attribute_of(driver, limits, attribute, device);
        if found.is_none() {
            tell(&format!("attribute {attribute} of a device is not known here"));
        }
        value.put(found.ok_or(INVALID_VALUE)?)
    })
}

/// **Source**: `cuda.h`, `CUdevice_attribute`; CUDA C++ Programming Guide, technical specifications.
fn attribute_of(driver: &Driver, limits: Limits, attribute: i32, device: i32) -> Option<i32> {
    let sm = i32::try_from(driver.machine.sm).ok()?;
    Some(match attribute {
        // Threads of a block, its extents, those of a grid.
        1 => 1024,
        2 | 3 => 1024,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65535,
        // Shared memory of a block that asks for no more; of one that does; of a multiprocessor; kept.
        8 => 48 << 10,
        97 => limits.shared_block,
        81 => limits.shared,
        111 => limits.shared_kept,
        // Constant memory, lanes of a warp, registers of a block and of a multiprocessor.
        9 => 64 << 10,
        10 => 32,
        12 | 82 => 64 << 10,
        16 => driver.machine.multiprocessors,
        39 => limits.threads,
        106 => limits.blocks,
        // No time limit, not integrated, no mapped memory of the host, any process may use it.
        17..=20 => 0,
        31 => 1,
        33 => BUS_FIRST + device,
        34 | 50 => 0,
        // One address space; no managed memory; no cooperative launch.
        41 => 1,
        83 | 95 => 0,
        75 => sm / 10,
        76 => sm % 10,
        // Pools came with CUDA 11.2.
        115 => i32::from(driver.machine.driver >= 11020),
        _ => return None,
    })
}

/// Kernels reach their own device's memory only, so peers are never reached; copies between devices work.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) -> Code {
    call("cuDeviceCanAccessPeer", |driver| {
        driver.ordinal(device)?;
        driver.ordinal(peer)?;
        can.put(0)
    })
}
