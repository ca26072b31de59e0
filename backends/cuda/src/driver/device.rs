//! A device with our kernels loaded, and one stream that runs them in order.
//!
//! Next: `memory.rs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};
use gimbal_hal::DeviceError;

use super::context::Context;
use super::facts::{self, Facts};
use super::{Event, Graph, Memory, Pinned, Plain, lost, said};
use crate::images::{Image, images};
use crate::launch::{Address, Launch};

/// Bytes of the log that the driver's compiler may write.
const LOG_BYTES: usize = 4096;
/// What stands before the parameters' bytes in `cuLaunchKernel`'s `extra`. Source: `cuda.h`.
const PARAMS: *mut c_void = ptr::without_provenance_mut(1);
/// Before the place of their count.
const PARAMS_BYTES: *mut c_void = ptr::without_provenance_mut(2);
/// At the end.
const PARAMS_END: *mut c_void = ptr::null_mut();

/// Starts the driver, once a process; tells how many devices there are.
///
/// # Errors
/// What the driver says of it, with its code.
pub(crate) fn init() -> Result<u16, String> {
    result::init().map_err(|error| said("cuInit", error))?;
    facts::count().map_err(|error| said("cuDeviceGetCount", error))
}

/// A device with our kernels.
#[derive(Debug)]
pub(crate) struct Device {
    facts: Facts,
    module: Module,
    functions: RefCell<HashMap<String, sys::CUfunction>>,
    context: Arc<Context>,
}

// SAFETY: functions are handles of the module, which any thread may use in which its context is current.
unsafe impl Send for Device {}

/// One of our modules, loaded.
#[derive(Debug)]
struct Module {
    name: String,
    module: sys::CUmodule,
    context: Arc<Context>,
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.settle().is_ok() {
            // SAFETY: it was loaded in this context, is unloaded once, and nothing of it runs.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

impl Device {
    /// Opens device `ordinal` and loads our kernels. The library is loaded and the driver started.
    ///
    /// # Errors
    /// The driver gives no context, or takes none of our modules.
    pub(crate) fn open(ordinal: u16) -> Result<Self, DeviceError> {
        let facts = facts::facts(ordinal).map_err(|error| lost("cuDeviceGet", error))?;
        let context = Arc::new(Context::new(ordinal)?);
        let library = |why: String| DeviceError::Library { library: "libcuda".to_owned(), why };
        let refused = images(facts.capability, facts.driver);
        let mut told = Vec::new();
        for image in refused.map_err(|refused| library(refused.to_string()))? {
            match load(&image) {
                Ok(module) => {
                    let module = Module { name: image.name, module, context: context.clone() };
                    return Ok(Self { facts, module, functions: RefCell::default(), context });
                }
                Err(why) => told.push(format!("{}: {why}", image.name)),
            }
        }
        Err(library(format!("{} takes none of our modules: {}", facts.name, told.join("; "))))
    }

    /// What device it is.
    #[must_use]
    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Which of our modules runs.
    #[must_use]
    pub(crate) fn image(&self) -> &str {
        &self.module.name
    }

    /// Makes the device this thread's: before anything is queued from it.
    ///
    /// # Errors
    /// The device is lost.
    pub(crate) fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind()
    }

    /// Memory of the device, with anything in it.
    ///
    /// # Errors
    /// There is not enough, or the device is lost.
    pub(crate) fn allocate(&self, bytes: usize) -> Result<Memory, DeviceError> {
        Memory::new(&self.context, bytes)
    }

    /// Memory of the host for copies: so many zeros.
    ///
    /// # Errors
    /// The host has not enough, or the device is lost.
    pub(crate) fn pinned<T: Plain>(&self, count: usize) -> Result<Pinned<T>, DeviceError> {
        Pinned::new(&self.context, count)
    }

    /// A place in the stream.
    ///
    /// # Errors
    /// The device is lost.
    pub(crate) fn event(&self) -> Result<Event, DeviceError> {
        Event::new(&self.context)
    }

    /// Free memory and all there is, in bytes.
    ///
    /// # Errors
    /// The device is lost.
    pub(crate) fn memory_now(&self) -> Result<(u64, u64), DeviceError> {
        self.bind()?;
        let (free, all) = result::mem_get_info().map_err(|error| lost("cuMemGetInfo", error))?;
        Ok((free as u64, all as u64))
    }

    /// Copies to the device, and waits for it.
    ///
    /// # Errors
    /// The place is not the device's, or the device is lost.
    pub(crate) fn write(&self, at: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.settle()?;
        // SAFETY: the source lives until the call returns; the driver checks the place.
        let copied = unsafe { result::memcpy_htod_sync(at, bytes) };
        copied.map_err(|error| lost("cuMemcpyHtoD", error))
    }

    /// Copies from the device after all that was queued.
    ///
    /// # Errors
    /// The place is not the device's, or the device is lost.
    pub(crate) fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.settle()?;
        // SAFETY: the target lives until the call returns; the driver checks the place.
        let copied = unsafe { result::memcpy_dtoh_sync(bytes, at) };
        copied.map_err(|error| lost("cuMemcpyDtoH", error))
    }

    /// Waits for all that was queued.
    ///
    /// # Errors
    /// Some of it failed.
    pub(crate) fn settle(&self) -> Result<(), DeviceError> {
        self.context.settle()
    }

    /// Queues a copy to the device.
    ///
    /// # Errors
    /// The device is lost.
    ///
    /// # Safety
    /// `from` is not freed, and not written to, before the stream has come past this.
    pub(crate) unsafe fn copy_in<T: Plain>(
        &self,
        at: Address,
        from: &[T],
    ) -> Result<(), DeviceError> {
        // SAFETY: the caller keeps the source; the driver checks the place.
        let queued = unsafe { result::memcpy_htod_async(at, from, self.context.stream()) };
        queued.map_err(|error| lost("cuMemcpyHtoDAsync", error))
    }

    /// Queues a copy from the device.
    ///
    /// # Errors
    /// The device is lost.
    ///
    /// # Safety
    /// `to` is not freed, and neither read nor written to, before the stream has come past this.
    pub(crate) unsafe fn copy_out<T: Plain>(
        &self,
        at: Address,
        to: &mut [T],
    ) -> Result<(), DeviceError> {
        // SAFETY: the caller keeps the target; the driver checks the place.
        let queued = unsafe { result::memcpy_dtoh_async(to, at, self.context.stream()) };
        queued.map_err(|error| lost("cuMemcpyDtoHAsync", error))
    }

    /// Queues a copy within the device.
    ///
    /// # Errors
    /// The device is lost.
    ///
    /// # Safety
    /// Both places are memory of this device that lives until the stream has come past this.
    pub(crate) unsafe fn copy(
        &self,
        to: Address,
        from: Address,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        // SAFETY: the caller keeps both places.
        let queued = unsafe { result::memcpy_dtod_async(to, from, bytes, self.context.stream()) };
        queued.map_err(|error| lost("cuMemcpyDtoDAsync", error))
    }

    /// Queues a copy to another device.
    ///
    /// # Errors
    /// Either device is lost.
    ///
    /// # Safety
    /// Both places are memory of their devices that lives until this stream has come past this.
    pub(crate) unsafe fn copy_to(
        &self,
        other: &Self,
        to: Address,
        from: Address,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        let [here, there] = [&self.context, &other.context].map(|context| context.context());
        // SAFETY: both contexts live as long as their devices, and the caller keeps both places.
        let queued = unsafe {
            result::memcpy_peer_async(there, to, here, from, bytes, self.context.stream())
        };
        queued.map_err(|error| lost("cuMemcpyPeerAsync", error))
    }

    /// What is queued after this waits until an event was passed, of this device or another one.
    ///
    /// # Errors
    /// The device is lost.
    pub(crate) fn wait_for(&self, event: &Event) -> Result<(), DeviceError> {
        event.hold(self.context.stream())
    }

    /// Queues a kernel.
    ///
    /// # Errors
    /// The module has no such kernel, or the device is lost.
    ///
    /// # Safety
    /// All that the kernel's parameters point to is memory of this device, of the shape that the kernel
    /// has, and lives until the stream has come past this.
    pub(crate) unsafe fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        let function = self.function(&launch.kernel)?;
        let mut bytes = launch.params.len();
        let params = launch.params.as_ptr().cast_mut().cast::<c_void>();
        let mut extra =
            [PARAMS, params, PARAMS_BYTES, (&raw mut bytes).cast::<c_void>(), PARAMS_END];
        let ([x, y, z], threads) = (launch.blocks, launch.threads);
        let (stream, none) = (self.context.stream(), ptr::null_mut());
        let extra = extra.as_mut_ptr();
        // SAFETY: the function is of the loaded module; the parameters' bytes are laid out as the kernel
        // declares them (`launch`) and are read before the call returns; the caller answers for what they
        // point to.
        let code = unsafe {
            sys::cuLaunchKernel(function, x, y, z, threads, 1, 1, 0, stream, none, extra)
        };
        code.result().map_err(|error| lost(&format!("cuLaunchKernel of {}", launch.kernel), error))
    }

    /// Records what `queue` queues, to be queued again and again.
    ///
    /// # Errors
    /// Something of it cannot be recorded, or the device is lost.
    pub(crate) fn capture(
        &self,
        queue: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Graph, DeviceError> {
        Graph::capture(&self.context, queue)
    }

    fn function(&self, name: &str) -> Result<sys::CUfunction, DeviceError> {
        if let Some(function) = self.functions.borrow().get(name) {
            return Ok(*function);
        }
        let text = CString::new(name).expect("kernels' names are words");
        // SAFETY: the module is loaded as long as this lives.
        let function = unsafe { result::module::get_function(self.module.module, text) };
        let function =
            function.map_err(|error| lost(&format!("cuModuleGetFunction of {name}"), error))?;
        self.functions.borrow_mut().insert(name.to_owned(), function);
        Ok(function)
    }
}

/// Loads a module into the current context; what the driver's compiler said, if it does not.
fn load(image: &Image) -> Result<sys::CUmodule, String> {
    use sys::CUjit_option_enum as Jit;
    let mut log = vec![0_u8; LOG_BYTES];
    let mut module = ptr::null_mut();
    let mut options = [Jit::CU_JIT_ERROR_LOG_BUFFER, Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(LOG_BYTES)];
    let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
    // SAFETY: a cubin knows its own length and PTX ends with a zero (`Image`); log and options live until the call returns, and the
    // log's size is its own.
    let code = unsafe {
        sys::cuModuleLoadDataEx(&raw mut module, image.bytes.as_ptr().cast(), 2, options, values)
    };
    if code == CUresult::CUDA_SUCCESS {
        return Ok(module);
    }
    let error = code.result().expect_err("it is no success");
    let log = String::from_utf8_lossy(&log);
    let log = log.trim_end_matches('\0').trim();
    let log = if log.is_empty() { String::new() } else { format!(" ({log})") };
    Err(said("cuModuleLoadDataEx", error) + &log)
}
