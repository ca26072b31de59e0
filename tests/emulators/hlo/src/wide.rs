//! Sums of products with vectors of eight, where the processor has them.
//!
//! The same sums are formed beside one another on any processor, and no multiplication is fused: bits do not depend
//! on it. Next: `product.rs`.

/// Sums of a row that are formed beside one another.
const LANES: usize = 8;

/// Sums of the products of some rows, one after the other in `rows`, and a column.
pub(crate) fn sums<const R: usize>(rows: &[f32], column: &[f32]) -> [f32; R] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the one way to call what is compiled for AVX2")]
        // SAFETY: the processor has AVX2, which is all that `avx2` asks for.
        return unsafe { avx2(rows, column) };
    }
    plain(rows, column)
}

fn plain<const R: usize>(rows: &[f32], column: &[f32]) -> [f32; R] {
    let (chunks, rest) = column.as_chunks::<LANES>();
    std::array::from_fn(|row| {
        let x = &rows[row * column.len()..(row + 1) * column.len()];
        let mut lanes = [0.0; LANES];
        for (x, y) in x.as_chunks::<LANES>().0.iter().zip(chunks) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        whole(lanes, &x[x.len() - rest.len()..], rest)
    })
}

/// What the lanes hold, and what is behind the last whole chunk.
fn whole(lanes: [f32; LANES], x: &[f32], rest: &[f32]) -> f32 {
    let rest: f32 = x.iter().zip(rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<const R: usize>(rows: &[f32], column: &[f32]) -> [f32; R] {
    use std::arch::x86_64::{__m256, _mm256_add_ps, _mm256_mul_ps, _mm256_setzero_ps};
    let k = column.len();
    let (chunks, rest) = column.as_chunks::<LANES>();
    // As long as the column's: no bound is checked in the loop.
    let parts: [&[[f32; LANES]]; R] = std::array::from_fn(|row| {
        &rows[row * k..(row + 1) * k].as_chunks::<LANES>().0[..chunks.len()]
    });
    let mut lanes = [_mm256_setzero_ps(); R];
    for (i, y) in chunks.iter().enumerate() {
        let y: __m256 = bytemuck::must_cast(*y);
        for (lanes, part) in lanes.iter_mut().zip(&parts) {
            let x: __m256 = bytemuck::must_cast(part[i]);
            *lanes = _mm256_add_ps(*lanes, _mm256_mul_ps(x, y));
        }
    }
    let lanes: [[f32; LANES]; R] = lanes.map(bytemuck::must_cast);
    std::array::from_fn(|row| {
        let x = &rows[row * k..(row + 1) * k];
        whole(lanes[row], &x[k - rest.len()..], rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_do_not_depend_on_the_processor() {
        for k in [1, 7, 8, 9, 64, 577] {
            let column: Vec<f32> = (0..k).map(|i| ((i * 37) as f32).sin()).collect();
            let rows: Vec<f32> = (0..4 * k).map(|i| ((i * 11) as f32).cos()).collect();
            let [found, expect] = [sums::<4>(&rows, &column), plain::<4>(&rows, &column)];
            assert_eq!(found.map(f32::to_bits), expect.map(f32::to_bits), "{k} columns");
        }
    }
}
