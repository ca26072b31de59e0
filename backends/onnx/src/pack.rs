//! Weights in the kernels' layout: groups of eight rows, interleaved, with exact values.
//!
//! Six families hold every GGUF type exactly. Rows are padded to eight with zeros.
//!
//! Layouts of one group, K in blocks of 32:
//! - `U4`, 160 bytes a block: four vectors of 32 bytes, byte `4r + t` of vector `v` holding
//!   `k = 4v + t` of row `r` in the low and `k = 16 + 4v + t` in the high nibble; then eight f16 `d`
//!   and eight f16 `m`. Value `d·q + m`. `U4Wide`, 192 bytes: the same with f32 `d` and `m`, where
//!   a `d` is a product that f16 does not hold.
//! - `I8`, 272 bytes a block: eight vectors of 32 bytes, byte `4r + t` of vector `v` holding
//!   `k = 4v + t` of row `r`; then eight f16 `d`. Value `d·q`. `I8Wide`, 320 bytes: with eight f32
//!   `d` and eight f32 `m`, value `d·q + m`. `I8Halves`, 320 bytes: with eight f32 `d` of `k < 16`
//!   and eight of the others, value `d·q`.
//! - `F16`, `BF16`, `F32`: for each `k` the eight rows' values.

use std::sync::Arc;

use gimbal_hal::Quantize;
use gimbal_model::weights::{DType, Tensor, Unpacked, f16_to_f32};
use half::f16;

use crate::store::Memory;

/// Rows of a group: the lanes of a 256-bit vector of f32.
pub(crate) const LANES: usize = 8;
/// Columns of a quantised block.
pub(crate) const BLOCK: usize = 32;
/// Bytes of a `U4` group and block.
pub(crate) const U4_BYTES: usize = 160;
/// Bytes of a `U4Wide` group and block.
pub(crate) const U4_WIDE_BYTES: usize = 192;
/// Bytes of an `I8` group and block.
pub(crate) const I8_BYTES: usize = 272;
/// Bytes of an `I8Wide` or `I8Halves` group and block.
pub(crate) const I8_WIDE_BYTES: usize = 320;

/// How a packed weight's values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    U4,
    U4Wide,
    I8,
    I8Wide,
    I8Halves,
    F16,
    BF16,
    F32,
}

impl Family {
    pub(crate) const ALL: [Self; 8] = [
        Self::U4,
        Self::U4Wide,
        Self::I8,
        Self::I8Wide,
        Self::I8Halves,
        Self::F16,
        Self::BF16,
        Self::F32,
    ];

    /// The family that holds a type's exact values, or what floats are to be rounded to.
    pub(crate) const fn of(dtype: DType, quantize: Option<Quantize>) -> Self {
        match (dtype.is_quantised(), quantize) {
            (false, Some(Quantize::Q8)) => Self::I8,
            (false, Some(Quantize::Q4)) => Self::U4,
            _ => Self::exact(dtype),
        }
    }

    const fn exact(dtype: DType) -> Self {
        match dtype {
            DType::Q4_0 | DType::Q4_1 => Self::U4,
            DType::Q4K => Self::U4Wide,
            DType::Q5_0 | DType::Q8_0 => Self::I8,
            DType::Q5_1 | DType::Q5K => Self::I8Wide,
            DType::Q6K => Self::I8Halves,
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            DType::F32 => Self::F32,
        }
    }

    /// True when the kernels of the family read activations as int8 blocks.
    pub(crate) const fn is_quantised(self) -> bool {
        !matches!(self, Self::F16 | Self::BF16 | Self::F32)
    }

    /// Bytes of one block of 32 columns of a group.
    const fn block_bytes(self) -> usize {
        match self {
            Self::U4 => U4_BYTES,
            Self::U4Wide => U4_WIDE_BYTES,
            Self::I8 => I8_BYTES,
            Self::I8Wide | Self::I8Halves => I8_WIDE_BYTES,
            Self::F16 | Self::BF16 => BLOCK * LANES * 2,
            Self::F32 => BLOCK * LANES * 4,
        }
    }

    /// Bytes of one group of eight rows.
    pub(crate) const fn group_bytes(self, cols: usize) -> usize {
        cols / BLOCK * self.block_bytes()
    }
}

/// One packed weight, `[rows, cols]`; columns are a multiple of 32 (checked by `fit`).
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) family: Family,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Its first byte in `memory`.
    pub(crate) start: usize,
    pub(crate) memory: Arc<Memory>,
}

impl Packed {
    /// A tensor packed in memory.
    #[cfg(test)]
    pub(crate) fn of(tensor: &Tensor<'_>) -> Self {
        let family = Family::of(tensor.dtype, None);
        let Tensor { rows, cols, .. } = *tensor;
        let size = family.group_bytes(cols);
        let mut bytes = vec![0; rows.div_ceil(LANES) * size];
        for (g, out) in bytes.chunks_exact_mut(size).enumerate() {
            pack_group(tensor, family, g, out);
        }
        Self { family, rows, cols, start: 0, memory: Arc::new(Memory::of(&bytes)) }
    }

    /// Groups of eight rows.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Bytes of one group.
    pub(crate) fn group(&self, g: usize) -> &[u8] {
        let size = self.family.group_bytes(self.cols);
        &self.memory.bytes()[self.start + g * size..][..size]
    }
}

/// Packs group `g` of a tensor into a family that is its own or what floats are rounded to.
pub(crate) fn pack_group(tensor: &Tensor<'_>, family: Family, g: usize, out: &mut [u8]) {
    let dtype = tensor.dtype;
    let mut unpacked = Unpacked::default();
    for r in 0..LANES.min(tensor.rows - g * LANES) {
        let row = g * LANES + r;
        match (dtype.is_quantised(), family) {
            (false, Family::I8 | Family::U4) => round_row(tensor, row, family, r, out),
            (false, _) => {
                let bytes = dtype.block().1;
                for (k, value) in tensor.row(row).chunks_exact(bytes).enumerate() {
                    out[(k * LANES + r) * bytes..][..bytes].copy_from_slice(value);
                }
            }
            (true, _) => pack_row(tensor, row, r, &mut unpacked, out),
        }
    }
}

fn pack_row(tensor: &Tensor<'_>, row: usize, r: usize, unpacked: &mut Unpacked, out: &mut [u8]) {
    let dtype = tensor.dtype;
    let (elements, bytes) = dtype.block();
    let stride = Family::exact(dtype).block_bytes();
    let outs = out.chunks_exact_mut(elements / BLOCK * stride);
    for (block, out) in tensor.row(row).chunks_exact(bytes).zip(outs) {
        if let DType::Q4_0 | DType::Q4_1 | DType::Q8_0 = dtype {
            move_block(dtype, block, r, out);
            continue;
        }
        dtype.unpack(block, unpacked);
        for (b, out) in out.chunks_exact_mut(stride).enumerate() {
            pack_block(dtype, unpacked, b, r, out);
        }
    }
}

/// Rounds a row of floats to blocks of `Q8_0` or `Q4_1` and places them.
fn round_row(tensor: &Tensor<'_>, row: usize, family: Family, r: usize, out: &mut [u8]) {
    let mut values = vec![0.0; tensor.cols];
    tensor.read_row(row, &mut values);
    let outs = out.chunks_exact_mut(family.block_bytes());
    for (values, out) in values.as_chunks::<BLOCK>().0.iter().zip(outs) {
        if family == Family::I8 {
            move_block(DType::Q8_0, &round_to_q8(values), r, out);
        } else {
            move_block(DType::Q4_1, &round_to_q4(values), r, out);
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

/// Moves the bytes of types whose blocks hold what the family holds, in the same order. They are
/// most of what is served, and taking them apart would double the time of packing.
fn move_block(dtype: DType, block: &[u8], r: usize, out: &mut [u8]) {
    let (first, scales) = match dtype {
        DType::Q8_0 => (2, 256),
        DType::Q4_1 => (4, 128),
        _ => (2, 128),
    };
    out[scales + 2 * r..][..2].copy_from_slice(&block[..2]);
    match dtype {
        DType::Q4_1 => out[144 + 2 * r..][..2].copy_from_slice(&block[2..4]),
        // Where ggml subtracts 8 from each integer, `m` does it at once.
        DType::Q4_0 => {
            let m = f16::from_f32(-8.0 * f16_to_f32(block)).to_le_bytes();
            out[144 + 2 * r..][..2].copy_from_slice(&m);
        }
        _ => {}
    }
    for (four, out) in block[first..].as_chunks::<4>().0.iter().zip(out.chunks_exact_mut(32)) {
        out[4 * r..4 * r + 4].copy_from_slice(four);
    }
}

/// Places row `r` of the 32 columns from `32·b` on.
fn pack_block(dtype: DType, from: &Unpacked, b: usize, r: usize, out: &mut [u8]) {
    let quants = &from.quants[b * BLOCK..][..BLOCK];
    let scale = b * BLOCK / dtype.group();
    let (d, m) = (from.scales[scale], from.offsets[scale]);
    let mut floats = |at: usize, value: f32| {
        out[at + 4 * r..at + 4 * r + 4].copy_from_slice(&value.to_le_bytes());
    };
    match Family::exact(dtype) {
        Family::U4Wide => {
            floats(128, d);
            floats(160, m);
            place_nibbles(quants, r, out);
        }
        Family::I8 => {
            out[256 + 2 * r..258 + 2 * r].copy_from_slice(&f16::from_f32(d).to_le_bytes());
            place_bytes(quants, r, out);
        }
        Family::I8Wide => {
            floats(256, d);
            floats(288, m);
            place_bytes(quants, r, out);
        }
        Family::I8Halves => {
            floats(256, d);
            floats(288, from.scales[scale + 1]);
            place_bytes(quants, r, out);
        }
        // Moved as they are.
        Family::U4 | Family::F16 | Family::BF16 | Family::F32 => {}
    }
}

fn place_nibbles(quants: &[i8], r: usize, out: &mut [u8]) {
    for k in 0..BLOCK / 2 {
        let (low, high) = (quants[k].cast_unsigned(), quants[k + 16].cast_unsigned());
        out[k / 4 * 32 + r * 4 + k % 4] = low | high << 4;
    }
}

fn place_bytes(quants: &[i8], r: usize, out: &mut [u8]) {
    for (k, q) in quants.iter().enumerate() {
        out[k / 4 * 32 + r * 4 + k % 4] = q.cast_unsigned();
    }
}
