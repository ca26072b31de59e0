//! Which table of kernels a processor gets, told from the flags that Linux shows of it.
//!
//! For machines that are looked at from outside: `probe`, `doctor`, the catalogue. The process that
//! computes asks its own processor (`gimbal-cpu`); a test compares the two. SVE and SME have no table:
//! on Graviton3 to 5 the products of matrices of `i8mm` run beside them.

use crate::Cpu;

/// A table of kernels and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTable {
    /// Its name, as the setting `kernels` has it.
    pub name: &'static str,
    /// The processors it is for; empty: all.
    pub arch: &'static str,
    /// Flags, as Linux spells them.
    pub needs: &'static [&'static str],
}

/// All of them, slowest first. Processors that have all of `avx512` have `avx512vl`.
const TABLES: [KernelTable; 5] = [
    KernelTable { name: "scalar", arch: "", needs: &[] },
    KernelTable { name: "avx2", arch: "x86_64", needs: &["avx2", "fma", "f16c"] },
    KernelTable {
        name: "avx512",
        arch: "x86_64",
        needs: &["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni"],
    },
    KernelTable { name: "neon", arch: "aarch64", needs: &["asimd", "asimddp"] },
    KernelTable { name: "i8mm", arch: "aarch64", needs: &["asimd", "asimddp", "i8mm"] },
];

impl KernelTable {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// Those written for a kind of processor, slowest first: none where only plain Rust runs.
    pub fn of_arch(arch: &str) -> impl DoubleEndedIterator<Item = &'static Self> {
        TABLES.iter().filter(move |table| !table.arch.is_empty() && table.arch == arch)
    }

    /// The fastest for a kind of processor with these flags.
    #[must_use]
    pub fn fastest(arch: &str, has: impl Fn(&str) -> bool) -> &'static Self {
        let mut own = Self::of_arch(arch).rev();
        own.find(|table| table.needs.iter().all(|flag| has(flag))).unwrap_or(&TABLES[0])
    }

    /// What a processor lacks for it; `None` where it is for another kind.
    #[must_use]
    pub fn lacking(&self, cpu: &Cpu) -> Option<Vec<&'static str>> {
        let is_ours = self.arch.is_empty() || self.arch == cpu.arch;
        is_ours.then(|| self.needs.iter().filter(|flag| !cpu.has(flag)).copied().collect())
    }
}

impl Cpu {
    /// The fastest table of kernels that it has.
    #[must_use]
    pub fn kernels(&self) -> &'static KernelTable {
        KernelTable::fastest(&self.arch, |flag| self.has(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    #[test]
    fn graviton_families_name_their_table() {
        let all = Catalogue::embedded();
        for (name, expect) in [
            ("graviton2", "neon"),
            ("graviton3", "i8mm"),
            ("graviton4", "i8mm"),
            ("graviton5", "i8mm"),
        ] {
            let family = all.family(name).expect("it is there");
            let table = family.processors[name].kernels("aarch64").expect("its flags are known");
            assert_eq!(table.name, expect, "{name}");
            assert!(family.about.contains(&format!("kernels {expect}")), "{}", family.about);
        }
    }

    #[test]
    fn a_table_is_for_its_own_kind_of_processor() {
        let has_all = |_: &str| true;
        assert_eq!(KernelTable::fastest("x86_64", has_all).name, "avx512");
        assert_eq!(KernelTable::fastest("aarch64", has_all).name, "i8mm");
        assert_eq!(KernelTable::fastest("aarch64", |flag| flag != "asimddp").name, "scalar");
        assert_eq!(KernelTable::fastest("riscv64", has_all).name, "scalar");
        assert_eq!(KernelTable::fastest("", has_all).name, "scalar");
        let cpu = Cpu { arch: "aarch64".to_owned(), ..Cpu::default() };
        let lacking = |name| KernelTable::named(name).expect("there is one").lacking(&cpu);
        assert_eq!(lacking("avx2"), None);
        assert_eq!(lacking("scalar"), Some(Vec::new()));
        assert_eq!(lacking("neon"), Some(vec!["asimd", "asimddp"]));
        assert_eq!(KernelTable::named("sve"), None);
    }
}
