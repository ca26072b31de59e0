//! Products with weights against f64, on an emulated device.

use crate::device::{Device, Noise, Setup, check, setups};
use gimbal_cuda::launch::{self, Output};

#[test]
fn products_equal_f64_for_every_number_of_rows() {
    let mut noise = Noise(19);
    for setup in setups() {
        for rows in [1, 2, 3, 5, 8, 9, 64, 65] {
            for (n, k) in [(8, 32), (72, 96), (129, 160)] {
                // A tile is computed as a whole, at the edges too.
                if n % 8 != 0 && rows > 8 {
                    continue;
                }
                product_case(setup, &mut noise, [rows, n, k]);
            }
        }
    }
}

fn product_case(setup: Setup, noise: &mut Noise, [rows, n, k]: [usize; 3]) {
    let device = Device::new(setup);
    let (x, w) = (noise.values(setup, rows * k), noise.values(setup, n * k));
    let (at_x, at_w) = (device.values(&x), device.values(&w));
    let expect: Vec<f64> =
        (0..rows * n).map(|i| (0..k).map(|j| x[i / n * k + j] * w[i % n * k + j]).sum()).collect();
    let before = noise.numbers(rows * n);
    let sizes = [rows as u32, n as u32, k as u32];
    for output in [Output::Same, Output::Float, Output::Add] {
        let out = match output {
            Output::Same => device.room(2 * rows * n),
            Output::Float => device.room(4 * rows * n),
            Output::Add => device.floats(&before),
        };
        device.run(&launch::linear(setup.kind, output, [out, at_x, at_w], sizes));
        let what = format!("{setup:?} {output:?} {rows}x{n}x{k}");
        match output {
            Output::Same => {
                let near = [1.01 * setup.half_step(), 1e-5];
                check(&device.read_values(out, rows * n), &expect, near, &what);
            }
            Output::Float => {
                check(&device.read_floats(out, rows * n), &expect, [1e-5, 1e-5], &what);
            }
            Output::Add => {
                let sum = expect.iter().zip(&before).map(|(x, y)| x + y);
                let sum: Vec<f64> = sum.collect();
                check(&device.read_floats(out, rows * n), &sum, [1e-5, 1e-5], &what);
            }
        }
    }
}
