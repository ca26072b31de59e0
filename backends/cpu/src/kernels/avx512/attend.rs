//! Attention of a tile: online softmax over blocks of 16 tokens, a lane each, up to eight queries to
//! a pass.
//!
//! Formula: `softmax(scale · q·Kᵀ) · V` over the tokens a row sees; scales of int8 are applied to the
//! products and to the shares. Bytes: the keys and values of the sequence once a tile. Bound: memory
//! for one row. Oracle: `scalar`, to the bit.

use std::arch::x86_64::*;
use std::ops::Range;

use gimbal_hal::KvDtype;

use super::vector::{WIDE, exp, halves, hidden_floats, lanes, load_f32};
use crate::kernels::avx2::vector::total;
use crate::kernels::online::{Online, Pass, attend_blocks};
use crate::kernels::table::Attend;
use crate::kv_cache::BLOCK_TOKENS;

const _: () = assert!(BLOCK_TOKENS == WIDE, "a lane for each token");
/// Query rows times heads that one pass over a block of keys serves.
const PASS: usize = 8;

/// # Safety
/// - No thread writes the tile's queries or the sequence's blocks during the call.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn attend_tile(task: &Attend<'_>, out: &mut [f32], prefetch: fn(&[u8])) {
    let pass = match task.layout.dtype {
        KvDtype::F16 => pass::<false>,
        KvDtype::Int8 => pass::<true>,
    };
    // SAFETY: as the caller promises; this function's features are those of `pass`.
    unsafe { attend_blocks(task, out, PASS, pass, prefetch) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pass<const INT8: bool>(n: usize, at: Pass<'_>, online: &mut [Online], acc: &mut [f32]) {
    match n {
        1 => attend_pass::<1, INT8>(at, online, acc),
        2 => attend_pass::<2, INT8>(at, online, acc),
        3 => attend_pass::<3, INT8>(at, online, acc),
        4 => attend_pass::<4, INT8>(at, online, acc),
        6 => attend_pass::<6, INT8>(at, online, acc),
        PASS => attend_pass::<PASS, INT8>(at, online, acc),
        _ => unreachable!("a pass of {n} queries"),
    }
}

// Not inlined: its registers are then given out without regard to other sizes of `N`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn attend_pass<const N: usize, const INT8: bool>(
    at: Pass<'_>,
    online: &mut [Online],
    acc: &mut [f32],
) {
    let Pass { task, block, is_whole, queries, keys, values } = at;
    let dim = task.layout.head_dim;
    let mut scores = products::<N, INT8>(at);
    let mut shares = [[0.0_f32; BLOCK_TOKENS]; N];
    let mut fades = [0.0_f32; N];
    let mut end = if is_whole { BLOCK_TOKENS } else { 0 };
    // In phases over all queries, so that one's latency is another's work.
    let mut most = [0.0_f32; N];
    let mut masks = [__mmask16::MAX; N];
    for i in 0..N {
        if !is_whole {
            let seen = task.seen(queries[i].row, block);
            end = end.max(seen.end);
            masks[i] = between(&seen);
        }
        if INT8 {
            scores[i] = _mm512_mul_ps(scores[i], scales(task, keys));
        }
        scores[i] = masked_scores(task, scores[i], masks[i]);
        most[i] = _mm512_reduce_max_ps(scores[i]).max(online[i].most);
    }
    for i in 0..N {
        let e = exp(_mm512_sub_ps(scores[i], _mm512_set1_ps(most[i])));
        scores[i] = _mm512_maskz_mov_ps(masks[i], e);
    }
    for i in 0..N {
        let mut e = scores[i];
        // The maximum seldom changes, and e⁰ is 1.
        let fade = if most[i] == online[i].most { 1.0 } else { (online[i].most - most[i]).exp() };
        online[i].most = most[i];
        let [low, high] = halves(e);
        online[i].sum = online[i].sum * fade + total(_mm256_add_ps(low, high));
        if INT8 {
            e = _mm512_mul_ps(e, scales(task, values));
        }
        shares[i] = lanes(e);
        fades[i] = fade;
    }
    let shared = Shared { values, dim, end, shares: &shares, fades };
    let mut d = 0;
    while d < dim {
        // As many columns at once as the registers hold.
        let columns = match dim - d {
            64.. if N <= 4 => 64,
            32.. => 32,
            16.. => 16,
            _ => 8,
        };
        match (columns, is_whole) {
            (64, true) => weigh::<N, 64, true, INT8>(&shared, d, acc),
            (64, false) => weigh::<N, 64, false, INT8>(&shared, d, acc),
            (32, true) => weigh::<N, 32, true, INT8>(&shared, d, acc),
            (32, false) => weigh::<N, 32, false, INT8>(&shared, d, acc),
            (16, _) => weigh::<N, 16, false, INT8>(&shared, d, acc),
            _ => weigh::<N, 8, false, INT8>(&shared, d, acc),
        }
        d += columns;
    }
}

/// Each query times the keys of the block's 16 tokens.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn products<const N: usize, const INT8: bool>(at: Pass<'_>) -> [__m512; N] {
    let (dim, size) = (at.task.layout.head_dim, if INT8 { 1 } else { 2 });
    // Loops rather than closures, into which the features do not reach.
    let mut query: [&[f32]; N] = [&[]; N];
    for (query, from) in query.iter_mut().zip(&at.queries[..N]) {
        *query = &from.values[..dim];
    }
    let mut dots = [_mm512_setzero_ps(); N];
    let keys = at.keys[..dim * BLOCK_TOKENS * size].chunks_exact(BLOCK_TOKENS * size);
    for (d, key) in keys.enumerate() {
        let key = numbers::<WIDE, INT8>(key);
        for i in 0..N {
            // SAFETY: there are `dim` keys and as many values of each query (cut above).
            let q = _mm512_set1_ps(unsafe { *query[i].get_unchecked(d) });
            dots[i] = _mm512_fmadd_ps(q, key, dots[i]);
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
    fades: [f32; N],
}

/// Adds `C` columns of values from `d` on, of all tokens or of those before the end, to each query's
/// result.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn weigh<const N: usize, const C: usize, const WHOLE: bool, const INT8: bool>(
    at: &Shared<'_, N>,
    d: usize,
    acc: &mut [f32],
) {
    // Four vectors at most; those after the columns are never touched.
    let (vectors, width) = (C.div_ceil(WIDE), C.min(WIDE));
    let mut sums = [[_mm512_setzero_ps(); 4]; N];
    for (i, sums) in sums.iter_mut().enumerate() {
        for w in 0..vectors {
            let before = load_f32(&acc[i * at.dim + d + w * WIDE..][..width]);
            sums[w] = _mm512_mul_ps(before, _mm512_set1_ps(at.fades[i]));
        }
    }
    let end = if WHOLE { BLOCK_TOKENS } else { at.end.min(BLOCK_TOKENS) };
    let size = if INT8 { 1 } else { 2 };
    let stride = at.dim * size;
    assert!(d + C <= at.dim && BLOCK_TOKENS * stride <= at.values.len());
    for j in 0..end {
        let first = j * stride + d * size;
        // SAFETY: `j` is a token of the block and the columns are a value's (asserted).
        let values = unsafe { at.values.get_unchecked(first..first + C * size) };
        for w in 0..vectors {
            let value = numbers::<C, INT8>(&values[w * WIDE * size..][..width * size]);
            for (sums, shares) in sums.iter_mut().zip(at.shares) {
                let share = _mm512_set1_ps(shares[j]);
                // In this order: the compiler's own is sum by sum, each a chain of latencies.
                sums[w] = hidden_floats(_mm512_fmadd_ps(share, value, sums[w]));
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for w in 0..vectors {
            let out = &mut acc[i * at.dim + d + w * WIDE..][..width];
            out.copy_from_slice(&lanes(sums[w])[..width]);
        }
    }
}

/// Keys or values without their scales: sixteen, or eight and zeros where there are but `C` = 8.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn numbers<const C: usize, const INT8: bool>(bytes: &[u8]) -> __m512 {
    let count = C.min(WIDE);
    assert!(bytes.len() == if INT8 { count } else { 2 * count });
    let mask = __mmask16::MAX >> (WIDE - count);
    if INT8 {
        // SAFETY: `bytes` are those of the mask's lanes (asserted); an unaligned masked load has no
        // other precondition.
        let bytes = unsafe { _mm_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
    } else {
        // SAFETY: as above.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask, bytes.as_ptr().cast()) })
    }
}

/// The scales of the block's tokens.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scales(task: &Attend<'_>, bytes: &[u8]) -> __m512 {
    let scales = &bytes[task.layout.numbers()..][..BLOCK_TOKENS * size_of::<f32>()];
    // SAFETY: `scales` is 64 bytes; an unaligned load has no other precondition.
    unsafe { _mm512_loadu_ps(scales.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn masked_scores(task: &Attend<'_>, dots: __m512, mask: __mmask16) -> __m512 {
    let mut scores = _mm512_mul_ps(dots, _mm512_set1_ps(task.scale));
    if let Some(cap) = task.softcap {
        scores = load_f32(&lanes(scores).map(|s| cap * (s / cap).tanh()));
    }
    _mm512_mask_mov_ps(_mm512_set1_ps(-1e30), mask, scores)
}

/// A bit for each lane whose number lies in the range.
fn between(range: &Range<usize>) -> __mmask16 {
    range.clone().fold(0, |mask, lane| mask | 1 << lane)
}
