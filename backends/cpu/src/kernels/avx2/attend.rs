//! Attention of a tile: online softmax over blocks of 16 tokens, four queries to a pass.
//!
//! Formula: `softmax(scale · q·Kᵀ) · V` over the tokens a row sees; scales of int8 are applied to the
//! products and to the shares. Bytes: the keys and values of the sequence once a tile. Bound: memory
//! for one row. Oracle: `scalar`, to the bit.

use std::arch::x86_64::*;

use gimbal_hal::KvDtype;

use super::vector::{
    exp, hidden_floats, lanes, load_f16, load_f32, load_i8, load_wide, maximum, total,
};
use crate::kernels::online::{Online, Pass, attend_blocks};
use crate::kernels::table::Attend;
use crate::kv_cache::BLOCK_TOKENS;
use crate::pack::LANES;

/// Query rows times heads that one pass over a block of keys serves.
const PASS: usize = 4;
/// Columns of keys to a round of the loop; heads have a multiple of it.
const UNROLL: usize = 4;

/// # Safety
/// - No thread writes the tile's queries or the sequence's blocks during the call.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn attend_tile(task: &Attend<'_>, out: &mut [f32], prefetch: fn(&[u8])) {
    let pass = match task.layout.dtype {
        KvDtype::F16 => pass::<false>,
        KvDtype::Int8 => pass::<true>,
    };
    // SAFETY: as the caller promises; this function's features are those of `pass`.
    unsafe { attend_blocks(task, out, PASS, pass, prefetch) }
}

#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_pass<const N: usize, const INT8: bool>(
    at: Pass<'_>,
    online: &mut [Online],
    acc: &mut [f32],
) {
    let Pass { task, block, is_whole, queries, keys, values } = at;
    let dim = task.layout.head_dim;
    let mut dots = products::<N, INT8>(at);
    let mut shares = [[0.0_f32; BLOCK_TOKENS]; N];
    let mut fades = [_mm256_setzero_ps(); N];
    let ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    let mut end = if is_whole { BLOCK_TOKENS } else { 0 };
    // In phases over all queries, so that one's latency is another's work.
    let mut most = [0.0_f32; N];
    let mut masks = [[ones; 2]; N];
    for i in 0..N {
        if !is_whole {
            let seen = task.seen(queries[i].row, block);
            end = end.max(seen.end);
            masks[i] = [between(&seen, 0), between(&seen, LANES)];
        }
        if INT8 {
            dots[i][0] = _mm256_mul_ps(dots[i][0], scales(task, keys, 0));
            dots[i][1] = _mm256_mul_ps(dots[i][1], scales(task, keys, LANES));
        }
        dots[i] = masked_scores(task, dots[i], masks[i]);
        most[i] = maximum(_mm256_max_ps(dots[i][0], dots[i][1])).max(online[i].most);
    }
    for i in 0..N {
        let shift = _mm256_set1_ps(most[i]);
        dots[i] = [
            _mm256_and_ps(exp(_mm256_sub_ps(dots[i][0], shift)), masks[i][0]),
            _mm256_and_ps(exp(_mm256_sub_ps(dots[i][1], shift)), masks[i][1]),
        ];
    }
    for i in 0..N {
        let mut e = dots[i];
        // The maximum seldom changes, and e⁰ is 1.
        let fade = if most[i] == online[i].most { 1.0 } else { (online[i].most - most[i]).exp() };
        online[i].most = most[i];
        online[i].sum = online[i].sum * fade + total(_mm256_add_ps(e[0], e[1]));
        if INT8 {
            e[0] = _mm256_mul_ps(e[0], scales(task, values, 0));
            e[1] = _mm256_mul_ps(e[1], scales(task, values, LANES));
        }
        shares[i][..LANES].copy_from_slice(&lanes(e[0]));
        shares[i][LANES..].copy_from_slice(&lanes(e[1]));
        fades[i] = _mm256_set1_ps(fade);
    }
    let shared = Shared { values, dim, end, shares: &shares, fades };
    // As many sums at once as hide a multiply-add's latency.
    let most = if N < PASS { 4 } else { 2 };
    let mut d = 0;
    while d < dim {
        let vectors = if d + most * LANES <= dim { most } else { 1 };
        match (vectors, is_whole) {
            (4, true) => weigh::<N, 4, true, INT8>(&shared, d, acc),
            (4, false) => weigh::<N, 4, false, INT8>(&shared, d, acc),
            (2, true) => weigh::<N, 2, true, INT8>(&shared, d, acc),
            (2, false) => weigh::<N, 2, false, INT8>(&shared, d, acc),
            _ => weigh::<N, 1, false, INT8>(&shared, d, acc),
        }
        d += vectors * LANES;
    }
}

/// Each query times the keys of the block's 16 tokens.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn products<const N: usize, const INT8: bool>(at: Pass<'_>) -> [[__m256; 2]; N] {
    let (dim, size) = (at.task.layout.head_dim, if INT8 { 1 } else { 2 });
    // Loops rather than closures, into which the features do not reach.
    let mut query: [&[f32]; N] = [&[]; N];
    for (query, from) in query.iter_mut().zip(&at.queries[..N]) {
        *query = &from.values[..dim];
    }
    let mut dots = [[_mm256_setzero_ps(); 2]; N];
    let keys = &at.keys[..dim * BLOCK_TOKENS * size];
    for (d, keys) in keys.chunks_exact(UNROLL * BLOCK_TOKENS * size).enumerate() {
        for (u, key) in keys.chunks_exact(BLOCK_TOKENS * size).enumerate() {
            let key = [numbers::<INT8>(key, 0), numbers::<INT8>(key, LANES)];
            for i in 0..N {
                // SAFETY: there are `dim` keys and as many values of each query (cut above).
                let q = _mm256_set1_ps(unsafe { *query[i].get_unchecked(d * UNROLL + u) });
                dots[i][0] = _mm256_fmadd_ps(q, key[0], dots[i][0]);
                dots[i][1] = _mm256_fmadd_ps(q, key[1], dots[i][1]);
            }
        }
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
    fades: [__m256; N],
}

/// Adds the values' columns `d..d + 8·W` of all tokens, or of those before the end, to each query's
/// result.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn weigh<const N: usize, const W: usize, const WHOLE: bool, const INT8: bool>(
    at: &Shared<'_, N>,
    d: usize,
    acc: &mut [f32],
) {
    let mut sums = [[_mm256_setzero_ps(); W]; N];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (w, sum) in sums.iter_mut().enumerate() {
            let before = load_f32(acc, i * at.dim + d + w * LANES);
            *sum = _mm256_mul_ps(before, at.fades[i]);
        }
    }
    let end = if WHOLE { BLOCK_TOKENS } else { at.end.min(BLOCK_TOKENS) };
    let size = if INT8 { 1 } else { 2 };
    let stride = at.dim * size;
    assert!(d + W * LANES <= at.dim && BLOCK_TOKENS * stride <= at.values.len());
    for j in 0..end {
        let first = j * stride + d * size;
        // SAFETY: `j` is a token of the block and the columns are a value's (asserted).
        let values = unsafe { at.values.get_unchecked(first..first + W * LANES * size) };
        for w in 0..W {
            let value = numbers::<INT8>(values, w * LANES);
            for (sums, shares) in sums.iter_mut().zip(at.shares) {
                let share = _mm256_set1_ps(shares[j]);
                // In this order: the compiler's own is sum by sum, each a chain of latencies.
                sums[w] = hidden_floats(_mm256_fmadd_ps(share, value, sums[w]));
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
#[target_feature(enable = "avx2,fma,f16c")]
fn numbers<const INT8: bool>(bytes: &[u8], at: usize) -> __m256 {
    if INT8 { load_i8(bytes, at) } else { load_f16(bytes, 2 * at) }
}

/// The scales of eight tokens from `at` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scales(task: &Attend<'_>, bytes: &[u8], at: usize) -> __m256 {
    load_wide(bytes, task.layout.numbers() + at * size_of::<f32>())
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn masked_scores(task: &Attend<'_>, dots: [__m256; 2], mask: [__m256; 2]) -> [__m256; 2] {
    let scale = _mm256_set1_ps(task.scale);
    let nothing = _mm256_set1_ps(-1e30);
    let mut scores = dots;
    for (score, mask) in scores.iter_mut().zip(mask) {
        *score = _mm256_mul_ps(*score, scale);
        if let Some(cap) = task.softcap {
            let capped = lanes(*score).map(|s| cap * (s / cap).tanh());
            *score = load_f32(&capped, 0);
        }
        *score = _mm256_blendv_ps(nothing, *score, mask);
    }
    scores
}

/// All ones in the lanes whose number plus `from` lies in the range.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn between(range: &std::ops::Range<usize>, from: usize) -> __m256 {
    let mut mask = [0.0_f32; LANES];
    for (i, mask) in mask.iter_mut().enumerate() {
        *mask = f32::from_bits(if range.contains(&(i + from)) { u32::MAX } else { 0 });
    }
    load_f32(&mask, 0)
}
