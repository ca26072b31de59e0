//! Attention against f64: single rows, and several of each sequence.
//!
//! Next: `timing.rs`.

#![expect(clippy::cast_possible_truncation, reason = "sizes of cases are small, and f32 is meant")]

use super::bench::{Bench, Told};
use crate::launch::{self, Attend, Cache, SPLIT, Tile, tile_rows};

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

const SCALE: f32 = 0.3;

/// A cache of noise, blocks of some sequences anywhere in it.
struct Pages {
    case: Case,
    table: Vec<u32>,
    table_stride: usize,
    keys: Vec<f64>,
    values: Vec<f64>,
}

impl Pages {
    fn new(bench: &Bench<'_>, case: Case, [sequences, tokens]: [usize; 2]) -> Self {
        let table_stride = tokens.div_ceil(case.block_tokens);
        let blocks = sequences * table_stride;
        let table = (0..blocks).map(|i| ((i * 7 + 3) % blocks) as u32).collect();
        let size = blocks * case.kv_heads * case.block_tokens * case.dim;
        let (keys, values) = (bench.noise(size), bench.noise(size));
        Self { case, table, table_stride, keys, values }
    }

    fn on(&self, bench: &Bench<'_>) -> Result<Cache, String> {
        Ok(Cache {
            keys: bench.values(&self.keys)?,
            values: bench.values(&self.values)?,
            kv_heads: self.case.kv_heads as u32,
            block_tokens: self.case.block_tokens as u32,
        })
    }

    fn attend(&self, bench: &Bench<'_>, queries: &[f64], stride: usize) -> Result<Attend, String> {
        let Case { heads, dim, window, softcap, .. } = self.case;
        Ok(Attend {
            queries: bench.values(queries)?,
            stride: stride as u32,
            table: bench.ints(&self.table)?,
            table_stride: self.table_stride as u32,
            heads: heads as u32,
            dim: dim as u32,
            scale: SCALE,
            softcap,
            window,
        })
    }

    /// What a row with so many tokens of a sequence gets, all heads.
    fn expect(&self, row: &[f64], sequence: usize, length: u32) -> Vec<f64> {
        let Case { heads, kv_heads, dim, block_tokens, window, softcap } = self.case;
        let first = window.map_or(0, |window| length.saturating_sub(window));
        let cell = |token: usize, h: usize| {
            let block = self.table[sequence * self.table_stride + token / block_tokens] as usize;
            ((block * kv_heads + h) * block_tokens + token % block_tokens) * dim
        };
        let mut expect = Vec::new();
        for (head, q) in row[..heads * dim].chunks(dim).enumerate() {
            let h = head / (heads / kv_heads);
            let score = |token: usize| {
                let key = &self.keys[cell(token, h)..][..dim];
                let dot: f64 = q.iter().zip(key).map(|(q, k)| q * k).sum();
                let score = dot * f64::from(SCALE);
                softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            };
            let tokens: Vec<usize> = (first as usize..length as usize).collect();
            let shares: Vec<f64> = tokens.iter().map(|token| score(*token).exp()).collect();
            let total: f64 = shares.iter().sum();
            expect.extend((0..dim).map(|c| {
                let parts = tokens.iter().zip(&shares);
                let value = |token: usize| self.values[cell(token, h) + c];
                parts.map(|(token, share)| share / total * value(*token)).sum::<f64>()
            }));
        }
        expect
    }
}

const fn case(
    [heads, kv_heads, dim, block_tokens]: [usize; 4],
    window: Option<u32>,
    softcap: Option<f32>,
) -> Case {
    Case { heads, kv_heads, dim, block_tokens, window, softcap }
}

const CASES: [Case; 11] = [
    case([1, 1, 64, 16], None, None),
    case([6, 2, 64, 8], Some(40), None),
    // The last tile's first row sees one token of a step of 64.
    case([2, 1, 64, 16], Some(37), None),
    case([9, 1, 64, 32], None, Some(5.0)),
    case([2, 2, 96, 16], None, None),
    case([6, 2, 96, 16], Some(300), None),
    case([8, 1, 128, 16], Some(1), Some(3.0)),
    case([2, 2, 128, 16], None, None),
    case([3, 1, 128, 16], None, None),
    case([4, 1, 256, 8], None, None),
    case([1, 1, 256, 16], None, None),
];

/// Single rows over groups, heads, blocks and windows.
pub(super) fn decode(bench: &Bench<'_>) -> Told {
    for case in CASES {
        decode_case(bench, case)?;
    }
    Ok(())
}

fn decode_case(bench: &Bench<'_>, case: Case) -> Told {
    // Of one token, of a part of a split, of two splits and of three; of four splits one is empty.
    let lengths: [u32; 4] = [1, 37, SPLIT + 1, 2 * SPLIT + 5];
    let (rows, splits) = (lengths.len(), 4);
    let (heads, dim) = (case.heads, case.dim);
    bench.clear()?;
    let pages = Pages::new(bench, case, [rows, 3 * SPLIT as usize]);
    let stride = heads * dim + 16;
    let queries = bench.noise(rows * stride);
    let attend = pages.attend(bench, &queries, stride)?;
    let parts = bench.room(4 * rows * heads * splits * dim)?;
    let weights = bench.room(8 * rows * heads * splits)?;
    let places = [parts, weights, bench.ints(&lengths)?];
    let sizes = [rows as u32, splits as u32];
    bench.run(&launch::decode(bench.kind, attend, pages.on(bench)?, places, sizes))?;
    let out = bench.room(2 * rows * heads * dim)?;
    let sizes = [rows as u32, heads as u32, dim as u32, splits as u32];
    bench.run(&launch::merge(bench.kind, [out, parts, weights], sizes))?;
    let rows_of = queries.chunks(stride).zip(lengths).enumerate();
    let expect: Vec<f64> =
        rows_of.flat_map(|(row, (q, length))| pages.expect(q, row, length)).collect();
    let found = bench.read_values(out, rows * heads * dim)?;
    bench.check(&found, &expect, [1.1 * bench.half_step(), 2e-5], &format!("{case:?}"))
}

/// Chunks of several sequences.
pub(super) fn prefill(bench: &Bench<'_>) -> Told {
    for case in CASES {
        prefill_case(bench, case)?;
    }
    Ok(())
}

/// Rows of three sequences, side by side: a whole short one, one row, and a chunk behind what is cached.
fn prefill_case(bench: &Bench<'_>, case: Case) -> Told {
    let (heads, dim) = (case.heads, case.dim);
    let chunks: [(u32, u32); 3] = [(0, 7), (80, 1), (35, 65)];
    let rows = chunks.iter().map(|(_, rows)| *rows as usize).sum::<usize>();
    bench.clear()?;
    let pages = Pages::new(bench, case, [chunks.len(), 104]);
    let stride = heads * dim + 8;
    let queries = bench.noise(rows * stride);
    let (mut tiles, mut expect, mut row) = (Vec::new(), Vec::new(), 0);
    for (sequence, (start, count)) in chunks.into_iter().enumerate() {
        for first in (0..count).step_by(tile_rows(dim as u32) as usize) {
            let rows = tile_rows(dim as u32).min(count - first);
            let sequence = sequence as u32;
            tiles.push(Tile { row: row + first, rows, sequence, start: start + first });
        }
        for r in 0..count {
            let q = &queries[(row + r) as usize * stride..][..stride];
            expect.extend(pages.expect(q, sequence, start + r + 1));
        }
        row += count;
    }
    let attend = pages.attend(bench, &queries, stride)?;
    let words: Vec<u32> = tiles.iter().flat_map(|tile| tile.words()).collect();
    let out = bench.room(2 * rows * heads * dim)?;
    let places = [out, bench.ints(&words)?];
    let count = tiles.len() as u32;
    bench.run(&launch::prefill(bench.kind, attend, pages.on(bench)?, places, count))?;
    // Shares are rounded to the type before they meet the values.
    let near = [2.0 * bench.half_step(), 1.5 * bench.half_step()];
    let found = bench.read_values(out, rows * heads * dim)?;
    bench.check(&found, &expect, near, &format!("{case:?}"))
}
