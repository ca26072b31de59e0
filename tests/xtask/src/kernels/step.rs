//! What a whole decode step moves, by the same formulas: how near its bytes come to those that no step can do
//! without, weights and KV.
//!
//! Next: `occupancy`.

use anyhow::{Context, ensure};

use super::families::{FAMILIES, Variant};

/// Layers of the model whose shape `families` has, and columns of its queries, keys and values.
const LAYERS: u64 = 32;
const QKV: u64 = 6144;
/// The least share that weights and KV may have of a step's bytes.
const SHARE_MIN: f64 = 0.85;

/// A kernel of a step: how often, with sizes of its own.
struct Part {
    kernel: &'static str,
    times: u64,
    sizes: &'static [(&'static str, u64)],
    /// Whether the weights or keys that it reads are most of its bytes.
    is_needed: bool,
}

const fn part(
    kernel: &'static str,
    times: u64,
    sizes: &'static [(&'static str, u64)],
    is_needed: bool,
) -> Part {
    Part { kernel, times, sizes, is_needed }
}

/// As `program/launches.rs` queues them.
const STEP: [Part; 13] = [
    part("embed", 1, &[], false),
    part("rms_norm", 2 * LAYERS + 1, &[], false),
    part("skinny1", LAYERS, &[("n", QKV)], true),
    part("rope_kv_write", LAYERS, &[], false),
    part("decode_d128_g4", LAYERS, &[], true),
    // Read here, and written by the kernel before.
    part("merge", 2 * LAYERS, &[], false),
    part("skinny1", LAYERS, &[("n", 4096)], true),
    part("skinny1", LAYERS, &[("n", 28_672)], true),
    part("silu_mul", LAYERS, &[], false),
    part("skinny1", LAYERS, &[("k", 14_336), ("n", 4096)], true),
    // Outputs of blocks are added to f32: six bytes more a number than the products' formula has, which are those
    // of this kernel.
    part("round", 2 * LAYERS, &[], false),
    part("skinny1", 1, &[("n", 128_256)], true),
    part("sample", 1, &[], false),
];

/// Of a step of so many rows: all bytes, and those of weights and KV.
fn bytes(rows: u64) -> anyhow::Result<[u64; 2]> {
    let mut sums = [0; 2];
    for part in &STEP {
        let mut families = FAMILIES.iter();
        let found = families.find_map(|family| {
            let is_it = |variant: &&Variant| variant.name == part.kernel;
            Some((family, family.variants.iter().find(is_it)?))
        });
        let (family, variant) = found.with_context(|| format!("no kernel {}", part.kernel))?;
        let value = |formula| variant.value_with(part.sizes, formula, rows);
        sums[0] += part.times * value(family.bytes)?;
        if part.is_needed {
            let needed = if part.kernel == "skinny1" { "n · k · 2" } else { family.bytes };
            sums[1] += part.times * value(needed)?;
        }
    }
    Ok(sums)
}

/// For the document.
///
/// # Errors
/// A step moves too much beside weights and KV.
pub(super) fn table() -> anyhow::Result<String> {
    let mut table = String::from(
        "| decode step | weights and KV, MB | all it moves, MB | share |\n|---:|---:|---:|---:|\n",
    );
    for rows in [1, 8, 32, 128] {
        #[expect(clippy::cast_precision_loss, reason = "three digits are told")]
        let [all, needed] = bytes(rows)?.map(|bytes| bytes as f64 / 1e6);
        let share = needed / all;
        ensure!(share >= SHARE_MIN, "a step of {rows} rows moves {all} MB to read {needed}");
        table += &format!("| {rows} rows | {needed:.0} | {all:.0} | {share:.3} |\n");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_eight_billion() {
        let [all, needed] = bytes(1).expect("every kernel is known");
        let kv = LAYERS * 4096 * 8 * 128 * 4;
        let weights = needed - kv;
        // 7.5 billion that are multiplied with: without the embedding.
        assert!((15_000_000_000..15_100_000_000).contains(&weights), "{weights}");
        assert!(all > needed && all - needed < 100_000_000, "{all} {needed}");
    }
}
