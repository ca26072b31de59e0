//! Memory of devices, and memory of the host that does not move.
//!
//! An allocation is there at once, in whatever stream it was asked for; it goes when its stream gets to
//! that. Next: `copies`.

use std::collections::btree_map::Entry;
use std::sync::atomic::AtomicU64;

use super::border::Out;
use super::code::{
    CAPTURE_UNSUPPORTED, Code, HOST_MEMORY_ALREADY_REGISTERED, HOST_MEMORY_NOT_REGISTERED,
    INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY,
};
use super::state::{Driver, Pinned, call, tell};
use super::work::Op;

/// Flags of `cuMemHostAlloc` that change nothing here: portable, write-combined.
const FLAGS_ALLOC: u32 = 1 | 4;
/// Flags of `cuMemHostRegister` that change nothing here: portable, read-only.
const FLAGS_REGISTER: u32 = 1 | 8;

fn allocate(driver: &mut Driver, device: usize, bytes: usize) -> Result<u64, Code> {
    let memory = driver.machine.memory - driver.machine.others;
    let device = &mut driver.devices[device];
    let used = device.used.checked_add(bytes as u64).filter(|used| *used <= memory);
    let used = used.ok_or(OUT_OF_MEMORY)?;
    let address = device.memory.allocate(bytes).ok_or(OUT_OF_MEMORY)?;
    device.used = used;
    device.peak = device.peak.max(used);
    Ok(address)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Code {
    call("cuMemAlloc_v2", |driver| {
        let device = driver.current()?;
        driver.refuse_in_capture()?;
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        address.put(allocate(driver, device, bytes)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: usize) -> Code {
    call("cuMemAllocAsync", |driver| {
        let key = driver.stream(stream)?;
        if driver.is_capturing(key) {
            tell("memory that is allocated in a capture is not known here");
            driver.refuse_captured(key)?;
            return Err(CAPTURE_UNSUPPORTED);
        }
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        let device = driver.streams.get(&key).map_or(0, |stream| stream.device);
        let found = match allocate(driver, device, bytes) {
            // What is to be freed may be enough.
            Err(OUT_OF_MEMORY) => {
                driver.finish_device(device)?;
                allocate(driver, device, bytes)
            }
            found => found,
        };
        address.put(found?)
    })
}

/// Waits for the whole device, as a driver does.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFree_v2(address: u64) -> Code {
    call("cuMemFree_v2", |driver| {
        driver.current()?;
        if address == 0 {
            return Ok(());
        }
        driver.refuse_in_capture()?;
        let device = driver.owner(address, 0)?;
        driver.finish_device(device)?;
        if driver.free(address) { Ok(()) } else { Err(INVALID_VALUE) }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFreeAsync(address: u64, stream: usize) -> Code {
    call("cuMemFreeAsync", |driver| {
        let key = driver.stream(stream)?;
        if address == 0 {
            return Ok(());
        }
        driver.owner(address, 0)?;
        driver.enqueue(key, Op::Free(address), Vec::new()).map(drop)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Code {
    call("cuMemGetInfo_v2", |driver| {
        let device = driver.current()?;
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| INVALID_VALUE);
        let used = driver.machine.others + driver.devices[device].used;
        free.put(size(driver.machine.memory - used)?)?;
        total.put(size(driver.machine.memory)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemGetAddressRange_v2(
    start: Out<u64>,
    bytes: Out<usize>,
    address: u64,
) -> Code {
    call("cuMemGetAddressRange_v2", |driver| {
        driver.current()?;
        let device = driver.owner(address, 1)?;
        let found = driver.devices[device].memory.allocation(address).ok_or(INVALID_VALUE)?;
        start.put_if_asked(found.0);
        bytes.put_if_asked(found.1);
        Ok(())
    })
}

fn allocate_host(driver: &mut Driver, to: &Out<usize>, bytes: usize) -> Result<(), Code> {
    driver.current()?;
    driver.refuse_in_capture()?;
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    // Poisoned, as memory of a device.
    let room: Box<[_]> = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(u64::MAX)).collect();
    let address = room.as_ptr().expose_provenance();
    to.put(address)?;
    driver.pinned.insert(address, Pinned::Own(room));
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostAlloc(to: Out<usize>, bytes: usize, flags: u32) -> Code {
    call("cuMemHostAlloc", |driver| {
        if flags & !FLAGS_ALLOC != 0 {
            tell(&format!("flags {flags:#x} of cuMemHostAlloc are not known here"));
            return Err(NOT_SUPPORTED);
        }
        allocate_host(driver, &to, bytes)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocHost_v2(to: Out<usize>, bytes: usize) -> Code {
    call("cuMemAllocHost_v2", |driver| allocate_host(driver, &to, bytes))
}

/// Forgets memory of the host once nothing can be using it.
fn forget(driver: &mut Driver, address: usize, is_own: bool) -> Result<(), Code> {
    driver.current()?;
    let wrong = if is_own { INVALID_VALUE } else { HOST_MEMORY_NOT_REGISTERED };
    match driver.pinned.get(&address) {
        Some(pinned) if matches!(pinned, Pinned::Own(..)) == is_own => {}
        _ => return Err(wrong),
    }
    for device in 0..driver.devices.len() {
        driver.finish_device(device)?;
    }
    driver.pinned.remove(&address).map(drop).ok_or(wrong)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFreeHost(address: usize) -> Code {
    call("cuMemFreeHost", |driver| forget(driver, address, true))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostRegister_v2(address: usize, bytes: usize, flags: u32) -> Code {
    call("cuMemHostRegister_v2", |driver| {
        driver.current()?;
        if flags & !FLAGS_REGISTER != 0 {
            tell(&format!("flags {flags:#x} of cuMemHostRegister are not known here"));
            return Err(NOT_SUPPORTED);
        }
        if address == 0 || bytes == 0 {
            return Err(INVALID_VALUE);
        }
        match driver.pinned.entry(address) {
            Entry::Occupied(_) => Err(HOST_MEMORY_ALREADY_REGISTERED),
            Entry::Vacant(room) => {
                room.insert(Pinned::Registered(bytes));
                Ok(())
            }
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostUnregister(address: usize) -> Code {
    call("cuMemHostUnregister", |driver| forget(driver, address, false))
}
