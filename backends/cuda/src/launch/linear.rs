//! Products with weights: few rows by `skinny`, more by `gemm`.

use super::{Address, Launch, Type};

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Values of the type of activations.
    Same,
    /// f32.
    Float,
    /// Added to f32.
    Add,
}

/// What a matrix's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weights {
    /// The type of activations.
    Same,
    /// Blocks of GGUF's types, in planes: `kernels/quants.cuh`.
    Q4_0,
    /// The same.
    Q4_1,
    /// The same.
    Q8_0,
    /// The same.
    Q4K,
    /// The same.
    Q6K,
}

impl Weights {
    /// As kernels' names have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
            Self::Q6K => "q6_k",
        }
    }

    /// Bytes that a block has in each plane.
    #[must_use]
    pub const fn planes(self) -> &'static [u64] {
        match self {
            Self::Same => &[2],
            Self::Q4_0 => &[16, 2],
            Self::Q4_1 => &[16, 4],
            Self::Q8_0 => &[32, 2],
            Self::Q4K => &[128, 16],
            Self::Q6K => &[128, 64, 16, 2],
        }
    }

    /// Elements and bytes of a block.
    #[must_use]
    pub fn block(self) -> [u64; 2] {
        let elements = match self {
            Self::Same => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q6K => 256,
        };
        [elements, self.planes().iter().sum()]
    }

    /// Bytes of `k` columns, whole blocks.
    #[must_use]
    pub fn bytes_per_row(self, k: u64) -> u64 {
        let [elements, bytes] = self.block();
        k / elements * bytes
    }
}

/// Rows of the largest `skinny`.
const ROWS_FEW: u32 = 8;
/// Columns of a block of `skinny`: one to a warp.
const COLUMNS: u32 = 4;
/// Rows and columns of a block of `gemm`.
const TILE: u32 = 64;
/// Threads of a block of either.
const THREADS: u32 = 128;

/// `out [rows, n] = x [rows, k] · w [n, k]ᵀ`; rows of `out` are `stride` apart.
///
/// # Panics
/// If `k` is no multiple of 32, or not whole blocks.
#[must_use]
pub fn linear(
    kind: Type,
    weights: Weights,
    output: Output,
    [out, x, w]: [Address; 3],
    [rows, n, k]: [u32; 3],
    stride: u32,
) -> Launch {
    assert!(k.is_multiple_of(32), "a depth of {k} is no multiple of 32");
    let elements = weights.block()[0];
    assert!(u64::from(k).is_multiple_of(elements), "a depth of {k} in blocks of {elements}");
    let (name, blocks) = match rows {
        0..=ROWS_FEW => {
            (format!("skinny{}", rows.next_power_of_two()), [n.div_ceil(COLUMNS), 1, 1])
        }
        _ => ("gemm".to_owned(), [n.div_ceil(TILE), rows.div_ceil(TILE), 1]),
    };
    let launch = match (weights, output) {
        (Weights::Same, _) => {
            let what = match output {
                Output::Same => "",
                Output::Float => "_f32",
                Output::Add => "_add",
            };
            Launch::new(format!("{name}{what}_{}", kind.name()), blocks, THREADS).at(out)
        }
        _ => {
            let kernel = format!("{name}_{}_{}", weights.name(), kind.name());
            Launch::new(kernel, blocks, THREADS).at(out).int(match output {
                Output::Same => 0,
                Output::Float => 1,
                Output::Add => 2,
            })
        }
    };
    launch.at(x).at(w).int(rows).int(n).int(k).int(stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_less_of_blocks() {
        // Products of a layer of eight billion weights: queries, keys and values; output; gates and ups; down.
        let layer = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)];
        let read = |weights: Weights| {
            layer.iter().map(|(n, k)| n * weights.bytes_per_row(*k)).sum::<u64>()
        };
        let share = |weights| read(weights) as f64 / read(Weights::Same) as f64;
        assert!(share(Weights::Q4K) <= 0.31, "{}", share(Weights::Q4K));
        for (weights, expect) in [
            (Weights::Q4K, 144.0 / 512.0),
            (Weights::Q4_0, 18.0 / 64.0),
            (Weights::Q4_1, 20.0 / 64.0),
            (Weights::Q6K, 210.0 / 512.0),
            (Weights::Q8_0, 34.0 / 64.0),
        ] {
            assert!((share(weights) - expect).abs() < 1e-9, "{weights:?}");
        }
    }
}
