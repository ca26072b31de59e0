//! What the driver knows: devices, streams, events, modules, graphs. One lock holds all of it, also
//! while kernels run.
//!
//! A device has one context, its primary one; a thread has a stack of them. Next: `work`, what streams
//! hold, and `queue`, how it gets done.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex};

use super::code::{
    Code, INVALID_CONTEXT, INVALID_HANDLE, INVALID_VALUE, NOT_INITIALIZED, NOT_PERMITTED, SUCCESS,
    UNKNOWN,
};
use super::machine::Machine;
use super::work::{Capture, Event, Exec, Node, Stream};
use crate::{Memory, Module};

/// Handles of contexts count from here.
const CONTEXTS: usize = 0xc0de_0000;
/// Handles of all else count from here, in steps of 16.
const HANDLES: usize = 0x1000_0000;
/// Answered before `cuInit`.
const EARLY: [&str; 2] = ["cuInit", "cuDriverGetVersion"];

/// A device and its context.
#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) memory: Memory,
    /// Bytes that are allocated.
    pub(super) used: u64,
    /// The most that were.
    pub(super) peak: u64,
    /// How often its context is retained.
    pub(super) retained: u32,
    /// What ended its context.
    pub(super) fault: Option<Code>,
}

/// A kernel of a module.
#[derive(Clone, Debug)]
pub(super) struct Function {
    /// The module's handle.
    pub(super) owner: usize,
    pub(super) module: Arc<Module>,
    pub(super) index: usize,
    /// For which its code is: the device's own, or a cubin's.
    pub(super) architecture: u32,
    /// Bytes of shared memory that a launch may ask for.
    pub(super) shared_max: i32,
}

/// A module in a device's context.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) device: usize,
    pub(super) architecture: u32,
    pub(super) module: Arc<Module>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) is_ready: bool,
    pub(super) devices: Vec<Device>,
    pub(super) streams: BTreeMap<usize, Stream>,
    pub(super) events: BTreeMap<usize, Event>,
    pub(super) modules: BTreeMap<usize, Loaded>,
    pub(super) functions: BTreeMap<usize, Function>,
    pub(super) captures: BTreeMap<usize, Capture>,
    pub(super) graphs: BTreeMap<usize, Arc<[Node]>>,
    pub(super) execs: BTreeMap<usize, Exec>,
    /// Memory of the host that devices may reach at any time: address, bytes.
    pub(super) pinned: BTreeMap<usize, Pinned>,
    /// Counts what is put into streams.
    pub(super) tickets: u64,
    /// How often NVML was begun and not ended.
    pub(super) monitors: u32,
    /// Counts what was done: the time of events.
    pub(super) clock: u64,
    calls: BTreeMap<&'static str, u32>,
    handles: usize,
    /// Why there is no machine.
    broken: Option<String>,
}

/// Memory of the host that does not move.
#[derive(Debug)]
pub(super) enum Pinned {
    /// The driver's own.
    Own(Box<[AtomicU64]>),
    /// A caller's, that he registered.
    Registered(usize),
}

impl Pinned {
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Own(room) => size_of_val::<[AtomicU64]>(room),
            Self::Registered(bytes) => *bytes,
        }
    }
}

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new()));

thread_local! {
    /// Devices whose contexts this thread has pushed, the current one last.
    static CONTEXT: RefCell<Vec<Option<usize>>> = const { RefCell::new(Vec::new()) };
    /// This thread is in a call.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Calls after which an account is written.
const WAITS: [&str; 3] = ["cuEventQuery", "cuEventSynchronize", "cuStreamSynchronize"];

/// A call of the driver: counts it, fails it by script, and does its work.
pub(super) fn call(name: &'static str, work: impl FnOnce(&mut Driver) -> Result<(), Code>) -> Code {
    // A function of the host that a stream runs may call nothing of the driver.
    if IS_CALLING.replace(true) {
        return NOT_PERMITTED;
    }
    let mut driver = DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let outcome = driver.begin(name).and_then(|()| work(&mut driver));
    if WAITS.contains(&name) {
        driver.keep_account();
    }
    drop(driver);
    IS_CALLING.set(false);
    outcome.err().unwrap_or(SUCCESS)
}

/// A look at the state from outside of the driver's functions.
pub(super) fn look<T>(at: impl FnOnce(&mut Driver) -> T) -> T {
    at(&mut DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Says on stderr what a code cannot say.
pub(super) fn tell(what: &str) {
    eprintln!("EMULATED CUDA: {what}");
}

impl Driver {
    fn new() -> Self {
        let (machine, broken) = match Machine::load() {
            Ok(machine) => (machine, None),
            Err(error) => (Machine::default(), Some(error)),
        };
        let devices = (0..machine.devices).map(|_| Device::default()).collect();
        Self {
            machine,
            broken,
            devices,
            is_ready: false,
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            execs: BTreeMap::new(),
            pinned: BTreeMap::new(),
            tickets: 0,
            monitors: 0,
            clock: 0,
            calls: BTreeMap::new(),
            handles: HANDLES,
        }
    }

    fn begin(&mut self, name: &'static str) -> Result<(), Code> {
        if let Some(error) = &self.broken {
            tell(error);
            return Err(UNKNOWN);
        }
        let calls = self.calls.entry(name).or_default();
        *calls += 1;
        let fails = self.machine.fail.iter().find(|fail| fail.call == name && fail.at == *calls);
        if let Some(code) = fails.and_then(|fail| Code::of(fail.code)) {
            tell(&format!("{name} fails by script with {}", code.0));
            if let Some(device) = current().filter(|_| code.is_sticky()) {
                self.devices[device].fault = Some(code);
            }
            return Err(code);
        }
        if self.is_ready || EARLY.contains(&name) { Ok(()) } else { Err(NOT_INITIALIZED) }
    }

    /// Writes down calls, and the most bytes that each device had. Whoever waits has seen what came before.
    fn keep_account(&self) {
        let Some(path) = &self.machine.account else { return };
        let mut text = String::new();
        for (call, count) in &self.calls {
            text += &format!("{call} {count}\n");
        }
        for (device, Device { peak, .. }) in self.devices.iter().enumerate() {
            text += &format!("peak {device} {peak}\n");
        }
        let path = format!("{}.{}", path.display(), std::process::id());
        if let Err(error) = std::fs::write(&path, text) {
            tell(&format!("account = {path}: {error}"));
        }
    }

    /// A handle that nobody has.
    pub(super) fn handle(&mut self) -> usize {
        self.handles += 16;
        self.handles
    }

    /// The device of an ordinal.
    pub(super) fn ordinal(&self, ordinal: i32) -> Result<usize, Code> {
        let index = usize::try_from(ordinal).ok().filter(|index| *index < self.devices.len());
        index.ok_or(super::code::INVALID_DEVICE)
    }

    /// The device of a context's handle.
    pub(super) fn context(&self, handle: usize) -> Result<usize, Code> {
        let device = handle.checked_sub(CONTEXTS).filter(|device| *device < self.devices.len());
        device.filter(|d| self.devices[*d].retained > 0).ok_or(INVALID_CONTEXT)
    }

    /// The current context's device, if that context still is good for something.
    pub(super) fn current(&self) -> Result<usize, Code> {
        let device = current().ok_or(INVALID_CONTEXT)?;
        if self.devices[device].retained == 0 {
            return Err(INVALID_CONTEXT);
        }
        self.healthy(device).map(|()| device)
    }

    /// What ended a device's context, if something did.
    pub(super) fn healthy(&self, device: usize) -> Result<(), Code> {
        self.devices[device].fault.map_or(Ok(()), Err)
    }

    /// The device whose allocation holds so many bytes there.
    pub(super) fn owner(&self, address: u64, bytes: usize) -> Result<usize, Code> {
        let holds = |device: &Device| {
            device.memory.allocation(address).is_some_and(|(start, size)| {
                usize::try_from(address - start)
                    .is_ok_and(|first| first.checked_add(bytes).is_some_and(|end| end <= size))
            })
        };
        self.devices.iter().position(holds).ok_or_else(|| {
            tell(&format!("{bytes} bytes at {address:#x} lie in no device's allocation"));
            INVALID_VALUE
        })
    }

    /// Whether a range of the host's memory does not move.
    pub(super) fn is_pinned(&self, address: usize, bytes: usize) -> bool {
        self.pinned
            .range(..=address)
            .next_back()
            .is_some_and(|(start, pinned)| address - start + bytes <= pinned.bytes())
    }

    /// The stream of a handle: one that was made, or a default one of the current context.
    pub(super) fn stream(&mut self, handle: usize) -> Result<usize, Code> {
        // Of a stream that was made it does not matter which context is current, if only one is.
        let device = current().ok_or(INVALID_CONTEXT)?;
        let key = match handle {
            0 | 1 => 1 + 2 * self.current()?,
            2 => 2 + 2 * self.current()?,
            made if made > HANDLES => made,
            _ => return Err(INVALID_HANDLE),
        };
        if handle <= 2 {
            let stream = || Stream { is_legacy: handle < 2, ..Stream::of(device) };
            self.streams.entry(key).or_insert_with(stream);
        }
        let stream = self.streams.get(&key).filter(|stream| !stream.is_destroyed);
        let stream = stream.ok_or(INVALID_HANDLE)?;
        self.healthy(stream.device).map(|()| key)
    }

    /// Forgets a stream, and the capture that it began.
    pub(super) fn remove_stream(&mut self, key: usize) {
        self.streams.remove(&key);
        self.captures.retain(|_, capture| capture.origin != key);
        let captures = &self.captures;
        for stream in self.streams.values_mut() {
            stream.capture = stream.capture.take().filter(|(id, _)| captures.contains_key(id));
        }
    }

    /// Forgets all of a device's context.
    pub(super) fn reset(&mut self, device: usize) {
        let gone = self.streams.iter().filter(|(_, stream)| stream.device == device);
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove_stream(key);
        }
        self.events.retain(|_, event| event.device != device);
        self.modules.retain(|_, module| module.device != device);
        let modules = &self.modules;
        self.functions.retain(|_, function| modules.contains_key(&function.owner));
        self.devices[device] = Device::default();
    }
}

/// The handle of a device's context.
pub(super) const fn context_handle(device: usize) -> usize {
    CONTEXTS + device
}

/// The device whose context is this thread's.
pub(super) fn current() -> Option<usize> {
    // None, too, while the thread ends and its stack is gone.
    CONTEXT.try_with(|stack| stack.borrow().last().copied().flatten()).ok().flatten()
}

/// Changes this thread's stack of contexts.
pub(super) fn with_stack<T: Default>(change: impl FnOnce(&mut Vec<Option<usize>>) -> T) -> T {
    CONTEXT.try_with(|stack| change(&mut stack.borrow_mut())).unwrap_or_default()
}
