//! The definition of every kernel, in plain Rust.
//!
//! `f32::mul_add` rounds once, as the vector units do; sums keep the vector units' order.

use std::ops::Range;

use gimbal_hal::KvDtype;
use gimbal_model::graph::Pair;
use gimbal_model::weights::{DType, bf16_to_f32};
use half::f16;

use super::table::{
    ActBlock, Acts, Arithmetic, Attend, EXP, EXP_MIN, GELU, Kernels, LN2, Linear, TILE_QUERIES_MAX,
    scale,
};
use crate::kv_cache::BLOCK_TOKENS;
use crate::pack::{BLOCK, LANES, Layout, Packing};
use crate::unpack::Cell;

pub(super) static KERNELS: Kernels = Kernels {
    name: "scalar",
    packing: Packing::of_lanes(LANES),
    tile_rows: 1,
    linear,
    quantise,
    rms_norm,
    silu_mul,
    gelu_mul,
    attend,
    add,
    rotate,
    to_int8,
    to_f16,
    peak,
    read,
};

/// Formula: `y[t][r] = Σ_blocks (d_w·d_x)·Σ q_w·q_x + m_w·s_x`, blocks in order.
unsafe fn linear(task: &Linear<'_>) {
    for g in task.groups.clone() {
        let weight = task.weight.group(g);
        for row in 0..task.rows {
            let cols = task.weight.cols;
            let values = match (task.weight.dtype, task.acts) {
                (dtype, Acts::Blocks(x)) if dtype.is_quantised() => {
                    block_group(dtype, weight, row_of(x, row, cols / BLOCK))
                }
                (DType::F16, Acts::Floats(x)) => {
                    float_group(row_of(x, row, cols), |k, r| f16_at(weight, k * LANES + r))
                }
                (DType::BF16, Acts::Floats(x)) => float_group(row_of(x, row, cols), |k, r| {
                    bf16_to_f32(&weight[(k * LANES + r) * 2..])
                }),
                (DType::F32, Acts::Floats(x)) => {
                    float_group(row_of(x, row, cols), |k, r| f32_at(weight, k * LANES + r))
                }
                (dtype, _) => panic!("activations do not fit {dtype:?}"),
            };
            // SAFETY: the caller owns the columns of these groups.
            unsafe { task.out.put(row, g, values) };
        }
    }
}

/// Row `row` of `[rows][cols]`.
#[inline]
pub(super) fn row_of<T>(x: &[T], row: usize, cols: usize) -> &[T] {
    &x[row * cols..(row + 1) * cols]
}

fn f16_at(bytes: &[u8], index: usize) -> f32 {
    f16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]).to_f32()
}

fn f32_at(bytes: &[u8], index: usize) -> f32 {
    let at = 4 * index;
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn block_group(dtype: DType, weight: &[u8], x: &[ActBlock]) -> [f32; LANES] {
    let layout = Layout::of(dtype, KERNELS.packing);
    let mut sums = [0.0; LANES];
    for (all, x) in weight.chunks_exact(layout.bytes).zip(x.chunks_exact(layout.blocks)) {
        for (block, x) in all.chunks_exact(layout.block).zip(x) {
            for (row, sum) in sums.iter_mut().enumerate() {
                let cell = Cell { dtype, layout, all, block, row };
                let whole = |columns: Range<usize>| {
                    columns.map(|k| cell.integer(k) * i32::from(x.q[k])).sum::<i32>() as f32
                };
                if let Some(m) = cell.offset() {
                    *sum = m.mul_add(x.s, *sum);
                }
                let [first, second] = cell.scales();
                if dtype == DType::Q6K {
                    *sum = whole(0..16).mul_add(first * x.d, *sum);
                    *sum = whole(16..32).mul_add(second * x.d, *sum);
                } else {
                    *sum = whole(0..32).mul_add(first * x.d, *sum);
                }
            }
        }
    }
    sums
}

fn float_group(x: &[f32], weight: impl Fn(usize, usize) -> f32) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for (k, x) in x.iter().enumerate() {
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = x.mul_add(weight(k, r), *sum);
        }
    }
    sums
}

fn quantise(x: &[f32], _one: usize, out: &mut [ActBlock]) {
    for (x, out) in x.chunks_exact(32).zip(out) {
        let most = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let (d, by) = scale(most);
        for (q, x) in out.q.iter_mut().zip(x) {
            #[expect(clippy::cast_possible_truncation, reason = "|x·by| is at most 127, rounded")]
            let whole = (x * by).round_ties_even() as i32;
            *q = i8::try_from(whole).unwrap_or(0);
        }
        let sum = |half: &[i8]| half.iter().map(|q| i32::from(*q)).sum::<i32>();
        out.minus = [-sum(&out.q[..BLOCK / 2]), -sum(&out.q[BLOCK / 2..])];
        out.d = d;
        out.s = d * -(out.minus[0] + out.minus[1]) as f32;
    }
}

fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sums = [0.0_f32; LANES];
    for x in x.chunks_exact(LANES) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = x.mul_add(*x, *sum);
        }
    }
    let by = 1.0 / (total(sums) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * by * w;
    }
}

/// Sum of eight lanes as the vector units fold them: halves, then pairs.
fn total(v: [f32; LANES]) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|i| v[i] + v[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp((-*gate).min(-EXP_MIN))) * up;
    }
}

fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let twice = x * (x * x).mul_add(GELU.1, GELU.0);
        *gate = x / (1.0 + exp((-twice).min(-EXP_MIN))) * up;
    }
}

/// `e^x` for `x ≤ 87`. **Source**: Cephes `expf.c`.
pub(super) fn exp(x: f32) -> f32 {
    let x = x.max(EXP_MIN);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = (-n).mul_add(LN2.1, (-n).mul_add(LN2.0, x));
    let poly = EXP[1..].iter().fold(EXP[0], |poly, c| poly.mul_add(r, *c));
    let y = poly.mul_add(r * r, r + 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "n is a whole number in -126..=127")]
    let power = ((n as i32 + 127) << 23).cast_unsigned();
    y * f32::from_bits(power)
}

/// Online softmax over blocks of 16 tokens. A masked token counts as nothing, to the bit, so a row
/// does not depend on which tile it stands in. **Source**: Milakov & Gimelshein 2018.
unsafe fn attend(task: &Attend<'_>, out: &mut [f32]) {
    let (dim, group) = (task.layout.head_dim, task.group);
    assert!(task.rows * group <= TILE_QUERIES_MAX, "a tile holds its queries");
    let is_int8 = task.layout.dtype == KvDtype::Int8;
    let number = |bytes: &[u8], i: usize| match task.layout.dtype {
        KvDtype::F16 => f16_at(bytes, i),
        KvDtype::Int8 => f32::from(bytes[i].cast_signed()),
    };
    let scale = |bytes: &[u8], j: usize| f32_at(&bytes[task.layout.numbers()..], j);
    for row in 0..task.rows {
        for head in 0..group {
            // SAFETY: the caller promises that nobody writes the tile's queries.
            let query = unsafe { task.query(row, head) };
            let acc = &mut out[(row * group + head) * dim..][..dim];
            acc.fill(0.0);
            let (mut most, mut sum) = (-1e30_f32, 0.0_f32);
            for block in task.block_first()..=task.block_last() {
                // SAFETY: the caller promises that nobody writes the sequence's blocks.
                let (keys, values) = unsafe { task.block(block) };
                let seen = task.seen(row, block);
                let mut scores = [-1e30_f32; BLOCK_TOKENS];
                for j in seen.clone() {
                    let key = |d: usize| number(keys, d * BLOCK_TOKENS + j);
                    let dot = (0..dim).fold(0.0_f32, |sum, d| query[d].mul_add(key(d), sum));
                    let dot = if is_int8 { dot * scale(keys, j) } else { dot };
                    let score = dot * task.scale;
                    scores[j] = task.softcap.map_or(score, |cap| cap * (score / cap).tanh());
                }
                let next = scores.iter().fold(most, |most, s| most.max(*s));
                let fade = (most - next).exp();
                most = next;
                let mut shares = [0.0_f32; BLOCK_TOKENS];
                seen.clone().for_each(|j| shares[j] = exp(scores[j] - most));
                let folded = std::array::from_fn(|i| shares[i] + shares[i + LANES]);
                sum = sum * fade + total(folded);
                if is_int8 {
                    seen.clone().for_each(|j| shares[j] *= scale(values, j));
                }
                for (d, acc) in acc.iter_mut().enumerate() {
                    *acc *= fade;
                    for j in seen.clone() {
                        *acc = shares[j].mul_add(number(values, j * dim + d), *acc);
                    }
                }
            }
            let by = 1.0 / sum;
            acc.iter_mut().for_each(|acc| *acc *= by);
        }
    }
}

fn add(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(x, add)| *x += add);
}

fn rotate(head: &mut [f32], angles: &[[f32; 2]], pair: Pair) {
    rotate_from(0, head, angles, pair);
}

/// Rotates all pairs from `first` on: the rest of what vectors leave.
pub(super) fn rotate_from(first: usize, head: &mut [f32], angles: &[[f32; 2]], pair: Pair) {
    for (i, [cos, sin]) in angles.iter().enumerate().skip(first) {
        let (a, b) = pair.columns(i, angles.len());
        (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
    }
}

fn to_int8(x: &[f32], out: &mut [[u8; 1]]) -> f32 {
    let clamped = |x: f32| x.clamp(-65504.0, 65504.0);
    let most = x.iter().fold(0.0_f32, |most, x| most.max(clamped(*x).abs()));
    let (d, by) = scale(most);
    for (out, x) in out.iter_mut().zip(x) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 127, rounded; NaN becomes 0")]
        let rounded = (clamped(*x) * by).round_ties_even() as i8;
        *out = [rounded.cast_unsigned()];
    }
    d
}

fn to_f16(x: &[f32], out: &mut [[u8; 2]]) {
    for (x, out) in x.iter().zip(out) {
        *out = f16::from_f32(x.clamp(-65504.0, 65504.0)).to_le_bytes();
    }
}

/// Eight rows of 32 columns as this file multiplies them.
fn peak(arithmetic: Arithmetic, rounds: usize) -> usize {
    let (w, x) = ([3_u8; LANES * 34], ActBlock { q: [1; 32], ..ActBlock::default() });
    for _ in 0..rounds {
        match arithmetic {
            Arithmetic::Floats => {
                std::hint::black_box(float_group(&[1.0; 32], |_, _| std::hint::black_box(1.0)));
            }
            _ => {
                let w = std::hint::black_box(&w);
                std::hint::black_box(block_group(DType::Q8_0, w, &[x]));
            }
        }
    }
    rounds
}

fn read(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0.iter();
    words.fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}
