//! Products with weights against f64.
//!
//! Next: `attention.rs`.

#![expect(clippy::cast_possible_truncation, reason = "sizes of cases are small, and f32 is meant")]

use super::bench::{Bench, Told};
use crate::launch::{self, Address, Output, Weights};

/// Products of every number of rows.
pub(super) fn products(bench: &Bench<'_>) -> Told {
    for rows in [1, 2, 3, 5, 8, 9, 64, 65] {
        for (n, k) in [(8, 32), (72, 96), (129, 160)] {
            // A tile is computed as a whole, at the edges too.
            if n % 8 != 0 && rows > 8 {
                continue;
            }
            product_case(bench, [rows, n, k])?;
        }
    }
    Ok(())
}

fn product_case(bench: &Bench<'_>, [rows, n, k]: [usize; 3]) -> Told {
    bench.clear()?;
    let (x, w) = (bench.noise(rows * k), bench.noise(n * k));
    let (at_x, at_w) = (bench.values(&x)?, bench.values(&w)?);
    let dot =
        |row: usize, column: usize| (0..k).map(|j| x[row * k + j] * w[column * k + j]).sum::<f64>();
    let sizes = [rows as u32, n as u32, k as u32];
    for output in [Output::Same, Output::Float, Output::Add] {
        let beside = Beside::new(bench, rows, n);
        let out = beside.place(bench, output)?;
        let stride = beside.stride as u32;
        let places = [out, at_x, at_w];
        bench.run(&launch::linear(bench.kind, Weights::Same, output, places, sizes, stride))?;
        let what = format!("{output:?} {rows}x{n}x{k}");
        beside.check(bench, (output, out), dot, 1e-5, &what)?;
    }
    Ok(())
}

/// Rows of results with something beside them that must stay as it is.
pub(super) struct Beside {
    rows: usize,
    n: usize,
    pub(super) stride: usize,
    before: Vec<f64>,
}

impl Beside {
    pub(super) fn new(bench: &Bench<'_>, rows: usize, n: usize) -> Self {
        let stride = n + bench.bits() as usize % 3 * 4;
        Self { rows, n, stride, before: bench.noise(rows * stride) }
    }

    pub(super) fn place(&self, bench: &Bench<'_>, output: Output) -> Result<Address, String> {
        match output {
            Output::Same => bench.values(&self.before),
            Output::Float | Output::Add => bench.floats(&self.before),
        }
    }

    /// Compares with `dot(row, column)`; sums of f32 come as near as `near` says.
    pub(super) fn check(
        &self,
        bench: &Bench<'_>,
        (output, out): (Output, Address),
        dot: impl Fn(usize, usize) -> f64,
        near: f64,
        what: &str,
    ) -> Told {
        let expect = (0..self.rows * self.stride).map(|i| {
            let (row, column) = (i / self.stride, i % self.stride);
            match output {
                _ if column >= self.n => self.before[i],
                Output::Add => self.before[i] + dot(row, column),
                _ => dot(row, column),
            }
        });
        let (expect, count) = (expect.collect::<Vec<_>>(), self.rows * self.stride);
        match output {
            Output::Same => {
                let near = [1.01 * bench.half_step(), near];
                bench.check(&bench.read_values(out, count)?, &expect, near, what)
            }
            Output::Float | Output::Add => {
                bench.check(&bench.read_floats(out, count)?, &expect, [1e-5, near], what)
            }
        }
    }
}
