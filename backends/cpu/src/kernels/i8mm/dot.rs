//! Activations of two rows together, and a block's products with them, in pieces of assembly as those of
//! `neon` are.
//!
//! SMMLA multiplies two rows of eight bytes with two others: lane `2 i + j` is of row `i` of the weights
//! and row `j` of the activations. **Source**: Arm ARM, SMMLA (vector).

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::table::ActBlock;
use crate::pack::BLOCK;

/// Groups of eight columns in a block.
pub(super) const EIGHTS: usize = BLOCK / 8;

/// Integers of two rows of weights, eight columns of each to a vector: of the first and the second eight
/// columns, and of those 16 later.
pub(super) type TwoRows = [[int8x16_t; 2]; 2];

/// The same block of two rows of activations, in the place of two blocks.
#[repr(C)]
pub(super) struct Pair {
    /// Eight columns of the first row, then of the second.
    q: [[i8; 16]; EIGHTS],
    /// Of the first row, the second, the first, the second: as a tile has them.
    d: [f32; 4],
    s: [f32; 4],
}
const _: () = assert!(size_of::<Pair>() == size_of::<[ActBlock; 2]>());
const _: () = assert!(align_of::<Pair>() == align_of::<ActBlock>());

impl Pair {
    /// Makes two blocks one pair.
    pub(super) fn put(two: &mut [ActBlock; 2]) {
        let [a, b] = *two;
        let mut q = [[0; 16]; EIGHTS];
        let eights = a.q.as_chunks::<8>().0.iter().zip(b.q.as_chunks::<8>().0);
        for (q, (a, b)) in q.iter_mut().zip(eights) {
            q[..8].copy_from_slice(a);
            q[8..].copy_from_slice(b);
        }
        let pair = Self { q, d: [a.d, b.d, a.d, b.d], s: [a.s, b.s, a.s, b.s] };
        // SAFETY: a pair has the size and alignment of two blocks (asserted), which are the caller's;
        // any bytes are blocks.
        unsafe { std::ptr::from_mut(two).cast::<Self>().write(pair) };
    }
}

/// A pair in registers.
#[derive(Clone, Copy)]
pub(super) struct TwoBlocks {
    pub(super) q: [int8x16_t; EIGHTS],
    pub(super) d: float32x4_t,
    pub(super) s: float32x4_t,
}

impl TwoBlocks {
    /// Of two blocks that were made a pair.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn load(two: &[ActBlock; 2]) -> Self {
        let pair = std::ptr::from_ref(two).cast::<Pair>();
        // SAFETY: a pair has the size and alignment of two blocks (asserted), and any bytes are one.
        let Pair { q, d, s } = unsafe { &*pair };
        // SAFETY: `q` is four times 16 bytes; any alignment will do.
        let q = unsafe { vld1q_s8_x4(q.as_ptr().cast()) };
        // SAFETY: `d` and `s` are 16 bytes each; any alignment will do.
        let [d, s] = [d, s].map(|four| unsafe { vld1q_f32(four.as_ptr()) });
        Self { q: [q.0, q.1, q.2, q.3], d, s }
    }
}

/// Of a whole block; `$first` comes before.
macro_rules! add_four {
    ($first:literal, $sum:ident, $w:ident, $d:ident, $x:ident, $($offsets:tt)*) => {
        // SAFETY: the function's features hold the instructions, which read and write nothing but the
        // registers named.
        unsafe {
            asm!(
                $first,
                "movi {n:v}.4s, #0",
                "smmla {n:v}.4s, {a:v}.16b, {e:v}.16b",
                "smmla {n:v}.4s, {b:v}.16b, {f:v}.16b",
                "smmla {n:v}.4s, {c:v}.16b, {g:v}.16b",
                "smmla {n:v}.4s, {i:v}.16b, {h:v}.16b",
                "fmul {by:v}.4s, {d:v}.4s, {dx:v}.4s",
                "scvtf {n:v}.4s, {n:v}.4s",
                "fmla {sum:v}.4s, {n:v}.4s, {by:v}.4s",
                sum = inout(vreg) $sum,
                n = out(vreg) _,
                by = out(vreg) _,
                a = in(vreg) $w[0][0],
                b = in(vreg) $w[0][1],
                c = in(vreg) $w[1][0],
                i = in(vreg) $w[1][1],
                e = in(vreg) $x.q[0],
                f = in(vreg) $x.q[1],
                g = in(vreg) $x.q[2],
                h = in(vreg) $x.q[3],
                d = in(vreg) $d,
                dx = in(vreg) $x.d,
                $($offsets)*
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// `sum + (d·d_x)·Σ w·x` over a block.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn add(mut sum: float32x4_t, w: TwoRows, d: float32x4_t, x: TwoBlocks) -> float32x4_t {
    add_four!("", sum, w, d, x,);
    sum
}

/// The same, and `m·s` before it.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn add_with_offset(
    mut sum: float32x4_t,
    w: TwoRows,
    [d, m]: [float32x4_t; 2],
    x: TwoBlocks,
) -> float32x4_t {
    add_four!(
        "fmla {sum:v}.4s, {m:v}.4s, {s:v}.4s",
        sum, w, d, x,
        m = in(vreg) m,
        s = in(vreg) x.s,
    );
    sum
}

/// `sum + (d·d_x)·Σ w·x` over half a block.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn add_half(
    mut sum: float32x4_t,
    w: [int8x16_t; 2],
    d: float32x4_t,
    x: [int8x16_t; 2],
    dx: float32x4_t,
) -> float32x4_t {
    // SAFETY: as in `add_four`.
    unsafe {
        asm!(
            "movi {n:v}.4s, #0",
            "smmla {n:v}.4s, {a:v}.16b, {e:v}.16b",
            "smmla {n:v}.4s, {b:v}.16b, {f:v}.16b",
            "fmul {by:v}.4s, {d:v}.4s, {dx:v}.4s",
            "scvtf {n:v}.4s, {n:v}.4s",
            "fmla {sum:v}.4s, {n:v}.4s, {by:v}.4s",
            sum = inout(vreg) sum,
            n = out(vreg) _,
            by = out(vreg) _,
            a = in(vreg) w[0],
            b = in(vreg) w[1],
            e = in(vreg) x[0],
            f = in(vreg) x[1],
            d = in(vreg) d,
            dx = in(vreg) dx,
            options(nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Products of two rows of weights with two of activations, over half a block.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn products(w: [int8x16_t; 2], x: [int8x16_t; 2]) -> int32x4_t {
    let sum;
    // SAFETY: as in `add_four`.
    unsafe {
        asm!(
            "movi {sum:v}.4s, #0",
            "smmla {sum:v}.4s, {a:v}.16b, {e:v}.16b",
            "smmla {sum:v}.4s, {b:v}.16b, {f:v}.16b",
            sum = out(vreg) sum,
            a = in(vreg) w[0],
            b = in(vreg) w[1],
            e = in(vreg) x[0],
            f = in(vreg) x[1],
            options(nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The same over a whole block.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn products_of_all(w: TwoRows, x: [int8x16_t; EIGHTS]) -> int32x4_t {
    let sum;
    // SAFETY: as in `add_four`.
    unsafe {
        asm!(
            "movi {sum:v}.4s, #0",
            "smmla {sum:v}.4s, {a:v}.16b, {e:v}.16b",
            "smmla {sum:v}.4s, {b:v}.16b, {f:v}.16b",
            "smmla {sum:v}.4s, {c:v}.16b, {g:v}.16b",
            "smmla {sum:v}.4s, {d:v}.16b, {h:v}.16b",
            sum = out(vreg) sum,
            a = in(vreg) w[0][0],
            b = in(vreg) w[0][1],
            c = in(vreg) w[1][0],
            d = in(vreg) w[1][1],
            e = in(vreg) x[0],
            f = in(vreg) x[1],
            g = in(vreg) x[2],
            h = in(vreg) x[3],
            options(nomem, nostack, preserves_flags),
        );
    }
    sum
}
