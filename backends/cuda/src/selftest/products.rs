//! Products with weights against f64.
//!
//! Next: `attention.rs`.

#![expect(clippy::cast_possible_truncation, reason = "sizes of cases are small, and f32 is meant")]

use super::bench::{Bench, Told};
use crate::launch::{self, Output, Weights};

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
    let expect: Vec<f64> =
        (0..rows * n).map(|i| (0..k).map(|j| x[i / n * k + j] * w[i % n * k + j]).sum()).collect();
    let before = bench.numbers(rows * n);
    let sizes = [rows as u32, n as u32, k as u32];
    for output in [Output::Same, Output::Float, Output::Add] {
        let out = match output {
            Output::Same => bench.room(2 * rows * n)?,
            Output::Float => bench.room(4 * rows * n)?,
            Output::Add => bench.floats(&before)?,
        };
        bench.run(&launch::linear(bench.kind, Weights::Same, output, [out, at_x, at_w], sizes))?;
        let what = format!("{output:?} {rows}x{n}x{k}");
        match output {
            Output::Same => {
                let near = [1.01 * bench.half_step(), 1e-5];
                bench.check(&bench.read_values(out, rows * n)?, &expect, near, &what)?;
            }
            Output::Float => {
                bench.check(&bench.read_floats(out, rows * n)?, &expect, [1e-5, 1e-5], &what)?;
            }
            Output::Add => {
                let sum = expect.iter().zip(&before).map(|(x, y)| x + y);
                let sum: Vec<f64> = sum.collect();
                bench.check(&bench.read_floats(out, rows * n)?, &sum, [1e-5, 1e-5], &what)?;
            }
        }
    }
    Ok(())
}
