//! Attention of a tile: online softmax over blocks of 16 tokens, four queries to a pass.
//!
//! Formula: `softmax(scale · q·Kᵀ) · V` over the tokens a row sees; scales of int8 are applied to the
//! products and to the shares. Bytes: the keys and values of the sequence once a tile. Bound: memory
//! for one row. Oracle: `scalar`, to the bit.

use std::arch::aarch64::*;

use gimbal_hal::KvDtype;

use super::vector::{
    Eight, all, exp, lanes, load_f16, load_f32, load_four, load_i8, load_wide, maximum, total,
};
use crate::kernels::online::{Online, Pass, attend_blocks};
use crate::kernels::table::Attend;
use crate::kv_cache::BLOCK_TOKENS;
use crate::pack::LANES;

/// Query rows times heads that one pass over a block of keys serves.
const PASS: usize = 4;
/// Columns of keys to a round of the loop, one vector of a query; heads have a multiple of it.
const UNROLL: usize = 4;
/// The sixteen tokens of a block.
type Tokens = [Eight; 2];

/// # Safety
/// - No thread writes the tile's queries or the sequence's blocks during the call.
#[target_feature(enable = "neon")]
pub(super) unsafe fn attend_tile(task: &Attend<'_>, out: &mut [f32]) {
    let pass = match task.layout.dtype {
        KvDtype::F16 => pass::<false>,
        KvDtype::Int8 => pass::<true>,
    };
    // SAFETY: as the caller promises; this function's feature is that of `pass`.
    unsafe { attend_blocks(task, out, PASS, pass, |_| ()) }
}

#[target_feature(enable = "neon")]
fn pass<const INT8: bool>(n: usize, at: Pass<'_>, online: &mut [Online], acc: &mut [f32]) {
    match n {
        1 => attend_pass::<1, INT8>(at, online, acc),
        2 => attend_pass::<2, INT8>(at, online, acc),
        3 => attend_pass::<3, INT8>(at, online, acc),
        PASS => attend_pass::<PASS, INT8>(at, online, acc),
        _ => unreachable!("a pass of {n} queries"),
    }
}

// Not inlined: its registers are then given out without regard to other sizes of `N`.
#[inline(never)]
#[target_feature(enable = "neon")]
fn attend_pass<const N: usize, const INT8: bool>(
    at: Pass<'_>,
    online: &mut [Online],
    acc: &mut [f32],
) {
    let Pass { task, block, is_whole, queries, keys, values } = at;
    let dim = task.layout.head_dim;
    let mut dots = products::<N, INT8>(at);
    let mut shares = [[0.0_f32; BLOCK_TOKENS]; N];
    let mut fades = [0.0_f32; N];
    let mut end = if is_whole { BLOCK_TOKENS } else { 0 };
    // In phases over all queries, so that one's latency is another's work.
    let mut most = [0.0_f32; N];
    let mut masks = [[[vdupq_n_u32(u32::MAX); 2]; 2]; N];
    for i in 0..N {
        if !is_whole {
            let seen = task.seen(queries[i].row, block);
            end = end.max(seen.end);
            masks[i] = [between(&seen, 0), between(&seen, LANES)];
        }
        if INT8 {
            dots[i] = scaled(task, keys, dots[i]);
        }
        dots[i] = masked_scores(task, dots[i], masks[i]);
        most[i] = maximum(dots[i][0]).max(maximum(dots[i][1])).max(online[i].most);
    }
    for i in 0..N {
        for (scores, masks) in dots[i].iter_mut().zip(masks[i]) {
            let shift = vdupq_n_f32(most[i]);
            let e = exp([vsubq_f32(scores[0], shift), vsubq_f32(scores[1], shift)]);
            *scores = [masked(e[0], masks[0]), masked(e[1], masks[1])];
        }
    }
    for i in 0..N {
        let mut e = dots[i];
        // The maximum seldom changes, and e⁰ is 1.
        let fade = if most[i] == online[i].most { 1.0 } else { (online[i].most - most[i]).exp() };
        online[i].most = most[i];
        let folded = [vaddq_f32(e[0][0], e[1][0]), vaddq_f32(e[0][1], e[1][1])];
        online[i].sum = online[i].sum * fade + total(folded);
        if INT8 {
            e = scaled(task, values, e);
        }
        shares[i][..LANES].copy_from_slice(&lanes(e[0]));
        shares[i][LANES..].copy_from_slice(&lanes(e[1]));
        fades[i] = fade;
    }
    let shared = Shared { values, dim, end, shares: &shares, fades };
    // As many sums at once as the registers hold beside the values.
    let most = if N < 3 { 4 } else { 2 };
    let mut d = 0;
    while d < dim {
        let vectors = if d + most * LANES <= dim { most } else { 1 };
        match vectors {
            4 => weigh::<N, 4, INT8>(&shared, d, acc),
            2 => weigh::<N, 2, INT8>(&shared, d, acc),
            _ => weigh::<N, 1, INT8>(&shared, d, acc),
        }
        d += vectors * LANES;
    }
}

/// Each query times the keys of the block's 16 tokens.
#[inline]
#[target_feature(enable = "neon")]
fn products<const N: usize, const INT8: bool>(at: Pass<'_>) -> [Tokens; N] {
    let (dim, size) = (at.task.layout.head_dim, if INT8 { 1 } else { 2 });
    let mut dots = [[all(0.0); 2]; N];
    let keys = &at.keys[..dim * BLOCK_TOKENS * size];
    for (d, keys) in keys.chunks_exact(UNROLL * BLOCK_TOKENS * size).enumerate() {
        let mut q = [vdupq_n_f32(0.0); N];
        for (q, query) in q.iter_mut().zip(at.queries) {
            *q = load_four(query.values, d * UNROLL);
        }
        macro_rules! column {
            ($u:literal) => {
                let key = &keys[$u * BLOCK_TOKENS * size..][..BLOCK_TOKENS * size];
                let key = [numbers::<INT8>(key, 0), numbers::<INT8>(key, LANES)];
                for (dots, q) in dots.iter_mut().zip(q) {
                    for (dots, key) in dots.as_flattened_mut().iter_mut().zip(key.as_flattened()) {
                        *dots = vfmaq_laneq_f32::<$u>(*dots, *key, q);
                    }
                }
            };
        }
        column!(0);
        column!(1);
        column!(2);
        column!(3);
    }
    dots
}

/// The shares of a block's tokens in each query, and what earlier blocks fade by.
struct Shared<'a, const N: usize> {
    values: &'a [u8],
    dim: usize,
    /// Tokens that any query sees.
    end: usize,
    shares: &'a [[f32; BLOCK_TOKENS]; N],
    fades: [f32; N],
}

/// Adds the values' columns `d..d + 8·W` of the tokens before the end to each query's result.
#[inline]
#[target_feature(enable = "neon")]
fn weigh<const N: usize, const W: usize, const INT8: bool>(
    at: &Shared<'_, N>,
    d: usize,
    acc: &mut [f32],
) {
    let mut sums = [[all(0.0); W]; N];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (w, sum) in sums.iter_mut().enumerate() {
            let before = load_f32(acc, i * at.dim + d + w * LANES);
            *sum = [vmulq_n_f32(before[0], at.fades[i]), vmulq_n_f32(before[1], at.fades[i])];
        }
    }
    let size = if INT8 { 1 } else { 2 };
    let stride = at.dim * size;
    for (j, values) in at.values.chunks_exact(stride).enumerate().take(at.end) {
        let values = &values[d * size..][..W * LANES * size];
        for w in 0..W {
            let value = numbers::<INT8>(values, w * LANES);
            for (sums, shares) in sums.iter_mut().zip(at.shares) {
                sums[w][0] = vfmaq_n_f32(sums[w][0], value[0], shares[j]);
                sums[w][1] = vfmaq_n_f32(sums[w][1], value[1], shares[j]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (w, sum) in sums.iter().enumerate() {
            acc[i * at.dim + d + w * LANES..][..LANES].copy_from_slice(&lanes(*sum));
        }
    }
}

/// Eight keys or values from number `at` on, without their scales.
#[inline]
#[target_feature(enable = "neon")]
fn numbers<const INT8: bool>(bytes: &[u8], at: usize) -> Eight {
    if INT8 { load_i8(bytes, at) } else { load_f16(bytes, 2 * at) }
}

/// Times the scales of the block's tokens.
#[inline]
#[target_feature(enable = "neon")]
fn scaled(task: &Attend<'_>, bytes: &[u8], mut tokens: Tokens) -> Tokens {
    for (i, tokens) in tokens.iter_mut().enumerate() {
        let by = load_wide(bytes, task.layout.numbers() + i * LANES * size_of::<f32>());
        *tokens = [vmulq_f32(tokens[0], by[0]), vmulq_f32(tokens[1], by[1])];
    }
    tokens
}

#[inline]
#[target_feature(enable = "neon")]
fn masked(x: float32x4_t, mask: uint32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask))
}

#[inline]
#[target_feature(enable = "neon")]
fn masked_scores(task: &Attend<'_>, dots: Tokens, masks: [[uint32x4_t; 2]; 2]) -> Tokens {
    let nothing = vdupq_n_f32(-1e30);
    let mut scores = dots;
    for (scores, masks) in scores.iter_mut().zip(masks) {
        *scores = [vmulq_n_f32(scores[0], task.scale), vmulq_n_f32(scores[1], task.scale)];
        if let Some(cap) = task.softcap {
            *scores = load_f32(&lanes(*scores).map(|s| cap * (s / cap).tanh()), 0);
        }
        for (score, mask) in scores.iter_mut().zip(masks) {
            *score = vbslq_f32(mask, *score, nothing);
        }
    }
    scores
}

/// All ones in the lanes whose number plus `from` lies in the range.
#[inline]
#[target_feature(enable = "neon")]
fn between(range: &std::ops::Range<usize>, from: usize) -> [uint32x4_t; 2] {
    let mut mask = [0.0_f32; LANES];
    for (i, mask) in mask.iter_mut().enumerate() {
        *mask = f32::from_bits(if range.contains(&(i + from)) { u32::MAX } else { 0 });
    }
    load_f32(&mask, 0).map(|mask| vreinterpretq_u32_f32(mask))
}
