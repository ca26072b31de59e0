//! Which functions there are: those that every runtime of version 2 must have, and those that may be missing.
//!
//! Next: `library.rs`.

use std::ffi::{c_char, c_int, c_void};

use crate::status::Status;
use crate::types::{
    Framework, InstanceInfo, MemoryStats, Model, Placement, Tensor, TensorBatch, TensorInfoArray,
    TensorSet, Version,
};

macro_rules! functions {
    (
        required {
            $($(#[$doc:meta])* $name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*
        }
        optional {
            $($(#[$maybe_doc:meta])* $maybe:ident: fn($($given:ty),*) -> $told:ty;)*
        }
    ) => {
        /// The functions of a library, by C's names.
        ///
        /// **Safety**: whoever calls one keeps what C's header asks: handles are the library's own and still
        /// live, places for results may be written, texts end with a zero.
        #[derive(Clone, Copy, Debug)]
        pub struct Functions {
            $($(#[$doc])* pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            $($(#[$maybe_doc])* pub $maybe: Option<unsafe extern "C" fn($($given),*) -> $told>,)*
        }

        impl Functions {
            /// Symbols without which a library is not used.
            pub const REQUIRED: &[&str] = &[$(stringify!($name)),*];
            /// Symbols that a library may lack.
            pub const OPTIONAL: &[&str] = &[$(stringify!($maybe)),*];

            /// Those of a library.
            ///
            /// # Errors
            /// The names of all required symbols that are not there.
            pub(crate) fn of(library: &libloading::Library) -> Result<Self, Vec<&'static str>> {
                let absent = |name: &&&str| {
                    // SAFETY: the symbol is looked up as an address and not called.
                    unsafe { library.get::<*const ()>(name.as_bytes()) }.is_err()
                };
                let missing: Vec<&str> = Self::REQUIRED.iter().filter(absent).copied().collect();
                let unless = || missing.clone();
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is that of C's header for this symbol.
                        let symbol = unsafe { library.get(stringify!($name).as_bytes()) };
                        *symbol.map_err(|_| unless())?
                    },)*
                    $($maybe: {
                        // SAFETY: the type is that of C's header for this symbol.
                        let symbol = unsafe { library.get(stringify!($maybe).as_bytes()) };
                        symbol.ok().map(|symbol| *symbol)
                    },)*
                })
            }
        }
    };
}

// Signatures: `nrt.h`, `nrt_version.h`, `nrt_status.h` and, for the tensors of a model, `nrt_experimental.h`
// of runtime 2.34.
functions! {
    required {
        /// Takes the visible cores for this process alone. Framework, its version, that of what is between.
        /// On a host without a device it answers `NRT_INVALID`.
        nrt_init: fn(Framework, *const c_char, *const c_char) -> Status;
        /// Gives everything back. No other function but those of counts and versions may follow.
        nrt_close: fn();
        /// Writes the version; the length is that of the structure.
        nrt_get_version: fn(*mut Version, usize) -> Status;
        /// Logical cores of the machine. May be called before `nrt_init`.
        nrt_get_total_vnc_count: fn(*mut u32) -> Status;
        /// Logical cores that this process may use. May be called before `nrt_init`.
        nrt_get_visible_vnc_count: fn(*mut u32) -> Status;
        /// Loads a NEFF: its bytes and their count, the logical core (-1 is the first free one), -1.
        nrt_load: fn(*const c_void, usize, i32, i32, *mut *mut Model) -> Status;
        /// Loads one rank's NEFF: as `nrt_load`, then the rank and how many there are.
        nrt_load_collectives:
            fn(*const c_void, usize, i32, i32, u32, u32, *mut *mut Model) -> Status;
        /// Unloads a model.
        nrt_unload: fn(*mut Model) -> Status;
        /// Runs a model on its inputs and outputs, and waits for it.
        nrt_execute: fn(*mut Model, *const TensorSet, *mut TensorSet) -> Status;
        /// Makes room: where, on which logical core (-1 for the host), bytes, a name or null.
        nrt_tensor_allocate: fn(Placement, c_int, usize, *const c_char, *mut *mut Tensor) -> Status;
        /// A part of a tensor's room, which both share: offset and size in bytes, a name or null.
        nrt_tensor_allocate_slice:
            fn(*const Tensor, usize, usize, *const c_char, *mut *mut Tensor) -> Status;
        /// Frees a tensor and sets the pointer to null.
        nrt_tensor_free: fn(*mut *mut Tensor);
        /// Copies a tensor's bytes to the host: to where, offset in the tensor, count.
        nrt_tensor_read: fn(*const Tensor, *mut c_void, usize, usize) -> Status;
        /// Copies the host's bytes to a tensor: from where, offset in the tensor, count.
        nrt_tensor_write: fn(*mut Tensor, *const c_void, usize, usize) -> Status;
        /// Copies between tensors: from, offset, to, offset, count. Two of devices must be of one core.
        nrt_tensor_copy: fn(*const Tensor, usize, *mut Tensor, usize, usize) -> Status;
        /// Bytes of a tensor.
        nrt_tensor_get_size: fn(*const Tensor) -> usize;
        /// Makes an empty set.
        nrt_allocate_tensor_set: fn(*mut *mut TensorSet) -> Status;
        /// Destroys a set, not its tensors, and sets the pointer to null.
        nrt_destroy_tensor_set: fn(*mut *mut TensorSet);
        /// Puts a tensor into a set under a name, in place of any that has it.
        nrt_add_tensor_to_tensor_set: fn(*mut TensorSet, *const c_char, *mut Tensor) -> Status;
        /// Which tensors a model takes and gives. The array is freed by the next.
        nrt_get_model_tensor_info: fn(*mut Model, *mut *mut TensorInfoArray) -> Status;
        /// Frees such an array.
        nrt_free_model_tensor_info: fn(*mut TensorInfoArray) -> Status;
        /// The library's own words for a status.
        nrt_get_status_as_str: fn(Status) -> *const c_char;
    }
    optional {
        /// What machine the runtime sees: the structure and its length.
        nrt_get_instance_info: fn(*mut InstanceInfo, usize) -> Status;
        /// Memory of a logical core: the structure, its length, how much of it was written.
        nrt_get_vnc_memory_stats: fn(u32, *mut MemoryStats, usize, *mut usize) -> Status;
        /// The tensor that has a name in a set.
        nrt_get_tensor_from_tensor_set:
            fn(*mut TensorSet, *const c_char, *mut *mut Tensor) -> Status;
        /// Fills a part of a tensor: offset, the byte, count.
        nrt_tensor_memset: fn(*mut Tensor, u64, c_int, usize) -> Status;
        /// Reads many ranges of many tensors; `true` does not wait for who writes them.
        nrt_tensor_read_batch: fn(*const TensorBatch, u64, bool) -> Status;
        /// Writes many ranges of many tensors; `true` does not wait for who reads them.
        nrt_tensor_write_batch: fn(*const TensorBatch, u64, bool) -> Status;
        /// A tensor without room.
        nrt_tensor_allocate_empty: fn(*const c_char, *mut *mut Tensor) -> Status;
        /// Gives a tensor room of the caller, which must outlive it.
        nrt_tensor_attach_buffer: fn(*mut Tensor, *mut c_void, usize) -> Status;
        /// Where a tensor's bytes are, or null.
        nrt_tensor_get_va: fn(*const Tensor) -> *mut c_void;
        /// Threads that may usefully execute a model at once.
        nrt_get_model_instance_count: fn(*mut Model, *mut u32) -> Status;
        /// Runs a model many times.
        nrt_execute_repeat: fn(*mut Model, *const TensorSet, *mut TensorSet, c_int) -> Status;
        /// Makes the communicator of all ranks: logical core, rank, how many.
        nrt_build_global_comm: fn(i32, u32, u32) -> Status;
        /// Waits for all ranks: logical core, rank, how many.
        nrt_barrier: fn(i32, u32, u32) -> Status;
    }
}
