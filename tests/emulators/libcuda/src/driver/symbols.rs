//! Every function of the driver, by its name: what `cuGetProcAddress` looks in.
//!
//! A program that binds functions by name alone (as `cudarc` does) asks for symbols with their version,
//! `cuMemAlloc_v2`; this function is asked for `cuMemAlloc`.

use super::border::{Out, Text};
use super::code::{Code, INVALID_VALUE, NOT_FOUND, SUCCESS};
use super::{
    capture, context, copies, device, errors, event, graph, launch, memory, module, stream,
};

macro_rules! table {
    ($($module:ident: [$($name:ident,)*],)*) => {
        &[$($((stringify!($name), || ($module::$name as *const ()).expose_provenance()),)*)*]
    };
}

/// Name, and what tells where it lies.
type Row = (&'static str, fn() -> usize);

const TABLE: &[Row] = table! {
    errors: [
        cuGetErrorName, cuGetErrorString,
    ],
    device: [
        cuInit, cuDriverGetVersion, cuDeviceGetCount, cuDeviceGet, cuDeviceGetName,
        cuDeviceGetUuid, cuDeviceGetUuid_v2, cuDeviceTotalMem_v2, cuDeviceGetPCIBusId,
        cuDeviceGetAttribute, cuDeviceCanAccessPeer,
    ],
    context: [
        cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxReset_v2,
        cuDevicePrimaryCtxGetState, cuCtxSetCurrent, cuCtxGetCurrent, cuCtxPushCurrent_v2,
        cuCtxPopCurrent_v2, cuCtxGetDevice, cuCtxGetFlags, cuCtxGetApiVersion,
        cuCtxGetStreamPriorityRange, cuCtxSynchronize, cuCtxEnablePeerAccess,
    ],
    memory: [
        cuMemAlloc_v2, cuMemAllocAsync, cuMemFree_v2, cuMemFreeAsync, cuMemGetInfo_v2,
        cuMemGetAddressRange_v2, cuMemHostAlloc, cuMemAllocHost_v2, cuMemFreeHost,
        cuMemHostRegister_v2, cuMemHostUnregister,
    ],
    copies: [
        cuMemcpyHtoD_v2, cuMemcpyHtoDAsync_v2, cuMemcpyDtoH_v2, cuMemcpyDtoHAsync_v2,
        cuMemcpyDtoD_v2, cuMemcpyDtoDAsync_v2, cuMemcpyPeer, cuMemcpyPeerAsync, cuMemsetD8_v2,
        cuMemsetD8Async, cuMemsetD16Async, cuMemsetD32Async,
    ],
    module: [
        cuModuleLoadData, cuModuleLoadDataEx, cuModuleUnload, cuModuleGetFunction,
        cuFuncGetAttribute, cuFuncSetAttribute,
    ],
    launch: [
        cuLaunchKernel, cuLaunchHostFunc,
    ],
    stream: [
        cuStreamCreate, cuStreamCreateWithPriority, cuStreamDestroy_v2, cuStreamSynchronize,
        cuStreamQuery, cuStreamWaitEvent, cuStreamGetPriority, cuStreamGetFlags, cuStreamGetCtx,
    ],
    event: [
        cuEventCreate, cuEventDestroy_v2, cuEventRecord, cuEventSynchronize, cuEventQuery,
        cuEventElapsedTime, cuEventElapsedTime_v2,
    ],
    capture: [
        cuStreamBeginCapture_v2, cuStreamEndCapture, cuStreamIsCapturing,
    ],
    graph: [
        cuGraphInstantiateWithFlags, cuGraphUpload, cuGraphLaunch, cuGraphGetNodes,
        cuGraphDestroy, cuGraphExecDestroy,
    ],
};

/// The newest version of a function.
fn find(name: &str) -> Option<usize> {
    let of = |suffix| TABLE.iter().find(|(known, _)| known.strip_prefix(name) == Some(suffix));
    ["_v3", "_v2", ""].into_iter().find_map(of).map(|(_, address)| address())
}

/// The oldest CUDA whose functions are asked for here.
const VERSION_MIN: i32 = 11000;

/// What the caller learns of a name: it is there, it is not, a newer CUDA has it.
const FOUND: i32 = 0;
const MISSING: i32 = 1;
const NEWER: i32 = 2;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetProcAddress_v2(
    name: Text,
    to: Out<usize>,
    version: i32,
    flags: u64,
    status: Out<i32>,
) -> Code {
    // The plain one and the default stream of old; not one default stream a thread.
    let (Ok(name), 0 | 1) = (name.read(), flags) else { return INVALID_VALUE };
    let (address, told) = match find(&name) {
        Some(address) if version >= VERSION_MIN => (address, FOUND),
        Some(_) => (0, NEWER),
        None => (0, MISSING),
    };
    status.put_if_asked(told);
    match to.put(address) {
        Ok(()) if told == FOUND => SUCCESS,
        Ok(()) => NOT_FOUND,
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_newest_version() {
        let named = |name: &str| TABLE.iter().find(|(known, _)| *known == name).map(|row| row.1());
        assert_eq!(find("cuMemAlloc"), named("cuMemAlloc_v2"));
        assert_eq!(find("cuDeviceGetUuid"), named("cuDeviceGetUuid_v2"));
        assert_eq!(find("cuInit"), named("cuInit"));
        assert_eq!(find("cuMem"), None);
        assert_eq!(find("cuTexRefCreate"), None);
    }

    #[test]
    fn every_function_is_in_the_table() {
        let files = concat!(
            include_str!("errors.rs"),
            include_str!("device.rs"),
            include_str!("context.rs"),
            include_str!("memory.rs"),
            include_str!("copies.rs"),
            include_str!("module.rs"),
            include_str!("launch.rs"),
            include_str!("stream.rs"),
            include_str!("event.rs"),
            include_str!("capture.rs"),
            include_str!("graph.rs"),
        );
        let begins = "pub(super) extern \"C\" fn ";
        let names = files.split(begins).skip(1).filter_map(|rest| rest.split('(').next());
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 60, "{}", names.len());
        for name in names {
            assert!(TABLE.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
