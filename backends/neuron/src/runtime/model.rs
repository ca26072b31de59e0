//! A compiled program on a core, and what it says of its tensors.
//!
//! Next: `set.rs`.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use neuron_sys::{self as sys, TensorInfo, TensorInfoArray, Usage};

pub use neuron_sys::Dtype as ElementType;

use super::error::{RuntimeError, check};
use super::library::{Runtime, given, text};

/// Tensors of a model at most: a larger count is no count.
const TENSORS_MAX: u64 = 1 << 20;
/// Dimensions of a tensor at most.
const DIMENSIONS_MAX: u32 = 64;

/// A compiled program on a core. Unloaded when nobody uses it any more.
#[derive(Debug)]
pub struct Model {
    handle: NonNull<sys::Model>,
    name: String,
    core: u32,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
    runtime: Arc<Runtime>,
}

/// A tensor that a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub element: ElementType,
    /// Its sizes.
    pub shape: Vec<u32>,
    /// Its bytes.
    pub bytes: usize,
}

impl Model {
    /// Loads a NEFF onto a core; `name` is what errors call it. Verify it before: libnrt checks its digest only if it is
    /// told to.
    ///
    /// # Errors
    /// It is none that this runtime loads, or there is not enough memory.
    pub fn load(
        runtime: &Arc<Runtime>,
        name: &str,
        neff: &[u8],
        core: u32,
    ) -> Result<Rc<Self>, RuntimeError> {
        let function = runtime.functions().nrt_load;
        let mut handle = ptr::null_mut();
        let from = neff.as_ptr().cast::<c_void>();
        let at = i32::try_from(core).unwrap_or(i32::MAX);
        // SAFETY: so many bytes may be read during the call; the place is this function's.
        let status = unsafe { function(from, neff.len(), at, -1, &raw mut handle) };
        let about = || format!("{name} on core {core}");
        check("nrt_load", status, about)?;
        Self::of(runtime, name, core, given("nrt_load", handle, about)?)
    }

    /// Loads the NEFF of one of several ranks onto a core. All ranks load, and then execute, at the same time.
    ///
    /// # Errors
    /// As of `load`, or it is not for so many ranks.
    pub fn load_rank(
        runtime: &Arc<Runtime>,
        name: &str,
        neff: &[u8],
        core: u32,
        [rank, ranks]: [u32; 2],
    ) -> Result<Rc<Self>, RuntimeError> {
        let function = runtime.functions().nrt_load_collectives;
        let mut handle = ptr::null_mut();
        let from = neff.as_ptr().cast::<c_void>();
        let at = i32::try_from(core).unwrap_or(i32::MAX);
        // SAFETY: so many bytes may be read during the call; the place is this function's.
        let status = unsafe { function(from, neff.len(), at, -1, rank, ranks, &raw mut handle) };
        let about = || format!("{name} on core {core} as rank {rank} of {ranks}");
        check("nrt_load_collectives", status, about)?;
        Self::of(runtime, name, core, given("nrt_load_collectives", handle, about)?)
    }

    /// What it takes.
    #[must_use]
    pub fn inputs(&self) -> &[TensorFacts] {
        &self.inputs
    }

    /// What it gives.
    #[must_use]
    pub fn outputs(&self) -> &[TensorFacts] {
        &self.outputs
    }

    /// What errors call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its core.
    #[must_use]
    pub const fn core(&self) -> u32 {
        self.core
    }

    /// The handle, for calls only.
    pub(super) const fn handle(&self) -> NonNull<sys::Model> {
        self.handle
    }

    /// The runtime.
    pub(super) const fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    fn of(
        runtime: &Arc<Runtime>,
        name: &str,
        core: u32,
        handle: NonNull<sys::Model>,
    ) -> Result<Rc<Self>, RuntimeError> {
        let (inputs, outputs) = (Vec::new(), Vec::new());
        let (name, runtime) = (name.to_owned(), runtime.clone());
        // Whole already: it is unloaded if it cannot tell its tensors.
        let mut model = Self { handle, name, core, inputs, outputs, runtime };
        (model.inputs, model.outputs) = model.facts()?;
        Ok(Rc::new(model))
    }

    /// Asks for its tensors: inputs, then outputs.
    fn facts(&self) -> Result<(Vec<TensorFacts>, Vec<TensorFacts>), RuntimeError> {
        let call = "nrt_get_model_tensor_info";
        let function = self.runtime.functions().nrt_get_model_tensor_info;
        let mut array = ptr::null_mut();
        // SAFETY: the handle lives; the place is this function's.
        let status = unsafe { function(self.handle.as_ptr(), &raw mut array) };
        let about = || self.name.clone();
        check(call, status, about)?;
        let array = given(call, array, about)?;
        let facts = read(array);
        let free = self.runtime.functions().nrt_free_model_tensor_info;
        // SAFETY: the library just gave it, and everything in it was copied.
        let status = unsafe { free(array.as_ptr()) };
        check("nrt_free_model_tensor_info", status, about)?;
        facts.map_err(|told| RuntimeError::Told { call, about: about(), told })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let function = self.runtime.functions().nrt_unload;
        // SAFETY: the handle lives, and nothing executes: sets keep the models that they are for.
        let status = unsafe { function(self.handle.as_ptr()) };
        // After a core was lost it may fail, too; the process ends then.
        drop(check("nrt_unload", status, || self.name.clone()));
    }
}

/// Copies what an array tells.
fn read(array: NonNull<TensorInfoArray>) -> Result<(Vec<TensorFacts>, Vec<TensorFacts>), String> {
    let place = array.as_ptr();
    // SAFETY: the library gave a whole array, which begins with its count.
    let count = unsafe { (*place).tensor_count };
    if count > TENSORS_MAX {
        return Err(format!("{count} tensors"));
    }
    // SAFETY: an address within the array is computed, and nothing read.
    let first = unsafe { &raw const (*place).tensor_array }.cast::<TensorInfo>();
    let count = usize::try_from(count).map_err(|error| error.to_string())?;
    // SAFETY: by the contract as many descriptions follow as the count says, and they are not freed yet.
    let infos = unsafe { std::slice::from_raw_parts(first, count) };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for info in infos {
        let name = text(&info.name);
        if name.is_empty() || info.name.iter().all(|c| *c != 0) {
            return Err(format!("a tensor of name {name:?}"));
        }
        if info.ndim > DIMENSIONS_MAX || info.ndim > 0 && info.shape.is_null() {
            return Err(format!("tensor {name:?} of {} dimensions", info.ndim));
        }
        let shape = match info.ndim {
            0 => Vec::new(),
            // SAFETY: by the contract, and checked not to be null, so many sizes are there.
            n => unsafe { std::slice::from_raw_parts(info.shape, n as usize) }.to_vec(),
        };
        let facts = TensorFacts { name, element: info.dtype, shape, bytes: info.size };
        match info.usage {
            Usage::INPUT => inputs.push(facts),
            Usage::OUTPUT => outputs.push(facts),
            Usage(other) => return Err(format!("tensor {:?} of usage {other}", facts.name)),
        }
    }
    Ok((inputs, outputs))
}
