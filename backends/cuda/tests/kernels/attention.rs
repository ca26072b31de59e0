//! Attention against f64, on an emulated device: single rows, and several of each sequence.

use crate::device::{Device, Noise, Setup, check, setups};
use gimbal_cuda::launch::{self, Attend, Cache, SPLIT, Tile, tile_rows};

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
    fn new(setup: Setup, noise: &mut Noise, case: Case, [sequences, tokens]: [usize; 2]) -> Self {
        let table_stride = tokens.div_ceil(case.block_tokens);
        let blocks = sequences * table_stride;
        let table = (0..blocks).map(|i| ((i * 7 + 3) % blocks) as u32).collect();
        let size = blocks * case.kv_heads * case.block_tokens * case.dim;
        let (keys, values) = (noise.values(setup, size), noise.values(setup, size));
        Self { case, table, table_stride, keys, values }
    }

    fn on(&self, device: &Device) -> Cache {
        Cache {
            keys: device.values(&self.keys),
            values: device.values(&self.values),
            kv_heads: self.case.kv_heads as u32,
            block_tokens: self.case.block_tokens as u32,
        }
    }

    fn attend(&self, device: &Device, queries: &[f64], stride: usize) -> Attend {
        let Case { heads, dim, window, softcap, .. } = self.case;
        Attend {
            queries: device.values(queries),
            stride: stride as u32,
            table: device.ints(&self.table),
            table_stride: self.table_stride as u32,
            heads: heads as u32,
            dim: dim as u32,
            scale: SCALE,
            softcap,
            window,
        }
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

#[test]
fn decode_equals_f64_over_groups_heads_blocks_and_windows() {
    let mut noise = Noise(23);
    for setup in setups() {
        for case in CASES {
            decode_case(setup, &mut noise, case);
        }
    }
}

fn decode_case(setup: Setup, noise: &mut Noise, case: Case) {
    // Of one token, of a part of a split, of two splits and of three; of four splits one is empty.
    let lengths: [u32; 4] = [1, 37, SPLIT + 1, 2 * SPLIT + 5];
    let (rows, splits) = (lengths.len(), 4);
    let (heads, dim) = (case.heads, case.dim);
    let device = Device::new(setup);
    let pages = Pages::new(setup, noise, case, [rows, 3 * SPLIT as usize]);
    let stride = heads * dim + 16;
    let queries = noise.values(setup, rows * stride);
    let attend = pages.attend(&device, &queries, stride);
    let parts = device.room(4 * rows * heads * splits * dim);
    let weights = device.room(8 * rows * heads * splits);
    let places = [parts, weights, device.ints(&lengths)];
    let sizes = [rows as u32, splits as u32];
    device.run(&launch::decode(setup.kind, attend, pages.on(&device), places, sizes));
    let out = device.room(2 * rows * heads * dim);
    let sizes = [rows as u32, heads as u32, dim as u32, splits as u32];
    device.run(&launch::merge(setup.kind, [out, parts, weights], sizes));
    let rows_of = queries.chunks(stride).zip(lengths).enumerate();
    let expect: Vec<f64> =
        rows_of.flat_map(|(row, (q, length))| pages.expect(q, row, length)).collect();
    let found = device.read_values(out, rows * heads * dim);
    check(&found, &expect, [1.1 * setup.half_step(), 2e-5], &format!("{setup:?} {case:?}"));
}

#[test]
fn prefill_equals_f64_over_chunks_of_several_sequences() {
    let mut noise = Noise(29);
    for setup in setups() {
        for case in CASES {
            prefill_case(setup, &mut noise, case);
        }
    }
}

/// Rows of three sequences, side by side: a whole short one, one row, and a chunk behind what is cached.
fn prefill_case(setup: Setup, noise: &mut Noise, case: Case) {
    let (heads, dim) = (case.heads, case.dim);
    let chunks: [(u32, u32); 3] = [(0, 7), (80, 1), (35, 65)];
    let rows = chunks.iter().map(|(_, rows)| *rows as usize).sum::<usize>();
    let device = Device::new(setup);
    let pages = Pages::new(setup, noise, case, [chunks.len(), 104]);
    let stride = heads * dim + 8;
    let queries = noise.values(setup, rows * stride);
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
    let attend = pages.attend(&device, &queries, stride);
    let words: Vec<u32> = tiles.iter().flat_map(|tile| tile.words()).collect();
    let out = device.room(2 * rows * heads * dim);
    let places = [out, device.ints(&words)];
    let count = tiles.len() as u32;
    device.run(&launch::prefill(setup.kind, attend, pages.on(&device), places, count));
    // Shares are rounded to the type before they meet the values.
    let near = [2.0 * setup.half_step(), 1.5 * setup.half_step()];
    let found = device.read_values(out, rows * heads * dim);
    check(&found, &expect, near, &format!("{setup:?} {case:?}"));
}
