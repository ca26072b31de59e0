//! The least time that a kernel can take on a device: by the bytes it must move, or by its FLOPs. That is a
//! bound by arithmetic; nothing here was measured.
//!
//! Next: `families`, the formulas.

use super::families::{FAMILIES, Family, Unit, Variant};

/// A device's peaks, as its maker has them.
struct Device {
    name: &'static str,
    /// GB/s.
    memory: f64,
    /// TFLOP/s of f16 on tensor cores, of f32 on CUDA cores.
    tensor: f64,
    cores: f64,
}

/// **Source**: NVIDIA's figures as others print them; no data sheet was opened. T4, A100 40 GB SXM: f16, f32 and
/// bandwidth so; A10G: 600 GB/s by Baseten's "A10 vs A10G", its TFLOP/s are an A10's (31.2 of f32), from memory;
/// L4 and H100 SXM: f16 half of what is said with sparsity, f32 from memory.
const DEVICES: [Device; 5] = [
    Device { name: "T4", memory: 320.0, tensor: 65.0, cores: 8.1 },
    Device { name: "A10G", memory: 600.0, tensor: 70.0, cores: 31.2 },
    Device { name: "L4", memory: 300.0, tensor: 121.0, cores: 30.3 },
    Device { name: "A100", memory: 1555.0, tensor: 312.0, cores: 19.5 },
    Device { name: "H100", memory: 3350.0, tensor: 989.0, cores: 67.0 },
];

impl Device {
    /// Microseconds by bytes and by FLOPs.
    fn times(&self, unit: Unit, bytes: f64, flops: f64) -> [f64; 2] {
        let peak = match unit {
            Unit::Cores => self.cores,
            Unit::Tensor => self.tensor,
        };
        [bytes / self.memory / 1e3, flops / peak / 1e6]
    }
}

/// For the document: what each family computes, then what its example takes at least.
pub(super) fn table() -> anyhow::Result<String> {
    let mut table =
        String::from("| kernels | in | computes | bytes | FLOPs |\n|---|---|---|---|---|\n");
    for family in &FAMILIES {
        let names: Vec<&str> = family.variants.iter().map(|variant| variant.name).collect();
        let names = names.join("`, `");
        let Family { source, computes, bytes, flops, .. } = family;
        table += &format!("| `{names}` | {source} | {computes} | {bytes} | {flops} |\n");
    }
    table += "\n| kernel | rows | MB | GFLOP | FLOP a byte |";
    for Device { name, memory, tensor, cores } in DEVICES {
        table += &format!(" {name}: {memory} GB/s, {tensor} and {cores} TFLOP/s |");
    }
    table += &format!("\n|---|{}\n", "---:|".repeat(4 + DEVICES.len()));
    for family in &FAMILIES {
        for variant in family.variants {
            for rows in variant.rows {
                table += &row(family, variant, *rows)?;
            }
        }
    }
    Ok(table)
}

fn row(family: &Family, variant: &Variant, rows: u64) -> anyhow::Result<String> {
    #[expect(clippy::cast_precision_loss, reason = "three digits are told")]
    let value = |formula| variant.value(formula, rows).map(|value| value as f64);
    let (bytes, flops) = (value(family.bytes)?, value(family.flops)?);
    let sizes = [bytes / 1e6, flops / 1e9, flops / bytes].map(digits);
    let mut row = format!("| `{}` | {rows} | {} |", variant.name, sizes.join(" | "));
    for device in &DEVICES {
        let [by_bytes, by_flops] = device.times(family.unit, bytes, flops);
        row += &match by_flops > by_bytes {
            true => format!(" **{}** |", digits(by_flops)),
            false => format!(" {} |", digits(by_bytes)),
        };
    }
    Ok(row + "\n")
}

/// Three digits, or all of those before the point.
fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_bytes_or_flops_by_the_peak() {
        let device = &DEVICES[0];
        // 320 MB at 320 GB/s are a millisecond; 65 GFLOP at 65 TFLOP/s, too, and on CUDA cores eight.
        let [bytes, flops] = device.times(Unit::Tensor, 320e6, 65e9);
        assert!((bytes - 1000.0).abs() < 1e-6 && (flops - 1000.0).abs() < 1e-6, "{bytes} {flops}");
        let [_, flops] = device.times(Unit::Cores, 0.0, 65e9);
        assert!((flops - 8024.7).abs() < 0.1, "{flops}");
    }

    #[test]
    fn digits_are_three_or_more() {
        for (value, expect) in
            [(1234.5, "1234"), (99.96, "100.0"), (2.345, "2.35"), (0.01, "0.010")]
        {
            assert_eq!(digits(value), expect);
        }
    }
}
