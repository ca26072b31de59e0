//! Products with weights: few rows by `skinny`, more by `gemm`.

use super::{Address, Launch, Type};

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Values of the weights' type.
    Same,
    /// f32.
    Float,
    /// Added to f32.
    Add,
}

/// Rows of the largest `skinny`.
const ROWS_FEW: u32 = 8;
/// Columns of a block of `skinny`: one to a warp.
const COLUMNS: u32 = 4;
/// Rows and columns of a block of `gemm`.
const TILE: u32 = 64;
/// Threads of a block of either.
const THREADS: u32 = 128;

/// `out [rows, n] = x [rows, k] · w [n, k]ᵀ`.
///
/// # Panics
/// If `k` is no multiple of 32.
#[must_use]
pub fn linear(
    kind: Type,
    output: Output,
    [out, x, w]: [Address; 3],
    [rows, n, k]: [u32; 3],
) -> Launch {
    assert!(k.is_multiple_of(32), "a depth of {k} is no multiple of 32");
    let what = match output {
        Output::Same => "",
        Output::Float => "_f32",
        Output::Add => "_add",
    };
    let (kernel, blocks) = match rows {
        0..=ROWS_FEW => {
            let most = rows.next_power_of_two();
            (format!("skinny{most}{what}_{}", kind.name()), [n.div_ceil(COLUMNS), 1, 1])
        }
        _ => {
            let blocks = [n.div_ceil(TILE), rows.div_ceil(TILE), 1];
            (format!("gemm{what}_{}", kind.name()), blocks)
        }
    };
    Launch::new(kernel, blocks, THREADS).at(out).at(x).at(w).int(rows).int(n).int(k)
}
