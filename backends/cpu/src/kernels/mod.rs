//! Arithmetic: one table of leaf functions per instruction set, chosen once.
//!
//! `scalar` is the definition; the others equal it bit for bit, because all fuse and sum in the
//! same order (lanes are rows of a weight group or columns of eight). Work is cut and threads are
//! used above, in `ops/`. This file chooses; `table` says what there is to choose.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod online;
mod scalar;
pub(crate) mod table;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tile;

use table::Kernels;

/// Which kernels run: the values of the setting `kernels`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that this CPU has.
    #[default]
    Auto,
    /// Those of plain Rust.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 and VNNI.
    Avx512,
    /// Arm with dot products of bytes.
    Neon,
    /// Arm with products of matrices of bytes.
    I8mm,
}

impl KernelChoice {
    /// All of them, by their names in the setting.
    pub const ALL: [(&str, Self); 6] = [
        ("auto", Self::Auto),
        ("scalar", Self::Scalar),
        ("avx2", Self::Avx2),
        ("avx512", Self::Avx512),
        ("neon", Self::Neon),
        ("i8mm", Self::I8mm),
    ];

    /// Its name in the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// The table, and why that one.
    ///
    /// # Errors
    /// What this CPU lacks for it.
    pub fn table(self) -> Result<(&'static Kernels, String), String> {
        let (mut best, mut why) = (&scalar::KERNELS, "the fastest that this CPU has".to_owned());
        for Table { choice, kernels, lacking } in TABLES {
            let lacking = lacking().join(" ");
            if self == *choice {
                let found = (*kernels, "as set".to_owned());
                let lacks = format!("this CPU lacks {lacking}");
                return if lacking.is_empty() { Ok(found) } else { Err(lacks) };
            }
            if lacking.is_empty() {
                best = kernels;
            } else {
                why = format!("{why}; {} need {lacking}", choice.name());
            }
        }
        match self {
            Self::Auto => Ok((best, why)),
            _ => Err(format!("they are for another processor than {}", std::env::consts::ARCH)),
        }
    }
}

/// A table that was compiled.
struct Table {
    choice: KernelChoice,
    kernels: &'static Kernels,
    /// What it needs and this CPU lacks.
    lacking: fn() -> Vec<&'static str>,
}

/// All of them, slowest first.
static TABLES: &[Table] = &[
    Table { choice: KernelChoice::Scalar, kernels: &scalar::KERNELS, lacking: Vec::new },
    #[cfg(target_arch = "x86_64")]
    Table { choice: KernelChoice::Avx2, kernels: &avx2::KERNELS, lacking: avx2::lacking },
    #[cfg(target_arch = "x86_64")]
    Table { choice: KernelChoice::Avx512, kernels: &avx512::KERNELS, lacking: avx512::lacking },
    #[cfg(target_arch = "aarch64")]
    Table { choice: KernelChoice::Neon, kernels: &neon::KERNELS, lacking: neon::lacking },
    #[cfg(target_arch = "aarch64")]
    Table { choice: KernelChoice::I8mm, kernels: &i8mm::KERNELS, lacking: i8mm::lacking },
];

/// Those that this CPU has, slowest first.
#[cfg(test)]
pub(crate) fn all() -> Vec<&'static Kernels> {
    TABLES.iter().filter(|table| (table.lacking)().is_empty()).map(|table| table.kernels).collect()
}

#[cfg(test)]
mod tests;
