//! What each Graviton could do at best, by the facts of `firmware-configs`: bytes and operations a second,
//! and the tokens they allow. Arithmetic over data sheets: nothing was measured.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context;

use crate::root;

/// Families, by the names of their files.
const FAMILIES: [&str; 4] = ["graviton2", "graviton3", "graviton4", "graviton5"];
/// MB that a step of the default model reads: 66.4 of Q4_1 and 30.1 of Q8_0.
const MODEL_MB: f64 = 96.5;
/// Millions of operations of one of its tokens in its linear layers and the head: two a weight.
const MODEL_MOPS: f64 = 269.0;

/// The table, a line for each.
pub(super) fn table() -> anyhow::Result<String> {
    let mut text =
        "Graviton's rooflines, a socket, from firmware-configs (not measured):\n".to_owned();
    for family in FAMILIES {
        let path = root().join(format!("firmware-configs/families/{family}.yaml"));
        let facts = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        writeln!(text, "  {family}: {}", line(&facts)?)?;
    }
    Ok(text)
}

fn line(facts: &str) -> anyhow::Result<String> {
    let known = |key: &str| number(facts, key).with_context(|| format!("no {key}"));
    let bytes = known("memory_gb_s")?;
    let cores_ghz = known("cores")? * known("ghz")?;
    let one = bytes * 1e3 / MODEL_MB;
    let read = format!("{bytes:.0} GB/s, {one:.0} tokens/s of the default model at 1 row");
    Ok(match number(facts, "int8_ops_per_cycle") {
        None => format!("{read}; int8 operations a cycle unknown"),
        Some(ops) => {
            let ops = cores_ghz * ops;
            let many = ops * 1e3 / MODEL_MOPS;
            format!("{read}; {ops:.0} Gops/s of SDOT, {many:.0} tokens/s at many rows")
        }
    })
}

/// The value of a fact that is a number.
fn number(facts: &str, key: &str) -> Option<f64> {
    let fact = facts.split_once(&format!("\n    {key}:"))?.1;
    let value = fact.split_once("value:")?.1;
    value.split([',', '\n', '}']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_line() {
        let table = table().expect("files of the repository");
        assert_eq!(table.lines().count(), 1 + FAMILIES.len(), "{table}");
        assert!(table.contains("graviton2: 205 GB/s, 2122 tokens/s"), "{table}");
        // 64 cores × 2.5 GHz × 64.
        assert!(table.contains("10240 Gops/s of SDOT, 38067 tokens/s at many rows"), "{table}");
        assert!(table.contains("graviton5: 845 GB/s"), "{table}");
        assert!(table.contains("operations a cycle unknown"), "{table}");
    }

    #[test]
    fn facts_are_read_with_and_without_remarks() {
        let facts = "processors:\n  a:\n    ghz: { value: 2.5, source: \"x\" }\n    \
                     int8_ops_per_cycle:\n      # why\n      { value: 64, source: \"y\" }\n    \
                     cores: { value: unknown, source: \"z\" }\n";
        assert_eq!(number(facts, "ghz"), Some(2.5));
        assert_eq!(number(facts, "int8_ops_per_cycle"), Some(64.0));
        assert_eq!(number(facts, "cores"), None);
        assert_eq!(number(facts, "memory_gb_s"), None);
    }
}
