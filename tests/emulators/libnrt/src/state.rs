//! All that the runtime knows while it runs, and how a call gets at it.
//!
//! Next: `runtime.rs`, the first of the functions.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use neuron_sys::Status;

use crate::machine::{How, Machine};
use crate::program::Program;
use crate::refusal::{Answer, Refusal, refuse, tell};
use crate::storage::Storage;

/// What has happened to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing yet.
    Fresh,
    /// Initialised.
    Open,
    /// Closed: it does not open again.
    Closed,
}

/// When a function may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At any time.
    Always,
    /// Between `nrt_init` and `nrt_close`.
    Open,
}

/// A tensor: a range of some storage.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// What it is called.
    pub(crate) name: String,
    /// Its memory.
    pub(crate) storage: Arc<Storage>,
    /// Where it begins there.
    pub(crate) offset: usize,
    /// Bytes.
    pub(crate) size: usize,
}

/// A model on a core.
#[derive(Debug)]
pub(crate) struct Model {
    /// What it computes.
    pub(crate) program: Program,
    /// On which core.
    pub(crate) core: u32,
    /// Its rank, and of how many.
    pub(crate) rank: (u32, u32),
    /// Bytes that it takes of the core's memory.
    pub(crate) bytes: u64,
    /// Ranks of one program have the same.
    pub(crate) digest: [u8; 32],
}

/// Tensors by name; a handle each.
pub(crate) type Set = BTreeMap<String, usize>;

/// What a handle is of.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// A tensor.
    Tensor(Tensor),
    /// A set.
    Set(Set),
    /// A model.
    Model(Arc<Model>),
}

/// A logical core.
#[derive(Debug, Default)]
pub(crate) struct Core {
    /// The lock that says that this process has it.
    #[expect(dead_code, reason = "it is held until it is dropped")]
    pub(crate) lock: Option<File>,
    /// What it answers, since something in it broke.
    pub(crate) poisoned: Option<Status>,
    /// One execution at a time.
    pub(crate) turn: Arc<Mutex<()>>,
}

/// The runtime.
#[derive(Debug)]
pub(crate) struct State {
    /// What has happened to it.
    pub(crate) phase: Phase,
    /// The machine; none if its script cannot be read.
    pub(crate) machine: Option<Machine>,
    /// The visible cores, from `nrt_init` on.
    pub(crate) cores: Vec<Core>,
    /// Every live object by its handle.
    pub(crate) objects: BTreeMap<usize, Object>,
    /// Arrays that `nrt_get_model_tensor_info` gave, by address.
    pub(crate) infos: BTreeMap<usize, Infos>,
    /// What a caller did that no status could tell it.
    pub(crate) misuses: Vec<String>,
    /// The most bytes of each core that were in use.
    pub(crate) peaks: BTreeMap<u32, u64>,
    handle_next: usize,
    calls: HashMap<&'static str, u32>,
}

/// The memory of an array of tensors' descriptions.
#[derive(Debug)]
pub(crate) struct Infos {
    /// The array.
    pub(crate) words: Box<[u64]>,
    /// The shapes that it points to.
    #[expect(dead_code, reason = "a caller follows the array's pointers to them")]
    pub(crate) shapes: Vec<Box<[u32]>>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Handles begin here: no address, so that who follows one ends there, and not on something of another kind.
const HANDLE_FIRST: usize = 0x4E52_5401;

impl State {
    fn fresh() -> Self {
        let machine = Machine::load().map_err(|why| tell("the script", &why)).ok();
        Self {
            phase: Phase::Fresh,
            machine,
            cores: Vec::new(),
            objects: BTreeMap::new(),
            infos: BTreeMap::new(),
            misuses: Vec::new(),
            peaks: BTreeMap::new(),
            handle_next: HANDLE_FIRST,
            calls: HashMap::new(),
        }
    }

    /// The machine.
    pub(crate) fn machine(&self) -> Answer<&Machine> {
        match &self.machine {
            Some(machine) => Ok(machine),
            None => refuse(Status::INVALID, "the script cannot be read"),
        }
    }

    /// Keeps an object; its handle has never been another's.
    pub(crate) fn keep(&mut self, object: Object) -> usize {
        let handle = self.handle_next;
        self.handle_next += 2;
        self.objects.insert(handle, object);
        handle
    }

    /// A live tensor.
    pub(crate) fn tensor(&self, handle: usize) -> Answer<&Tensor> {
        match self.objects.get(&handle) {
            Some(Object::Tensor(tensor)) => Ok(tensor),
            other => wrong("tensor", handle, other),
        }
    }

    /// A live set.
    pub(crate) fn set(&mut self, handle: usize) -> Answer<&mut Set> {
        match self.objects.get_mut(&handle) {
            Some(Object::Set(set)) => Ok(set),
            other => wrong("set of tensors", handle, other.as_deref()),
        }
    }

    /// A loaded model.
    pub(crate) fn model(&self, handle: usize) -> Answer<Arc<Model>> {
        match self.objects.get(&handle) {
            Some(Object::Model(model)) => Ok(model.clone()),
            other => wrong("model", handle, other),
        }
    }

    /// A visible core.
    pub(crate) fn core(&mut self, core: u32) -> Answer<&mut Core> {
        let count = self.cores.len();
        match self.cores.get_mut(core as usize) {
            Some(core) => Ok(core),
            None => refuse(
                Status::LOAD_NOT_ENOUGH_NC,
                format!("core {core}: this process has {count} of them, from 0"),
            ),
        }
    }

    /// Bytes of a core's memory that are in use.
    pub(crate) fn bytes_used(&self, core: u32) -> u64 {
        let mut counted = Vec::new();
        let mut bytes = 0;
        for object in self.objects.values() {
            match object {
                Object::Model(model) if model.core == core => bytes += model.bytes,
                Object::Tensor(tensor) if tensor.storage.core == Some(core) => {
                    let storage = Arc::as_ptr(&tensor.storage);
                    // Slices share their memory, which lives as long as any of them.
                    if !counted.contains(&storage) {
                        counted.push(storage);
                        bytes += tensor.storage.size as u64;
                    }
                }
                _ => {}
            }
        }
        bytes
    }

    /// There is as much room left on a core, and it is taken.
    pub(crate) fn take_room(&mut self, core: u32, bytes: u64) -> Answer {
        let (used, limit) = (self.bytes_used(core), self.machine()?.memory);
        match used.checked_add(bytes) {
            Some(all) if all <= limit => {
                let peak = self.peaks.entry(core).or_default();
                *peak = all.max(*peak);
                Ok(())
            }
            _ => refuse(
                Status::RESOURCE,
                format!("core {core}: {bytes} bytes more than {used} of {limit}"),
            ),
        }
    }

    /// What no status can tell is told at the end.
    pub(crate) fn misuse(&mut self, call: &str, why: &str) {
        tell(call, why);
        self.misuses.push(format!("{call}: {why}"));
    }

    /// How this call fails by script, which counts it.
    fn scripted(&mut self, call: &'static str) -> Option<How> {
        let nth = self.calls.entry(call).or_default();
        *nth += 1;
        let fail = &self.machine.as_ref()?.fail;
        fail.iter().find(|f| f.call == call && f.nth == *nth).map(|f| f.how)
    }

    fn check(&self, when: When) -> Answer {
        match (when, self.phase) {
            (When::Open, Phase::Fresh) => refuse(Status::UNINITIALIZED, "before nrt_init"),
            (When::Open, Phase::Closed) => refuse(Status::CLOSED, "after nrt_close"),
            _ => Ok(()),
        }
    }
}

fn wrong<T>(wanted: &str, handle: usize, object: Option<&Object>) -> Answer<T> {
    let is = match object {
        None => "nothing that lives",
        Some(Object::Tensor(_)) => "a tensor",
        Some(Object::Set(_)) => "a set of tensors",
        Some(Object::Model(_)) => "a model",
    };
    refuse(Status::INVALID_HANDLE, format!("{handle:#x} is {is}, not a {wanted}"))
}

/// Works on the runtime's state.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    work(state.get_or_insert_with(State::fresh))
}

/// Answers a call: as the script wants, or as the state allows, or by doing it.
pub(crate) fn answer(
    call: &'static str,
    when: When,
    work: impl FnOnce(&mut State) -> Answer,
) -> Status {
    answer_unlocked(call, when, || with(work))
}

/// The same of work that takes the state for moments only.
pub(crate) fn answer_unlocked(
    call: &'static str,
    when: When,
    work: impl FnOnce() -> Answer,
) -> Status {
    let (scripted, allowed, timeout) = with(|state| {
        let timeout = state.machine.as_ref().map(|machine| machine.timeout).unwrap_or_default();
        (state.scripted(call), state.check(when), timeout)
    });
    let done = match (scripted, allowed) {
        (_, Err(refusal)) => Err(refusal),
        (Some(How::Status(status)), _) => refuse(Status(status), "by script"),
        (Some(how @ How::Hang(_)), _) => {
            tell(call, "hangs by script");
            hang(how, timeout)
        }
        (None, Ok(())) => work(),
    };
    match done {
        Ok(()) => Status::SUCCESS,
        Err(Refusal { status, why }) => {
            tell(call, &format!("{why}: {status}"));
            status
        }
    }
}

fn hang(how: How, timeout: std::time::Duration) -> Answer {
    if let Some(status) = how.status() {
        thread::sleep(timeout);
        return refuse(status, "gave up after the time that the script says");
    }
    loop {
        thread::park();
    }
}
