//! Sums of products: `dot`, with either side's sums along any dimension and nothing transposed in memory
//! that lies well already.
//!
//! Next: `exchange.rs`.

use std::borrow::Cow;
use std::thread;

use gimbal_neuron::hlo::{Dot, Shape};

use crate::buffer::{Data, widened};
use crate::walk::Walk;
use crate::wide::sums;

/// Products from which on a second thread is worth its start (some 30 µs).
const THREADED: usize = 1 << 21;
/// Threads that compute one product.
const THREADS: usize = 2;
/// Rows of the left side that are computed together.
const ROWS: usize = 4;
/// What shares of columns are a multiple of.
const LANES: usize = 8;

/// The product; sums are in f32.
pub(crate) fn dot(dot: &Dot, (x, left): (&Data, &Shape), (y, right): (&Data, &Shape)) -> Data {
    let made = match (x, y) {
        (Data::Bf16(x), Data::Bf16(y)) => product(dot, (x, left), (y, right)),
        (Data::F32(x), Data::F32(y)) => product(dot, (x, left), (y, right)),
        _ => unreachable!("reading a module checked that both sides are floats"),
    };
    Data::of_f32(dot.dtype, made).unwrap_or_else(|| unreachable!("products are floats"))
}

/// An element that becomes an f32 exactly.
trait Element: Copy + Sync {
    fn float(self) -> f32;
    fn floats(slice: &[Self]) -> Cow<'_, [f32]>;
}

impl Element for f32 {
    fn float(self) -> f32 {
        self
    }

    fn floats(slice: &[Self]) -> Cow<'_, [f32]> {
        Cow::Borrowed(slice)
    }
}

impl Element for u16 {
    fn float(self) -> f32 {
        widened(self)
    }

    fn floats(slice: &[Self]) -> Cow<'_, [f32]> {
        Cow::Owned(slice.iter().map(|x| widened(*x)).collect())
    }
}

/// How the right side of one product lies.
#[derive(Clone, Copy, Debug)]
enum Lies {
    /// What is summed lies together; so far from one column to the next.
    Sums(usize),
    /// Columns lie together; so far from one summand to the next.
    Columns(usize),
}

/// One product of many: `[m, k]` times `[k, n]`.
struct Side<'a, T> {
    y: &'a [T],
    lies: Lies,
    m: usize,
    k: usize,
    n: usize,
}

fn product<T: Element>(
    dot: &Dot,
    (x, left): (&[T], &Shape),
    (y, right): (&[T], &Shape),
) -> Vec<f32> {
    let others = |shape: &Shape, side: usize| -> Vec<usize> {
        let is_used =
            |dim: &usize| dot.batch[side].contains(dim) || dot.contracting[side].contains(dim);
        (0..shape.dims.len()).filter(|dim| !is_used(dim)).collect()
    };
    let walk = |shape: &Shape, which: &[usize]| Walk::of(&shape.dims, &shape.strides(), which);
    let rows = others(left, 0);
    let order = [dot.batch[0].as_slice(), &rows, &dot.contracting[0]].concat();
    let (m, k) = (walk(left, &rows).elements(), walk(left, &dot.contracting[0]).elements());
    // The left side is small, or lies well: it is brought into order.
    let whole = walk(left, &order);
    let x: Cow<'_, [f32]> = match whole.step() {
        Some(1) => T::floats(x),
        _ => Cow::Owned(whole.collect(x, 0).into_iter().map(T::float).collect()),
    };
    let (sums, columns) = (walk(right, &dot.contracting[1]), walk(right, &others(right, 1)));
    let n = columns.elements();
    let batches = walk(right, &dot.batch[1]).places();
    let mut made = vec![0.0; batches.len() * m * n];
    if made.is_empty() || k == 0 {
        return made;
    }
    let (sum_step, column_step) = (sums.step(), columns.step());
    let (lies, packed) = match (sum_step, column_step) {
        (Some(1), Some(step)) => (Lies::Sums(step), None),
        (Some(step), Some(1)) => (Lies::Columns(step), None),
        _ => {
            let order = [dot.batch[1].as_slice(), &others(right, 1), &dot.contracting[1]].concat();
            (Lies::Sums(k), Some(walk(right, &order).collect(y, 0)))
        }
    };
    let first = |batch: usize| if packed.is_some() { batch * n * k } else { batches[batch] };
    let y = packed.as_deref().unwrap_or(y);
    let side = |batch: usize| Side { y: &y[first(batch)..], lies, m, k, n };
    let is_threaded = batches.len() * m * n * k >= THREADED;
    if batches.len() == 1 {
        side(0).multiply(&x, &mut made, is_threaded);
        return made;
    }
    let share = if is_threaded { batches.len().div_ceil(THREADS) } else { batches.len() };
    let (x, side) = (&x, &side);
    thread::scope(|scope| {
        let mut shares = made.chunks_mut(share * m * n).enumerate();
        let mine = shares.next();
        let compute = move |(which, made): (usize, &mut [f32])| {
            for (i, made) in made.chunks_mut(m * n).enumerate() {
                let batch = which * share + i;
                side(batch).multiply(&x[batch * m * k..(batch + 1) * m * k], made, false);
            }
        };
        for share in shares {
            scope.spawn(move || compute(share));
        }
        if let Some(mine) = mine {
            compute(mine);
        }
    });
    made
}

impl<T: Element> Side<'_, T> {
    /// `made` is `[m, n]`, x is `[m, k]`.
    fn multiply(&self, x: &[f32], made: &mut [f32], is_threaded: bool) {
        let n = self.n;
        if !is_threaded || n < THREADS * LANES {
            let columns = self.columns(x, 0, n);
            return self.place(made, &columns, 0);
        }
        let half = n / THREADS / LANES * LANES;
        let (low, high) = thread::scope(|scope| {
            let high = scope.spawn(|| self.columns(x, half, n));
            let low = self.columns(x, 0, half);
            (low, high.join())
        });
        let high = high.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.place(made, &low, 0);
        self.place(made, &high, half);
    }

    /// Some of the columns.
    fn columns(&self, x: &[f32], start: usize, end: usize) -> Vec<f32> {
        match self.lies {
            Lies::Sums(step) => self.by_sums(x, start, end, step),
            Lies::Columns(step) => self.by_columns(x, start, end, step),
        }
    }

    /// Puts columns, as `columns` leaves them, where they belong.
    fn place(&self, made: &mut [f32], columns: &[f32], start: usize) {
        let (m, n) = (self.m, self.n);
        let width = columns.len() / m;
        match self.lies {
            // `[columns, m]`.
            Lies::Sums(_) => {
                for (j, column) in columns.chunks_exact(m).enumerate() {
                    for (i, sum) in column.iter().enumerate() {
                        made[i * n + start + j] = *sum;
                    }
                }
            }
            // `[m, columns]`.
            Lies::Columns(_) => {
                for (i, row) in columns.chunks_exact(width.max(1)).enumerate() {
                    made[i * n + start..i * n + start + width].copy_from_slice(row);
                }
            }
        }
    }

    /// Each column is read once for all rows.
    fn by_sums(&self, x: &[f32], start: usize, end: usize, step: usize) -> Vec<f32> {
        let (m, k) = (self.m, self.k);
        let mut made = Vec::with_capacity((end - start) * m);
        for j in start..end {
            let column = T::floats(&self.y[j * step..j * step + k]);
            for rows in x.chunks(ROWS * k) {
                match rows.len() / k {
                    4 => made.extend(sums::<4>(rows, &column)),
                    3 => made.extend(sums::<3>(rows, &column)),
                    2 => made.extend(sums::<2>(rows, &column)),
                    _ => made.extend(sums::<1>(rows, &column)),
                }
            }
        }
        made
    }

    /// Each row of the right side is added to all rows of the result.
    fn by_columns(&self, x: &[f32], start: usize, end: usize, step: usize) -> Vec<f32> {
        let (m, k, width) = (self.m, self.k, end - start);
        let mut made = vec![0.0; m * width];
        for summand in 0..k {
            let at = summand * step;
            let row = T::floats(&self.y[at + start..at + end]);
            for (made, x) in made.chunks_exact_mut(width.max(1)).zip(x.chunks_exact(k)) {
                let factor = x[summand];
                made.iter_mut().zip(row.iter()).for_each(|(made, y)| *made += factor * y);
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use gimbal_neuron::hlo::DType;

    use super::*;

    /// Every way in which sides may lie, against sums as they are written.
    #[test]
    fn products_are_sums_of_products_wherever_dimensions_lie() {
        let (b, m, k, n) = (3, 5, 19, 17);
        let value = |i: usize| (i * 7 % 13) as f32 - 6.0;
        // Orders of `[batch, other, contracting]` of each side.
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for left in orders {
            for right in orders {
                let side = |order: [usize; 3], other: usize| {
                    let sizes = [b, other, k];
                    let shape = Shape::new(DType::F32, &order.map(|dim| sizes[dim]));
                    let at = |dim| order.iter().position(|d| *d == dim).expect("an order");
                    let data: Vec<f32> = (0..shape.elements()).map(value).collect();
                    (shape, data, [at(0), at(1), at(2)])
                };
                let (x_shape, x, x_at) = side(left, m);
                let (y_shape, y, y_at) = side(right, n);
                let wanted = Dot {
                    contracting: [vec![x_at[2]], vec![y_at[2]]],
                    batch: [vec![x_at[0]], vec![y_at[0]]],
                    dtype: DType::F32,
                };
                let place = |shape: &Shape, at: [usize; 3], i: [usize; 3]| -> usize {
                    (0..3).map(|dim| shape.strides()[at[dim]] * i[dim]).sum()
                };
                let (x, y) = (Data::F32(x), Data::F32(y));
                let made = dot(&wanted, (&x, &x_shape), (&y, &y_shape)).to_f32();
                let (x, y) = (x.to_f32(), y.to_f32());
                for (i, made) in made.iter().enumerate() {
                    let (batch, row, column) = (i / (m * n), i / n % m, i % n);
                    let product = |sum| {
                        x[place(&x_shape, x_at, [batch, row, sum])]
                            * y[place(&y_shape, y_at, [batch, column, sum])]
                    };
                    // Small integers: sums are exact in any order.
                    assert_eq!(*made, (0..k).map(product).sum::<f32>(), "{left:?} {right:?}");
                }
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (m, k, n) = (6, 512, 301);
        let x: Vec<f32> = (0..m * k).map(|i| (i % 31) as f32 - 15.0).collect();
        let y: Vec<f32> = (0..n * k).map(|i| (i % 29) as f32 - 14.0).collect();
        for lies in [Lies::Sums(k), Lies::Columns(n)] {
            let side = Side { y: &y, lies, m, k, n };
            let (mut one, mut two) = (vec![0.0; m * n], vec![0.0; m * n]);
            side.multiply(&x, &mut one, false);
            side.multiply(&x, &mut two, true);
            assert!(one == two, "{lies:?}");
        }
    }
}
