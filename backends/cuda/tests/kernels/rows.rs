//! Kernels of rows against f64, on an emulated device.

use crate::device::{Device, Noise, Setup, check, setups};
use gimbal_cuda::launch::{self, Cache, Norm, Rope};

#[test]
fn rows_of_a_table_are_found() {
    let mut noise = Noise(3);
    for setup in setups() {
        for (rows, hidden) in [(1, 64), (7, 96), (65, 577)] {
            let device = Device::new(setup);
            let table = noise.values(setup, 11 * hidden);
            let ids: Vec<u32> = (0..rows).map(|_| (noise.bits() % 11) as u32).collect();
            let out = device.room(4 * rows * hidden);
            let places = [out, device.values(&table), device.ints(&ids)];
            let sizes = [rows as u32, hidden as u32];
            device.run(&launch::embed(setup.kind, places, 1.5, sizes));
            let expect = ids.iter().flat_map(|id| {
                table[*id as usize * hidden..][..hidden].iter().map(|value| 1.5 * value)
            });
            let expect: Vec<f64> = expect.collect();
            check(&device.read_floats(out, rows * hidden), &expect, [1e-7, 0.0], "embed");
        }
    }
}

fn normed(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * w).collect()
}

#[test]
fn rows_are_normalised() {
    let mut noise = Noise(5);
    for setup in setups() {
        for (rows, cols) in [(1, 64), (7, 96), (3, 1000)] {
            let device = Device::new(setup);
            let x: Vec<f64> =
                noise.numbers(9 * cols).iter().map(|x| f64::from(*x as f32)).collect();
            let weight = noise.values(setup, cols);
            let picked: Vec<u32> = (0..rows as u32).map(|row| (row * 5 + 2) % 9).collect();
            let norm = Norm { weight: device.values(&weight), eps: 0.25 };
            let (at, out) = (device.floats(&x), device.room(2 * rows * cols));
            for is_picked in [false, true] {
                let places = [out, at, if is_picked { device.ints(&picked) } else { 0 }];
                let sizes = [rows as u32, cols as u32];
                device.run(&launch::rms_norm(setup.kind, norm, places, sizes));
                let expect = (0..rows).flat_map(|row| {
                    let row = if is_picked { picked[row] as usize } else { row };
                    normed(&x[row * cols..][..cols], &weight, 0.25)
                });
                let expect: Vec<f64> = expect.collect();
                let found = device.read_values(out, rows * cols);
                check(&found, &expect, [1.01 * setup.half_step(), 1e-6], "rms_norm");
            }
        }
    }
}

#[test]
fn a_norm_is_added_to_the_residual_stream() {
    let mut noise = Noise(7);
    for setup in setups() {
        let (rows, cols) = (5, 321);
        let device = Device::new(setup);
        let (x, weight) = (noise.values(setup, rows * cols), noise.values(setup, cols));
        let hidden = noise.numbers(rows * cols);
        let norm = Norm { weight: device.values(&weight), eps: 0.5 };
        let at = device.floats(&hidden);
        let sizes = [rows as u32, cols as u32];
        device.run(&launch::rms_norm_add(setup.kind, norm, [at, device.values(&x)], sizes));
        let normed = x.chunks(cols).flat_map(|row| normed(row, &weight, 0.5));
        let expect: Vec<f64> =
            normed.zip(&hidden).map(|(normed, hidden)| normed + hidden).collect();
        check(&device.read_floats(at, rows * cols), &expect, [1e-5, 1e-5], "rms_norm_add");
    }
}

#[test]
fn groups_of_a_row_are_normalised_in_place_and_nothing_else_is_touched() {
    let mut noise = Noise(9);
    for setup in setups() {
        for (groups, cols) in [(1, 192), (3, 64), (2, 256)] {
            let (rows, first) = (4, 32);
            let stride = first + groups * cols + 8;
            let device = Device::new(setup);
            let (x, weight) = (noise.values(setup, rows * stride), noise.values(setup, cols));
            let norm = Norm { weight: device.values(&weight), eps: 0.125 };
            let at = device.values(&x);
            let sizes = [rows as u32, groups as u32, cols as u32];
            let place = [first as u32, stride as u32];
            device.run(&launch::rms_norm_groups(setup.kind, norm, at, sizes, place));
            let mut expect = x.clone();
            for row in expect.chunks_mut(stride) {
                for group in row[first..first + groups * cols].chunks_mut(cols) {
                    group.copy_from_slice(&normed(group, &weight, 0.125));
                }
            }
            let found = device.read_values(at, rows * stride);
            check(&found, &expect, [1.01 * setup.half_step(), 1e-6], "rms_norm_groups");
        }
    }
}

#[test]
fn gates_are_multiplied() {
    let mut noise = Noise(11);
    for setup in setups() {
        for (rows, width) in [(1, 64), (7, 300), (2, 1024)] {
            let device = Device::new(setup);
            let wide = |x: f64| setup.round(8.0 * x);
            let both: Vec<f64> = noise.numbers(rows * 2 * width).into_iter().map(wide).collect();
            let (at, out) = (device.values(&both), device.room(2 * rows * width));
            let sizes = [rows as u32, width as u32];
            let expect = |act: fn(f64) -> f64| -> Vec<f64> {
                let rows = both.chunks(2 * width);
                rows.flat_map(|row| {
                    (0..width).map(|c| act(row[c]) * row[width + c]).collect::<Vec<_>>()
                })
                .collect()
            };
            let near = [1.1 * setup.half_step(), 1e-6];
            device.run(&launch::silu_mul(setup.kind, [out, at], sizes));
            let silu = |x: f64| x / (1.0 + (-x).exp());
            check(&device.read_values(out, rows * width), &expect(silu), near, "silu_mul");
            device.run(&launch::gelu_mul(setup.kind, [out, at], sizes));
            let gelu = |x: f64| {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + u.tanh())
            };
            // Of large negative gates next to nothing is left, and that is the difference to 1.
            check(
                &device.read_values(out, rows * width),
                &expect(gelu),
                [near[0], 2e-5],
                "gelu_mul",
            );
        }
    }
}

/// One row of `rope_kv_write` in f64.
fn rotated(
    row: &[f64],
    bias: Option<&[f64]>,
    angles: &[f64],
    rope: &Rope,
    heads: usize,
) -> Vec<f64> {
    let (dim, pairs) = (rope.dim as usize, rope.pairs as usize);
    let mut out: Vec<f64> =
        (0..row.len()).map(|c| row[c] + bias.map_or(0.0, |bias| bias[c])).collect();
    for head in out[..heads * dim].chunks_mut(dim) {
        for (pair, turn) in angles.chunks(2).enumerate() {
            let (a, b) =
                if rope.is_adjacent { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
            let (x, y) = (head[a], head[b]);
            head[a] = x * turn[0] - y * turn[1];
            head[b] = x * turn[1] + y * turn[0];
        }
    }
    out
}

#[test]
fn queries_turn_and_keys_and_values_reach_their_cells() {
    let mut noise = Noise(13);
    for setup in setups() {
        for (heads, kv_heads, dim, pairs, is_adjacent, block_tokens, has_bias) in [
            (1, 1, 64, 32, false, 16, false),
            (6, 2, 64, 32, true, 8, true),
            (8, 1, 96, 24, false, 32, true),
            (3, 3, 128, 0, false, 16, false),
        ] {
            rope_case(
                setup,
                &mut noise,
                [heads, kv_heads, dim, pairs, block_tokens],
                [is_adjacent, has_bias],
            );
        }
    }
}

fn rope_case(
    setup: Setup,
    noise: &mut Noise,
    sizes: [usize; 5],
    [is_adjacent, has_bias]: [bool; 2],
) {
    let [heads, kv_heads, dim, pairs, block_tokens] = sizes;
    let (rows, blocks, positions) = (5, 4, 50);
    let device = Device::new(setup);
    let stride = (heads + 2 * kv_heads) * dim;
    let (x, bias) = (noise.values(setup, rows * stride), noise.values(setup, stride));
    let angles: Vec<f64> =
        noise.numbers(positions * pairs * 2).iter().map(|x| f64::from(*x as f32)).collect();
    let position: Vec<u32> = (0..rows).map(|_| (noise.bits() % positions as u64) as u32).collect();
    // The second row has no cell: it was padded.
    let cells = [3, u32::MAX, block_tokens as u32, 4 * block_tokens as u32 - 1, 0];
    let cache_size = blocks * kv_heads * block_tokens * dim;
    let before = noise.values(setup, cache_size);
    let rope = Rope {
        qkv: device.values(&x),
        bias: if has_bias { device.values(&bias) } else { 0 },
        angles: if pairs == 0 { 0 } else { device.floats(&angles) },
        position: device.ints(&position),
        cell: device.ints(&cells),
        heads: heads as u32,
        dim: dim as u32,
        pairs: pairs as u32,
        is_adjacent,
    };
    let cache = Cache {
        keys: device.values(&before),
        values: device.values(&before),
        kv_heads: kv_heads as u32,
        block_tokens: block_tokens as u32,
    };
    device.run(&launch::rope_kv_write(setup.kind, rope, cache, rows as u32));
    let (mut keys, mut values) = (before.clone(), before);
    let mut queries = Vec::new();
    for row in 0..rows {
        let turn = &angles[position[row] as usize * pairs * 2..][..pairs * 2];
        let bias = has_bias.then_some(&bias[..]);
        let out = rotated(&x[row * stride..][..stride], bias, turn, &rope, heads + kv_heads);
        queries.extend_from_slice(&out[..heads * dim]);
        // What of a row is no query stays as it was.
        queries.extend_from_slice(&x[row * stride + heads * dim..][..2 * kv_heads * dim]);
        if cells[row] == u32::MAX {
            continue;
        }
        let (block, token) =
            (cells[row] as usize / block_tokens, cells[row] as usize % block_tokens);
        for h in 0..kv_heads {
            let at = ((block * kv_heads + h) * block_tokens + token) * dim;
            keys[at..at + dim].copy_from_slice(&out[(heads + h) * dim..][..dim]);
            values[at..at + dim].copy_from_slice(&out[(heads + kv_heads + h) * dim..][..dim]);
        }
    }
    let near = [1.1 * setup.half_step(), 1e-6];
    check(&device.read_values(rope.qkv, rows * stride), &queries, near, "queries");
    check(&device.read_values(cache.keys, cache_size), &keys, near, "keys");
    check(&device.read_values(cache.values, cache_size), &values, near, "values");
}

#[test]
fn the_first_of_the_largest_logits_is_chosen() {
    let mut noise = Noise(17);
    for setup in setups().filter(|setup| setup.kind == gimbal_cuda::Type::F16) {
        for vocab in [1, 31, 257, 5000] {
            let device = Device::new(setup);
            let rows = 6;
            let mut logits = noise.numbers(rows * vocab);
            // Equal ones, all below 0, none a number, infinite.
            logits[..vocab].fill(0.25);
            logits[vocab..2 * vocab].iter_mut().for_each(|x| *x = -2.0 - x.abs());
            logits[2 * vocab..3 * vocab].fill(f64::NAN);
            logits[2 * vocab + vocab / 2] = -1e30;
            logits[4 * vocab - 1] = f64::INFINITY;
            logits[4 * vocab] = -0.0;
            let token = device.room(4 * rows);
            let sizes = [rows as u32, vocab as u32];
            device.run(&launch::argmax([token, device.floats(&logits)], sizes));
            let expect = logits.chunks(vocab).map(|row| {
                let mut best = 0;
                for (c, x) in row.iter().enumerate() {
                    if *x as f32 > row[best] as f32 || row[best].is_nan() && !x.is_nan() {
                        best = c;
                    }
                }
                best as u32
            });
            assert_eq!(device.read_ints(token, rows), expect.collect::<Vec<_>>(), "{vocab}");
        }
    }
}
