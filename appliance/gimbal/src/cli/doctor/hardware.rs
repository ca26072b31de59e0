//! Checks of the machine alone.

use std::time::{Duration, SystemTime};

use gimbal_machine::{Cpu, KernelTable, State};

use super::{Case, Finding, fail, ok, warn};
use crate::cli::probe::gib;

/// Less free memory than this holds no model worth serving: the process itself takes 64 MiB.
const MEMORY_FREE_MIN: u64 = 256 << 20;
/// Swapped bytes that are more than leftovers of idle programs.
const SWAP_USED_MAX: u64 = 64 << 20;
/// 2026-01-01: no clock that is right shows less.
const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600);
/// 2100-01-01.
const CLOCK_MAX: Duration = Duration::from_secs(4_102_444_800);

pub(super) fn features(case: &Case) -> Finding {
    let cpu = &case.machine.cpu;
    let set = case.settings.text("kernels").filter(|set| *set != "auto");
    if let Some(table) = set.and_then(KernelTable::named) {
        let lacking = table.lacking(cpu).map(|lacking| lacking.join(" "));
        let why = match lacking.as_deref() {
            Some("") => {
                let shown = format!("kernels = {}, as set; {}", table.name, named(cpu));
                return ok(format!("{shown} has what they need"));
            }
            Some(lacking) => format!("{} lacks {lacking}", named(cpu)),
            None => format!("they are for {}, not for {}", table.arch, named(cpu)),
        };
        return fail(format!("kernels = {}: {why}", table.name), "set --kernels auto");
    }
    let table = cpu.kernels();
    if !table.needs.is_empty() {
        let has = table.needs.join(" ");
        let unused = match cpu.has("sve") {
            true => "; SVE is not used",
            false => "",
        };
        return ok(format!("{} has {has}: kernels = {}{unused}", named(cpu), table.name));
    }
    let slow = "only the portable kernels run";
    let Some(least) = KernelTable::of_arch(&cpu.arch).next() else {
        return warn(
            format!("the processor is {}: {slow}", named(cpu)),
            "for speed use x86-64 with AVX2, or Arm with dot products (Graviton2 and later)",
        );
    };
    let lacking = least.lacking(cpu).unwrap_or_default().join(" ");
    let remedy = match cpu.arch.as_str() {
        "aarch64" => "use a core with dot products, as Graviton2 and later have",
        _ => "use a machine with AVX2, or a CPU model in the virtual machine that passes it on",
    };
    warn(format!("{} lacks {lacking}: {slow}", named(cpu)), remedy)
}

/// The processor's name, or what else is known of it.
fn named(cpu: &Cpu) -> &str {
    let known = [cpu.name.as_str(), cpu.arch.as_str()].into_iter().find(|name| !name.is_empty());
    known.unwrap_or("of unknown kind")
}

pub(super) fn cores(case: &Case) -> Finding {
    let (cpus, cores) = (case.machine.cpus(), case.machine.cores());
    let Some(own) = case.machine.threads() else {
        return warn("the number of CPUs is unknown", "mount /proc");
    };
    let set = case.settings.integer("threads");
    #[expect(clippy::cast_precision_loss, reason = "at most 1024")]
    let computing = set.map_or(f64::from(own), |threads| threads as f64);
    let shown = match cores < f64::from(cpus) {
        true => format!("{cpus} CPUs, of which {cores} at a time: {computing} threads compute"),
        false => format!("{cpus} CPUs: {computing} threads compute"),
    };
    if computing <= cores {
        return ok(shown);
    }
    let why = match case.machine.cgroup.cpu_quota {
        Some(_) => "they use the quota up before the end of each period, and then all stand still",
        None => "they take turns, and each step waits for the last one",
    };
    let whole = cores.ceil();
    warn(format!("{shown}; {why}"), format!("set --threads {own}, or give {whole} CPUs or more"))
}

pub(super) fn governor(case: &Case) -> Finding {
    match case.machine.system.governor.as_deref() {
        None => ok("the kernel does not choose the clock (a virtual machine, or firmware does)"),
        Some("performance") => ok("performance"),
        Some("schedutil") => ok("schedutil: the clock follows the load"),
        Some(other) => warn(
            format!("{other}: the clock may stay low in the first moments of a request"),
            "cpupower frequency-set -g performance",
        ),
    }
}

pub(super) fn memory(case: &Case) -> Finding {
    let machine = &case.machine;
    let shown =
        format!("{} free of {}", gib(machine.memory_free_bytes()), gib(machine.memory_bytes()));
    match machine.memory_free_bytes() {
        _ if machine.memory_bytes() == 0 => warn("the amount of memory is unknown", "mount /proc"),
        free if free < MEMORY_FREE_MIN => {
            fail(shown, "end other programs, raise the container's limit, or use a larger machine")
        }
        _ => ok(shown),
    }
}

pub(super) fn container_memory(case: &Case) -> Finding {
    let machine = &case.machine;
    let total = machine.memory.total_bytes;
    match machine.cgroup.memory_limit_bytes {
        None => ok("no limit"),
        Some(limit) if limit >= total => ok("no limit below the machine's memory"),
        Some(limit) => ok(format!(
            "{} of the machine's {}; more ends the process (OOM): gimbal plan cuts the KV cache to fit",
            gib(limit),
            gib(total)
        )),
    }
}

pub(super) fn swap(case: &Case) -> Finding {
    let memory = &case.machine.memory;
    match memory.swap_used_bytes {
        _ if memory.swap_bytes == 0 => ok("none"),
        used if used > SWAP_USED_MAX => warn(
            format!("{} of {} in use", gib(used), gib(memory.swap_bytes)),
            "weights that are swapped out stall a step: free memory, then swapoff -a && swapon -a",
        ),
        _ => ok(format!("{}, not in use", gib(memory.swap_bytes))),
    }
}

pub(super) fn huge_pages(case: &Case) -> Finding {
    let system = &case.machine.system;
    let huge = match system.huge_pages.as_deref() {
        None => "the kernel has no transparent huge pages",
        Some("never") => "never: fine, a little slower on large models",
        Some("always") => "always",
        Some(_) => "madvise",
    };
    ok(match system.page_bytes {
        Some(bytes) => format!("{huge}; others have {} KiB", bytes >> 10),
        None => huge.to_owned(),
    })
}

pub(super) fn clock(case: &Case) -> Finding {
    let since = case.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if (CLOCK_MIN..CLOCK_MAX).contains(&since) {
        return ok("shows a date that can be");
    }
    warn(
        format!(
            "shows {} seconds since 1970: logs and answers carry a wrong date",
            since.as_secs()
        ),
        "timedatectl set-ntp true",
    )
}

pub(super) fn accelerators(case: &Case) -> Finding {
    let all = &case.machine.accelerators;
    let unusable = all.iter().find_map(|a| match &a.state {
        State::Unusable { why, remedy } => Some((a, why, *remedy)),
        State::Driven { .. } => None,
    });
    let names = || all.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
    match unusable {
        Some((a, why, remedy)) => warn(format!("{} at {}: {why}", a.name, a.address), remedy),
        None if all.is_empty() => ok("none on the PCI bus: the CPU computes"),
        None => ok(format!("driven: {}", names())),
    }
}

pub(super) fn metadata(case: &Case) -> Finding {
    let machine = &case.machine;
    match &machine.metadata {
        None if machine.identity.is_ec2 => ok("not asked"),
        None => ok("not on EC2"),
        Some(Ok(said)) => ok(format!("answered: {} in {}", said.instance, said.region)),
        Some(Err(why)) if machine.identity.sagemaker.is_some() => {
            ok(format!("{why}; SageMaker does not offer it, and nothing needs it"))
        }
        Some(Err(why)) => warn(
            why.clone(),
            "only the region is lost: set AWS_REGION, or for containers \
             aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2",
        ),
    }
}

#[cfg(test)]
mod tests {
    use gimbal_machine::Machine;

    use super::super::{Check, Status};
    use super::*;

    /// What a check says of a fixture that was changed.
    fn check(
        tree: &str,
        change: impl FnOnce(&mut Machine),
        check: Check,
        status: Status,
        word: &str,
    ) {
        let (_folder, mut case) = Case::of(tree, &[]);
        change(&mut case.machine);
        let found = check(&case);
        assert_eq!(found.status, status, "{found:?}");
        let all = format!("{} → {}", found.finding, found.remedy.unwrap_or_default());
        assert!(all.contains(word), "{word:?} in {all:?}");
    }

    #[test]
    fn processors_without_fast_kernels_are_named() {
        let same = |_: &mut Machine| {};
        check("laptop", same, features, Status::Ok, "Ryzen 7 6800U");
        check("xeon-2-sockets", same, features, Status::Ok, "f16c avx512f avx512bw avx512_vnni");
        check(
            "c6g.xlarge",
            same,
            features,
            Status::Ok,
            "Neoverse N1 has asimd asimddp: kernels = neon",
        );
        for tree in ["c7g.xlarge", "c8g.xlarge", "m9g.xlarge"] {
            check(tree, same, features, Status::Ok, "kernels = i8mm; SVE is not used");
        }
        check("a1.xlarge", same, features, Status::Warn, "Cortex-A72 lacks asimddp: only");
        check("a1.xlarge", same, features, Status::Warn, "Graviton2 and later");
        let other = |m: &mut Machine| m.cpu = Cpu { arch: "riscv64".to_owned(), ..Cpu::default() };
        check("laptop", other, features, Status::Warn, "the processor is riscv64: only");
        let old = |m: &mut Machine| m.cpu.features.retain(|f| f != "f16c" && f != "avx2");
        check("laptop", old, features, Status::Warn, "lacks avx2 f16c");
    }

    #[test]
    fn kernels_that_are_set_are_checked() {
        for (kernels, status, word) in [
            ("auto", Status::Ok, "f16c: kernels = avx2"),
            ("scalar", Status::Ok, "kernels = scalar, as set"),
            ("avx2", Status::Ok, "kernels = avx2, as set"),
            ("avx512", Status::Fail, "lacks avx512f avx512bw avx512_vnni → set --kernels auto"),
        ] {
            let (_folder, case) = Case::of("laptop", &[("GIMBAL_KERNELS", kernels)]);
            let found = features(&case);
            let all = format!("{} → {}", found.finding, found.remedy.unwrap_or_default());
            assert!(found.status == status && all.contains(word), "{kernels}: {all}");
        }
        let (_folder, case) = Case::of("c7g.xlarge", &[("GIMBAL_KERNELS", "avx2")]);
        let found = features(&case);
        assert_eq!(found.finding, "kernels = avx2: they are for x86_64, not for Neoverse V1");
        assert_eq!(found.status, Status::Fail);
    }

    #[test]
    fn more_threads_than_cores_are_a_warning() {
        let same = |_: &mut Machine| {};
        let one = "4 CPUs, of which 1.5 at a time: 1 threads compute";
        check("epyc-container-v2", same, cores, Status::Ok, one);
        let half = |m: &mut Machine| m.cgroup.cpu_quota = Some(0.5);
        check("epyc-container-v2", half, cores, Status::Warn, "set --threads 1, or give 1 CPUs");
        check("container-v1", same, cores, Status::Ok, "3 CPUs, of which 2 at a time");
        let much = |m: &mut Machine| m.cgroup.cpu_quota = Some(7.5);
        check("epyc-container-v2", much, cores, Status::Ok, "4 CPUs: 4 threads");
        for (threads, status) in [("1", Status::Ok), ("2", Status::Warn), ("9", Status::Warn)] {
            let (_folder, case) = Case::of("epyc-container-v2", &[("GIMBAL_THREADS", threads)]);
            assert_eq!(cores(&case).status, status, "{threads}");
        }
        let none = |m: &mut Machine| *m = Machine::default();
        check("laptop", none, cores, Status::Warn, "unknown");
    }

    #[test]
    fn memory_limits_and_swap_are_seen() {
        let same = |_: &mut Machine| {};
        check("epyc-container-v2", same, memory, Status::Ok, "1.9 GiB free of 2.0 GiB");
        let full = |m: &mut Machine| {
            let limit = m.cgroup.strictest.as_mut().expect("the container has one");
            limit.used_bytes = 2000 << 20;
        };
        check("epyc-container-v2", full, memory, Status::Fail, "larger machine");
        check("epyc-container-v2", same, container_memory, Status::Ok, "2.0 GiB of the machine's");
        check("c7g.xlarge", same, container_memory, Status::Ok, "no limit");
        check("laptop", same, swap, Status::Warn, "2.9 GiB of 7.6 GiB in use");
        check("c7g.xlarge", same, swap, Status::Ok, "none");
        check("epyc-container-v2", same, swap, Status::Ok, "not in use");
    }

    #[test]
    fn the_kernels_choices_are_seen() {
        let same = |_: &mut Machine| {};
        check("laptop", same, governor, Status::Warn, "cpupower");
        check("c7g.xlarge", same, governor, Status::Ok, "does not choose");
        check("c7g.xlarge", same, huge_pages, Status::Ok, "madvise; others have 4 KiB");
        check("c8g.xlarge", same, huge_pages, Status::Ok, "others have 64 KiB");
        check("c7g.xlarge", same, clock, Status::Ok, "can be");
        let (_folder, mut case) = Case::of("laptop", &[]);
        case.now = SystemTime::UNIX_EPOCH;
        assert_eq!(clock(&case).status, Status::Warn);
    }

    #[test]
    fn accelerators_out_of_reach_and_silence_of_the_metadata_are_warnings() {
        let same = |_: &mut Machine| {};
        let missing = "A10G at 0000:00:1e.0: present but driver missing → install the NVIDIA";
        check("g5.xlarge-without-driver", same, accelerators, Status::Warn, missing);
        check("laptop", same, accelerators, Status::Warn, "nouveau");
        check("c7g.xlarge", same, accelerators, Status::Ok, "the CPU computes");
        let silent = |m: &mut Machine| m.metadata = Some(Err("no answer".to_owned()));
        check("c7g.xlarge", silent, metadata, Status::Warn, "hop-limit 2");
        let hosted = |m: &mut Machine| {
            silent(m);
            m.identity.sagemaker = Some("a variable".to_owned());
        };
        check("c7g.xlarge", hosted, metadata, Status::Ok, "SageMaker does not offer it");
        check("laptop", same, metadata, Status::Ok, "not on EC2");
    }
}
