//! What a table of kernels holds, and what its functions read and write.
//!
//! Next: `scalar.rs`, the definition of each.

use std::ops::Range;

use gimbal_model::graph::Pair;
use gimbal_model::weights::DType;

use crate::kv_cache::{BLOCK_TOKENS, StateLayout};
use crate::memory::Shared;
use crate::pack::{BLOCK, Packed, Packing};

/// Query rows times heads an attention tile may hold.
pub const TILE_QUERIES_MAX: usize = 32;

/// 32 activations as int8 with their scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct ActBlock {
    /// `round(x / d)`.
    pub(crate) q: [i8; BLOCK],
    /// `max|x| / 127`.
    pub(crate) d: f32,
    /// `d · Σq`: what a weight's `m` is multiplied with.
    pub(crate) s: f32,
    /// `-Σq` of each half: what integers that are kept from 0 up need in their place.
    pub(crate) minus: [i32; 2],
}

/// Activations as a linear kernel reads them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Acts<'a> {
    /// `[rows / tile][cols / 32][tile]` of tables with tiles of so many rows; the last tile has those
    /// rows that are left.
    Blocks(&'a [ActBlock]),
    /// `[rows][cols]`.
    Floats(&'a [f32]),
}

/// Where a linear kernel writes: `[rows, stride]`, columns `first..first + cols`, or those of them
/// after the first `skip`, which then begin at `first`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) out: Shared<'a, f32>,
    pub(crate) stride: usize,
    pub(crate) first: usize,
    pub(crate) skip: usize,
    pub(crate) cols: usize,
    /// Add to what is there instead of replacing it.
    pub(crate) add: bool,
}

impl Columns<'_> {
    /// Writes or adds the values of group `g`.
    ///
    /// # Safety
    /// - No other thread touches the columns of group `g` during the call.
    #[inline(always)]
    pub(super) unsafe fn put<const N: usize>(&self, row: usize, g: usize, values: [f32; N]) {
        let width = N.min(self.cols - g * N);
        let start = row * self.stride + self.first + (g * N - self.skip);
        // SAFETY: the range is within the group's columns, which the caller owns.
        let out = unsafe { self.out.slice_mut(start..start + width) };
        // All at once wherever there are all: a length known when compiled.
        match (out.as_mut_array::<N>(), self.add) {
            (Some(out), false) => *out = values,
            (Some(out), true) => out.iter_mut().zip(values).for_each(|(out, v)| *out += v),
            (None, false) => out.copy_from_slice(&values[..width]),
            (None, true) => out.iter_mut().zip(values).for_each(|(out, v)| *out += v),
        }
    }
}

/// `x · Wᵀ` for some groups of rows of W.
#[derive(Clone)]
pub(crate) struct Linear<'a> {
    pub(crate) weight: &'a Packed,
    pub(crate) groups: Range<usize>,
    pub(crate) acts: Acts<'a>,
    pub(crate) rows: usize,
    pub(crate) out: Columns<'a>,
}

/// Attention of a few rows of one sequence to one kv head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attend<'a> {
    /// Query rows `query_stride` apart; the first head of the first row is at `query_first`.
    pub(crate) queries: Shared<'a, f32>,
    pub(crate) query_stride: usize,
    pub(crate) query_first: usize,
    /// Rows of the tile; their positions follow `start`.
    pub(crate) rows: usize,
    pub(crate) start: usize,
    /// Query heads of the kv head.
    pub(crate) group: usize,
    pub(crate) kv_head: usize,
    pub(crate) layout: StateLayout,
    pub(crate) cache: Shared<'a, u8>,
    /// Block numbers of the sequence.
    pub(crate) table: &'a [gimbal_batch::BlockId],
    pub(crate) window: Option<usize>,
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
}

impl Attend<'_> {
    /// First block any row of the tile sees.
    pub(super) fn block_first(&self) -> usize {
        let first = self.window.map_or(0, |w| (self.start + 1).saturating_sub(w));
        first / BLOCK_TOKENS
    }

    /// Last block any row of the tile sees.
    pub(super) fn block_last(&self) -> usize {
        (self.start + self.rows - 1) / BLOCK_TOKENS
    }

    /// Offsets within block `block` that row `row` sees.
    pub(super) fn seen(&self, row: usize, block: usize) -> Range<usize> {
        let base = block * BLOCK_TOKENS;
        let end = (self.start + row + 1).saturating_sub(base).min(BLOCK_TOKENS);
        let first = self.window.map_or(0, |w| (self.start + row + 1).saturating_sub(w));
        first.saturating_sub(base).min(end)..end
    }

    /// The query of a row and head.
    ///
    /// # Safety
    /// - No thread writes the tile's queries during the call.
    pub(super) unsafe fn query(&self, row: usize, head: usize) -> &[f32] {
        let at = self.query_first + row * self.query_stride + head * self.layout.head_dim;
        // SAFETY: as the caller promises.
        unsafe { self.queries.slice(at..at + self.layout.head_dim) }
    }

    /// Keys and values of a block.
    ///
    /// # Safety
    /// - No thread writes the sequence's blocks during the call.
    pub(super) unsafe fn block(&self, block: usize) -> (&[u8], &[u8]) {
        let id = self.table[block].0 as usize;
        // SAFETY: nobody writes the sequence's blocks.
        let keys = unsafe { self.cache.slice(self.layout.keys(id, self.kv_head)) };
        // SAFETY: as above.
        let values = unsafe { self.cache.slice(self.layout.values(id, self.kv_head)) };
        (keys, values)
    }
}

/// What a linear kernel does with a block: the bound at many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// Weights from 0 up of four or five bits with int8.
    Nibbles,
    /// The same with an offset for each block.
    Offsets,
    /// int8 with int8.
    Bytes,
    /// f32 with f32.
    Floats,
}

impl Arithmetic {
    pub(crate) const ALL: [Self; 4] = [Self::Nibbles, Self::Offsets, Self::Bytes, Self::Floats];

    pub(crate) const fn of(dtype: DType) -> Self {
        match dtype {
            DType::Q4_0 | DType::Q5_0 => Self::Nibbles,
            DType::Q4_1 | DType::Q4K | DType::Q5_1 | DType::Q5K => Self::Offsets,
            DType::Q6K | DType::Q8_0 => Self::Bytes,
            DType::F16 | DType::BF16 | DType::F32 => Self::Floats,
        }
    }
}

/// One instruction set's functions.
#[derive(Debug)]
pub struct Kernels {
    pub(crate) name: &'static str,
    pub(crate) packing: Packing,
    /// Rows of activations whose blocks lie together.
    pub(crate) tile_rows: usize,
    /// A group of rows of W at a time; columns of `groups` are written for all rows.
    ///
    /// Its caller promises that no other thread touches those columns.
    pub(crate) linear: unsafe fn(&Linear<'_>),
    /// `[rows][blocks · 32]` values of a tile of so many rows to `[blocks][rows]`. What a block of a
    /// tile of several rows holds is for `linear` of this table alone.
    pub(crate) quantise: fn(&[f32], usize, &mut [ActBlock]),
    /// `x / sqrt(mean(x²) + eps) · weight`.
    pub(crate) rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    /// `silu(gate) · up` into `gate`.
    pub(crate) silu_mul: fn(&mut [f32], &[f32]),
    /// `gelu(gate) · up` into `gate`, with GELU by its tanh form.
    pub(crate) gelu_mul: fn(&mut [f32], &[f32]),
    /// Writes `[rows][group · head_dim]`; its caller promises that no thread writes the tile's
    /// queries or the sequence's blocks meanwhile.
    pub(crate) attend: unsafe fn(&Attend<'_>, &mut [f32]),
    /// Adds the second row to the first.
    pub(crate) add: fn(&mut [f32], &[f32]),
    /// Rotates the pairs of a head by their cosines and sines; columns past the pairs stay.
    pub(crate) rotate: fn(&mut [f32], &[[f32; 2]], Pair),
    /// f32 to int8, and their scale: `max|x| / 127`. What f16 would not hold is clamped as there, so that
    /// no scale is infinite; what is no number becomes 0.
    pub(crate) to_int8: fn(&[f32], &mut [[u8; 1]]) -> f32,
    /// f32 to f16 in bytes, rounded to nearest even, clamped to the finite range.
    pub(crate) to_f16: fn(&[f32], &mut [[u8; 2]]),
    /// Computes blocks of 32 columns and eight rows of weights without touching memory, some for
    /// each of the rounds asked for; returns how many.
    pub(crate) peak: fn(Arithmetic, usize) -> usize,
    /// The wrapping sum of all words of a multiple of 128 bytes, read as fast as memory gives them.
    pub(crate) read: fn(&[u8]) -> u64,
}

impl Kernels {
    /// The instruction set's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How weights lie for them.
    #[must_use]
    pub const fn packing(&self) -> Packing {
        self.packing
    }

    /// All of `[rows][cols]` to blocks, tile by tile.
    pub(crate) fn quantise_rows(&self, x: &[f32], rows: usize, out: &mut [ActBlock]) {
        let (cols, blocks) = (x.len() / rows, out.len() / rows);
        for tile in self.tiles(rows) {
            let out = &mut out[tile.start * blocks..tile.end * blocks];
            (self.quantise)(&x[tile.start * cols..tile.end * cols], tile.len(), out);
        }
    }

    /// So many rows of activations, cut into tiles.
    pub(crate) fn tiles(&self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        (0..rows).step_by(self.tile_rows).map(move |first| first..rows.min(first + self.tile_rows))
    }
}

/// The scale of a block of activations whose largest is `most`, and what turns them into int8: 0 where
/// they are 0, or so small that the quotient is infinite.
pub(super) fn scale(most: f32) -> (f32, f32) {
    let by = 127.0 / most;
    (most / 127.0, if by.is_finite() { by } else { 0.0 })
}

/// GELU's tanh form is `x · sigmoid(GELU.0 · x + GELU.1 · x³)`: twice √(2/π), and 0.044715 of that.
/// **Source**: Hendrycks & Gimpel 2016, and `½(1 + tanh u) = sigmoid(2u)`.
pub(super) const GELU: (f32, f32) = (1.595_769_2, 0.071_354_814);

/// Coefficients of `exp` on `[-ln2/2, ln2/2]`, highest first. **Source**: Cephes `expf.c`.
pub(super) const EXP: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
/// Below this `exp` is taken as its value here; the result is a normal number.
pub(super) const EXP_MIN: f32 = -87.0;
/// `ln 2` in two parts, so that `x - n·ln2` loses nothing.
pub(super) const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
