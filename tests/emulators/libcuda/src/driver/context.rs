//! Contexts: each device has its primary one, each thread a stack of them.
//!
//! Next: `memory`.

use super::border::Out;
use super::code::{Code, INVALID_CONTEXT, INVALID_VALUE, PEER_ACCESS_UNSUPPORTED};
use super::state::{call, context_handle, current, with_stack};

/// What a context's version is called since CUDA 4.
const API_VERSION: u32 = 3020;
/// Priorities of streams: the least, the greatest.
pub(super) const PRIORITIES: [i32; 2] = [0, -5];

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxRetain(context: Out<usize>, device: i32) -> Code {
    call("cuDevicePrimaryCtxRetain", |driver| {
        let device = driver.ordinal(device)?;
        context.put(context_handle(device))?;
        driver.devices[device].retained += 1;
        Ok(())
    })
}

/// The last release ends the context, with all that belongs to it, and what had ended it.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxRelease_v2(device: i32) -> Code {
    call("cuDevicePrimaryCtxRelease_v2", |driver| {
        let device = driver.ordinal(device)?;
        let retained = driver.devices[device].retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        driver.devices[device].retained = retained;
        if retained == 0 {
            let outcome = driver.finish_device(device);
            driver.reset(device);
            return outcome;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxReset_v2(device: i32) -> Code {
    call("cuDevicePrimaryCtxReset_v2", |driver| {
        let device = driver.ordinal(device)?;
        let retained = driver.devices[device].retained;
        driver.reset(device);
        driver.devices[device].retained = retained;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxGetState(
    device: i32,
    flags: Out<u32>,
    is_active: Out<i32>,
) -> Code {
    call("cuDevicePrimaryCtxGetState", |driver| {
        let device = driver.ordinal(device)?;
        flags.put(0)?;
        is_active.put((driver.devices[device].retained > 0).into())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSetCurrent(context: usize) -> Code {
    call("cuCtxSetCurrent", |driver| {
        let device = (context != 0).then(|| driver.context(context)).transpose()?;
        with_stack(|stack| {
            stack.pop();
            stack.extend(device.map(Some));
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetCurrent(context: Out<usize>) -> Code {
    call("cuCtxGetCurrent", |_| context.put(current().map_or(0, context_handle)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxPushCurrent_v2(context: usize) -> Code {
    call("cuCtxPushCurrent_v2", |driver| {
        let device = (context != 0).then(|| driver.context(context)).transpose()?;
        with_stack(|stack| stack.push(device));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxPopCurrent_v2(context: Out<usize>) -> Code {
    call("cuCtxPopCurrent_v2", |_| {
        let popped = with_stack(Vec::pop).ok_or(INVALID_CONTEXT)?;
        context.put_if_asked(popped.map_or(0, context_handle));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetDevice(device: Out<i32>) -> Code {
    call("cuCtxGetDevice", |driver| {
        device.put(i32::try_from(driver.current()?).map_err(|_| INVALID_VALUE)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetFlags(flags: Out<u32>) -> Code {
    call("cuCtxGetFlags", |driver| {
        driver.current()?;
        flags.put(0)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetApiVersion(context: usize, version: Out<u32>) -> Code {
    call("cuCtxGetApiVersion", |driver| {
        match context {
            0 => driver.current()?,
            context => driver.context(context)?,
        };
        version.put(API_VERSION)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) -> Code {
    call("cuCtxGetStreamPriorityRange", |driver| {
        driver.current()?;
        least.put_if_asked(PRIORITIES[0]);
        greatest.put_if_asked(PRIORITIES[1]);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSynchronize() -> Code {
    call("cuCtxSynchronize", |driver| {
        let device = driver.current()?;
        driver.refuse_in_capture()?;
        driver.finish_device(device)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxEnablePeerAccess(context: usize, _flags: u32) -> Code {
    call("cuCtxEnablePeerAccess", |driver| {
        driver.context(context)?;
        Err(PEER_ACCESS_UNSUPPORTED)
    })
}
