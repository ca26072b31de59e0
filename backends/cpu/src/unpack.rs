//! What packed weights hold: the definition that the scalar kernels multiply by and rows are read by.
//!
//! Next: `pack.rs` for where everything lies.

use gimbal_model::weights::{DType, bf16_to_f32, f16_to_f32};

use crate::pack::{BLOCK, Layout, Packed, lifted};

/// One row of a block.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) dtype: DType,
    pub(crate) layout: Layout,
    /// The blocks that share `d` and `m`, with those.
    pub(crate) all: &'a [u8],
    pub(crate) block: &'a [u8],
    /// The row within the group.
    pub(crate) row: usize,
}

impl Cell<'_> {
    /// The integer of column `k`.
    pub(crate) fn integer(&self, k: usize) -> i32 {
        if self.dtype == DType::Q8_0 {
            return i32::from(self.block[self.layout.place(k, self.row)].cast_signed());
        }
        let (vector, is_high) = (4 * self.layout.lanes, k / 16);
        let place = self.layout.place(k % 16, self.row);
        let (v, at) = (place / vector, place % vector);
        let upper = |vectors: usize| self.block[(4 + vectors) * vector + at];
        let four = i32::from(self.block[place] >> (4 * is_high) & 15);
        let whole = match self.layout.quants / vector {
            4 => four,
            5 => four | i32::from(upper(0) >> (4 * is_high + v) & 1) << 4,
            _ => four | i32::from(upper(is_high) >> (2 * v) & 3) << 4,
        };
        whole - i32::from(lifted(self.dtype))
    }

    /// What the integers of each half of the block are multiplied with.
    pub(crate) fn scales(&self) -> [f32; 2] {
        let d = self.half(self.layout.scales());
        match self.dtype {
            DType::Q4K | DType::Q5K => [d * f32::from(self.small(0)); 2],
            DType::Q6K => [0, 1].map(|half| d * f32::from(self.small(half).cast_signed())),
            _ => [d; 2],
        }
    }

    /// What is added to each value, in types that have offsets.
    pub(crate) fn offset(&self) -> Option<f32> {
        let m = || self.half(self.layout.offsets());
        match self.dtype {
            DType::Q4_1 | DType::Q5_1 => Some(m()),
            DType::Q4K | DType::Q5K => Some(m() * f32::from(self.small(1))),
            _ => None,
        }
    }

    fn half(&self, at: usize) -> f32 {
        f16_to_f32(&self.all[at + 2 * self.row..])
    }

    fn small(&self, which: usize) -> u8 {
        self.block[self.layout.quants + which * self.layout.lanes + self.row]
    }
}

impl Packed {
    /// Row `row` as the file's tensor gives it, to the bit.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) {
        let (dtype, layout) = (self.dtype, Layout::of(self.dtype, self.packing));
        let (group, row) = (self.group(row / self.packing.rows), row % self.packing.rows);
        if !dtype.is_quantised() {
            let size = dtype.block().1;
            for (column, out) in group.chunks_exact(size * self.packing.rows).zip(out) {
                let value = &column[size * row..][..size];
                *out = match *value {
                    [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
                    _ if dtype == DType::F16 => f16_to_f32(value),
                    _ => bf16_to_f32(value),
                };
            }
            return;
        }
        let outs = out.chunks_exact_mut(BLOCK * layout.blocks);
        for (all, outs) in group.chunks_exact(layout.bytes).zip(outs) {
            let blocks = all[..layout.scales()].chunks_exact(layout.block);
            for (block, out) in blocks.zip(outs.chunks_exact_mut(BLOCK)) {
                let cell = Cell { dtype, layout, all, block, row };
                let (scales, offset) = (cell.scales(), cell.offset());
                for (k, out) in out.iter_mut().enumerate() {
                    let value = scales[k / (BLOCK / 2)] * cell.integer(k) as f32;
                    // Adding 0 would turn -0 into 0.
                    *out = offset.map_or(value, |m| value + m);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gimbal_model::weights::Tensor;

    use super::*;
    use crate::pack::Packing;

    #[test]
    fn packed_rows_equal_the_files_to_the_bit() {
        for dtype in DType::ALL {
            let (elements, size) = dtype.block();
            let (rows, cols) = (19, 512);
            let mut bytes: Vec<u8> = (0..rows * cols / elements * size)
                .map(|i| (i * 7919 % 251).to_le_bytes()[0].rotate_left(3))
                .collect();
            // No exponent of all ones: NaN is equal to nothing.
            for value in bytes.chunks_exact_mut(size) {
                let halves: &[usize] = if dtype == DType::Q6K { &[209] } else { &[1, 3] };
                for at in halves.iter().filter(|at| **at < size) {
                    value[*at] &= 0xbb;
                }
            }
            let tensor = Tensor { dtype, rows, cols, bytes: &bytes };
            let matrices = Packing { rows: 8, depth: 8 };
            for packing in [Packing::of_lanes(8), Packing::of_lanes(16), matrices] {
                let packed = Packed::of(&tensor, packing);
                let (mut expect, mut found) = (vec![0.0; cols], vec![0.0; cols]);
                for row in 0..rows {
                    tensor.read_row(row, &mut expect);
                    packed.read_row(row, &mut found);
                    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&found), bits(&expect), "{dtype:?} {packing} row {row}");
                }
            }
        }
    }
}
