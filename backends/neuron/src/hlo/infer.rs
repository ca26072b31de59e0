//! The shape of what an operation makes, and whether its operands fit.
//!
//! One table for those who build and those who read. Next: `module.rs`.

use super::op::{Binary, Dot, Gather, Op, Scatter, Slice, Unary};
use super::shape::{DType, Shape};

/// The shape of what an operation makes of such operands.
///
/// # Errors
/// Operands do not fit, or one of the attributes does not.
pub(super) fn infer(op: &Op, operands: &[&Shape]) -> Result<Shape, String> {
    let wanted = match op {
        Op::Parameter(_) => return Err("a parameter's shape is its own".to_owned()),
        Op::Constant(_) | Op::Iota { .. } => Some(0),
        Op::Concatenate(_) => None,
        Op::Binary(_) | Op::Compare(_) | Op::Dot(_) | Op::Reduce { .. } | Op::Gather(_) => Some(2),
        Op::Select | Op::Scatter(_) => Some(3),
        _ => Some(1),
    };
    if wanted.is_some_and(|wanted| wanted != operands.len()) || operands.len() > 1 << 16 {
        return Err(format!("{} operands", operands.len()));
    }
    let made = match op {
        Op::Concatenate(dim) => concatenate(operands, *dim)?,
        Op::Select => select([operands[0], operands[1], operands[2]])?,
        Op::Scatter(scatter) => scattered(scatter, [operands[0], operands[1], operands[2]])?,
        Op::Constant(literal) => {
            let (found, wanted) = (literal.bits.len(), literal.shape.elements());
            or(found == wanted, || format!("{found} elements, not {wanted}"))?;
            literal.shape.clone()
        }
        Op::Iota { shape, dim } => {
            or(*dim < shape.dims.len(), || format!("dimension {dim} of {shape}"))?;
            or(shape.dtype != DType::Pred, || format!("iota of {shape}"))?;
            shape.clone()
        }
        Op::Binary(binary) => paired(operands, |x| binary_allows(*binary, x))?,
        Op::Compare(_) => {
            let shape = paired(operands, |x| x != DType::Pred)?;
            Shape { dtype: DType::Pred, ..shape }
        }
        Op::Dot(dot) => product(dot, operands[0], operands[1])?,
        Op::Reduce { by, dims } => reduced(*by, dims, operands[0], operands[1])?,
        Op::Gather(gather) => gathered(gather, operands[0], operands[1])?,
        op => of_one(op, operands[0])?,
    };
    made.check()?;
    Ok(made)
}

/// What operations of one operand make.
fn of_one(op: &Op, x: &Shape) -> Result<Shape, String> {
    let with = |dims: Vec<usize>| Shape { dtype: x.dtype, dims };
    match op {
        Op::Broadcast { dims, map } => {
            let fits = |(from, to): (&usize, &usize)| dims.get(*to) == Some(from);
            let is_fitting = map.len() == x.dims.len() && x.dims.iter().zip(map).all(fits);
            or(is_fitting && is_ascending(map), || format!("{x} along {map:?} of {dims:?}"))?;
            Ok(with(dims.clone()))
        }
        Op::Reshape(dims) => {
            let made = with(dims.clone());
            made.check()?;
            or(made.elements() == x.elements(), || format!("{x} as {made}"))?;
            Ok(made)
        }
        Op::Transpose(order) => {
            let is_order = are_apart(order, x.dims.len()) && order.len() == x.dims.len();
            or(is_order, || format!("{x} in the order {order:?}"))?;
            Ok(with(order.iter().map(|dim| x.dims[*dim]).collect()))
        }
        Op::Slice(slices) => {
            or(slices.len() == x.dims.len(), || format!("{} slices of {x}", slices.len()))?;
            let taken = |(slice, dim): (&Slice, &usize)| {
                let Slice { start, limit, stride } = *slice;
                or(start <= limit && limit <= *dim && stride > 0, || format!("{slice:?} of {x}"))?;
                Ok((limit - start).div_ceil(stride))
            };
            Ok(with(slices.iter().zip(&x.dims).map(taken).collect::<Result<_, String>>()?))
        }
        Op::Convert(dtype) => {
            or(*dtype != DType::Pred || x.dtype == *dtype, || format!("{x} as pred"))?;
            Ok(Shape { dtype: *dtype, dims: x.dims.clone() })
        }
        Op::Unary(unary) => {
            let is_known = x.dtype.is_float() || (*unary == Unary::Negate && x.dtype == DType::S32);
            or(is_known, || format!("{x}"))?;
            Ok(x.clone())
        }
        Op::AllReduce { by, ranks } => {
            or(by.is_combining() && *ranks > 0, || format!("{} of {ranks} ranks", by.opcode()))?;
            or(x.dtype != DType::Pred, || format!("{x}"))?;
            Ok(x.clone())
        }
        Op::AllGather { dim, ranks } => {
            or(*dim < x.dims.len() && *ranks > 0, || format!("dimension {dim} of {x}"))?;
            let mut made = x.clone();
            made.dims[*dim] = made.dims[*dim].checked_mul(*ranks).ok_or("too many elements")?;
            Ok(made)
        }
        _ => Err("no operation of one operand".to_owned()),
    }
}

fn or(is_fitting: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_fitting { Ok(()) } else { Err(why()) }
}

fn is_ascending(dims: &[usize]) -> bool {
    dims.windows(2).all(|pair| pair[0] < pair[1])
}

/// True if all are below `rank` and no two are the same.
fn are_apart(dims: &[usize], rank: usize) -> bool {
    dims.iter().enumerate().all(|(i, dim)| *dim < rank && !dims[..i].contains(dim))
}

/// Dimensions that are not among these.
pub(super) fn others(rank: usize, dims: &[&[usize]]) -> Vec<usize> {
    (0..rank).filter(|dim| !dims.iter().any(|dims| dims.contains(dim))).collect()
}

fn binary_allows(binary: Binary, dtype: DType) -> bool {
    match binary {
        Binary::And => dtype == DType::Pred,
        // Where the divisor is 0, devices differ.
        Binary::Divide => dtype.is_float(),
        _ => dtype != DType::Pred,
    }
}

fn paired(operands: &[&Shape], allows: impl Fn(DType) -> bool) -> Result<Shape, String> {
    let (x, y) = (operands[0], operands[1]);
    or(x == y && allows(x.dtype), || format!("{x} and {y}"))?;
    Ok(x.clone())
}

fn select([is_first, x, y]: [&Shape; 3]) -> Result<Shape, String> {
    let is_fitting = is_first.dtype == DType::Pred && is_first.dims == x.dims && x == y;
    or(is_fitting, || format!("{is_first}, {x} and {y}"))?;
    Ok(x.clone())
}

fn concatenate(operands: &[&Shape], dim: usize) -> Result<Shape, String> {
    let first = *operands.first().ok_or("no operands")?;
    or(dim < first.dims.len(), || format!("dimension {dim} of {first}"))?;
    let mut made = first.clone();
    made.dims[dim] = 0;
    for operand in operands {
        let mut rest = (*operand).clone();
        or(rest.dims.len() == first.dims.len(), || format!("{first} and {operand}"))?;
        made.dims[dim] = made.dims[dim].checked_add(rest.dims[dim]).ok_or("too many elements")?;
        rest.dims[dim] = made.dims[dim];
        or(rest == made, || format!("{first} and {operand}"))?;
    }
    Ok(made)
}

fn product(dot: &Dot, lhs: &Shape, rhs: &Shape) -> Result<Shape, String> {
    let fail = || format!("{dot:?} of {lhs} and {rhs}");
    let is_fitting = lhs.dtype == rhs.dtype
        && lhs.dtype.is_float()
        && (dot.dtype == lhs.dtype || dot.dtype == DType::F32)
        && dot.contracting[0].len() == dot.contracting[1].len()
        && dot.batch[0].len() == dot.batch[1].len();
    or(is_fitting, fail)?;
    let used = |side: usize| [dot.batch[side].as_slice(), &dot.contracting[side]].concat();
    let (left, right) = (used(0), used(1));
    or(are_apart(&left, lhs.dims.len()) && are_apart(&right, rhs.dims.len()), fail)?;
    or(left.iter().zip(&right).all(|(l, r)| lhs.dims[*l] == rhs.dims[*r]), fail)?;
    let mut dims: Vec<usize> = dot.batch[0].iter().map(|dim| lhs.dims[*dim]).collect();
    dims.extend(others(lhs.dims.len(), &[&left]).iter().map(|dim| lhs.dims[*dim]));
    dims.extend(others(rhs.dims.len(), &[&right]).iter().map(|dim| rhs.dims[*dim]));
    Ok(Shape { dtype: dot.dtype, dims })
}

fn reduced(by: Binary, dims: &[usize], x: &Shape, first: &Shape) -> Result<Shape, String> {
    let is_fitting = by.is_combining()
        && x.dtype != DType::Pred
        && *first == Shape::scalar(x.dtype)
        && are_apart(dims, x.dims.len());
    or(is_fitting, || format!("{} of {x} along {dims:?}, from {first}", by.opcode()))?;
    let kept = others(x.dims.len(), &[dims]).iter().map(|dim| x.dims[*dim]).collect();
    Ok(Shape { dtype: x.dtype, dims: kept })
}

/// Sizes of indices without the dimension along which an index lies, and the length of an index.
fn indices(shape: &Shape, dim: usize) -> Result<(Vec<usize>, usize), String> {
    or(shape.dtype == DType::S32, || format!("indices of {shape}"))?;
    or(dim <= shape.dims.len(), || format!("dimension {dim} of the indices {shape}"))?;
    let mut dims = shape.dims.clone();
    let length = if dim < dims.len() { dims.remove(dim) } else { 1 };
    Ok((dims, length))
}

fn gathered(gather: &Gather, x: &Shape, at: &Shape) -> Result<Shape, String> {
    let fail = || format!("{gather:?} of {x} at {at}");
    let (many, length) = indices(at, gather.index_dim)?;
    let rank = x.dims.len();
    let is_fitting = gather.sizes.len() == rank
        && gather.index_map.len() == length
        && are_apart(&gather.index_map, rank)
        && are_apart(&gather.collapsed, rank)
        && gather.sizes.iter().zip(&x.dims).all(|(size, dim)| size <= dim)
        && gather.collapsed.iter().all(|dim| gather.sizes[*dim] == 1)
        && gather.offset_dims.len() + gather.collapsed.len() == rank
        && is_ascending(&gather.offset_dims);
    or(is_fitting, fail)?;
    let kept = others(rank, &[&gather.collapsed]);
    let rank = many.len() + kept.len();
    or(gather.offset_dims.iter().all(|dim| *dim < rank), fail)?;
    let (mut many, mut kept) = (many.into_iter(), kept.into_iter());
    let size = |dim: usize| match gather.offset_dims.contains(&dim) {
        true => kept.next().map(|dim| gather.sizes[dim]),
        false => many.next(),
    };
    let dims = (0..rank).map(size).collect::<Option<_>>().ok_or_else(fail)?;
    Ok(Shape { dtype: x.dtype, dims })
}

fn scattered(scatter: &Scatter, [x, at, updates]: [&Shape; 3]) -> Result<Shape, String> {
    let fail = || format!("{scatter:?} of {updates} into {x} at {at}");
    let (many, length) = indices(at, scatter.index_dim)?;
    let rank = x.dims.len();
    let kept = others(rank, &[&scatter.inserted]);
    let is_fitting = updates.dtype == x.dtype
        && scatter.index_map.len() == length
        && are_apart(&scatter.index_map, rank)
        && are_apart(&scatter.inserted, rank)
        && scatter.window_dims.len() == kept.len()
        && are_apart(&scatter.window_dims, updates.dims.len())
        && is_ascending(&scatter.window_dims);
    or(is_fitting, fail)?;
    let outside = others(updates.dims.len(), &[&scatter.window_dims]);
    or(outside.iter().map(|dim| updates.dims[*dim]).eq(many), fail)?;
    let mut windows = scatter.window_dims.iter().zip(&kept);
    or(windows.all(|(window, dim)| updates.dims[*window] <= x.dims[*dim]), fail)?;
    Ok(x.clone())
}
