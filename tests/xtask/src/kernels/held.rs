//! What a multiprocessor holds of each kernel: found, checked against the least, told as a table.
//!
//! Of several assemblers and types the worst counts. Next: `occupancy`, the arithmetic.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use super::cubins::Assembled;
use super::families::{FAMILIES, Variant};
use super::occupancy::LIMITS;
use super::usage::Usage;

/// Architectures whose registers are told together.
const GENERATIONS: [(&str, &[u32]); 3] =
    [("sm_75", &[75]), ("sm_80–90", &[80, 86, 89, 90]), ("sm_100, 120", &[100, 120])];

/// A variant's kernels.
#[derive(Debug)]
pub(super) struct Held {
    variant: &'static Variant,
    /// Of a block.
    threads: u32,
    /// By architecture: the most registers and shared memory.
    usages: BTreeMap<u32, Usage>,
    /// By architecture: blocks that are there at once.
    blocks: BTreeMap<u32, u32>,
}

/// What is held of each variant; an error for a kernel of none, and for a variant without kernels.
pub(super) fn find(
    all: &[Assembled],
    threads: &BTreeMap<String, u32>,
) -> anyhow::Result<Vec<Held>> {
    let variants = || FAMILIES.iter().flat_map(|family| family.variants);
    for kernel in all.iter().flat_map(|one| one.usages.keys()) {
        if !variants().any(|variant| variant.has(kernel)) {
            bail!("{kernel} is of no family in tests/xtask/src/kernels/families.rs");
        }
    }
    variants().map(|variant| held(variant, all, threads)).collect()
}

fn held(
    variant: &'static Variant,
    all: &[Assembled],
    threads: &BTreeMap<String, u32>,
) -> anyhow::Result<Held> {
    let name = variant.name;
    let mut sizes = threads.iter().filter(|(kernel, _)| variant.has(kernel)).map(|(_, size)| *size);
    let threads = sizes.next().with_context(|| format!("no kernel {name} has launch bounds"))?;
    if sizes.any(|other| other != threads) {
        bail!("kernels {name} have blocks of different sizes");
    }
    let mut usages: BTreeMap<u32, Usage> = BTreeMap::new();
    for one in all {
        for (_, usage) in one.usages.iter().filter(|(kernel, _)| variant.has(kernel)) {
            let most = usages.entry(one.device).or_default();
            most.registers = most.registers.max(usage.registers);
            most.shared = most.shared.max(usage.shared);
        }
    }
    let mut blocks = BTreeMap::new();
    for limits in LIMITS {
        let usage = usages.get(&limits.device);
        let usage = usage.with_context(|| format!("no kernel {name} for sm_{}", limits.device))?;
        blocks.insert(limits.device, limits.blocks(*usage, threads));
    }
    Ok(Held { variant, threads, usages, blocks })
}

/// Fails where fewer blocks fit than must.
pub(super) fn check(all: &[Held]) -> anyhow::Result<()> {
    for Held { variant, threads, usages, blocks } in all {
        for (device, fits) in blocks {
            let min = variant.blocks_min[usize::from(*device > 75)];
            if *fits < min {
                let Usage { registers, shared, .. } = usages[device];
                let name = variant.name;
                bail!(
                    "{name}: {fits} blocks of {threads} threads fit a multiprocessor of \
                     sm_{device}, {min} must ({registers} registers, {shared} bytes of shared \
                     memory): use less of them, or lower `blocks_min` in \
                     tests/xtask/src/kernels/families.rs and say why"
                );
            }
        }
    }
    Ok(())
}

/// For the document.
pub(super) fn table(all: &[Held]) -> String {
    let mut table = String::from("| kernel | threads | shared memory |");
    GENERATIONS.iter().for_each(|(name, _)| table += &format!(" registers, {name} |"));
    LIMITS.iter().for_each(|limits| table += &format!(" sm_{} |", limits.device));
    table += " at least |\n|---|";
    table += &"---:|".repeat(3 + GENERATIONS.len() + LIMITS.len());
    table += "\n";
    for Held { variant, threads, usages, blocks } in all {
        let shared = usages.values().map(|usage| usage.shared).max().unwrap_or(0);
        table += &format!("| `{}` | {threads} | {shared} |", variant.name);
        for (_, devices) in GENERATIONS {
            let registers = devices.iter().filter_map(|device| usages.get(device));
            let most = registers.map(|usage| usage.registers).max().unwrap_or(0);
            table += &format!(" {most} |");
        }
        for limits in LIMITS {
            let blocks = blocks[&limits.device];
            let percent = 100 * blocks * threads / 32 / limits.warps;
            table += &format!(" {blocks} ({percent} %) |");
        }
        let [turing, others] = variant.blocks_min;
        table += &format!(" {turing}, {others} |\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::cubins::assembled;
    use super::*;

    /// Every kernel for every architecture, and what they use.
    fn all(of_gemm: Usage) -> Vec<Assembled> {
        let variants = || FAMILIES.iter().flat_map(|family| family.variants);
        let small = Usage { registers: 32, shared: 0, spilled: 0 };
        let mut usages: BTreeMap<String, Usage> =
            variants().map(|variant| (format!("{}_f16", variant.name), small)).collect();
        usages.insert("gemm_add_f16".to_owned(), of_gemm);
        LIMITS.iter().map(|limits| assembled(limits.device, usages.clone())).collect()
    }

    fn threads(all: &[Assembled]) -> BTreeMap<String, u32> {
        all.iter().flat_map(|one| one.usages.keys()).map(|kernel| (kernel.clone(), 128)).collect()
    }

    #[test]
    fn the_worst_kernel_of_a_name_counts() {
        for (registers, shared, expect) in [
            (98, 30 << 10, None),
            (98, 33 << 10, Some("1 blocks of 128 threads fit a multiprocessor of sm_75, 2 must")),
            (168, 1 << 10, None),
            (169, 1 << 10, Some("2 blocks of 128 threads fit a multiprocessor of sm_80, 3 must")),
        ] {
            let all = all(Usage { registers, shared, spilled: 0 });
            let held = find(&all, &threads(&all)).expect("all are known");
            let told = check(&held).err().map(|error| error.to_string());
            let is_so = match (&told, expect) {
                (None, None) => true,
                (Some(told), Some(expect)) => told.starts_with(&format!("gemm: {expect}")),
                _ => false,
            };
            assert!(is_so, "{registers} {shared}: {told:?}");
        }
    }

    #[test]
    fn kernels_and_families_belong_together() {
        let mut all = all(Usage::default());
        let of_all = threads(&all);
        all[0].usages.insert("conv_f16".to_owned(), Usage::default());
        let told = find(&all, &of_all).expect_err("no family").to_string();
        assert!(told.contains("conv_f16 is of no family"), "{told}");
        all[0].usages.remove("conv_f16");
        let mut odd = of_all.clone();
        odd.insert("gemm_add_f16".to_owned(), 64);
        let told = find(&all, &odd).expect_err("two sizes").to_string();
        assert!(told.contains("kernels gemm have blocks of different sizes"), "{told}");
        all[3].usages.remove("embed_f16");
        let told = find(&all, &of_all).expect_err("no kernel").to_string();
        assert!(told.contains("no kernel embed for sm_89"), "{told}");
    }
}
