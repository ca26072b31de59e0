//! Products with weights and attention against f64, on an emulated device.

#![expect(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

mod device;

use device::{Device, Noise, Setup, check, setups};
use gimbal_cuda::launch::{self, Cache, Decode, Output, SPLIT};

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

/// A case of attention.
#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    block_tokens: usize,
    window: Option<u32>,
    softcap: Option<f32>,
}

#[test]
fn decode_equals_f64_over_groups_heads_blocks_and_windows() {
    let mut noise = Noise(23);
    let case = |heads, kv_heads, dim, block_tokens, window, softcap| Case {
        heads,
        kv_heads,
        dim,
        block_tokens,
        window,
        softcap,
    };
    for setup in setups() {
        for case in [
            case(1, 1, 64, 16, None, None),
            case(6, 2, 64, 8, Some(40), None),
            case(9, 1, 64, 32, None, Some(5.0)),
            case(2, 2, 96, 16, None, None),
            case(6, 2, 96, 16, Some(300), None),
            case(8, 1, 128, 16, Some(1), Some(3.0)),
            case(2, 2, 128, 16, None, None),
            case(3, 1, 128, 16, None, None),
            case(4, 1, 256, 8, None, None),
            case(1, 1, 256, 16, None, None),
        ] {
            decode_case(setup, &mut noise, case);
        }
    }
}

fn decode_case(setup: Setup, noise: &mut Noise, case: Case) {
    let Case { heads, kv_heads, dim, block_tokens, window, softcap } = case;
    // Of one token, of a part of a split, of two splits, and of three in which a split is empty.
    let lengths: [u32; 4] = [1, 37, SPLIT + 1, 2 * SPLIT];
    let (rows, splits) = (lengths.len(), 3);
    let device = Device::new(setup);
    let table_stride = (2 * SPLIT as usize).div_ceil(block_tokens);
    let blocks = rows * table_stride;
    // Blocks lie anywhere.
    let table: Vec<u32> = (0..blocks).map(|i| ((i * 7 + 3) % blocks) as u32).collect();
    let stride = heads * dim + 16;
    let queries = noise.values(setup, rows * stride);
    let size = blocks * kv_heads * block_tokens * dim;
    let (keys, values) = (noise.values(setup, size), noise.values(setup, size));
    let decode = Decode {
        queries: device.values(&queries),
        stride: stride as u32,
        table: device.ints(&table),
        table_stride: table_stride as u32,
        length: device.ints(&lengths),
        heads: heads as u32,
        dim: dim as u32,
        scale: 0.3,
        softcap,
        window,
    };
    let cache = Cache {
        keys: device.values(&keys),
        values: device.values(&values),
        kv_heads: kv_heads as u32,
        block_tokens: block_tokens as u32,
    };
    let parts = device.room(4 * rows * heads * splits * dim);
    let weights = device.room(8 * rows * heads * splits);
    let sizes = [rows as u32, splits as u32];
    device.run(&launch::decode(setup.kind, decode, cache, [parts, weights], sizes));
    let out = device.room(2 * rows * heads * dim);
    let sizes = [rows as u32, heads as u32, dim as u32, splits as u32];
    device.run(&launch::merge(setup.kind, [out, parts, weights], sizes));
    let mut expect = Vec::new();
    for (row, length) in lengths.iter().enumerate() {
        let first = window.map_or(0, |window| length.saturating_sub(window));
        let cell = |token: usize, h: usize| {
            let block = table[row * table_stride + token / block_tokens] as usize;
            ((block * kv_heads + h) * block_tokens + token % block_tokens) * dim
        };
        for head in 0..heads {
            let h = head / (heads / kv_heads);
            let q = &queries[row * stride + head * dim..][..dim];
            let score = |token: usize| {
                let key = &keys[cell(token, h)..][..dim];
                let dot: f64 = q.iter().zip(key).map(|(q, k)| q * k).sum();
                let score = dot * f64::from(0.3_f32);
                softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            };
            let tokens: Vec<usize> = (first as usize..*length as usize).collect();
            let shares: Vec<f64> = tokens.iter().map(|token| score(*token).exp()).collect();
            let total: f64 = shares.iter().sum();
            expect.extend((0..dim).map(|c| {
                let parts = tokens.iter().zip(&shares);
                parts.map(|(token, share)| share / total * values[cell(*token, h) + c]).sum::<f64>()
            }));
        }
    }
    let found = device.read_values(out, rows * heads * dim);
    check(&found, &expect, [1.1 * setup.half_step(), 2e-5], &format!("{setup:?} {case:?}"));
}
