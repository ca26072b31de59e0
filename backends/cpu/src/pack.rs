//! Weights in the kernels' layout: groups of rows, interleaved, in the file's own numbers.
//!
//! A group has as many rows as the kernels' vectors have lanes of f32, eight or sixteen, and so many
//! columns of a row lie together as one of their dot products takes, four or eight. What follows tells
//! of eight rows and four columns; with sixteen rows, every vector and every row of scales is twice as
//! long. With eight columns, the same bytes in another order: `k` of row `r` lies at byte
//! `64 (k / 8) + 8 r + k % 8` of its part.
//!
//! Every GGUF type keeps its own integers and scales, and so its bytes (`Q4_K` and `Q5_K`: 2 to 3 %
//! more, for their six-bit scales become bytes). Rows are padded to eight with zeros.
//!
//! Layout of a group, K in blocks of 32, vectors of 32 bytes. A block is
//! - of four bits and more: four vectors, byte `4r + t` of vector `v` holding the low four bits of
//!   `k = 4v + t` of row `r` in the low, of `k = 16 + 4v + t` in the high nibble;
//! - of five bits: one vector more, bit `v` (`4 + v`) of byte `4r + t` being the fifth bit of what
//!   nibble vector `v` holds low (high);
//! - of six bits: two vectors more, bits `2v` and `2v + 1` of byte `4r + t` being the upper bits of
//!   what nibble vector `v` holds low (first vector) and high (second);
//! - of eight bits: eight vectors, byte `4r + t` of vector `v` holding `k = 4v + t` of row `r`;
//! - in K-types the eight rows' small scales and after them their small offsets (`Q6_K`: scales of
//!   `k < 16`, then of the others), a byte each.
//!
//! After one block, in K-types after eight, follow eight f16 `d` and, where the type has offsets,
//! eight f16 `m` (K-types: `-m`). Floats are, for each `k`, the eight rows' values.

use std::sync::Arc;

use gimbal_hal::Quantize;
use gimbal_model::weights::{DType, Tensor, Unpacked};
use half::f16;

use crate::memory::Memory;

/// Lanes of a 256-bit vector of f32: rows of a group of the kernels that are not wider.
pub const LANES: usize = 8;
/// Columns of a quantised block.
pub const BLOCK: usize = 32;

/// How weights lie in a group of rows, as a table of kernels wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Rows of a group.
    pub rows: usize,
    /// Neighbouring columns of a row whose integers lie together, for one dot product of bytes.
    pub depth: usize,
}

impl Packing {
    /// For vectors of so many lanes of f32, each of which takes four products of bytes.
    pub(crate) const fn of_lanes(lanes: usize) -> Self {
        Self { rows: lanes, depth: 4 }
    }
}

impl std::fmt::Display for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.rows, self.depth)
    }
}

/// Where a type's bytes lie in a group; floats are blocks of integers without scales.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Rows of a group.
    pub(crate) lanes: usize,
    /// Columns of a row that lie together.
    depth: usize,
    /// Blocks that share `d` and `m`.
    pub(crate) blocks: usize,
    /// Bytes of a block's integers; small scales follow.
    pub(crate) quants: usize,
    /// Bytes of a block.
    pub(crate) block: usize,
    /// Bytes of the blocks that share `d` and `m`, with those.
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) const fn of(dtype: DType, packing: Packing) -> Self {
        let Packing { rows: lanes, depth } = packing;
        let bits = match dtype {
            DType::Q4_0 | DType::Q4_1 | DType::Q4K => 4,
            DType::Q5_0 | DType::Q5_1 | DType::Q5K => 5,
            DType::Q6K => 6,
            DType::Q8_0 => 8,
            DType::F16 | DType::BF16 => 16,
            DType::F32 => 32,
        };
        let (elements, quants) = (dtype.block().0, bits * BLOCK * lanes / 8);
        let (blocks, small) = if elements > BLOCK { (elements / BLOCK, 2 * lanes) } else { (1, 0) };
        let scales = match (dtype.is_quantised(), dtype.has_offset()) {
            (false, _) => 0,
            (true, false) => 2 * lanes,
            (true, true) => 4 * lanes,
        };
        let block = quants + small;
        Self { lanes, depth, blocks, quants, block, bytes: blocks * block + scales }
    }

    /// The byte of column `k` of row `r` among those of a block's bytes, or of its nibbles where
    /// `k` is below 16.
    pub(crate) const fn place(self, k: usize, r: usize) -> usize {
        (k / self.depth * self.lanes + r) * self.depth + k % self.depth
    }

    /// Where the rows' `d` are.
    pub(crate) const fn scales(self) -> usize {
        self.blocks * self.block
    }

    /// Where the rows' `m` are.
    pub(crate) const fn offsets(self) -> usize {
        self.scales() + 2 * self.lanes
    }
}

/// What a type is packed as: itself, or what floats are to be rounded to.
#[must_use]
pub const fn packed_type(dtype: DType, quantize: Option<Quantize>) -> DType {
    match (dtype.is_quantised(), quantize) {
        (false, Some(Quantize::Q8)) => DType::Q8_0,
        (false, Some(Quantize::Q4)) => DType::Q4_1,
        _ => dtype,
    }
}

/// What is added to a type's integers, so that the layout holds none below 0 (`Q8_0`: as they are).
pub(crate) const fn lifted(dtype: DType) -> i8 {
    match dtype {
        DType::Q4_0 => 8,
        DType::Q5_0 => 16,
        DType::Q6K => 32,
        _ => 0,
    }
}

/// Bytes of one group of rows.
pub(crate) const fn group_bytes(dtype: DType, packing: Packing, cols: usize) -> usize {
    let layout = Layout::of(dtype, packing);
    cols / (BLOCK * layout.blocks) * layout.bytes
}

/// One packed weight, `[rows, cols]`; columns are a multiple of 32 (checked by `fit`).
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) dtype: DType,
    pub(crate) packing: Packing,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Its first byte in `memory`.
    pub(crate) start: usize,
    pub(crate) memory: Arc<Memory>,
}

impl Packed {
    /// A tensor packed in memory.
    #[cfg(test)]
    pub(crate) fn of(tensor: &Tensor<'_>, packing: Packing) -> Self {
        let Tensor { dtype, rows, cols, .. } = *tensor;
        let size = group_bytes(dtype, packing, cols);
        let mut bytes = vec![0; rows.div_ceil(packing.rows) * size];
        for (g, out) in bytes.chunks_exact_mut(size).enumerate() {
            pack_group(tensor, dtype, packing, (g, out));
        }
        Self { dtype, packing, rows, cols, start: 0, memory: Arc::new(Memory::of(&bytes)) }
    }

    /// Groups of rows.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(self.packing.rows)
    }

    /// Bytes of one group.
    pub(crate) fn group(&self, g: usize) -> &[u8] {
        let size = group_bytes(self.dtype, self.packing, self.cols);
        &self.memory.bytes()[self.start + g * size..][..size]
    }
}

/// Packs group `g` of a tensor, as its own type or as what floats are rounded to, into zeros.
pub(crate) fn pack_group(
    tensor: &Tensor<'_>,
    to: DType,
    packing: Packing,
    (g, out): (usize, &mut [u8]),
) {
    let (dtype, layout, lanes) = (tensor.dtype, Layout::of(to, packing), packing.rows);
    for r in 0..lanes.min(tensor.rows - g * lanes) {
        let row = g * lanes + r;
        match (dtype.is_quantised(), to.is_quantised()) {
            (false, true) => round_row(tensor, row, to, (layout, r), out),
            (false, false) => {
                let bytes = dtype.block().1;
                for (k, value) in tensor.row(row).chunks_exact(bytes).enumerate() {
                    out[(k * lanes + r) * bytes..][..bytes].copy_from_slice(value);
                }
            }
            (true, _) => {
                let blocks = tensor.row(row).chunks_exact(dtype.block().1);
                for (block, out) in blocks.zip(out.chunks_exact_mut(layout.bytes)) {
                    pack_block(dtype, block, (layout, r), out);
                }
            }
        }
    }
}

/// Rounds a row of floats to blocks of `Q8_0` or `Q4_1` and places them as row `r`.
fn round_row(
    tensor: &Tensor<'_>,
    row: usize,
    to: DType,
    (layout, r): (Layout, usize),
    out: &mut [u8],
) {
    let mut values = vec![0.0; tensor.cols];
    tensor.read_row(row, &mut values);
    let outs = out.chunks_exact_mut(layout.bytes);
    for (values, out) in values.as_chunks::<BLOCK>().0.iter().zip(outs) {
        if to == DType::Q8_0 {
            pack_block(to, &round_to_q8(values), (layout, r), out);
        } else {
            pack_block(to, &round_to_q4(values), (layout, r), out);
        }
    }
}

/// A block of `Q8_0`. **Source**: ggml `quantize_row_q8_0_ref`.
fn round_to_q8(values: &[f32; BLOCK]) -> [u8; 34] {
    let most = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let d = most / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { d.recip() };
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (q, x) in block[2..].iter_mut().zip(values) {
        #[expect(clippy::cast_possible_truncation, reason = "-127 to 127")]
        let rounded = (x * inverse).round() as i8;
        *q = rounded.cast_unsigned();
    }
    block
}

/// A block of `Q4_1`. **Source**: ggml `quantize_row_q4_1_ref`.
fn round_to_q4(values: &[f32; BLOCK]) -> [u8; 20] {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (most - least) / 15.0;
    let inverse = if d == 0.0 { 0.0 } else { d.recip() };
    let mut block = [0; 20];
    block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    block[2..4].copy_from_slice(&f16::from_f32(least).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 15")]
    let round = |x: f32| ((x - least) * inverse + 0.5).clamp(0.0, 15.0) as u8;
    for (i, q) in block[4..].iter_mut().enumerate() {
        *q = round(values[i]) | round(values[i + 16]) << 4;
    }
    block
}

/// Places one block of the file as row `r`.
fn pack_block(dtype: DType, block: &[u8], (layout, r): (Layout, usize), out: &mut [u8]) {
    let half = |out: &mut [u8], at: usize, bits: [u8; 2]| {
        out[at + 2 * r..at + 2 * r + 2].copy_from_slice(&bits);
    };
    let first = if dtype == DType::Q6K { 208 } else { 0 };
    half(out, layout.scales(), [block[first], block[first + 1]]);
    if dtype.has_offset() {
        // The value is `d·q - m` in K-types.
        let sign = if layout.blocks > 1 { 0x80 } else { 0 };
        half(out, layout.offsets(), [block[2], block[3] ^ sign]);
    }
    // Bytes in the file's order: most of what is served, and taking them apart would double the time.
    if let DType::Q4_0 | DType::Q4_1 | DType::Q8_0 = dtype {
        let quants = &block[if dtype == DType::Q4_1 { 4 } else { 2 }..];
        return match layout.depth {
            4 => copy_bytes::<4>(quants, (layout, r), out),
            8 => copy_bytes::<8>(quants, (layout, r), out),
            depth => unreachable!("no packing has a depth of {depth}"),
        };
    }
    let mut from = Unpacked::default();
    dtype.unpack(block, &mut from);
    let plus = lifted(dtype);
    let outs = out.chunks_exact_mut(layout.block);
    for (b, (quants, out)) in from.quants.as_chunks::<BLOCK>().0.iter().zip(outs).enumerate() {
        if layout.blocks > 1 {
            let [first, second] = dtype.small_scales(block, b);
            (out[layout.quants + r], out[layout.quants + layout.lanes + r]) = (first, second);
        }
        place(&quants.map(|q| (q + plus).cast_unsigned()), (layout, r), out);
    }
}

/// Places bytes as row `r` of a block, `DEPTH` of them together.
fn copy_bytes<const DEPTH: usize>(quants: &[u8], (layout, r): (Layout, usize), out: &mut [u8]) {
    let outs = out.chunks_exact_mut(DEPTH * layout.lanes);
    for (bytes, out) in quants.as_chunks::<DEPTH>().0.iter().zip(outs) {
        out[DEPTH * r..DEPTH * (r + 1)].copy_from_slice(bytes);
    }
}

/// Places 32 integers of four to six bits as row `r` of a block's vectors, which are 0 there.
fn place(quants: &[u8; BLOCK], (layout, r): (Layout, usize), out: &mut [u8]) {
    let vector = 4 * layout.lanes;
    let (nibbles, upper) = out[..layout.quants].split_at_mut(4 * vector);
    for (i, together) in quants.chunks_exact(layout.depth).enumerate() {
        // Columns from 16 on are the high nibbles.
        let (column, is_high) = (i * layout.depth % 16, i * layout.depth / 16);
        let first = layout.place(column, r);
        let (v, at) = (first / vector, first % vector);
        for (t, q) in together.iter().enumerate() {
            nibbles[first + t] |= (q & 15) << (4 * is_high);
            match upper.len() / vector {
                0 => {}
                1 => upper[at + t] |= q >> 4 << (4 * is_high + v),
                _ => upper[is_high * vector + at + t] |= q >> 4 << (2 * v),
            }
        }
    }
}
