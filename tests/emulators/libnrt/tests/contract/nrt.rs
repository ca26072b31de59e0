//! Calls the library as a program does. Next: `states.rs`.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::ptr;

use neuron_sys::{Framework, Functions, Library, Model, Placement, Status, Tensor, TensorSet};

use crate::process::library;

/// Calls a required function.
macro_rules! call {
    ($nrt:expr, $name:ident($($argument:expr),*)) => {{
        let function = $nrt.functions.$name;
        // SAFETY: the library is the emulator, which follows no handle; places, texts and bytes that are passed
        // live during the call, or are null, which it refuses.
        unsafe { function($($argument),*) }
    }};
    ($nrt:expr, $name:ident?($($argument:expr),*)) => {{
        let function = $nrt.functions.$name.expect("the emulator has it");
        // SAFETY: as above.
        unsafe { function($($argument),*) }
    }};
}
pub(crate) use call;

/// The library.
pub(crate) struct Nrt {
    pub(crate) functions: Functions,
    pub(crate) library: Library,
}

pub(crate) type ModelHandle = *mut Model;
pub(crate) type TensorHandle = *mut Tensor;
pub(crate) type SetHandle = *mut TensorSet;

impl Nrt {
    /// Loads it.
    pub(crate) fn open() -> Self {
        // SAFETY: it is the emulator that was built beside this test.
        let library = unsafe { Library::open(Some(&library())) }.expect("the emulator");
        Self { functions: library.functions, library }
    }

    /// Loads and initialises it.
    pub(crate) fn start() -> Self {
        let nrt = Self::open();
        assert_eq!(nrt.init(), Status::SUCCESS);
        nrt
    }

    pub(crate) fn init(&self) -> Status {
        call!(self, nrt_init(Framework::NO_FRAMEWORK, c"".as_ptr(), c"".as_ptr()))
    }

    pub(crate) fn close(&self) {
        call!(self, nrt_close());
    }

    pub(crate) fn load(&self, neff: &[u8], core: i32) -> Result<ModelHandle, Status> {
        let mut model = ptr::null_mut();
        let bytes = neff.as_ptr().cast::<c_void>();
        check(call!(self, nrt_load(bytes, neff.len(), core, -1, &raw mut model)))?;
        Ok(model)
    }

    pub(crate) fn allocate(&self, core: i32, bytes: usize) -> Result<TensorHandle, Status> {
        let mut tensor = ptr::null_mut();
        let place = if core < 0 { Placement::HOST } else { Placement::DEVICE };
        let made = call!(
            self,
            nrt_tensor_allocate(place, core, bytes, c"tensor".as_ptr(), &raw mut tensor)
        );
        check(made)?;
        Ok(tensor)
    }

    pub(crate) fn slice(
        &self,
        tensor: TensorHandle,
        offset: usize,
        bytes: usize,
    ) -> Result<TensorHandle, Status> {
        let mut part = ptr::null_mut();
        check(call!(
            self,
            nrt_tensor_allocate_slice(tensor, offset, bytes, ptr::null(), &raw mut part)
        ))?;
        Ok(part)
    }

    pub(crate) fn free(&self, mut tensor: TensorHandle) {
        call!(self, nrt_tensor_free(&raw mut tensor));
        assert!(tensor.is_null());
    }

    pub(crate) fn write(&self, tensor: TensorHandle, offset: usize, bytes: &[u8]) -> Status {
        let from = bytes.as_ptr().cast::<c_void>();
        call!(self, nrt_tensor_write(tensor, from, offset, bytes.len()))
    }

    pub(crate) fn read(
        &self,
        tensor: TensorHandle,
        offset: usize,
        bytes: usize,
    ) -> Result<Vec<u8>, Status> {
        let mut copy = vec![0; bytes];
        let to = copy.as_mut_ptr().cast::<c_void>();
        check(call!(self, nrt_tensor_read(tensor, to, offset, bytes)))?;
        Ok(copy)
    }

    pub(crate) fn set(&self) -> SetHandle {
        let mut set = ptr::null_mut();
        assert_eq!(call!(self, nrt_allocate_tensor_set(&raw mut set)), Status::SUCCESS);
        set
    }

    pub(crate) fn add(&self, set: SetHandle, name: &str, tensor: TensorHandle) -> Status {
        let name = CString::new(name).expect("a name");
        call!(self, nrt_add_tensor_to_tensor_set(set, name.as_ptr(), tensor))
    }

    pub(crate) fn destroy(&self, mut set: SetHandle) {
        call!(self, nrt_destroy_tensor_set(&raw mut set));
        assert!(set.is_null());
    }

    pub(crate) fn execute(&self, model: ModelHandle, sets: [SetHandle; 2]) -> Status {
        call!(self, nrt_execute(model, sets[0], sets[1]))
    }
}

/// A model with its sets, and tensors of its own for them.
pub(crate) struct Ready {
    pub(crate) model: ModelHandle,
    pub(crate) sets: [SetHandle; 2],
    /// Inputs by name, outputs as `out NAME` unless they lie in an input.
    pub(crate) tensors: BTreeMap<String, TensorHandle>,
}

impl Ready {
    /// On core 0.
    pub(crate) fn new(
        nrt: &Nrt,
        neff: &[u8],
        inputs: &[(&str, usize)],
        outputs: &[(&str, usize)],
    ) -> Self {
        let model = nrt.load(neff, 0).expect("a model");
        let sets = [nrt.set(), nrt.set()];
        let mut tensors = BTreeMap::new();
        for (name, bytes) in inputs {
            let tensor = nrt.allocate(0, *bytes).expect("a tensor");
            assert_eq!(nrt.add(sets[0], name, tensor), Status::SUCCESS);
            tensors.insert((*name).to_owned(), tensor);
        }
        for (name, bytes) in outputs {
            let tensor = match tensors.get(*name) {
                Some(input) => *input,
                None => {
                    let tensor = nrt.allocate(0, *bytes).expect("a tensor");
                    tensors.insert(format!("out {name}"), tensor);
                    tensor
                }
            };
            assert_eq!(nrt.add(sets[1], name, tensor), Status::SUCCESS);
        }
        Self { model, sets, tensors }
    }

    pub(crate) fn execute(&self, nrt: &Nrt) -> Status {
        nrt.execute(self.model, self.sets)
    }

    /// In the order that the contract wants.
    pub(crate) fn end(self, nrt: &Nrt) {
        self.sets.into_iter().for_each(|set| nrt.destroy(set));
        self.tensors.into_values().for_each(|tensor| nrt.free(tensor));
        assert_eq!(call!(nrt, nrt_unload(self.model)), Status::SUCCESS);
    }
}

fn check(status: Status) -> Result<(), Status> {
    match status {
        Status::SUCCESS => Ok(()),
        _ => Err(status),
    }
}

/// Bytes of floats.
pub(crate) fn floats(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

/// Bytes of integers.
pub(crate) fn integers(integers: &[i32]) -> Vec<u8> {
    integers.iter().flat_map(|integer| integer.to_le_bytes()).collect()
}
