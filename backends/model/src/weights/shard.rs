//! What one of several ranks reads of a tensor: a rectangle of whole blocks.
//!
//! Nothing is copied: rows are ranges of the mapped bytes, and where a shard lies in one piece
//! it is a tensor again. Which is whose is decided in the crate's `shard.rs`.

use std::ops::Range;

use super::{DType, Tensor};

/// A view of some rows and columns of a tensor.
#[derive(Clone, Debug)]
pub struct Shard<'a> {
    tensor: Tensor<'a>,
    rows: Range<usize>,
    cols: Range<usize>,
}

impl<'a> Tensor<'a> {
    /// The shard of these rows and columns.
    ///
    /// # Errors
    /// They lie outside the tensor, or the columns begin or end within a block.
    pub fn shard(self, rows: Range<usize>, cols: Range<usize>) -> Result<Shard<'a>, String> {
        let inside = |range: &Range<usize>, n| range.start <= range.end && range.end <= n;
        if !inside(&rows, self.rows) || !inside(&cols, self.cols) {
            let (r, c) = (self.rows, self.cols);
            return Err(format!("rows {rows:?} and columns {cols:?} are not inside [{r}, {c}]"));
        }
        let block = self.dtype.block().0;
        if !cols.start.is_multiple_of(block) || !cols.end.is_multiple_of(block) {
            let name = self.dtype.name();
            return Err(format!("columns {cols:?} cut a block of {name}, which has {block}"));
        }
        Ok(Shard { tensor: self, rows, cols })
    }
}

impl<'a> Shard<'a> {
    /// Type of its elements.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.tensor.dtype
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols.len()
    }

    /// The bytes of a row of the shard.
    ///
    /// # Panics
    /// If it has no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [u8] {
        assert!(row < self.rows(), "row {row} of {}", self.rows());
        &self.tensor.bytes[self.bytes_of(self.rows.start + row)]
    }

    /// The shard as a tensor where its bytes lie in one piece: whole rows, or columns of one row.
    #[must_use]
    pub fn tensor(&self) -> Option<Tensor<'a>> {
        let (rows, cols, dtype) = (self.rows(), self.cols(), self.tensor.dtype);
        if rows == 0 || (rows > 1 && cols < self.tensor.cols) {
            return None;
        }
        let first = self.bytes_of(self.rows.start).start;
        let bytes = &self.tensor.bytes[first..first + rows * dtype.row_bytes(cols)];
        Some(Tensor { dtype, rows, cols, bytes })
    }

    /// All values, row-major `[rows, cols]`.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows() * self.cols()];
        for (i, out) in all.chunks_exact_mut(self.cols().max(1)).enumerate() {
            self.tensor.dtype.read(self.row(i), out);
        }
        all
    }

    /// Where a row of the tensor has the shard's columns.
    fn bytes_of(&self, row: usize) -> Range<usize> {
        let dtype = self.tensor.dtype;
        let start = row * dtype.row_bytes(self.tensor.cols);
        start + dtype.row_bytes(self.cols.start)..start + dtype.row_bytes(self.cols.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::DType;

    /// Two rows of two blocks of `Q8_0`: `d` is 1 and values count from 0.
    fn bytes() -> Vec<u8> {
        let block = |first: u8| [0x00, 0x3c].into_iter().chain(first..first + 32);
        [0, 32, 64, 96].into_iter().flat_map(block).collect()
    }

    #[test]
    fn shards_are_views_of_whole_blocks() {
        let bytes = bytes();
        let tensor = Tensor { dtype: DType::Q8_0, rows: 2, cols: 64, bytes: &bytes };
        let right = tensor.shard(0..2, 32..64).expect("whole blocks");
        assert_eq!((right.rows(), right.cols()), (2, 32));
        assert_eq!(right.row(1).as_ptr(), bytes[3 * 34..].as_ptr(), "nothing is copied");
        assert!(right.tensor().is_none(), "another rank's columns lie between");
        let expect: Vec<f32> = (32..64_u8).chain(96..128).map(f32::from).collect();
        assert_eq!(right.to_f32(), expect);
        let lower = tensor.shard(1..2, 0..64).expect("whole rows");
        assert_eq!(lower.tensor().expect("one piece").bytes.as_ptr(), bytes[68..].as_ptr());
        assert_eq!(lower.tensor().expect("one piece").to_f32(), lower.to_f32());
        let corner = tensor.shard(1..2, 32..64).expect("one row");
        assert_eq!(corner.tensor().expect("one piece").to_f32(), expect[32..]);
    }

    #[test]
    fn what_cuts_a_block_or_lies_outside_is_refused() {
        let bytes = bytes();
        let tensor = Tensor { dtype: DType::Q8_0, rows: 2, cols: 64, bytes: &bytes };
        let told = |rows, cols| tensor.shard(rows, cols).map(|_| ()).expect_err("refused");
        assert_eq!(told(0..2, 16..48), "columns 16..48 cut a block of Q8_0, which has 32");
        let outside = "rows 1..3 and columns 0..64 are not inside [2, 64]";
        assert_eq!(told(1..3, 0..64), outside);
    }
}
