//! Every instruction form that computes on registers alone: its name, and what it does to 32 lanes.
//!
//! Forms that touch memory, other lanes or the order of execution are put together in `assemble`.
//! `approx` forms compute more exactly than a device does. **Source**: PTX ISA 7.4, chapter 9.7.

mod compare;
mod scalar;

pub(super) use compare::{Comparison, comparison, logic};
use scalar::*;

use crate::exec::{
    Double1, Double2, Double3, DoubleInsert, DoubleShift, Narrow, Widen1, Widen2, Widen3, Word1,
    Word2, Word3, Word4, put,
};

/// What a form computes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    MoveWord,
    MoveDouble,
    Word1(Word1),
    Word2(Word2),
    Word3(Word3),
    Word4(Word4),
    Double1(Double1),
    Double2(Double2),
    Double3(Double3),
    DoubleShift(DoubleShift),
    DoubleInsert(DoubleInsert),
    Widen1(Widen1),
    Widen2(Widen2),
    Widen3(Widen3),
    Narrow(Narrow),
}

macro_rules! word1 {
    (|$a:ident| $e:expr) => {
        Shape::Word1(|a, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                $e
            });
        })
    };
}
macro_rules! word2 {
    (|$a:ident, $b:ident| $e:expr) => {
        Shape::Word2(|a, b, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                $e
            });
        })
    };
}
macro_rules! word3 {
    (|$a:ident, $b:ident, $c:ident| $e:expr) => {
        Shape::Word3(|a, b, c, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                let $c = c[lane].get();
                $e
            });
        })
    };
}
macro_rules! word4 {
    (|$a:ident, $b:ident, $c:ident, $f:ident| $e:expr) => {
        Shape::Word4(|a, b, c, f, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                let $c = c[lane].get();
                let $f = f[lane].get();
                $e
            });
        })
    };
}
macro_rules! float1 {
    (|$a:ident| $e:expr) => {
        word1!(|a| {
            let $a = f32::from_bits(a);
            let result: f32 = $e;
            result.to_bits()
        })
    };
}
macro_rules! float2 {
    (|$a:ident, $b:ident| $e:expr) => {
        word2!(|a, b| {
            let ($a, $b) = (f32::from_bits(a), f32::from_bits(b));
            let result: f32 = $e;
            result.to_bits()
        })
    };
}
macro_rules! double1 {
    (|$a:ident| $e:expr) => {
        Shape::Double1(|a, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                $e
            });
        })
    };
}
macro_rules! double2 {
    (|$a:ident, $b:ident| $e:expr) => {
        Shape::Double2(|a, b, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                $e
            });
        })
    };
}
macro_rules! double_shift {
    (|$a:ident, $b:ident| $e:expr) => {
        Shape::DoubleShift(|a, b, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                $e
            });
        })
    };
}
macro_rules! widen1 {
    (|$a:ident| $e:expr) => {
        Shape::Widen1(|a, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                $e
            });
        })
    };
}
macro_rules! widen2 {
    (|$a:ident, $b:ident| $e:expr) => {
        Shape::Widen2(|a, b, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                $e
            });
        })
    };
}
macro_rules! widen3 {
    (|$a:ident, $b:ident, $c:ident| $e:expr) => {
        Shape::Widen3(|a, b, c, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                let $b = b[lane].get();
                let $c = c[lane].get();
                $e
            });
        })
    };
}
macro_rules! narrow {
    (|$a:ident| $e:expr) => {
        Shape::Narrow(|a, d| {
            put(d, |lane| {
                let $a = a[lane].get();
                $e
            });
        })
    };
}

/// All forms that compute on registers, by their names.
static FORMS: &[(&str, Shape)] = &[
    ("mov.b16", Shape::MoveWord),
    ("mov.u16", Shape::MoveWord),
    ("mov.b32", Shape::MoveWord),
    ("mov.u32", Shape::MoveWord),
    ("mov.s32", Shape::MoveWord),
    ("mov.f32", Shape::MoveWord),
    ("mov.b64", Shape::MoveDouble),
    ("mov.u64", Shape::MoveDouble),
    ("cvta.to.global.u64", Shape::MoveDouble),
    ("cvta.to.shared.u64", Shape::MoveDouble),
    ("cvta.global.u64", Shape::MoveDouble),
    ("cvta.shared.u64", Shape::MoveDouble),
    ("add.s32", word2!(|a, b| a.wrapping_add(b))),
    ("add.s16", word2!(|a, b| a.wrapping_add(b) & 0xffff)),
    ("sub.s32", word2!(|a, b| a.wrapping_sub(b))),
    ("mul.lo.s32", word2!(|a, b| a.wrapping_mul(b))),
    ("mul.hi.u32", word2!(|a, b| low(mul_wide(a, b) >> 32))),
    ("mul.hi.s32", word2!(|a, b| low(mul_wide_signed(a, b) >> 32))),
    ("mad.lo.s32", word3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c))),
    // Division by 0 has no defined result; devices give all ones.
    ("div.u32", word2!(|a, b| a.checked_div(b).unwrap_or(u32::MAX))),
    ("rem.u32", word2!(|a, b| a.checked_rem(b).unwrap_or(u32::MAX))),
    (
        "div.s32",
        word2!(|a, b| {
            if b == 0 {
                u32::MAX
            } else {
                a.cast_signed().wrapping_div(b.cast_signed()).cast_unsigned()
            }
        }),
    ),
    (
        "rem.s32",
        word2!(|a, b| {
            if b == 0 {
                u32::MAX
            } else {
                a.cast_signed().wrapping_rem(b.cast_signed()).cast_unsigned()
            }
        }),
    ),
    ("min.s32", word2!(|a, b| a.cast_signed().min(b.cast_signed()).cast_unsigned())),
    ("max.s32", word2!(|a, b| a.cast_signed().max(b.cast_signed()).cast_unsigned())),
    ("min.u32", word2!(|a, b| a.min(b))),
    ("max.u32", word2!(|a, b| a.max(b))),
    ("neg.s32", word1!(|a| a.wrapping_neg())),
    ("abs.s32", word1!(|a| a.cast_signed().wrapping_abs().cast_unsigned())),
    ("and.b32", word2!(|a, b| a & b)),
    ("or.b32", word2!(|a, b| a | b)),
    ("xor.b32", word2!(|a, b| a ^ b)),
    ("not.b32", word1!(|a| !a)),
    ("and.b16", word2!(|a, b| a & b)),
    ("or.b16", word2!(|a, b| a | b)),
    ("shl.b32", word2!(|a, b| shift_left(a, b))),
    ("shr.u32", word2!(|a, b| shift_right(a, b))),
    ("shr.b32", word2!(|a, b| shift_right(a, b))),
    ("shr.s32", word2!(|a, b| (a.cast_signed() >> b.min(31)).cast_unsigned())),
    ("bfe.u32", word3!(|a, b, c| bit_field(a, b, c))),
    ("bfi.b32", word4!(|a, b, c, f| bit_field_insert(a, b, c, f))),
    ("prmt.b32", word3!(|a, b, c| permute_bytes(a, b, c))),
    ("popc.b32", word1!(|a| a.count_ones())),
    ("clz.b32", word1!(|a| a.leading_zeros())),
    ("add.s64", double2!(|a, b| a.wrapping_add(b))),
    ("sub.s64", double2!(|a, b| a.wrapping_sub(b))),
    ("mul.lo.s64", double2!(|a, b| a.wrapping_mul(b))),
    (
        "mad.lo.s64",
        Shape::Double3(|a, b, c, d| {
            put(d, |i| a[i].get().wrapping_mul(b[i].get()).wrapping_add(c[i].get()));
        }),
    ),
    ("min.s64", double2!(|a, b| a.cast_signed().min(b.cast_signed()).cast_unsigned())),
    ("max.s64", double2!(|a, b| a.cast_signed().max(b.cast_signed()).cast_unsigned())),
    ("max.u64", double2!(|a, b| a.max(b))),
    ("min.u64", double2!(|a, b| a.min(b))),
    ("neg.s64", double1!(|a| a.wrapping_neg())),
    ("and.b64", double2!(|a, b| a & b)),
    ("or.b64", double2!(|a, b| a | b)),
    ("xor.b64", double2!(|a, b| a ^ b)),
    ("not.b64", double1!(|a| !a)),
    ("shl.b64", double_shift!(|a, b| shift_left_double(a, b))),
    ("shr.u64", double_shift!(|a, b| shift_right_double(a, b))),
    ("shr.s64", double_shift!(|a, b| (a.cast_signed() >> b.min(63)).cast_unsigned())),
    (
        "bfi.b64",
        Shape::DoubleInsert(|a, b, at, length, d| {
            put(d, |i| {
                bit_field_insert_double(a[i].get(), b[i].get(), at[i].get(), length[i].get())
            });
        }),
    ),
    ("mul.wide.s32", widen2!(|a, b| mul_wide_signed(a, b))),
    ("mul.wide.u32", widen2!(|a, b| mul_wide(a, b))),
    ("mad.wide.s32", widen3!(|a, b, c| mul_wide_signed(a, b).wrapping_add(c))),
    ("mad.wide.u32", widen3!(|a, b, c| mul_wide(a, b).wrapping_add(c))),
    ("add.f32", float2!(|a, b| a + b)),
    ("add.rz.f32", float2!(|a, b| add_toward_zero(a, b))),
    ("sub.f32", float2!(|a, b| a - b)),
    ("mul.f32", float2!(|a, b| a * b)),
    ("fma.rn.f32", word3!(|a, b, c| fused(a, b, c))),
    ("div.rn.f32", float2!(|a, b| a / b)),
    ("div.full.f32", float2!(|a, b| a / b)),
    ("div.approx.f32", float2!(|a, b| a / b)),
    ("rcp.rn.f32", float1!(|a| 1.0 / a)),
    ("rcp.approx.ftz.f32", float1!(|a| 1.0 / a)),
    ("sqrt.rn.f32", float1!(|a| a.sqrt())),
    ("rsqrt.approx.f32", float1!(|a| 1.0 / a.sqrt())),
    ("rsqrt.approx.ftz.f32", float1!(|a| 1.0 / a.sqrt())),
    ("ex2.approx.f32", float1!(|a| a.exp2())),
    ("ex2.approx.ftz.f32", float1!(|a| a.exp2())),
    ("lg2.approx.f32", float1!(|a| a.log2())),
    ("lg2.approx.ftz.f32", float1!(|a| a.log2())),
    ("tanh.approx.f32", float1!(|a| a.tanh())),
    ("neg.f32", word1!(|a| a ^ 0x8000_0000)),
    ("abs.f32", word1!(|a| a & 0x7fff_ffff)),
    ("min.f32", float2!(|a, b| least(a, b))),
    ("max.f32", float2!(|a, b| largest(a, b))),
    ("cvt.rn.f32.s32", word1!(|a| (a.cast_signed() as f32).to_bits())),
    ("cvt.rn.f32.s16", word1!(|a| (((a << 16).cast_signed() >> 16) as f32).to_bits())),
    ("cvt.rn.f32.u32", word1!(|a| (a as f32).to_bits())),
    ("cvt.rpi.f32.f32", float1!(|a| a.ceil())),
    ("cvt.rni.f32.f32", float1!(|a| a.round_ties_even())),
    ("cvt.rzi.s32.f32", word1!(|a| to_whole(f32::from_bits(a)))),
    ("cvt.rni.s32.f32", word1!(|a| to_whole(f32::from_bits(a).round_ties_even()))),
    ("cvt.f32.f16", word1!(|a| half_to_float(a))),
    ("cvt.rn.f16.f32", word1!(|a| to_half(a))),
    ("cvt.rn.bf16.f32", word1!(|a| to_bf16(a))),
    // The first operand is the upper half.
    ("cvt.rn.bf16x2.f32", word2!(|a, b| to_bf16(a) << 16 | to_bf16(b))),
    ("cvt.rn.f16x2.f32", word2!(|a, b| to_half(a) << 16 | to_half(b))),
    ("cvt.u16.u32", word1!(|a| a & 0xffff)),
    ("cvt.u32.u16", word1!(|a| a & 0xffff)),
    ("cvt.s32.s16", word1!(|a| ((a << 16).cast_signed() >> 16).cast_unsigned())),
    ("cvt.s32.s8", word1!(|a| ((a << 24).cast_signed() >> 24).cast_unsigned())),
    ("cvt.s64.s32", widen1!(|a| wide_signed(a).cast_unsigned())),
    ("cvt.u64.u32", widen1!(|a| a.into())),
    ("cvt.u64.u16", widen1!(|a| (a & 0xffff).into())),
    ("cvt.u32.u64", narrow!(|a| low(a))),
    ("cvt.s32.s64", narrow!(|a| low(a))),
    ("cvt.rn.f32.u64", narrow!(|a| (a as f32).to_bits())),
    ("cvt.u16.u64", narrow!(|a| low(a) & 0xffff)),
];

/// Forms of one meaning that the compiler also writes by other names.
static ALSO: &[(&str, &str)] = &[
    ("add.u32", "add.s32"),
    ("sub.u32", "sub.s32"),
    ("mul.lo.u32", "mul.lo.s32"),
    ("mad.lo.u32", "mad.lo.s32"),
    ("add.u64", "add.s64"),
    ("sub.u64", "sub.s64"),
    ("mul.lo.u64", "mul.lo.s64"),
    ("add.rn.f32", "add.f32"),
    ("sub.rn.f32", "sub.f32"),
    ("mul.rn.f32", "mul.f32"),
    ("mov.s64", "mov.b64"),
    ("cvt.u32.s64", "cvt.u32.u64"),
    ("cvt.s64.u32", "cvt.u64.u32"),
];

/// What the form of that name computes.
pub(super) fn shape(name: &str) -> Option<Shape> {
    let same = ALSO.iter().find(|(also, _)| *also == name).map_or(name, |(_, same)| same);
    FORMS.iter().find(|(form, _)| *form == same).map(|(_, shape)| *shape)
}

/// The names of all forms that compute on registers.
pub fn forms() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|(name, _)| *name).chain(ALSO.iter().map(|(name, _)| *name))
}
