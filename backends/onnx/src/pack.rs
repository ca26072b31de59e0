//! Weights in the kernels' layout: groups of eight rows, interleaved, with exact values.
//!
//! Two quantised families hold every GGUF block type this crate knows, `u4 + (d, m)` and
//! `i8 + d`; floats keep their width. Rows are padded to eight with zeros.
//!
//! Layouts of one group, K in blocks of 32:
//! - `U4`, 160 bytes a block: four vectors of 32 bytes, byte `4r + t` of vector `v` holding
//!   `k = 4v + t` of row `r` in the low and `k = 16 + 4v + t` in the high nibble; then eight f16 `d`
//!   and eight f16 `m`. Value `d·q + m`.
//! - `I8`, 272 bytes a block: eight vectors of 32 bytes, byte `4r + t` of vector `v` holding
//!   `k = 4v + t` of row `r`; then eight f16 `d`. Value `d·q`.
//! - `F16`, `F32`: for each `k` the eight rows' values.

use gimbal_model::weights::{DType, Tensor};

use crate::pool::Pool;

/// Rows of a group: the lanes of a 256-bit vector of f32.
pub(crate) const LANES: usize = 8;
/// Columns of a quantised block.
pub(crate) const BLOCK: usize = 32;
/// Bytes of a `U4` group and block.
pub(crate) const U4_BYTES: usize = 160;
/// Bytes of an `I8` group and block.
pub(crate) const I8_BYTES: usize = 272;

/// How a packed weight's values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    U4,
    I8,
    F16,
    F32,
}

impl Family {
    /// The family that holds a type's exact values.
    pub(crate) const fn of(dtype: DType) -> Self {
        match dtype {
            DType::Q4_1 => Self::U4,
            DType::Q8_0 => Self::I8,
            DType::F16 => Self::F16,
            DType::F32 => Self::F32,
        }
    }

    /// True when the kernels of the family read activations as int8 blocks.
    pub(crate) const fn is_quantised(self) -> bool {
        matches!(self, Self::U4 | Self::I8)
    }

    /// Bytes of one group of eight rows.
    pub(crate) const fn group_bytes(self, cols: usize) -> usize {
        match self {
            Self::U4 => cols / BLOCK * U4_BYTES,
            Self::I8 => cols / BLOCK * I8_BYTES,
            Self::F16 => cols * LANES * 2,
            Self::F32 => cols * LANES * 4,
        }
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
    for r in 0..LANES.min(tensor.rows - g * LANES) {
        let row = tensor.row(g * LANES + r);
        match tensor.dtype {
            DType::Q4_1 => {
                for (block, out) in row.chunks_exact(20).zip(out.chunks_exact_mut(U4_BYTES)) {
                    pack_u4(block, r, out);
                }
            }
            DType::Q8_0 => {
                for (block, out) in row.chunks_exact(34).zip(out.chunks_exact_mut(I8_BYTES)) {
                    out[256 + 2 * r..258 + 2 * r].copy_from_slice(&block[..2]);
                    for (k, q) in block[2..].iter().enumerate() {
                        out[k / 4 * 32 + r * 4 + k % 4] = *q;
                    }
                }
            }
            DType::F16 | DType::F32 => {
                let width = tensor.dtype.block().1;
                for (k, value) in row.chunks_exact(width).enumerate() {
                    out[(k * LANES + r) * width..][..width].copy_from_slice(value);
                }
            }
        }
    }
}

/// GGUF's byte `i` holds `k = i` low and `k = 16 + i` high, as ours does: bytes only move.
fn pack_u4(block: &[u8], r: usize, out: &mut [u8]) {
    out[128 + 2 * r..130 + 2 * r].copy_from_slice(&block[..2]);
    out[144 + 2 * r..146 + 2 * r].copy_from_slice(&block[2..4]);
    for (i, byte) in block[4..].iter().enumerate() {
        out[i / 4 * 32 + r * 4 + i % 4] = *byte;
    }
}
