//! Arithmetic: one table of leaf functions per instruction set, chosen once.
//!
//! `scalar` is the definition; the others equal it bit for bit, because all fuse and sum in the
//! same order (lanes are rows of a weight group or columns of eight). Work is cut and threads are
//! used above, in `ops/`. This file chooses; `table` says what there is to choose.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod online;
mod scalar;
pub(crate) mod table;
#[cfg(target_arch = "x86_64")]
mod tile;

use std::sync::OnceLock;

use table::Kernels;

/// The fastest functions this CPU has.
pub(crate) fn best() -> &'static Kernels {
    static BEST: OnceLock<&'static Kernels> = OnceLock::new();
    BEST.get_or_init(|| all().last().copied().unwrap_or(&scalar::KERNELS))
}

/// Rows of a group of weights in the layout of the fastest functions.
#[must_use]
pub fn lanes() -> usize {
    best().lanes
}

/// All functions this CPU has, slowest first.
pub(crate) fn all() -> Vec<&'static Kernels> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "one entry elsewhere"))]
    let mut all = vec![&scalar::KERNELS];
    #[cfg(target_arch = "x86_64")]
    for (is_available, kernels) in
        [(avx2::is_available(), &avx2::KERNELS), (avx512::is_available(), &avx512::KERNELS)]
    {
        if is_available {
            all.push(kernels);
        }
    }
    all
}

#[cfg(test)]
mod tests;
