//! What the linear kernels of all vector sets share: types known when compiled, tiles of rows.

use gimbal_model::weights::DType;

#[cfg(target_arch = "x86_64")]
use super::table::ActBlock;
use super::table::Acts;
use crate::pack::{Layout, Packing};

/// Rows of activations that stay in the second-level cache while weights stream past.
pub(super) const ROWS_CACHED: usize = 96;
/// Blocks ahead of the current one to prefetch.
#[cfg(target_arch = "x86_64")]
pub(super) const PREFETCH: usize = 16;

/// A type known when its kernel is compiled.
pub(super) trait Type {
    const DTYPE: DType;
    /// In groups of eight rows.
    const EIGHT: Layout = Layout::of(Self::DTYPE, Packing::of_lanes(8));
    /// In groups of sixteen.
    #[cfg(target_arch = "x86_64")]
    const SIXTEEN: Layout = Layout::of(Self::DTYPE, Packing::of_lanes(16));
    const HAS_FIFTH: bool = matches!(Self::DTYPE, DType::Q5_0 | DType::Q5_1 | DType::Q5K);
}

macro_rules! types {
    ($($name:ident)+) => {$(
        #[allow(non_camel_case_types, reason = "the field's names")]
        pub(super) struct $name;
        impl Type for $name {
            const DTYPE: DType = DType::$name;
        }
    )+};
}
types!(F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K);

/// Calls `$groups` compiled for the type of the task's weight; within `unsafe`.
macro_rules! by_type {
    ($groups:ident, $task:expr) => {
        by_type!($groups, $task, F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K)
    };
    ($groups:ident, $task:expr, $($name:ident)+) => {{
        use gimbal_model::weights::DType as Of;
        match $task.weight.dtype {
            $(Of::$name => $groups::<crate::kernels::tile::$name>($task),)+
        }
    }};
}
pub(super) use by_type;

/// Rows of the next tile where so many are left and `most` fit the registers (4, 6 or 8): no single
/// row after them if that can be.
pub(super) const fn rows_at_once(left: usize, most: usize) -> usize {
    match left {
        1..=4 => left,
        5 | 7 => 4,
        6 | 9 | 10 | 12 | 13 if most >= 6 => 6,
        _ => most,
    }
}

/// Rows of activations from `row` on.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) acts: Acts<'a>,
    pub(super) row: usize,
    pub(super) cols: usize,
}

/// `T` rows from `row` on, each of `cols` elements.
#[inline]
pub(super) fn rows_of<A, const T: usize>(acts: &[A], row: usize, cols: usize) -> [&[A]; T] {
    let mut rest = &acts[row * cols..][..T * cols];
    let mut rows = [&acts[..0]; T];
    for x in &mut rows {
        (*x, rest) = rest.split_at(cols);
    }
    rows
}

/// Rows of as many blocks as the weights have: the compiler need not look at each.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn cut<const T: usize>(mut x: [&[ActBlock]; T], blocks: usize) -> [&[ActBlock]; T] {
    for x in &mut x {
        *x = &x[..blocks];
    }
    x
}
