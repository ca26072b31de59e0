//! What calls take and give: opaque handles, structures with their layout, enumerations as integers.
//!
//! Fields have C's names. Next: `functions.rs`.

use std::ffi::{c_char, c_void};
use std::marker::{PhantomData, PhantomPinned};
use std::mem::offset_of;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[repr(C)]
        pub struct $name {
            bytes: [u8; 0],
            // Neither sent, shared nor moved by Rust: only the library knows what is behind it.
            marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    };
}

handle! {
    /// `nrt_model_t`: a NEFF on its cores.
    Model
}
handle! {
    /// `nrt_tensor_t`: memory of a device or of the host.
    Tensor
}
handle! {
    /// `nrt_tensor_set_t` (`void` in C): tensors by name. It does not own them: each must live until the set
    /// is destroyed.
    TensorSet
}

macro_rules! enumeration {
    (
        $(#[$doc:meta])* $name:ident($integer:ty) {
            $($constant:ident = $value:literal, $c:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $integer);

        impl $name {
            $(
                #[doc = concat!("`", $c, "`.")]
                pub const $constant: Self = Self($value);
            )*

            /// Every value that has a name, with it.
            pub const KNOWN: &[(Self, &'static str)] = &[$((Self($value), $c),)*];
        }
    };
}

enumeration! {
    /// `nrt_tensor_placement_t`: whose memory.
    Placement(i32) {
        DEVICE = 0, "NRT_TENSOR_PLACEMENT_DEVICE";
        HOST = 1, "NRT_TENSOR_PLACEMENT_HOST";
        VIRTUAL = 2, "NRT_TENSOR_PLACEMENT_VIRTUAL";
    }
}

enumeration! {
    /// `nrt_framework_type_t`: who calls. A program of its own says `NO_FRAMEWORK`, with empty versions.
    Framework(i32) {
        INVALID = 0, "NRT_FRAMEWORK_TYPE_INVALID";
        NO_FRAMEWORK = 1, "NRT_FRAMEWORK_TYPE_NO_FW";
        TENSORFLOW = 2, "NRT_FRAMEWORK_TYPE_TENSORFLOW";
        PYTORCH = 3, "NRT_FRAMEWORK_TYPE_PYTORCH";
        MXNET = 4, "NRT_FRAMEWORK_TYPE_MXNET";
        PRECHECK = 5, "NRT_FRAMEWORK_TYPE_PRECHECK";
    }
}

enumeration! {
    /// `nrt_tensor_usage_t`: which side of a model a tensor is on.
    Usage(i32) {
        INPUT = 0, "NRT_TENSOR_USAGE_INPUT";
        OUTPUT = 1, "NRT_TENSOR_USAGE_OUTPUT";
    }
}

enumeration! {
    /// `nrt_dtype_t`: what an element is. Its numbers have no order.
    Dtype(i32) {
        UNKNOWN = 0x0, "NRT_DTYPE_UNKNOWN";
        UINT64 = 0x1, "NRT_DTYPE_UINT64";
        INT8 = 0x2, "NRT_DTYPE_INT8";
        UINT8 = 0x3, "NRT_DTYPE_UINT8";
        INT16 = 0x4, "NRT_DTYPE_INT16";
        UINT16 = 0x5, "NRT_DTYPE_UINT16";
        BFLOAT16 = 0x6, "NRT_DTYPE_BFLOAT16";
        FLOAT16 = 0x7, "NRT_DTYPE_FLOAT16";
        INT32 = 0x8, "NRT_DTYPE_INT32";
        UINT32 = 0x9, "NRT_DTYPE_UINT32";
        FLOAT32 = 0xA, "NRT_DTYPE_FLOAT32";
        FP32R = 0xB, "NRT_DTYPE_FP32R";
        INT64 = 0xC, "NRT_DTYPE_INT64";
        FP8_E3 = 0xD, "NRT_DTYPE_FP8_E3";
        FP8_E4 = 0xE, "NRT_DTYPE_FP8_E4";
        FP8_E5 = 0xF, "NRT_DTYPE_FP8_E5";
    }
}

enumeration! {
    /// The family of an instance. Not to be kept in files: TRN3 was 10 in an older header.
    Family(u32) {
        UNKNOWN = 0, "NRT_INSTANCE_UNKNOWN";
        INF1 = 1, "NRT_INSTANCE_INF1";
        TRN1 = 2, "NRT_INSTANCE_TRN1";
        TRN1N = 3, "NRT_INSTANCE_TRN1N";
        INF2 = 4, "NRT_INSTANCE_INF2";
        TRN2 = 5, "NRT_INSTANCE_TRN2";
        TRN2N = 6, "NRT_INSTANCE_TRN2N";
        INF2E = 7, "NRT_INSTANCE_INF2E";
        TRN2P = 8, "NRT_INSTANCE_TRN2P";
        TRN2U = 9, "NRT_INSTANCE_TRN2U";
        TRN2E = 10, "NRT_INSTANCE_TRN2E";
        TRN2EU = 11, "NRT_INSTANCE_TRN2EU";
        TRN2AC = 12, "NRT_INSTANCE_TRN2AC";
        TRN2UAC = 13, "NRT_INSTANCE_TRN2UAC";
        TRN3 = 14, "NRT_INSTANCE_TRN3";
        TRN3PDS98 = 15, "NRT_INSTANCE_TRN3PDS98";
    }
}

enumeration! {
    /// The size of an instance.
    InstanceSize(u32) {
        XL1 = 0, "NRT_INSTANCE_SIZE_1XL";
        XL2 = 1, "NRT_INSTANCE_SIZE_2XL";
        XL4 = 2, "NRT_INSTANCE_SIZE_4XL";
        XL6 = 3, "NRT_INSTANCE_SIZE_6XL";
        XL8 = 4, "NRT_INSTANCE_SIZE_8XL";
        XL24 = 5, "NRT_INSTANCE_SIZE_24XL";
        XL32 = 6, "NRT_INSTANCE_SIZE_32XL";
        XL48 = 7, "NRT_INSTANCE_SIZE_48XL";
        XL3 = 8, "NRT_INSTANCE_SIZE_3XL";
        UNKNOWN = 9, "NRT_INSTANCE_SIZE_UNKNOWN";
    }
}

/// Bytes of a tensor's name, its zero among them: `NRT_TENSOR_NAME_MAX`.
pub const NAME_BYTES: usize = 256;

/// `nrt_tensor_info_t`: a tensor that a model takes or gives.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TensorInfo {
    /// Its name, with a zero at the end.
    pub name: [c_char; NAME_BYTES],
    /// Which side it is on.
    pub usage: Usage,
    /// Bytes.
    pub size: usize,
    /// What its elements are.
    pub dtype: Dtype,
    /// `ndim` sizes; the library's.
    pub shape: *mut u32,
    /// Dimensions.
    pub ndim: u32,
}

/// `nrt_tensor_info_array_t`: a count, and as many [`TensorInfo`] behind it.
#[derive(Debug)]
#[repr(C)]
pub struct TensorInfoArray {
    /// How many.
    pub tensor_count: u64,
    /// Where they begin: a flexible array of C.
    pub tensor_array: [TensorInfo; 0],
}

/// `nrt_version_t`: the runtime's version.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Version {
    /// Another one is another ABI.
    pub rt_major: u64,
    /// Minor.
    pub rt_minor: u64,
    /// Patch.
    pub rt_patch: u64,
    /// Maintenance.
    pub rt_maintenance: u64,
    /// Words about the build, with a zero at the end.
    pub rt_detail: [c_char; 128],
    /// The commit it was built of.
    pub git_hash: [c_char; 64],
}

/// `nrt_instance_info_t`: what machine the runtime sees. Older runtimes write the first 8 bytes only: they are
/// told the length.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct InstanceInfo {
    /// Its family.
    pub family: Family,
    /// Its size.
    pub size: InstanceSize,
    /// The architecture's name.
    pub arch_name: [c_char; 16],
    /// The device's revision.
    pub device_revision: [c_char; 8],
}

/// `nrt_vnc_memory_stats_t`: memory of a logical core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MemoryStats {
    /// Bytes in use.
    pub bytes_used: usize,
    /// Bytes there are.
    pub bytes_limit: usize,
}

/// `nrt_tensor_batch_op_t`: one range of a tensor, and where its bytes are on the host.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BatchOperation {
    /// Where it begins in the tensor, in bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Where they are, or are wanted.
    pub buffer: *mut c_void,
}

/// `nrt_tensor_batch_t`: ranges of one tensor.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TensorBatch {
    /// The tensor.
    pub tensor: *const Tensor,
    /// The ranges.
    pub ops: *const BatchOperation,
    /// How many.
    pub num_ops: u32,
}

// As gcc lays out the headers of runtime 2.34 on x86-64; `tests/twin.rs` compares with a compiler's layout of
// our own header.
const _: () = {
    assert!(size_of::<TensorInfo>() == 296);
    assert!(offset_of!(TensorInfo, usage) == 256);
    assert!(offset_of!(TensorInfo, size) == 264);
    assert!(offset_of!(TensorInfo, dtype) == 272);
    assert!(offset_of!(TensorInfo, shape) == 280);
    assert!(offset_of!(TensorInfo, ndim) == 288);
    assert!(size_of::<TensorInfoArray>() == 8);
    assert!(offset_of!(TensorInfoArray, tensor_array) == 8);
    assert!(size_of::<Version>() == 224);
    assert!(offset_of!(Version, rt_detail) == 32);
    assert!(offset_of!(Version, git_hash) == 160);
    assert!(size_of::<InstanceInfo>() == 32);
    assert!(offset_of!(InstanceInfo, arch_name) == 8);
    assert!(offset_of!(InstanceInfo, device_revision) == 24);
    assert!(size_of::<MemoryStats>() == 16);
    assert!(size_of::<BatchOperation>() == 24);
    assert!(offset_of!(BatchOperation, buffer) == 16);
    assert!(size_of::<TensorBatch>() == 24);
    assert!(offset_of!(TensorBatch, num_ops) == 16);
};
