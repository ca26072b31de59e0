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

use gimbal_model::weights::{DType, Tensor, Unpacked, f16_to_f32};
use half::f16;

use crate::pool::Pool;

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
    /// The family that holds a type's exact values.
    pub(crate) const fn of(dtype: DType) -> Self {
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

/// One packed weight, `[rows, cols]`.
pub(crate) struct Packed {
    pub(crate) family: Family,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    bytes: Vec<u8>,
}

impl Packed {
    /// Packs a tensor; columns are a multiple of 32 (checked by `fit`).
    pub(crate) fn new(tensor: &Tensor<'_>, pool: &Pool) -> Self {
        assert_eq!(tensor.cols % BLOCK, 0, "fit checked the columns");
        let family = Family::of(tensor.dtype);
        let size = family.group_bytes(tensor.cols);
        let groups = tensor.rows.div_ceil(LANES);
        let mut bytes = vec![0; groups * size];
        let out = crate::memory::Shared::new(&mut bytes);
        pool.run(groups, &|g| {
            // SAFETY: each group has its own range of `bytes`, which outlives the run.
            let out = unsafe { out.slice_mut(g * size..(g + 1) * size) };
            pack_group(tensor, g, out);
        });
        Self { family, rows: tensor.rows, cols: tensor.cols, bytes }
    }

    /// Groups of eight rows.
    pub(crate) fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Bytes of one group.
    pub(crate) fn group(&self, g: usize) -> &[u8] {
        let size = self.family.group_bytes(self.cols);
        &self.bytes[g * size..(g + 1) * size]
    }
}

fn pack_group(tensor: &Tensor<'_>, g: usize, out: &mut [u8]) {
    let dtype = tensor.dtype;
    let (elements, bytes) = dtype.block();
    let stride = Family::of(dtype).block_bytes();
    let mut unpacked = Unpacked::default();
    for r in 0..LANES.min(tensor.rows - g * LANES) {
        let row = tensor.row(g * LANES + r);
        if !dtype.is_quantised() {
            for (k, value) in row.chunks_exact(bytes).enumerate() {
                out[(k * LANES + r) * bytes..][..bytes].copy_from_slice(value);
            }
            continue;
        }
        let outs = out.chunks_exact_mut(elements / BLOCK * stride);
        for (block, out) in row.chunks_exact(bytes).zip(outs) {
            if let DType::Q4_0 | DType::Q4_1 | DType::Q8_0 = dtype {
                move_block(dtype, block, r, out);
                continue;
            }
            dtype.unpack(block, &mut unpacked);
            for (b, out) in out.chunks_exact_mut(stride).enumerate() {
                pack_block(dtype, &unpacked, b, r, out);
            }
        }
    }
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
    match Family::of(dtype) {
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
