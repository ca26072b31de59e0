//! The runtime as a whole: init and close, versions, counts, what a status is called.
//!
//! Next: `tensors.rs`.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use neuron_sys::{Framework, InstanceInfo, MemoryStats, Status, Version};

use crate::border::{Out, Text};
use crate::machine::Machine;
use crate::refusal::{Answer, PREFIX, refuse, tell};
use crate::state::{Core, Object, Phase, State, When, answer, with};

/// What the version says: nobody shall take it for AWS's.
const DETAIL: &str = "EMULATOR of Gimbal's tests: no hardware, no speed";

/// Exported so that a file that has the emulator in it can be told by its symbols.
#[unsafe(no_mangle)]
pub(crate) static gimbal_libnrt_emulator: u8 = 1;

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_init(framework: Framework, version: Text, layer: Text) -> Status {
    answer("nrt_init", When::Always, |state| {
        if state.phase != Phase::Fresh {
            return refuse(Status::INVALID, "a second time in one process");
        }
        if framework != Framework::NO_FRAMEWORK {
            return refuse(Status::INVALID, format!("{framework:?}: tests have no framework"));
        }
        for text in [version.read()?, layer.read()?] {
            if !text.is_empty() {
                return refuse(Status::INVALID, "a version of no framework is empty");
            }
        }
        let machine = state.machine()?;
        if machine.is_absent {
            return refuse(Status::INVALID, "there is no device");
        }
        let visible = visible(machine)?;
        let locks = machine.locks.clone();
        let cores: Answer<Vec<Core>> = visible
            .map(|physical| {
                let lock = match &locks {
                    Some(folder) => Some(lock(folder, physical)?),
                    None => None,
                };
                Ok(Core { lock, ..Core::default() })
            })
            .collect();
        state.cores = cores?;
        state.phase = Phase::Open;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_close() {
    with(|state| {
        if state.phase != Phase::Open {
            state.misuse("nrt_close", "the runtime is not open");
            return;
        }
        state.phase = Phase::Closed;
        let report = report(state);
        eprint!("{PREFIX}: nrt_close: {report}");
        let beside = state.machine.as_ref().and_then(|machine| machine.report.clone());
        if let Some(mut path) = beside.map(std::path::PathBuf::into_os_string) {
            path.push(format!(".{}", std::process::id()));
            if let Err(error) = fs::write(&path, report) {
                tell("nrt_close", &format!("{}: {error}", Path::new(&path).display()));
            }
        }
        state.objects.clear();
        state.infos.clear();
        // Others may have the cores now.
        state.cores.clear();
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_version(version: Out<Version>, bytes: usize) -> Status {
    answer("nrt_get_version", When::Always, |state| {
        let [rt_major, rt_minor, rt_patch, rt_maintenance] = state.machine()?.version;
        let (mut rt_detail, mut git_hash) = ([0; 128], [0; 64]);
        spell(DETAIL, &mut rt_detail);
        spell("gimbal", &mut git_hash);
        let told = Version { rt_major, rt_minor, rt_patch, rt_maintenance, rt_detail, git_hash };
        if bytes != size_of::<Version>() {
            return refuse(Status::INVALID, format!("a version of {bytes} bytes, not of 224"));
        }
        version.put(told)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_total_vnc_count(count: Out<u32>) -> Status {
    answer("nrt_get_total_vnc_count", When::Always, |state| count.put(present(state)?.cores))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_visible_vnc_count(count: Out<u32>) -> Status {
    answer("nrt_get_visible_vnc_count", When::Always, |state| {
        let visible = visible(present(state)?)?;
        count.put(visible.end - visible.start)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_instance_info(info: Out<InstanceInfo>, bytes: usize) -> Status {
    answer("nrt_get_instance_info", When::Open, |state| {
        let instance = state.machine()?.instance;
        let (mut arch_name, device_revision) = ([0; 16], [0; 8]);
        spell("EMULATOR", &mut arch_name);
        let told = InstanceInfo {
            family: instance.family,
            size: instance.size,
            arch_name,
            device_revision,
        };
        info.put_first(told, bytes)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_vnc_memory_stats(
    core: u32,
    stats: Out<MemoryStats>,
    bytes: usize,
    written: Out<usize>,
) -> Status {
    answer("nrt_get_vnc_memory_stats", When::Open, |state| {
        state.core(core)?;
        let number = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let told = MemoryStats {
            bytes_used: number(state.bytes_used(core)),
            bytes_limit: number(state.machine()?.memory),
        };
        stats.put_first(told, bytes)?;
        written.put(bytes.min(size_of::<MemoryStats>()))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_status_as_str(status: Status) -> *const c_char {
    static NAMES: OnceLock<Vec<(Status, CString)>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let known = Status::KNOWN.iter();
        known.filter_map(|(status, name)| Some((*status, CString::new(*name).ok()?))).collect()
    });
    let name = names.iter().find(|(known, _)| *known == status);
    name.map_or(c"NRT_UNKNOWN".as_ptr(), |(_, name)| name.as_ptr())
}

fn present(state: &State) -> Answer<&Machine> {
    match state.machine()? {
        machine if machine.is_absent => refuse(Status::INVALID, "there is no device"),
        machine => Ok(machine),
    }
}

/// The cores that the environment lets a process see, as AWS's runtime reads it.
fn visible(machine: &Machine) -> Answer<Range<u32>> {
    let (cores, count) = ("NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES");
    let said = |name: &str| std::env::var(name).ok();
    let range = match (said(cores), said(count)) {
        (Some(text), _) => range(&text).ok_or(format!("{cores} = {text:?}: not such as 0-3")),
        (None, Some(text)) => {
            let end = text.parse().ok().filter(|end| *end > 0);
            end.map(|end| 0..end).ok_or(format!("{count} = {text:?}: not a count"))
        }
        (None, None) => Ok(0..machine.cores),
    };
    match range {
        Ok(range) if range.end <= machine.cores => Ok(range),
        Ok(range) => {
            refuse(Status::LOAD_NOT_ENOUGH_NC, format!("cores {range:?} of {}", machine.cores))
        }
        Err(why) => refuse(Status::INVALID, why),
    }
}

/// `3` or `0-3`.
fn range(text: &str) -> Option<Range<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
    (first <= last).then(|| last.checked_add(1)).flatten().map(|end| first..end)
}

/// Takes a core, which no other process may have.
///
/// **Source** of the status: public notes on libnrt 2.31, which answers 1 where not as many cores are free.
fn lock(folder: &Path, core: u32) -> Answer<File> {
    let path = folder.join(format!("core{core}.lock"));
    let file = File::options().create(true).append(true).open(&path);
    match file.map_err(std::fs::TryLockError::Error).and_then(|file| file.try_lock().map(|()| file))
    {
        Ok(file) => Ok(file),
        Err(error) => refuse(
            Status::FAILURE,
            format!("core {core} is another process's ({}: {error})", path.display()),
        ),
    }
}

/// Writes a text with zeros behind it.
fn spell(text: &str, to: &mut [c_char]) {
    for (to, byte) in to.iter_mut().zip(text.bytes()) {
        *to = c_char::from_ne_bytes([byte]);
    }
}

/// What is left over, a line each; the last one counts.
fn report(state: &State) -> String {
    let mut lines = BTreeSet::new();
    for (handle, object) in &state.objects {
        lines.insert(match object {
            Object::Tensor(tensor) => {
                let (name, bytes) = (&tensor.name, tensor.size);
                format!("leak: tensor {handle:#x} {name:?} of {bytes} bytes")
            }
            Object::Set(set) => format!("leak: set {handle:#x} of {} tensors", set.len()),
            Object::Model(model) => format!("leak: model {handle:#x} on core {}", model.core),
        });
    }
    for address in state.infos.keys() {
        lines.insert(format!("leak: array of tensors' descriptions at {address:#x}"));
    }
    let mut told = String::new();
    let misuses = state.misuses.iter().map(|misuse| format!("misuse: {misuse}"));
    for line in misuses.chain(lines.iter().cloned()) {
        told += &line;
        told.push('\n');
    }
    let counts = writeln!(told, "closed: {} leaks, {} misuses", lines.len(), state.misuses.len());
    let peak = |(core, bytes): (&u32, &u64)| format!("peak of core {core}: {bytes} bytes\n");
    told.extend(state.peaks.iter().map(peak));
    counts.map(|()| told).unwrap_or_default()
}
