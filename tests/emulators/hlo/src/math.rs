//! Functions of elements, and what combines them.
//!
//! An operand that nobody else needs becomes the result. Next: `product.rs`.

use std::borrow::Cow;

use gimbal_neuron::hlo::{Binary, Direction, Shape, Unary};

use crate::buffer::{Data, each};
use crate::walk::Walk;

/// Sums of a reduction that are formed beside one another.
const LANES: usize = 8;

pub(crate) fn unary(unary: Unary, x: Cow<'_, Data>) -> Data {
    if let (Unary::Negate, Data::S32(x)) = (unary, x.as_ref()) {
        return Data::S32(x.iter().map(|x| x.wrapping_neg()).collect());
    }
    match unary {
        Unary::Negate => map(x, |x| -x),
        Unary::Exponential => map(x, f32::exp),
        Unary::Rsqrt => map(x, |x| x.sqrt().recip()),
        Unary::Tanh => map(x, f32::tanh),
    }
}

/// A function of floats.
fn map(x: Cow<'_, Data>, f: impl Fn(f32) -> f32) -> Data {
    match x {
        Cow::Owned(Data::F32(mut x)) => {
            x.iter_mut().for_each(|x| *x = f(*x));
            Data::F32(x)
        }
        x => {
            let (dtype, mut floats) = (x.dtype(), x.to_f32());
            floats.iter_mut().for_each(|x| *x = f(*x));
            Data::of_f32(dtype, floats).unwrap_or_else(|| x.into_owned())
        }
    }
}

pub(crate) fn binary(binary: Binary, x: Cow<'_, Data>, y: Cow<'_, Data>) -> Data {
    match binary {
        Binary::Add => pairs(x, y, |x, y| x + y, u32::wrapping_add, i32::wrapping_add),
        Binary::Subtract => pairs(x, y, |x, y| x - y, u32::wrapping_sub, i32::wrapping_sub),
        Binary::Multiply => pairs(x, y, |x, y| x * y, u32::wrapping_mul, i32::wrapping_mul),
        // Only of floats: reading a module checked it.
        Binary::Divide => pairs(x, y, |x, y| x / y, |x, _| x, |x, _| x),
        Binary::Maximum => pairs(x, y, larger, Ord::max, Ord::max),
        Binary::Minimum => pairs(x, y, smaller, Ord::min, Ord::min),
        Binary::And => match (x.as_ref(), y.as_ref()) {
            (Data::Pred(x), Data::Pred(y)) => {
                Data::Pred(x.iter().zip(y).map(|(x, y)| u8::from(*x != 0 && *y != 0)).collect())
            }
            _ => unreachable!("reading a module checked that both are pred"),
        },
    }
}

/// Not a number, if one is not.
fn larger(x: f32, y: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
}

/// Not a number, if one is not.
fn smaller(x: f32, y: f32) -> f32 {
    if x < y || x.is_nan() { x } else { y }
}

fn pairs(
    x: Cow<'_, Data>,
    y: Cow<'_, Data>,
    floats: impl Fn(f32, f32) -> f32,
    unsigned: impl Fn(u32, u32) -> u32,
    signed: impl Fn(i32, i32) -> i32,
) -> Data {
    match (x, y) {
        (Cow::Owned(Data::F32(mut x)), y) => {
            let Data::F32(y) = y.as_ref() else { return Data::F32(x) };
            x.iter_mut().zip(y).for_each(|(x, y)| *x = floats(*x, *y));
            Data::F32(x)
        }
        (x, Cow::Owned(Data::F32(mut y))) => {
            let Data::F32(x) = x.as_ref() else { return Data::F32(y) };
            x.iter().zip(&mut y).for_each(|(x, y)| *y = floats(*x, *y));
            Data::F32(y)
        }
        (x, y) => match (x.as_ref(), y.as_ref()) {
            (Data::U32(x), Data::U32(y)) => {
                Data::U32(x.iter().zip(y).map(|(x, y)| unsigned(*x, *y)).collect())
            }
            (Data::S32(x), Data::S32(y)) => {
                Data::S32(x.iter().zip(y).map(|(x, y)| signed(*x, *y)).collect())
            }
            (x, y) => {
                let made =
                    x.to_f32().iter().zip(&y.to_f32()).map(|(x, y)| floats(*x, *y)).collect();
                Data::of_f32(x.dtype(), made).unwrap_or_else(|| x.clone())
            }
        },
    }
}

pub(crate) fn compare(direction: Direction, x: &Data, y: &Data) -> Data {
    match (x, y) {
        (Data::S32(x), Data::S32(y)) => compared(direction, x, y),
        (Data::U32(x), Data::U32(y)) => compared(direction, x, y),
        (Data::F32(x), Data::F32(y)) => compared(direction, x, y),
        (x, y) => compared(direction, &x.to_f32(), &y.to_f32()),
    }
}

fn compared<T: PartialOrd>(direction: Direction, x: &[T], y: &[T]) -> Data {
    let all = |is: fn(&T, &T) -> bool| {
        Data::Pred(x.iter().zip(y).map(|(x, y)| u8::from(is(x, y))).collect())
    };
    match direction {
        Direction::Lt => all(|x, y| x < y),
        Direction::Le => all(|x, y| x <= y),
        Direction::Gt => all(|x, y| x > y),
        Direction::Ge => all(|x, y| x >= y),
        Direction::Eq => all(|x, y| x == y),
        Direction::Ne => all(|x, y| x != y),
    }
}

pub(crate) fn select(is_first: &Data, x: Cow<'_, Data>, y: &Data) -> Data {
    let Data::Pred(is_first) = is_first else { return x.into_owned() };
    let mut made = x.into_owned();
    macro_rules! replace {
        ($x:expr, $y:expr) => {
            for ((x, y), is_first) in $x.iter_mut().zip($y).zip(is_first) {
                let (first, second) = (*x, *y);
                *x = if *is_first == 0 { second } else { first };
            }
        };
    }
    match (&mut made, y) {
        (Data::Pred(x), Data::Pred(y)) => replace!(x, y),
        (Data::S32(x), Data::S32(y)) => replace!(x, y),
        (Data::U32(x), Data::U32(y)) => replace!(x, y),
        // By their bits: without branches, several at a time.
        (Data::F32(x), Data::F32(y)) => {
            for ((x, y), is_first) in x.iter_mut().zip(y).zip(is_first) {
                let mask = u32::from(*is_first == 0).wrapping_sub(1);
                *x = f32::from_bits((x.to_bits() & mask) | (y.to_bits() & !mask));
            }
        }
        (Data::Bf16(x), Data::Bf16(y)) => replace!(x, y),
        _ => unreachable!("reading a module checked that types are the same"),
    }
    made
}

/// Elements of bf16 are combined in f32 and rounded once.
pub(crate) fn reduce(by: Binary, x: &Data, from: &Shape, dims: &[usize], first: &Data) -> Data {
    let kept: Vec<usize> = (0..from.dims.len()).filter(|dim| !dims.contains(dim)).collect();
    let strides = from.strides();
    let outer = Walk::of(&from.dims, &strides, &kept);
    let inner = Walk::of(&from.dims, &strides, dims);
    match (x, first) {
        (Data::S32(x), Data::S32(first)) => {
            let with: fn(i32, i32) -> i32 = match by {
                Binary::Add => i32::wrapping_add,
                Binary::Multiply => i32::wrapping_mul,
                Binary::Minimum => Ord::min,
                _ => Ord::max,
            };
            Data::S32(combined(x, first[0], (&outer, &inner), with))
        }
        (Data::U32(x), Data::U32(first)) => {
            let with: fn(u32, u32) -> u32 = match by {
                Binary::Add => u32::wrapping_add,
                Binary::Multiply => u32::wrapping_mul,
                Binary::Minimum => Ord::min,
                _ => Ord::max,
            };
            Data::U32(combined(x, first[0], (&outer, &inner), with))
        }
        (x, first) => {
            let floats;
            let elements = match x {
                Data::F32(x) => x,
                x => {
                    floats = x.to_f32();
                    &floats
                }
            };
            let (first, walks) = (first.to_f32()[0], (&outer, &inner));
            let made = match by {
                Binary::Add => combined(elements, first, walks, |x, y| x + y),
                Binary::Multiply => combined(elements, first, walks, |x, y| x * y),
                Binary::Minimum => combined(elements, first, walks, smaller),
                _ => combined(elements, first, walks, larger),
            };
            Data::of_f32(x.dtype(), made).unwrap_or_else(|| x.clone())
        }
    }
}

/// One element for each place of `outer`, of all those of `inner` from there on.
fn combined<T: Copy>(
    x: &[T],
    first: T,
    (outer, inner): (&Walk, &Walk),
    with: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut made = Vec::with_capacity(outer.elements());
    let (count, step) = (inner.elements(), inner.step());
    outer.each(|start| {
        let mut all = first;
        if step == Some(1) && count >= LANES {
            // Neighbours: several at a time, so that the compiler can use vectors.
            let (chunks, rest) = x[start..start + count].as_chunks::<LANES>();
            let mut lanes = chunks[0];
            for chunk in &chunks[1..] {
                for (lane, x) in lanes.iter_mut().zip(chunk) {
                    *lane = with(*lane, *x);
                }
            }
            for x in lanes.iter().chain(rest) {
                all = with(all, *x);
            }
        } else {
            inner.each(|place| all = with(all, x[start + place]));
        }
        made.push(all);
    });
    made
}

/// Combines values of several ranks, the first one's first.
pub(crate) fn across(by: Binary, ranks: &[std::sync::Arc<Data>]) -> Data {
    let (first, rest) = ranks.split_first().expect("a rank that exchanges is one of them");
    rest.iter().fold(first.as_ref().clone(), |all, next| {
        binary(by, Cow::Owned(all), Cow::Borrowed(next.as_ref()))
    })
}

/// A copy of the elements.
pub(crate) fn copy(x: &Data) -> Data {
    each!(x, x => x.clone())
}
