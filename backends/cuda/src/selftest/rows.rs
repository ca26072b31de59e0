//! Kernels of rows against f64.
//!
//! Next: `products.rs`.

#![expect(clippy::cast_possible_truncation, reason = "sizes of cases are small, and f32 is meant")]

use super::bench::{Bench, Told};
use crate::launch::{self, Cache, Norm, Rope, Weights};

/// Rows of a table are found.
pub(super) fn embed(bench: &Bench<'_>) -> Told {
    for (rows, hidden) in [(1, 64), (7, 96), (65, 577)] {
        bench.clear()?;
        let table = bench.noise(11 * hidden);
        let (words, ids) = words(bench, rows);
        let out = bench.room(4 * rows * hidden)?;
        let newest = bench.ints(&NEWEST)?;
        let places = [out, bench.values(&table)?, bench.ints(&words)?, newest];
        let sizes = [rows as u32, 11, hidden as u32];
        bench.run(&launch::embed(bench.kind, Weights::Same, places, 1.5, sizes))?;
        let expect = ids.iter().flat_map(|id| {
            table[*id as usize * hidden..][..hidden].iter().map(|value| 1.5 * value)
        });
        let expect: Vec<f64> = expect.collect();
        bench.check(&bench.read_floats(out, rows * hidden)?, &expect, [1e-7, 0.0], "embed")?;
    }
    Ok(())
}

/// The newest token of each slot.
pub(super) const NEWEST: [u32; 5] = [3, 10, 0, 7, 5];

/// Words of tokens below 11, every third of which is the newest of a slot, and what they are.
pub(super) fn words(bench: &Bench<'_>, rows: usize) -> (Vec<u32>, Vec<u32>) {
    let below = |n: u64| (bench.bits() % n) as usize;
    let word = |row| match row % 3 {
        0 => {
            let slot = below(NEWEST.len() as u64);
            (launch::of_slot(slot as u32), NEWEST[slot])
        }
        _ => {
            let id = below(11) as u32;
            (id, id)
        }
    };
    (0..rows).map(word).unzip()
}

/// Numbers of f32 that no type of 16 bits holds.
fn fine(bench: &Bench<'_>, count: usize) -> Vec<f64> {
    bench.numbers(count).iter().map(|x| f64::from(*x as f32)).collect()
}

/// Rows of the residual stream in the type.
pub(super) fn round(bench: &Bench<'_>) -> Told {
    for (rows, cols) in [(1, 64), (7, 96), (3, 577)] {
        bench.clear()?;
        let x = fine(bench, rows * cols);
        let (at, out) = (bench.floats(&x)?, bench.room(2 * rows * cols)?);
        bench.run(&launch::round(bench.kind, [out, at], [rows as u32, cols as u32]))?;
        let found = bench.read_values(out, rows * cols)?;
        // As the host rounds.
        let expect: Vec<f64> = x.iter().map(|x| bench.round(*x)).collect();
        bench.check(&found, &expect, [0.0, 0.0], "round")?;
    }
    Ok(())
}

fn normed(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * w).collect()
}

/// Rows, and picked ones, are normalised.
pub(super) fn rms_norm(bench: &Bench<'_>) -> Told {
    for (rows, cols) in [(1, 64), (7, 96), (3, 1000)] {
        bench.clear()?;
        let x: Vec<f64> = bench.numbers(9 * cols).iter().map(|x| f64::from(*x as f32)).collect();
        let weight = fine(bench, cols);
        let picked: Vec<u32> = (0..rows as u32).map(|row| (row * 5 + 2) % 9).collect();
        let norm = Norm { weight: bench.floats(&weight)?, eps: 0.25 };
        let (at, out) = (bench.floats(&x)?, bench.room(2 * rows * cols)?);
        for is_picked in [false, true] {
            let places = [out, at, if is_picked { bench.ints(&picked)? } else { 0 }];
            let sizes = [rows as u32, cols as u32];
            bench.run(&launch::rms_norm(bench.kind, norm, places, sizes))?;
            let expect = (0..rows).flat_map(|row| {
                let row = if is_picked { picked[row] as usize } else { row };
                normed(&x[row * cols..][..cols], &weight, 0.25)
            });
            let expect: Vec<f64> = expect.collect();
            let found = bench.read_values(out, rows * cols)?;
            bench.check(&found, &expect, [1.01 * bench.half_step(), 1e-6], "rms_norm")?;
        }
    }
    Ok(())
}

/// A norm is added to the residual stream.
pub(super) fn rms_norm_add(bench: &Bench<'_>) -> Told {
    let (rows, cols) = (5, 321);
    bench.clear()?;
    let (x, weight) = (bench.noise(rows * cols), fine(bench, cols));
    let hidden = bench.numbers(rows * cols);
    let norm = Norm { weight: bench.floats(&weight)?, eps: 0.5 };
    let at = bench.floats(&hidden)?;
    let sizes = [rows as u32, cols as u32];
    bench.run(&launch::rms_norm_add(bench.kind, norm, [at, bench.values(&x)?], sizes))?;
    let normed = x.chunks(cols).flat_map(|row| normed(row, &weight, 0.5));
    let expect: Vec<f64> = normed.zip(&hidden).map(|(normed, hidden)| normed + hidden).collect();
    bench.check(&bench.read_floats(at, rows * cols)?, &expect, [1e-5, 1e-5], "rms_norm_add")?;
    Ok(())
}

/// Groups of a row are normalised in place, and nothing else is touched.
pub(super) fn rms_norm_groups(bench: &Bench<'_>) -> Told {
    for (groups, cols) in [(1, 192), (3, 64), (2, 256)] {
        let (rows, first) = (4, 32);
        let stride = first + groups * cols + 8;
        bench.clear()?;
        let (x, weight) = (bench.noise(rows * stride), fine(bench, cols));
        let norm = Norm { weight: bench.floats(&weight)?, eps: 0.125 };
        let at = bench.values(&x)?;
        let sizes = [rows as u32, groups as u32, cols as u32];
        let place = [first as u32, stride as u32];
        bench.run(&launch::rms_norm_groups(bench.kind, norm, at, sizes, place))?;
        let mut expect = x.clone();
        for row in expect.chunks_mut(stride) {
            for group in row[first..first + groups * cols].chunks_mut(cols) {
                group.copy_from_slice(&normed(group, &weight, 0.125));
            }
        }
        let found = bench.read_values(at, rows * stride)?;
        bench.check(&found, &expect, [1.01 * bench.half_step(), 1e-6], "rms_norm_groups")?;
    }
    Ok(())
}

/// Gates are multiplied.
pub(super) fn activate(bench: &Bench<'_>) -> Told {
    for (rows, width) in [(1, 64), (7, 300), (2, 1024)] {
        bench.clear()?;
        let wide = |x: f64| bench.round(8.0 * x);
        let both: Vec<f64> = bench.numbers(rows * 2 * width).into_iter().map(wide).collect();
        let (at, out) = (bench.values(&both)?, bench.room(2 * rows * width)?);
        let sizes = [rows as u32, width as u32];
        let expect = |act: fn(f64) -> f64| -> Vec<f64> {
            let rows = both.chunks(2 * width);
            rows.flat_map(|row| {
                (0..width).map(|c| act(row[c]) * row[width + c]).collect::<Vec<_>>()
            })
            .collect()
        };
        let near = [1.1 * bench.half_step(), 1e-6];
        bench.run(&launch::silu_mul(bench.kind, [out, at], sizes))?;
        let silu = |x: f64| x / (1.0 + (-x).exp());
        bench.check(&bench.read_values(out, rows * width)?, &expect(silu), near, "silu_mul")?;
        bench.run(&launch::gelu_mul(bench.kind, [out, at], sizes))?;
        let gelu = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + u.tanh())
        };
        // Of large negative gates next to nothing is left, and that is the difference to 1.
        bench.check(
            &bench.read_values(out, rows * width)?,
            &expect(gelu),
            [near[0], 2e-5],
            "gelu_mul",
        )?;
    }
    Ok(())
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

/// Queries turn, and keys and values reach their cells.
pub(super) fn rope_kv_write(bench: &Bench<'_>) -> Told {
    for (heads, kv_heads, dim, pairs, is_adjacent, block_tokens, has_bias) in [
        (1, 1, 64, 32, false, 16, false),
        (6, 2, 64, 32, true, 8, true),
        (8, 1, 96, 24, false, 32, true),
        (3, 3, 128, 0, false, 16, false),
    ] {
        let sizes = [heads, kv_heads, dim, pairs, block_tokens];
        rope_case(bench, sizes, [is_adjacent, has_bias])?;
    }
    Ok(())
}

fn rope_case(bench: &Bench<'_>, sizes: [usize; 5], [is_adjacent, has_bias]: [bool; 2]) -> Told {
    let [heads, kv_heads, dim, pairs, block_tokens] = sizes;
    let (rows, blocks, positions) = (5, 4, 50);
    bench.clear()?;
    let stride = (heads + 2 * kv_heads) * dim;
    let (x, bias) = (bench.noise(rows * stride), bench.noise(stride));
    let angles: Vec<f64> =
        bench.numbers(positions * pairs * 2).iter().map(|x| f64::from(*x as f32)).collect();
    let position: Vec<u32> = (0..rows).map(|_| (bench.bits() % positions as u64) as u32).collect();
    // The second row has no cell: it was padded.
    let cells = [3, u32::MAX, block_tokens as u32, 4 * block_tokens as u32 - 1, 0];
    let cache_size = blocks * kv_heads * block_tokens * dim;
    let before = bench.noise(cache_size);
    let rope = Rope {
        qkv: bench.values(&x)?,
        bias: if has_bias { bench.values(&bias)? } else { 0 },
        angles: if pairs == 0 { 0 } else { bench.floats(&angles)? },
        position: bench.ints(&position)?,
        cell: bench.ints(&cells)?,
        heads: heads as u32,
        dim: dim as u32,
        pairs: pairs as u32,
        is_adjacent,
    };
    let cache = Cache {
        keys: bench.values(&before)?,
        values: bench.values(&before)?,
        kv_heads: kv_heads as u32,
        block_tokens: block_tokens as u32,
    };
    bench.run(&launch::rope_kv_write(bench.kind, rope, cache, rows as u32))?;
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
    let near = [1.1 * bench.half_step(), 1e-6];
    bench.check(&bench.read_values(rope.qkv, rows * stride)?, &queries, near, "queries")?;
    bench.check(&bench.read_values(cache.keys, cache_size)?, &keys, near, "keys")?;
    bench.check(&bench.read_values(cache.values, cache_size)?, &values, near, "values")
}

/// The first of the largest logits is chosen.
pub(super) fn argmax(bench: &Bench<'_>) -> Told {
    for vocab in [1, 31, 257, 5000] {
        bench.clear()?;
        let rows = 6;
        let mut logits = bench.numbers(rows * vocab);
        // Equal ones, all below 0, none a number, infinite.
        logits[..vocab].fill(0.25);
        logits[vocab..2 * vocab].iter_mut().for_each(|x| *x = -2.0 - x.abs());
        logits[2 * vocab..3 * vocab].fill(f64::NAN);
        logits[2 * vocab + vocab / 2] = -1e30;
        logits[4 * vocab - 1] = f64::INFINITY;
        logits[4 * vocab] = -0.0;
        let token = bench.room(4 * rows)?;
        let sizes = [rows as u32, vocab as u32];
        bench.run(&launch::argmax([token, bench.floats(&logits)?], sizes))?;
        let expect = logits.chunks(vocab).map(|row| {
            let mut best = 0;
            for (c, x) in row.iter().enumerate() {
                if *x as f32 > row[best] as f32 || row[best].is_nan() && !x.is_nan() {
                    best = c;
                }
            }
            best as u32
        });
        let (found, expect) = (bench.read_ints(token, rows)?, expect.collect::<Vec<_>>());
        if found != expect {
            return Err(format!("of {vocab}: {found:?}, not {expect:?}"));
        }
    }
    Ok(())
}

/// Partial sums of ranks are added in their order, as the type and to f32.
pub(super) fn reduce(bench: &Bench<'_>) -> Told {
    for (ranks, count) in [(1, 7), (2, 256), (3, 1000), (8, 65)] {
        bench.clear()?;
        let parts: Vec<f64> =
            bench.numbers(ranks * count).iter().map(|x| f64::from(*x as f32)).collect();
        let before: Vec<f64> = bench.numbers(count).iter().map(|x| f64::from(*x as f32)).collect();
        let sums: Vec<f64> =
            (0..count).map(|i| (0..ranks).map(|rank| parts[rank * count + i]).sum()).collect();
        let at = bench.floats(&parts)?;
        let sizes = [ranks as u32, count as u32];
        // One more place behind, which stays as it was.
        let out = bench.values(&vec![0.5; count + 1])?;
        bench.run(&launch::reduce(bench.kind, [out, at], sizes))?;
        let near = [1.01 * bench.half_step(), 1e-6];
        let expect: Vec<f64> = sums.iter().copied().chain([0.5]).collect();
        bench.check(&bench.read_values(out, count + 1)?, &expect, near, "reduce")?;
        let out = bench.floats(&before)?;
        bench.run(&launch::reduce_add([out, at], sizes))?;
        let expect: Vec<f64> = sums.iter().zip(&before).map(|(sum, x)| sum + x).collect();
        bench.check(&bench.read_floats(out, count)?, &expect, [1e-6, 1e-6], "reduce_add")?;
    }
    Ok(())
}
