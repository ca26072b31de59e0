//! Blocks of quantised weights as the kernels read them: `kernels/quants.cuh` says how.
//!
//! A matrix keeps its bytes' number; quants, upper bits and scales lie apart, in planes. Types without a
//! kernel are multiplied as the type of activations. Next: `weights.rs`, which writes them to the device.

use gimbal_model::Model;
use gimbal_model::weights::{DType, Unpacked};

use crate::launch::Weights;

/// What a kernel reads of a type's blocks; `Same` where there is none.
#[must_use]
pub(crate) const fn of(dtype: DType) -> Weights {
    match dtype {
        DType::Q4_0 => Weights::Q4_0,
        DType::Q4_1 => Weights::Q4_1,
        DType::Q8_0 => Weights::Q8_0,
        DType::Q4K => Weights::Q4K,
        DType::Q6K => Weights::Q6K,
        DType::F32 | DType::F16 | DType::BF16 | DType::Q5_0 | DType::Q5_1 | DType::Q5K => {
            Weights::Same
        }
    }
}

/// What each of a model's weights could be kept as.
#[must_use]
pub(crate) fn of_model(model: &Model) -> Vec<Weights> {
    let tensors = model.graph.weights.iter().map(|weight| model.weights.get(&weight.name));
    tensors.map(|tensor| tensor.map_or(Weights::Same, |tensor| of(tensor.dtype))).collect()
}

/// A plane of a row of blocks, behind what `out` has.
///
/// # Panics
/// If the type has no such plane, or the row is not whole blocks.
pub(crate) fn repack(dtype: DType, plane: usize, row: &[u8], out: &mut Vec<u8>) {
    let blocks = row.chunks_exact(dtype.block().1);
    assert!(blocks.remainder().is_empty(), "{} in blocks", dtype.name());
    let mut unpacked = Unpacked::default();
    for block in blocks {
        let mut quants = |bias: u8| {
            dtype.unpack(block, &mut unpacked);
            let quants = &unpacked.quants[..dtype.block().0];
            quants.iter().map(|q| q.cast_unsigned().wrapping_add(bias)).collect::<Vec<u8>>()
        };
        match (dtype, plane) {
            (DType::Q4_0, 0) => pack(&quants(8), 4, out),
            (DType::Q4_1 | DType::Q4K, 0) => pack(&quants(0), 4, out),
            (DType::Q8_0, 0) => out.extend(quants(128)),
            (DType::Q6K, 0) => pack(&quants(32), 4, out),
            (DType::Q6K, 1) => {
                let upper: Vec<u8> = quants(32).into_iter().map(|q| q >> 4).collect();
                pack(&upper, 2, out);
            }
            (DType::Q4_0 | DType::Q8_0, 1) => out.extend(&block[..2]),
            (DType::Q4_1, 1) => out.extend(&block[..4]),
            (DType::Q4K, 1) => {
                let small: [[u8; 2]; 8] = std::array::from_fn(|g| dtype.small_scales(block, g));
                out.extend(&block[..4]);
                out.extend(small.map(|[scale, offset]| scale | offset << 6));
                pack(&small.map(|[_, offset]| offset >> 2), 4, out);
            }
            (DType::Q6K, 2) => out.extend(&block[192..208]),
            (DType::Q6K, 3) => out.extend(&block[208..]),
            _ => panic!("{} has no plane {plane}", dtype.name()),
        }
    }
}

/// The lower `bits` of values, the first in the lowest bits of a byte.
fn pack(values: &[u8], bits: usize, out: &mut Vec<u8>) {
    let mask = (1 << bits) - 1;
    let byte = |values: &[u8]| {
        values.iter().enumerate().fold(0, |byte, (i, value)| byte | (value & mask) << (i * bits))
    };
    out.extend(values.chunks(8 / bits).map(byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_have_the_bytes_of_blocks() {
        for dtype in DType::ALL {
            let weights = of(dtype);
            let (elements, bytes) = dtype.block();
            if weights == Weights::Same {
                continue;
            }
            assert_eq!(weights.block(), [elements, bytes].map(|n| n as u64), "{}", dtype.name());
            let row = vec![0; 3 * bytes];
            let sizes = weights.planes().iter().enumerate().map(|(plane, size)| {
                let mut out = Vec::new();
                repack(dtype, plane, &row, &mut out);
                assert_eq!(out.len() as u64, 3 * size, "{} {plane}", dtype.name());
                size
            });
            assert_eq!(sizes.sum::<u64>(), bytes as u64, "{}", dtype.name());
        }
    }

    #[test]
    fn neighbours_lie_beside_each_other() {
        let mut out = Vec::new();
        // Element 0 in the low nibble of the first byte, element 16 in its high one.
        let block: Vec<u8> = [0, 60, 0x21].into_iter().chain([0x43; 15]).collect();
        repack(DType::Q4_0, 0, &block, &mut out);
        assert_eq!(out[..2], [0x31, 0x33]);
        assert_eq!(out[8..10], [0x42, 0x44]);
        repack(DType::Q4_0, 1, &block, &mut out);
        assert_eq!(out[16..], [0, 60]);
    }
}
