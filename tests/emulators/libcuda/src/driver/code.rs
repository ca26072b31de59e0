//! Result codes of the driver: their numbers, names and texts.
//!
//! **Source**: `cuda.h`, `CUresult`; texts as the driver has them, where known. Next: `machine`, and `errors`, which tells
//! them.

use std::ffi::CStr;

/// A `CUresult`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) i32);

pub(super) const SUCCESS: Code = Code(0);
pub(super) const INVALID_VALUE: Code = Code(1);
pub(super) const OUT_OF_MEMORY: Code = Code(2);
pub(super) const NOT_INITIALIZED: Code = Code(3);
pub(super) const NO_DEVICE: Code = Code(100);
pub(super) const INVALID_DEVICE: Code = Code(101);
pub(super) const INVALID_IMAGE: Code = Code(200);
pub(super) const INVALID_CONTEXT: Code = Code(201);
pub(super) const NO_BINARY_FOR_GPU: Code = Code(209);
pub(super) const PEER_ACCESS_UNSUPPORTED: Code = Code(217);
pub(super) const INVALID_PTX: Code = Code(218);
pub(super) const UNSUPPORTED_PTX_VERSION: Code = Code(222);
pub(super) const INVALID_HANDLE: Code = Code(400);
pub(super) const ILLEGAL_STATE: Code = Code(401);
pub(super) const NOT_FOUND: Code = Code(500);
pub(super) const NOT_READY: Code = Code(600);
pub(super) const ILLEGAL_ADDRESS: Code = Code(700);
pub(super) const HOST_MEMORY_ALREADY_REGISTERED: Code = Code(712);
pub(super) const HOST_MEMORY_NOT_REGISTERED: Code = Code(713);
pub(super) const NOT_PERMITTED: Code = Code(800);
pub(super) const NOT_SUPPORTED: Code = Code(801);
pub(super) const CAPTURE_UNSUPPORTED: Code = Code(900);
pub(super) const CAPTURE_INVALIDATED: Code = Code(901);
pub(super) const CAPTURE_MERGE: Code = Code(902);
pub(super) const CAPTURE_UNMATCHED: Code = Code(903);
pub(super) const CAPTURE_UNJOINED: Code = Code(904);
pub(super) const CAPTURE_ISOLATION: Code = Code(905);
pub(super) const CAPTURE_IMPLICIT: Code = Code(906);
pub(super) const CAPTURED_EVENT: Code = Code(907);
pub(super) const CAPTURE_WRONG_THREAD: Code = Code(908);
pub(super) const UNKNOWN: Code = Code(999);

impl Code {
    /// The code of that number; none if there is none (callers read others as undefined).
    pub(super) fn of(number: i32) -> Option<Self> {
        Self(number).told().map(|_| Self(number))
    }

    /// Its name and its text; none if the driver has no such code.
    pub(super) fn told(self) -> Option<(&'static CStr, &'static CStr)> {
        let (_, name, text) = TABLE.iter().find(|(number, ..)| *number == self.0)?;
        Some((name, text))
    }

    /// What ends a context: every later call in it answers the same.
    pub(super) const fn is_sticky(self) -> bool {
        matches!(self.0, 214 | 220 | 700 | 702 | 710 | 714..=719)
    }
}

/// Number, name, text.
const TABLE: &[(i32, &CStr, &CStr)] = &[
    (0, c"CUDA_SUCCESS", c"no error"),
    (1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (4, c"CUDA_ERROR_DEINITIALIZED", c"error deinitialized"),
    (5, c"CUDA_ERROR_PROFILER_DISABLED", c"error profiler disabled"),
    (6, c"CUDA_ERROR_PROFILER_NOT_INITIALIZED", c"error profiler not initialized"),
    (7, c"CUDA_ERROR_PROFILER_ALREADY_STARTED", c"error profiler already started"),
    (8, c"CUDA_ERROR_PROFILER_ALREADY_STOPPED", c"error profiler already stopped"),
    (34, c"CUDA_ERROR_STUB_LIBRARY", c"error stub library"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (102, c"CUDA_ERROR_DEVICE_NOT_LICENSED", c"error device not licensed"),
    (200, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (202, c"CUDA_ERROR_CONTEXT_ALREADY_CURRENT", c"error context already current"),
    (205, c"CUDA_ERROR_MAP_FAILED", c"error map failed"),
    (206, c"CUDA_ERROR_UNMAP_FAILED", c"error unmap failed"),
    (207, c"CUDA_ERROR_ARRAY_IS_MAPPED", c"error array is mapped"),
    (208, c"CUDA_ERROR_ALREADY_MAPPED", c"error already mapped"),
    (
        209,
        c"CUDA_ERROR_NO_BINARY_FOR_GPU",
        c"no kernel image is available for execution on the device",
    ),
    (210, c"CUDA_ERROR_ALREADY_ACQUIRED", c"error already acquired"),
    (211, c"CUDA_ERROR_NOT_MAPPED", c"error not mapped"),
    (212, c"CUDA_ERROR_NOT_MAPPED_AS_ARRAY", c"error not mapped as array"),
    (213, c"CUDA_ERROR_NOT_MAPPED_AS_POINTER", c"error not mapped as pointer"),
    (214, c"CUDA_ERROR_ECC_UNCORRECTABLE", c"uncorrectable ECC error encountered"),
    (215, c"CUDA_ERROR_UNSUPPORTED_LIMIT", c"error unsupported limit"),
    (216, c"CUDA_ERROR_CONTEXT_ALREADY_IN_USE", c"error context already in use"),
    (
        217,
        c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
        c"peer access is not supported between these two devices",
    ),
    (218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (219, c"CUDA_ERROR_INVALID_GRAPHICS_CONTEXT", c"error invalid graphics context"),
    (
        220,
        c"CUDA_ERROR_NVLINK_UNCORRECTABLE",
        c"uncorrectable NVLink error detected during the execution",
    ),
    (221, c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", c"error jit compiler not found"),
    (
        222,
        c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        c"the provided PTX was compiled with an unsupported toolchain.",
    ),
    (223, c"CUDA_ERROR_JIT_COMPILATION_DISABLED", c"error jit compilation disabled"),
    (224, c"CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY", c"error unsupported exec affinity"),
    (300, c"CUDA_ERROR_INVALID_SOURCE", c"error invalid source"),
    (301, c"CUDA_ERROR_FILE_NOT_FOUND", c"error file not found"),
    (302, c"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", c"error shared object symbol not found"),
    (303, c"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", c"error shared object init failed"),
    (304, c"CUDA_ERROR_OPERATING_SYSTEM", c"error operating system"),
    (400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (401, c"CUDA_ERROR_ILLEGAL_STATE", c"error illegal state"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (600, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch"),
    (702, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated"),
    (703, c"CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING", c"error launch incompatible texturing"),
    (704, c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", c"error peer access already enabled"),
    (705, c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", c"error peer access not enabled"),
    (708, c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", c"error primary context active"),
    (709, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"error context is destroyed"),
    (710, c"CUDA_ERROR_ASSERT", c"error assert"),
    (711, c"CUDA_ERROR_TOO_MANY_PEERS", c"error too many peers"),
    (
        712,
        c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
        c"part or all of the requested memory range is already mapped",
    ),
    (
        713,
        c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
        c"pointer does not correspond to a registered memory region",
    ),
    (714, c"CUDA_ERROR_HARDWARE_STACK_ERROR", c"error hardware stack error"),
    (715, c"CUDA_ERROR_ILLEGAL_INSTRUCTION", c"an illegal instruction was encountered"),
    (716, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
    (717, c"CUDA_ERROR_INVALID_ADDRESS_SPACE", c"error invalid address space"),
    (718, c"CUDA_ERROR_INVALID_PC", c"error invalid pc"),
    (719, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (720, c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", c"error cooperative launch too large"),
    (800, c"CUDA_ERROR_NOT_PERMITTED", c"operation not permitted"),
    (801, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (802, c"CUDA_ERROR_SYSTEM_NOT_READY", c"system not yet initialized"),
    (
        803,
        c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        c"system has unsupported display driver / cuda driver combination",
    ),
    (
        804,
        c"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        c"forward compatibility was attempted on non supported HW",
    ),
    (805, c"CUDA_ERROR_MPS_CONNECTION_FAILED", c"error mps connection failed"),
    (806, c"CUDA_ERROR_MPS_RPC_FAILURE", c"error mps rpc failure"),
    (807, c"CUDA_ERROR_MPS_SERVER_NOT_READY", c"error mps server not ready"),
    (808, c"CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", c"error mps max clients reached"),
    (809, c"CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED", c"error mps max connections reached"),
    (
        900,
        c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        c"operation not permitted when stream is capturing",
    ),
    (
        901,
        c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        c"operation failed due to a previous error during capture",
    ),
    (
        902,
        c"CUDA_ERROR_STREAM_CAPTURE_MERGE",
        c"operation would result in a merge of separate capture sequences",
    ),
    (
        903,
        c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
        c"capture was not ended in the same stream as it began",
    ),
    (904, c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", c"capturing stream has unjoined work"),
    (
        905,
        c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
        c"dependency created on uncaptured work in another stream",
    ),
    (
        906,
        c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        c"operation would make the legacy stream depend on a capturing blocking stream",
    ),
    (
        907,
        c"CUDA_ERROR_CAPTURED_EVENT",
        c"operation not permitted on an event last recorded in a capturing stream",
    ),
    (
        908,
        c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
        c"attempt to terminate a thread-local capture sequence from another thread",
    ),
    (909, c"CUDA_ERROR_TIMEOUT", c"error timeout"),
    (910, c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", c"error graph exec update failure"),
    (911, c"CUDA_ERROR_EXTERNAL_DEVICE", c"error external device"),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];
