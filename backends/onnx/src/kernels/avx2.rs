//! The kernels for x86-64 with AVX2, FMA and F16C.
//!
//! Linear: a weight group is read once for a tile of up to six rows of activations. `maddubs` of
//! nibbles and int8 stays within int16 over a whole block (16 · 15 · 127 = 30 480), so one `madd`
//! a block suffices. Bytes: 5.0 bits a weight for `U4`, 8.5 for `I8`. Bound: memory at 1 row, the
//! `maddubs` rate from about 4 rows on (130 G MAC/s a core on Zen 3, 2026-11). Oracle: `scalar`,
//! to the bit.

use std::arch::x86_64::*;

use super::scalar::row_of;
use super::{ActBlock, Acts, Attend, EXP, EXP_MIN, Kernels, LN2, Linear, TILE_QUERIES_MAX};
use crate::memory::BLOCK_TOKENS;
use crate::pack::{BLOCK, Family, I8_BYTES, LANES, U4_BYTES};

/// Rows of activations that stay in the second-level cache while weights stream past.
const ROWS_CACHED: usize = 96;
/// Bytes ahead of the current weight block to prefetch: eight blocks.
const PREFETCH: usize = 1280;

pub(super) static KERNELS: Kernels =
    Kernels { name: "avx2", linear, quantise, rms_norm, silu_mul, attend, to_f16 };

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `is_available` said yes.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(is_available());
        // SAFETY: AVX2, FMA and F16C were detected before this table was chosen; further
        // preconditions of the callee are those of the enclosing function.
        unsafe { $call }
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear_groups(task));
}
fn quantise(x: &[f32], out: &mut [ActBlock]) {
    with_features!(quantise_blocks(x, out));
}
fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    with_features!(rms_norm_row(x, weight, eps, out));
}
fn silu_mul(gate: &mut [f32], up: &[f32]) {
    with_features!(silu_mul_row(gate, up));
}
unsafe fn attend(task: &Attend<'_>, out: &mut [f32]) {
    with_features!(attend_tile(task, out));
}
fn to_f16(x: &[f32], out: &mut [u16]) {
    with_features!(to_f16_row(x, out));
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn linear_groups(task: &Linear<'_>) {
    let mut first = 0;
    while first < task.rows {
        let end = (first + ROWS_CACHED).min(task.rows);
        for g in task.groups.clone() {
            let mut row = first;
            while row < end {
                // Six at a time, but 7 and 8 split as 4 + 3 and 4 + 4.
                let rows = match end - row {
                    n @ (1..=4 | 6) => n,
                    5 | 7 | 8 => 4,
                    _ => 6,
                };
                let (acts, out) = (task.acts, &task.out);
                let x = Rows { acts, row, cols: task.weight.cols };
                let w = task.weight.group(g);
                macro_rules! tile {
                    ($t:literal) => {
                        for (t, sums) in
                            tile::<$t>(task.weight.family, w, x).into_iter().enumerate()
                        {
                            // SAFETY: the caller owns the columns of these groups.
                            unsafe { out.put(row + t, g, lanes(sums)) };
                        }
                    };
                }
                match rows {
                    1 => tile!(1),
                    2 => tile!(2),
                    3 => tile!(3),
                    4 => tile!(4),
                    _ => tile!(6),
                }
                row += rows;
            }
        }
        first = end;
    }
}

/// Rows of activations from `row` on.
#[derive(Clone, Copy)]
struct Rows<'a> {
    acts: Acts<'a>,
    row: usize,
    cols: usize,
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const T: usize>(family: Family, w: &[u8], x: Rows<'_>) -> [__m256; T] {
    match (family, x.acts) {
        (Family::U4, Acts::Blocks(acts)) => {
            u4_tile(w, std::array::from_fn(|t| row_of(acts, x.row + t, x.cols / BLOCK)))
        }
        (Family::I8, Acts::Blocks(acts)) => {
            i8_tile(w, std::array::from_fn(|t| row_of(acts, x.row + t, x.cols / BLOCK)))
        }
        (Family::F16, Acts::Floats(acts)) => {
            f16_tile(w, std::array::from_fn(|t| row_of(acts, x.row + t, x.cols)))
        }
        (Family::F32, Acts::Floats(acts)) => {
            f32_tile(w, std::array::from_fn(|t| row_of(acts, x.row + t, x.cols)))
        }
        (family, _) => panic!("activations do not fit {family:?}"),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn u4_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for (b, w) in w.as_chunks::<U4_BYTES>().0.iter().enumerate() {
        prefetch::<3>(w, PREFETCH);
        let x: [&ActBlock; T] = std::array::from_fn(|t| &x[t][b]);
        let mut whole = [_mm256_setzero_si256(); T];
        for v in 0..4 {
            let packed = load(w, v * 32);
            let (lo, hi) = (
                _mm256_and_si256(packed, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low),
            );
            for t in 0..T {
                let lo = _mm256_maddubs_epi16(lo, broadcast(&x[t].q, v * 4));
                let hi = _mm256_maddubs_epi16(hi, broadcast(&x[t].q, 16 + v * 4));
                whole[t] = _mm256_add_epi16(whole[t], _mm256_add_epi16(lo, hi));
            }
        }
        let (d, m) = (load_f16(w, 128), load_f16(w, 144));
        for t in 0..T {
            let whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(whole[t], ones));
            sums[t] = _mm256_fmadd_ps(whole, _mm256_mul_ps(d, _mm256_set1_ps(x[t].d)), sums[t]);
            sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].s), sums[t]);
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn i8_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    let ones = _mm256_set1_epi16(1);
    for (b, w) in w.as_chunks::<I8_BYTES>().0.iter().enumerate() {
        prefetch::<5>(w, 2 * PREFETCH);
        let x: [&ActBlock; T] = std::array::from_fn(|t| &x[t][b]);
        let mut whole = [_mm256_setzero_si256(); T];
        for v in 0..8 {
            let signed = load(w, v * 32);
            let size = _mm256_abs_epi8(signed);
            for t in 0..T {
                let x = _mm256_sign_epi8(broadcast(&x[t].q, v * 4), signed);
                let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), ones);
                whole[t] = _mm256_add_epi32(whole[t], pairs);
            }
        }
        let d = load_f16(w, 256);
        for t in 0..T {
            let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t].d));
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[t]), by, sums[t]);
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn f16_tile<const T: usize>(w: &[u8], x: [&[f32]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    for (k, w) in w.as_chunks::<16>().0.iter().enumerate() {
        let w = load_f16(w, 0);
        for t in 0..T {
            sums[t] = _mm256_fmadd_ps(_mm256_set1_ps(x[t][k]), w, sums[t]);
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn f32_tile<const T: usize>(w: &[u8], x: [&[f32]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    for (k, w) in w.as_chunks::<32>().0.iter().enumerate() {
        let w = _mm256_castsi256_ps(load(w, 0));
        for t in 0..T {
            sums[t] = _mm256_fmadd_ps(_mm256_set1_ps(x[t][k]), w, sums[t]);
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantise_blocks(x: &[f32], out: &mut [ActBlock]) {
    let sign = _mm256_set1_ps(-0.0);
    for (x, out) in x.as_chunks::<BLOCK>().0.iter().zip(out) {
        let v: [__m256; 4] = std::array::from_fn(|i| load_f32(x, i * LANES));
        let size = v.map(|v| _mm256_andnot_ps(sign, v));
        let most = _mm256_max_ps(_mm256_max_ps(size[0], size[1]), _mm256_max_ps(size[2], size[3]));
        let most = maximum(most);
        let (d, by) = (most / 127.0, if most == 0.0 { 0.0 } else { 127.0 / most });
        let by = _mm256_set1_ps(by);
        let whole = v.map(|v| _mm256_cvtps_epi32(_mm256_mul_ps(v, by)));
        let pairs =
            [_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3])];
        let bytes = _mm256_packs_epi16(pairs[0], pairs[1]);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        // SAFETY: `q` is 32 bytes; an unaligned store has no other precondition.
        unsafe { _mm256_storeu_si256(out.q.as_mut_ptr().cast(), bytes) };
        let sum = _mm256_add_epi32(
            _mm256_add_epi32(whole[0], whole[1]),
            _mm256_add_epi32(whole[2], whole[3]),
        );
        let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0x4e>(four));
        let one = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0xb1>(two)));
        out.d = d;
        out.s = d * one as f32;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sum = _mm256_setzero_ps();
    for x in x.as_chunks::<LANES>().0 {
        let x = load_f32(x, 0);
        sum = _mm256_fmadd_ps(x, x, sum);
    }
    let by = 1.0 / (total(sum) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * by * w;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn silu_mul_row(gate: &mut [f32], up: &[f32]) {
    let (one, limit) = (_mm256_set1_ps(1.0), _mm256_set1_ps(-EXP_MIN));
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let (g, up) = (load_f32(gate, 0), load_f32(up, 0));
        let minus = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_min_ps(g, limit));
        let silu = _mm256_div_ps(g, _mm256_add_ps(one, exp(minus)));
        *gate = lanes(_mm256_mul_ps(silu, up));
    }
}

/// Query rows times heads that one pass over a block of keys serves.
const PASS: usize = 4;

/// One row and head of a tile while it is attended.
#[derive(Clone, Copy)]
struct Online {
    most: f32,
    sum: f32,
}

/// # Safety
/// - No thread writes the tile's queries or the sequence's blocks during the call.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn attend_tile(task: &Attend<'_>, out: &mut [f32]) {
    let (dim, queries) = (task.layout.head_dim, task.rows * task.group);
    assert!(queries <= TILE_QUERIES_MAX, "a tile holds its queries");
    out.fill(0.0);
    let mut online = [Online { most: -1e30, sum: 0.0 }; TILE_QUERIES_MAX];
    for block in task.block_first()..=task.block_last() {
        // SAFETY: the caller promises that nobody writes the sequence's blocks.
        let (keys, values) = unsafe { task.block(block) };
        let mut first = 0;
        while first < queries {
            let n = (queries - first).min(PASS);
            let (state, acc) = (&mut online[first..first + n], &mut out[first * dim..]);
            let at = Pass { task, block, first, keys, values };
            // SAFETY: the caller promises that nobody writes the tile's queries.
            unsafe {
                match n {
                    1 => attend_pass::<1>(at, state, acc),
                    2 => attend_pass::<2>(at, state, acc),
                    3 => attend_pass::<3>(at, state, acc),
                    _ => attend_pass::<PASS>(at, state, acc),
                }
            }
            first += n;
        }
    }
    for (acc, online) in out.chunks_exact_mut(dim).zip(online) {
        let by = 1.0 / online.sum;
        acc.iter_mut().for_each(|acc| *acc *= by);
    }
}

/// Some queries of a tile at one block.
#[derive(Clone, Copy)]
struct Pass<'a> {
    task: &'a Attend<'a>,
    block: usize,
    /// Number of the first query: row times group, plus head.
    first: usize,
    keys: &'a [u16],
    values: &'a [u16],
}

/// # Safety
/// - No thread writes the tile's queries during the call.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn attend_pass<const N: usize>(at: Pass<'_>, online: &mut [Online], acc: &mut [f32]) {
    let Pass { task, block, first, keys, values } = at;
    let dim = task.layout.head_dim;
    let query: [&[f32]; N] = std::array::from_fn(|i| {
        let (row, head) = ((first + i) / task.group, (first + i) % task.group);
        // SAFETY: the caller promises that nobody writes the tile's queries.
        unsafe { task.query(row, head) }
    });
    let mut dots = [[_mm256_setzero_ps(); 2]; N];
    for (d, key) in keys.as_chunks::<BLOCK_TOKENS>().0.iter().enumerate() {
        let key = [load_half(key, 0), load_half(key, LANES)];
        for i in 0..N {
            let q = _mm256_set1_ps(query[i][d]);
            dots[i][0] = _mm256_fmadd_ps(q, key[0], dots[i][0]);
            dots[i][1] = _mm256_fmadd_ps(q, key[1], dots[i][1]);
        }
    }
    let mut shares = [[0.0_f32; BLOCK_TOKENS]; N];
    let mut fades = [_mm256_setzero_ps(); N];
    let mut end = 0;
    for i in 0..N {
        let seen = task.seen((first + i) / task.group, block);
        end = end.max(seen.end);
        let mask = [between(&seen, 0), between(&seen, LANES)];
        let scores = masked_scores(task, dots[i], mask);
        let most = maximum(_mm256_max_ps(scores[0], scores[1])).max(online[i].most);
        let fade = (online[i].most - most).exp();
        let shift = _mm256_set1_ps(most);
        let e = [0, 1].map(|h| _mm256_and_ps(exp(_mm256_sub_ps(scores[h], shift)), mask[h]));
        online[i].most = most;
        online[i].sum = online[i].sum * fade + total(_mm256_add_ps(e[0], e[1]));
        shares[i][..LANES].copy_from_slice(&lanes(e[0]));
        shares[i][LANES..].copy_from_slice(&lanes(e[1]));
        fades[i] = _mm256_set1_ps(fade);
    }
    for d in (0..dim).step_by(LANES) {
        let mut sums: [__m256; N] =
            std::array::from_fn(|i| _mm256_mul_ps(load_f32(acc, i * dim + d), fades[i]));
        for j in 0..end {
            let value = load_half(values, j * dim + d);
            for i in 0..N {
                sums[i] = _mm256_fmadd_ps(_mm256_set1_ps(shares[i][j]), value, sums[i]);
            }
        }
        for i in 0..N {
            acc[i * dim + d..][..LANES].copy_from_slice(&lanes(sums[i]));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn masked_scores(task: &Attend<'_>, dots: [__m256; 2], mask: [__m256; 2]) -> [__m256; 2] {
    let scale = _mm256_set1_ps(task.scale);
    let nothing = _mm256_set1_ps(-1e30);
    [0, 1].map(|h| {
        let mut score = _mm256_mul_ps(dots[h], scale);
        if let Some(cap) = task.softcap {
            let capped = lanes(score).map(|s| cap * (s / cap).tanh());
            score = load_f32(&capped, 0);
        }
        _mm256_blendv_ps(nothing, score, mask[h])
    })
}

/// All ones in the lanes whose number plus `from` lies in the range.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn between(range: &std::ops::Range<usize>, from: usize) -> __m256 {
    let mask = std::array::from_fn(|i| {
        f32::from_bits(if range.contains(&(i + from)) { u32::MAX } else { 0 })
    });
    let mask: [f32; LANES] = mask;
    load_f32(&mask, 0)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn to_f16_row(x: &[f32], out: &mut [u16]) {
    let (least, most) = (_mm256_set1_ps(-65504.0), _mm256_set1_ps(65504.0));
    for (x, out) in x.as_chunks::<LANES>().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let x = _mm256_min_ps(_mm256_max_ps(load_f32(x, 0), least), most);
        let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
        // SAFETY: `out` is 16 bytes; an unaligned store has no other precondition.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), half) };
    }
}

/// `scalar::exp` in eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn exp(x: __m256) -> __m256 {
    let x = _mm256_max_ps(x, _mm256_set1_ps(EXP_MIN));
    let scaled = _mm256_mul_ps(x, _mm256_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(scaled);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN2.0), x);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN2.1), r);
    let mut poly = _mm256_set1_ps(EXP[0]);
    for c in &EXP[1..] {
        poly = _mm256_fmadd_ps(poly, r, _mm256_set1_ps(*c));
    }
    let y = _mm256_fmadd_ps(poly, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0)));
    let power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(power)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn total(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn maximum(v: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lanes(v: __m256) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    // SAFETY: `out` is 32 bytes; an unaligned store has no other precondition.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    out
}

/// 32 bytes at `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: `bytes` is 32 bytes; an unaligned load has no other precondition.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Eight f16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f16(bytes: &[u8], at: usize) -> __m256 {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 bytes; an unaligned load has no other precondition.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Eight f16 from element `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_half(values: &[u16], at: usize) -> __m256 {
    let values = &values[at..at + LANES];
    // SAFETY: `values` is 16 bytes; an unaligned load has no other precondition.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
}

/// Eight f32 from element `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f32(values: &[f32], at: usize) -> __m256 {
    let values = &values[at..at + LANES];
    // SAFETY: `values` is 32 bytes; an unaligned load has no other precondition.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// Four activations from `at` in every lane of four bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn broadcast(q: &[i8; BLOCK], at: usize) -> __m256i {
    let four = [q[at], q[at + 1], q[at + 2], q[at + 3]].map(i8::cast_unsigned);
    _mm256_set1_epi32(i32::from_ne_bytes(four))
}

/// Prefetches `LINES` cache lines `ahead` bytes after `w`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn prefetch<const LINES: usize>(w: &[u8], ahead: usize) {
    for line in 0..LINES {
        let address = w.as_ptr().wrapping_add(ahead + line * 64);
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
}
