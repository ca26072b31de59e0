//! Instructions that move elements and compute nothing.
//!
//! Next: `math.rs`.

use gimbal_neuron::hlo::{DType, Gather, Scatter, Shape, Slice};

use crate::buffer::{Data, each, narrowed, widened};
use crate::walk::Walk;

/// An index that lies outside of what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) index: i32,
    pub(crate) limit: usize,
}

pub(crate) fn broadcast(x: &Data, from: &Shape, dims: &[usize], map: &[usize]) -> Data {
    let mut strides = vec![0; dims.len()];
    for ((dim, stride), size) in map.iter().zip(from.strides()).zip(&from.dims) {
        strides[*dim] = if *size == 1 { 0 } else { stride };
    }
    let walk = Walk { dims: dims.to_vec(), strides };
    each!(x, x => walk.collect(x, 0))
}

pub(crate) fn transpose(x: &Data, from: &Shape, order: &[usize]) -> Data {
    let walk = Walk::of(&from.dims, &from.strides(), order);
    each!(x, x => walk.collect(x, 0))
}

pub(crate) fn slice(x: &Data, from: &Shape, slices: &[Slice], made: &Shape) -> Data {
    let strides = from.strides();
    let first = slices.iter().zip(&strides).map(|(slice, stride)| slice.start * stride).sum();
    let steps = slices.iter().zip(&strides).map(|(slice, stride)| slice.stride * stride).collect();
    let walk = Walk { dims: made.dims.clone(), strides: steps };
    each!(x, x => walk.collect(x, first))
}

pub(crate) fn concatenate(parts: &[(&Data, &Shape)], dim: usize, made: &Shape) -> Data {
    let outer: usize = made.dims[..dim].iter().product();
    let mut whole = Data::zeros(made.dtype, made.elements());
    let row: usize = made.dims[dim..].iter().product::<usize>() * made.dtype.bytes();
    let bytes = whole.bytes_mut();
    let mut column = 0;
    for (part, shape) in parts {
        let width = shape.dims[dim..].iter().product::<usize>() * made.dtype.bytes();
        for i in 0..outer {
            let at = i * row + column;
            bytes[at..at + width].copy_from_slice(&part.bytes()[i * width..(i + 1) * width]);
        }
        column += width;
    }
    whole
}

pub(crate) fn iota(shape: &Shape, dim: usize) -> Data {
    let (stride, size) = (shape.strides()[dim], shape.dims[dim]);
    let counted = (0..shape.elements()).map(|i| i / stride % size);
    #[expect(clippy::cast_possible_truncation, reason = "dimensions are below 2^31")]
    #[expect(clippy::cast_possible_wrap, reason = "dimensions are below 2^31")]
    match shape.dtype {
        DType::Pred => Data::Pred(counted.map(|i| u8::from(i != 0)).collect()),
        DType::S32 => Data::S32(counted.map(|i| i as i32).collect()),
        DType::U32 => Data::U32(counted.map(|i| i as u32).collect()),
        DType::F32 => Data::F32(counted.map(|i| i as f32).collect()),
        DType::Bf16 => Data::Bf16(counted.map(|i| narrowed(i as f32)).collect()),
    }
}

/// Floats become integers by cutting, kept within their range.
pub(crate) fn convert(x: &Data, dtype: DType) -> Data {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what does not fit is the nearest that does"
    )]
    #[expect(clippy::cast_sign_loss, reason = "what does not fit is the nearest that does")]
    match (x, dtype) {
        (Data::S32(x), DType::U32) => Data::U32(x.iter().map(|x| x.cast_unsigned()).collect()),
        (Data::U32(x), DType::S32) => Data::S32(x.iter().map(|x| x.cast_signed()).collect()),
        (Data::S32(_), DType::S32)
        | (Data::U32(_), DType::U32)
        | (Data::Pred(_), DType::Pred)
        | (Data::Bf16(_), DType::Bf16) => x.clone(),
        (Data::Bf16(x), DType::F32) => Data::F32(x.iter().map(|x| widened(*x)).collect()),
        (Data::F32(x), DType::Bf16) => Data::Bf16(x.iter().map(|x| narrowed(*x)).collect()),
        (x, DType::S32) => Data::S32(x.to_f32().into_iter().map(|x| x as i32).collect()),
        (x, DType::U32) => Data::U32(x.to_f32().into_iter().map(|x| x as u32).collect()),
        (x, DType::F32) => Data::F32(x.to_f32()),
        (x, DType::Bf16) => Data::Bf16(x.to_f32().into_iter().map(narrowed).collect()),
        (x, DType::Pred) => Data::Pred(x.to_f32().iter().map(|x| u8::from(*x != 0.0)).collect()),
    }
}

/// Where the windows of a value begin: one for each index, in order.
fn firsts(
    at: &Data,
    shape: &Shape,
    index_dim: usize,
    index_map: &[usize],
    (x, window): (&Shape, &[usize]),
) -> Result<Vec<usize>, Outside> {
    let Data::S32(at) = at else { return Ok(Vec::new()) };
    let (strides, steps) = (shape.strides(), x.strides());
    let outer: Vec<usize> = (0..shape.dims.len()).filter(|dim| *dim != index_dim).collect();
    let step = strides.get(index_dim).copied().unwrap_or(0);
    let mut firsts = Vec::new();
    for place in Walk::of(&shape.dims, &strides, &outer).places() {
        let mut first = 0;
        for (number, dim) in index_map.iter().enumerate() {
            let (index, limit) = (at[place + number * step], x.dims[*dim] - window[*dim]);
            let inside = usize::try_from(index).ok().filter(|index| *index <= limit);
            first += inside.ok_or(Outside { index, limit: limit + 1 })? * steps[*dim];
        }
        firsts.push(first);
    }
    Ok(firsts)
}

pub(crate) fn gather(
    gather: &Gather,
    (x, from): (&Data, &Shape),
    (at, indices): (&Data, &Shape),
    made: &Shape,
) -> Result<Data, Outside> {
    let Gather { offset_dims, collapsed, index_map, index_dim, sizes } = gather;
    let firsts = firsts(at, indices, *index_dim, index_map, (from, sizes))?;
    let kept: Vec<usize> = (0..from.dims.len()).filter(|dim| !collapsed.contains(dim)).collect();
    let window = Walk::of(sizes, &from.strides(), &kept);
    let is_last = offset_dims.iter().rev().eq((0..made.dims.len())
        .rev()
        .take(kept.len())
        .collect::<Vec<_>>()
        .iter());
    let together = (window.step() == Some(1)).then(|| window.elements());
    let slices = |first: usize| window.places().into_iter().map(move |place| first + place);
    let gathered = each!(x, x => {
        let mut made = Vec::with_capacity(firsts.len() * window.elements());
        for first in &firsts {
            match together {
                Some(count) => made.extend_from_slice(&x[*first..first + count]),
                None => made.extend(slices(*first).map(|place| x[place])),
            }
        }
        made
    });
    if is_last {
        return Ok(gathered);
    }
    // Elements lie as `[indices, slice]`; the result has them in another order.
    let outer: Vec<usize> = (0..made.dims.len()).filter(|dim| !offset_dims.contains(dim)).collect();
    let order = [outer.as_slice(), offset_dims].concat();
    let lying =
        Shape { dtype: made.dtype, dims: order.iter().map(|dim| made.dims[*dim]).collect() };
    let mut back = vec![0; order.len()];
    for (place, dim) in order.iter().enumerate() {
        back[*dim] = place;
    }
    Ok(transpose(&gathered, &lying, &back))
}

/// Writes windows into a value.
pub(crate) fn scatter(
    scatter: &Scatter,
    (x, into): (&mut Data, &Shape),
    (at, indices): (&Data, &Shape),
    (updates, from): (&Data, &Shape),
) -> Result<(), Outside> {
    let Scatter { window_dims, inserted, index_map, index_dim } = scatter;
    let kept: Vec<usize> = (0..into.dims.len()).filter(|dim| !inserted.contains(dim)).collect();
    let mut sizes = vec![1; into.dims.len()];
    for (dim, window) in kept.iter().zip(window_dims) {
        sizes[*dim] = from.dims[*window];
    }
    // All are looked at before the first one is written.
    let firsts = firsts(at, indices, *index_dim, index_map, (into, &sizes))?;
    let outer: Vec<usize> = (0..from.dims.len()).filter(|dim| !window_dims.contains(dim)).collect();
    let sources = Walk::of(&from.dims, &from.strides(), &outer).places();
    let source = Walk::of(&from.dims, &from.strides(), window_dims);
    let target = Walk::of(&sizes, &into.strides(), &kept);
    let together =
        (source.step() == Some(1) && target.step() == Some(1)).then(|| source.elements());
    let (source, target) = (source.places(), target.places());
    macro_rules! write {
        ($x:expr, $updates:expr) => {
            for (first, from) in firsts.iter().zip(sources) {
                match together {
                    Some(count) => {
                        $x[*first..first + count].copy_from_slice(&$updates[from..from + count]);
                    }
                    None => {
                        for (source, target) in source.iter().zip(&target) {
                            $x[first + target] = $updates[from + source];
                        }
                    }
                }
            }
        };
    }
    match (x, updates) {
        (Data::Pred(x), Data::Pred(updates)) => write!(x, updates),
        (Data::S32(x), Data::S32(updates)) => write!(x, updates),
        (Data::U32(x), Data::U32(updates)) => write!(x, updates),
        (Data::F32(x), Data::F32(updates)) => write!(x, updates),
        (Data::Bf16(x), Data::Bf16(updates)) => write!(x, updates),
        _ => unreachable!("reading a module checked that types are the same"),
    }
    Ok(())
}
