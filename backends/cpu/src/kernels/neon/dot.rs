//! A block's dot products and what they add to the sums, each in one piece of assembly.
//!
//! The intrinsics of SDOT are not stable yet. In one piece, and of several rows not `pure`, so that a row's
//! loads stay where they are: else the compiler begins with all rows' and runs out of registers. `cargo
//! xtask arm64 --count` counts what comes of it.
//! **Source**: Arm ARM, SDOT (by element).

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::table::ActBlock;
use crate::pack::BLOCK;

/// Integers of four rows of weights: four columns of each to a vector.
pub(super) type Fours = [int8x16_t; 4];

/// A block of a row of activations: its halves, and its `d` and `s`.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) q: [int8x16_t; 2],
    pub(super) ds: float32x2_t,
}
const _: () = assert!(std::mem::offset_of!(ActBlock, d) == BLOCK);
const _: () = assert!(std::mem::offset_of!(ActBlock, s) == BLOCK + 4);

impl Row {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn load(x: &ActBlock) -> Self {
        let bytes = std::ptr::from_ref(x).cast::<i8>();
        // SAFETY: a block begins with 32 bytes (its offsets are asserted); any alignment will do.
        let q = unsafe { vld1q_s8_x2(bytes) };
        let ds = bytes.wrapping_add(BLOCK).cast();
        // SAFETY: `d` and `s` follow them in the block; any alignment will do.
        let ds = unsafe { vld1_f32(ds) };
        Self { q: [q.0, q.1], ds }
    }
}

/// Of a whole block; `$first` comes before. `pure` where one row is all there is.
macro_rules! add_eight {
    (
        [$($pure:ident)?] $first:literal, $sum:ident, $w:ident, $d:ident, $x:ident, $($offsets:tt)*
    ) => {
        // SAFETY: the function's features hold the instructions, which read and write nothing but the
        // registers named.
        unsafe {
            asm!(
                $first,
                "movi {n:v}.4s, #0",
                "sdot {n:v}.4s, {a:v}.16b, {x:v}.4b[0]",
                "sdot {n:v}.4s, {b:v}.16b, {x:v}.4b[1]",
                "sdot {n:v}.4s, {c:v}.16b, {x:v}.4b[2]",
                "sdot {n:v}.4s, {e:v}.16b, {x:v}.4b[3]",
                "sdot {n:v}.4s, {f:v}.16b, {y:v}.4b[0]",
                "sdot {n:v}.4s, {g:v}.16b, {y:v}.4b[1]",
                "sdot {n:v}.4s, {h:v}.16b, {y:v}.4b[2]",
                "sdot {n:v}.4s, {i:v}.16b, {y:v}.4b[3]",
                "fmul {by:v}.4s, {d:v}.4s, {ds:v}.s[0]",
                "scvtf {n:v}.4s, {n:v}.4s",
                "fmla {sum:v}.4s, {n:v}.4s, {by:v}.4s",
                sum = inout(vreg) $sum,
                n = out(vreg) _,
                by = out(vreg) _,
                a = in(vreg) $w[0][0],
                b = in(vreg) $w[0][1],
                c = in(vreg) $w[0][2],
                e = in(vreg) $w[0][3],
                f = in(vreg) $w[1][0],
                g = in(vreg) $w[1][1],
                h = in(vreg) $w[1][2],
                i = in(vreg) $w[1][3],
                x = in(vreg) $x.q[0],
                y = in(vreg) $x.q[1],
                d = in(vreg) $d,
                ds = in(vreg) $x.ds,
                $($offsets)*
                options($($pure,)? nomem, nostack, preserves_flags),
            );
        }
    };
}

/// `sum + (d·d_x)·Σ w·x` over a block: columns below 16, then the others.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn add<const ONE: bool>(
    mut sum: float32x4_t,
    w: [Fours; 2],
    d: float32x4_t,
    x: Row,
) -> float32x4_t {
    match ONE {
        true => add_eight!([pure] "", sum, w, d, x,),
        false => add_eight!([] "", sum, w, d, x,),
    }
    sum
}

/// The same, and `m·s` before it.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn add_with_offset<const ONE: bool>(
    mut sum: float32x4_t,
    w: [Fours; 2],
    [d, m]: [float32x4_t; 2],
    x: Row,
) -> float32x4_t {
    match ONE {
        true => add_eight!(
            [pure] "fmla {sum:v}.4s, {m:v}.4s, {ds:v}.s[1]", sum, w, d, x, m = in(vreg) m,
        ),
        false => add_eight!(
            [] "fmla {sum:v}.4s, {m:v}.4s, {ds:v}.s[1]", sum, w, d, x, m = in(vreg) m,
        ),
    }
    sum
}

/// `sum + (d·d_x)·Σ w·x` over half a block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn add_half(
    mut sum: float32x4_t,
    w: Fours,
    d: float32x4_t,
    q: int8x16_t,
    ds: float32x2_t,
) -> float32x4_t {
    // SAFETY: as in `add_eight`.
    unsafe {
        asm!(
            "movi {n:v}.4s, #0",
            "sdot {n:v}.4s, {a:v}.16b, {x:v}.4b[0]",
            "sdot {n:v}.4s, {b:v}.16b, {x:v}.4b[1]",
            "sdot {n:v}.4s, {c:v}.16b, {x:v}.4b[2]",
            "sdot {n:v}.4s, {e:v}.16b, {x:v}.4b[3]",
            "fmul {by:v}.4s, {d:v}.4s, {ds:v}.s[0]",
            "scvtf {n:v}.4s, {n:v}.4s",
            "fmla {sum:v}.4s, {n:v}.4s, {by:v}.4s",
            sum = inout(vreg) sum,
            n = out(vreg) _,
            by = out(vreg) _,
            a = in(vreg) w[0],
            b = in(vreg) w[1],
            c = in(vreg) w[2],
            e = in(vreg) w[3],
            x = in(vreg) q,
            d = in(vreg) d,
            ds = in(vreg) ds,
            options(nomem, nostack, preserves_flags),
        );
    }
    sum
}
