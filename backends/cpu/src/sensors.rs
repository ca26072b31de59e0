//! How the processor is: how busy, how warm, how many errors of its memory. What is not told is absent.
//!
//! How much memory the process may use is known to the host, elsewhere.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::{Components, System};

use crate::affinity::allowed_cpus;

/// Sensors of processors, by how their names begin: Intel's, AMD's, those of ARM's boards. Disks and
/// radios have others.
const PROCESSORS: [&str; 6] =
    ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "x86_pkg_temp"];
/// Where the kernel counts errors of memory, where the machine has ECC.
const ERRORS: &str = "/sys/devices/system/edac/mc";
/// Below this the kernel's ticks of 10 ms say nothing of a share.
const SPAN_MIN: Duration = Duration::from_millis(200);

/// What the processor tells; `None` is what it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// Share of the cores the process may use that computed since it was asked last, from 0 to 1, for
    /// anybody; under a quota, of the quota, for those who share it.
    pub load: Option<f64>,
    /// Of the warmest sensor of the processor, in degrees Celsius.
    pub temperature: Option<f64>,
    /// Errors of memory, corrected or not, since the machine was started.
    pub errors: Option<u64>,
}

/// Asks the processor; a load is told from the second time on.
#[derive(Debug, Default)]
pub struct Sensors(Mutex<Option<Last>>);

/// What the next load is counted from.
#[derive(Debug)]
struct Last {
    system: System,
    at: Instant,
    /// Time of the control group, in microseconds.
    group_us: Option<u64>,
}

impl Sensors {
    /// How the processor is now. Reads files of the kernel: some milliseconds on large machines.
    pub fn read(&self) -> Condition {
        let components = Components::new_with_refreshed_list().ok();
        let told = components.iter().flat_map(|all| all.iter());
        let told = told.filter_map(|sensor| Some((sensor.label(), sensor.temperature()?)));
        Condition {
            load: self.load(),
            temperature: warmest(told),
            errors: errors(Path::new(ERRORS)),
        }
    }

    fn load(&self) -> Option<f64> {
        // Whoever panicked left the last figures.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = &mut *last else {
            let mut system = System::new().ok()?;
            system.refresh_cpu_usage();
            *last = Some(Last { system, at: Instant::now(), group_us: group_us(Path::new("/")) });
            return None;
        };
        let span = last.at.elapsed();
        if span < SPAN_MIN {
            return None;
        }
        last.system.refresh_cpu_usage();
        last.at = Instant::now();
        let group_us = group_us(Path::new("/"));
        let before_us = std::mem::replace(&mut last.group_us, group_us);
        let cpus = allowed_cpus();
        let cores = std::thread::available_parallelism().ok()?.get();
        // Fewer than there are: a quota, and beside it the CPUs are others'.
        if cores < cpus.len()
            && let (Some(before), Some(now)) = (before_us, group_us)
        {
            let used = Duration::from_micros(now.saturating_sub(before));
            return share(used.as_secs_f64(), span.as_secs_f64() * cores as f64);
        }
        let is_ours = |name: &str| {
            let number = name.strip_prefix("cpu").and_then(|number| number.parse().ok());
            number.is_some_and(|number: usize| cpus.contains(&number))
        };
        let ours = last.system.cpus().iter().filter(|cpu| is_ours(cpu.name()));
        let percent: Vec<f64> = ours.map(|cpu| f64::from(cpu.usage())).collect();
        share(percent.iter().sum(), 100.0 * percent.len() as f64)
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    let share = part / whole;
    share.is_finite().then(|| share.clamp(0.0, 1.0))
}

/// The warmest of the processor's own sensors; one that reads 0 has no value.
fn warmest<'a>(told: impl Iterator<Item = (&'a str, f32)>) -> Option<f64> {
    let of_processor = told.filter(|(label, celsius)| {
        *celsius > 0.0 && PROCESSORS.iter().any(|name| label.starts_with(name))
    });
    of_processor.map(|(_, celsius)| f64::from(celsius)).max_by(f64::total_cmp)
}

/// Corrected and uncorrected errors of all memory controllers; `None` where there are none.
fn errors(folder: &Path) -> Option<u64> {
    let controllers = fs::read_dir(folder).ok()?.flatten();
    let count = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let counts = controllers.flat_map(|controller| {
        ["ce_count", "ue_count"].map(|name| count(&controller.path().join(name)))
    });
    counts.flatten().reduce(u64::saturating_add)
}

/// Time all CPUs have spent on the process's control group, in microseconds. Inside a container the
/// path belongs to the host, and its own group is what is mounted.
fn group_us(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let text = |controller: &str, mount: &str, file: &str| {
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        })?;
        let mount = root.join(mount);
        let own = mount.join(path.trim_start_matches('/')).join(file);
        fs::read_to_string(own).or_else(|_| fs::read_to_string(mount.join(file))).ok()
    };
    let usage = |stat: String| {
        stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse::<u64>().ok())
    };
    text("", "sys/fs/cgroup", "cpu.stat").and_then(usage).or_else(|| {
        let ns = text("cpuacct", "sys/fs/cgroup/cpuacct", "cpuacct.usage")?;
        Some(ns.trim().parse::<u64>().ok()? / 1000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_load_is_none_and_the_next_a_share() {
        let sensors = Sensors::default();
        assert_eq!(sensors.load(), None);
        // A span too short tells nothing, and one core computes until it is long enough.
        let mut load = sensors.load();
        assert_eq!(load, None);
        let started = Instant::now();
        while load.is_none() && started.elapsed() < Duration::from_secs(60) {
            load = sensors.load();
        }
        let load = load.expect("the kernel counts");
        assert!(load > 0.0 && load <= 1.0, "{load}");
        if let Some(celsius) = sensors.read().temperature {
            assert!((1.0..150.0).contains(&celsius), "{celsius}");
        }
    }

    #[test]
    fn the_processors_own_sensors_count() {
        let check = |told: &[(&'static str, f32)], expect| {
            assert_eq!(warmest(told.iter().copied()), expect, "{told:?}");
        };
        check(&[], None);
        check(&[("nvme Composite", 70.0), ("iwlwifi_1 temp1", 80.0)], None);
        check(&[("coretemp Core 0", 41.0), ("coretemp Package id 0", 44.5)], Some(44.5));
        check(&[("k10temp Tctl", 63.25), ("nvme Composite", 70.0)], Some(63.25));
        check(&[("cpu_thermal temp1", 0.0)], None);
        check(&[("coretemp Core 0", f32::NAN), ("coretemp Core 1", 50.0)], Some(50.0));
    }

    #[test]
    fn time_of_the_group_is_found_in_both_versions() {
        let root = std::env::temp_dir().join(format!("gimbal-group-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        assert_eq!(group_us(&root), None);
        write("proc/self/cgroup", "3:cpu,cpuacct:/host/a\n0::/\n");
        write("sys/fs/cgroup/cpuacct/cpuacct.usage", "5000000\n");
        assert_eq!(group_us(&root), Some(5000), "the path is the host's");
        write("sys/fs/cgroup/cpuacct/host/a/cpuacct.usage", "7000000\n");
        assert_eq!(group_us(&root), Some(7000));
        write("sys/fs/cgroup/cpu.stat", "usage_usec 9000\nuser_usec 1\n");
        assert_eq!(group_us(&root), Some(9000));
        fs::remove_dir_all(&root).expect("it was there");
    }

    #[test]
    fn errors_of_all_memory_controllers_are_counted() {
        let folder = std::env::temp_dir().join(format!("gimbal-edac-{}", std::process::id()));
        assert_eq!(errors(&folder), None);
        fs::create_dir_all(folder.join("mc0")).expect("a folder");
        fs::create_dir_all(folder.join("mc1")).expect("a folder");
        fs::create_dir_all(folder.join("power")).expect("a folder");
        assert_eq!(errors(&folder), None);
        for (file, text) in
            [("mc0/ce_count", "7\n"), ("mc0/ue_count", "1\n"), ("mc1/ce_count", "x")]
        {
            fs::write(folder.join(file), text).expect("a file");
        }
        assert_eq!(errors(&folder), Some(8));
        fs::remove_dir_all(&folder).expect("it was there");
    }
}
