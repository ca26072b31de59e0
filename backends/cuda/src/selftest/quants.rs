//! Weights in blocks against f64, as `gimbal-model` reads them.
//!
//! Next: `attention.rs`.

#![expect(clippy::cast_possible_truncation, reason = "sizes of cases are small")]

use gimbal_model::weights::{DType, Tensor};
use half::f16;

use super::bench::{Bench, Told};
use super::products::Beside;
use super::rows::{NEWEST, words};
use crate::launch::{self, Address, Output};
use crate::quants;

/// Types whose blocks kernels read, where f16 lie in a block, and a value of those with which weights come
/// near to 1.
const TYPES: [(DType, &[usize], f64); 5] = [
    (DType::Q4_0, &[0], 0.1),
    (DType::Q4_1, &[0, 2], 0.1),
    (DType::Q8_0, &[0], 0.01),
    (DType::Q4K, &[0, 2], 0.002),
    (DType::Q6K, &[208], 0.0003),
];

/// A matrix `[n, k]` in blocks: its values, and where its planes lie.
fn matrix(
    bench: &Bench<'_>,
    (dtype, halves, size): (DType, &[usize], f64),
    [n, k]: [usize; 2],
) -> Result<(Vec<f64>, Address), String> {
    let mut bytes: Vec<u8> =
        (0..n * dtype.row_bytes(k)).map(|_| (bench.bits() >> 24) as u8).collect();
    for block in bytes.chunks_mut(dtype.block().1) {
        for at in halves {
            let value = size * (1.0 + 0.5 * bench.numbers(1)[0]);
            block[*at..at + 2].copy_from_slice(&f16::from_f64(value).to_le_bytes());
        }
    }
    let tensor = Tensor { dtype, rows: n, cols: k, bytes: &bytes };
    let values = tensor.to_f32().into_iter().map(f64::from).collect();
    let mut planes = Vec::new();
    for plane in 0..quants::of(dtype).planes().len() {
        for row in 0..n {
            quants::repack(dtype, plane, tensor.row(row), &mut planes);
        }
    }
    Ok((values, bench.bytes(&planes)?))
}

/// Rows of a table in blocks are found.
pub(super) fn embed(bench: &Bench<'_>) -> Told {
    for kind in TYPES {
        for (rows, hidden) in [(1, 256), (7, 2304)] {
            bench.clear()?;
            let (table, at) = matrix(bench, kind, [11, hidden])?;
            let (words, ids) = words(bench, rows);
            let out = bench.room(4 * rows * hidden)?;
            let places = [out, at, bench.ints(&words)?, bench.ints(&NEWEST)?];
            let sizes = [rows as u32, 11, hidden as u32];
            bench.run(&launch::embed(bench.kind, quants::of(kind.0), places, 1.5, sizes))?;
            let expect = ids.iter().flat_map(|id| {
                table[*id as usize * hidden..][..hidden].iter().map(|value| 1.5 * value)
            });
            let expect: Vec<f64> = expect.collect();
            let found = bench.read_floats(out, rows * hidden)?;
            bench.check(&found, &expect, [2e-7, 1e-7], kind.0.name())?;
        }
    }
    Ok(())
}

/// Products of every number of rows; the results' forms take turns.
pub(super) fn products(bench: &Bench<'_>) -> Told {
    let mut outputs = [Output::Same, Output::Float, Output::Add].into_iter().cycle();
    for kind in TYPES {
        let wide = kind.0.block().0;
        for rows in [1, 2, 4, 7, 9, 65] {
            for (n, k) in [(8, wide), (72, 3 * wide), (131, 2 * wide)] {
                // A tile is computed as a whole, at the edges too.
                if n % 8 != 0 && rows > 8 {
                    continue;
                }
                let output = outputs.next().unwrap_or(Output::Same);
                product_case(bench, kind, output, [rows, n, k])?;
            }
        }
    }
    Ok(())
}

fn product_case(
    bench: &Bench<'_>,
    kind: (DType, &[usize], f64),
    output: Output,
    [rows, n, k]: [usize; 3],
) -> Told {
    bench.clear()?;
    let x = bench.noise(rows * k);
    let (mut w, at_w) = matrix(bench, kind, [n, k])?;
    // Tensor cores multiply values of the type.
    if rows > 8 {
        w.iter_mut().for_each(|value| *value = bench.round(*value));
    }
    let dot =
        |row: usize, column: usize| (0..k).map(|j| x[row * k + j] * w[column * k + j]).sum::<f64>();
    let beside = Beside::new(bench, rows, n);
    let out = beside.place(bench, output)?;
    let (places, sizes) = ([out, bench.values(&x)?, at_w], [rows as u32, n as u32, k as u32]);
    let (weights, stride) = (quants::of(kind.0), beside.stride as u32);
    bench.run(&launch::linear(bench.kind, weights, output, places, sizes, stride))?;
    let what = format!("{output:?} {rows}x{n}x{k} of {}", kind.0.name());
    // Sums of up to 768 products of f32.
    beside.check(bench, (output, out), dot, 2e-5, &what)
}
