//! Comparisons of 32 lanes: a bit for each. **Source**: PTX ISA 7.4, 9.7.6.

use crate::exec::{CompareDoubles, CompareWords, Doubles, Logic, Words, bits};

macro_rules! compare {
    ($kind:ident, $lanes:ty, |$a:ident| $as:expr, $relation:expr) => {
        Some(Comparison::$kind(match $relation {
            "eq" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, ==),
            "ne" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, !=),
            "lt" | "lo" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, <),
            "le" | "ls" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, <=),
            "gt" | "hi" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, >),
            "ge" | "hs" => |a, b| compare!(@bits $lanes, a, b, |$a| $as, >=),
            _ => return None,
        }))
    };
    (@bits $lanes:ty, $x:ident, $y:ident, |$a:ident| $as:expr, $op:tt) => {{
        let (x, y): (&$lanes, &$lanes) = ($x, $y);
        bits(|lane| {
            let left = { let $a = x[lane].get(); $as };
            let right = { let $a = y[lane].get(); $as };
            left $op right
        })
    }};
}

/// A comparison of words or doubles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparison {
    Words(CompareWords),
    Doubles(CompareDoubles),
}

/// `setp.RELATION.TYPE` without what may follow the relation.
#[expect(clippy::float_cmp, reason = "the instruction compares so")]
pub(crate) fn comparison(relation: &str, kind: &str) -> Option<Comparison> {
    // Unordered relations hold where an operand is no number: the opposite one does not.
    if let ("f32", Some(ordered)) = (kind, relation.strip_suffix('u')) {
        return Some(Comparison::Words(match ordered {
            "eq" => |a, b| !not_equal(a, b),
            "ne" => |a, b| !equal(a, b),
            "lt" => |a, b| !at_least(a, b),
            "le" => |a, b| !above(a, b),
            "gt" => |a, b| !at_least(b, a),
            "ge" => |a, b| !above(b, a),
            _ => return None,
        }));
    }
    match kind {
        "f32" if relation == "nan" => Some(Comparison::Words(|a, b| !numbers(a, b))),
        "f32" if relation == "num" => Some(Comparison::Words(numbers)),
        "f32" if relation == "ne" => Some(Comparison::Words(not_equal)),
        "f32" => compare!(Words, Words, |a| f32::from_bits(a), relation),
        "s32" => compare!(Words, Words, |a| a.cast_signed(), relation),
        "u32" | "b32" => compare!(Words, Words, |a| a, relation),
        "s16" => compare!(Words, Words, |a| (a << 16).cast_signed(), relation),
        "u16" | "b16" => compare!(Words, Words, |a| a & 0xffff, relation),
        "s64" => compare!(Doubles, Doubles, |a| a.cast_signed(), relation),
        "u64" | "b64" => compare!(Doubles, Doubles, |a| a, relation),
        _ => None,
    }
}

fn float_bits(a: &Words, b: &Words, holds: impl Fn(f32, f32) -> bool) -> u32 {
    bits(|lane| holds(f32::from_bits(a[lane].get()), f32::from_bits(b[lane].get())))
}

fn equal(a: &Words, b: &Words) -> u32 {
    float_bits(a, b, |a, b| a == b)
}

/// Both are numbers.
fn numbers(a: &Words, b: &Words) -> u32 {
    float_bits(a, b, |a, b| !a.is_nan() && !b.is_nan())
}

/// Of numbers only: `ne` is ordered.
fn not_equal(a: &Words, b: &Words) -> u32 {
    float_bits(a, b, |a, b| a.partial_cmp(&b).is_some_and(|order| order.is_ne()))
}

fn at_least(a: &Words, b: &Words) -> u32 {
    float_bits(a, b, |a, b| a >= b)
}

fn above(a: &Words, b: &Words) -> u32 {
    float_bits(a, b, |a, b| a > b)
}

/// `and`, `or`, `xor` of predicates.
pub(crate) fn logic(name: &str) -> Option<Logic> {
    Some(match name {
        "and" => |a, b| a & b,
        "or" => |a, b| a | b,
        "xor" => |a, b| a ^ b,
        _ => return None,
    })
}
