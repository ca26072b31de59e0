//! Attention over the paged cache.

use super::{Address, Launch, Type};

/// Tokens of a split: as in `kernels/decode.cu`.
pub const SPLIT: u32 = 256;
/// Threads of a block.
const THREADS: u32 = 128;

/// A layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// `[blocks, kv_heads, block_tokens, dim]`.
    pub keys: Address,
    /// The same.
    pub values: Address,
    /// Heads of keys and values.
    pub kv_heads: u32,
    /// Tokens of a block.
    pub block_tokens: u32,
}

/// What attention reads beside the cache, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attend {
    /// `[rows, stride]`, the heads' columns first.
    pub queries: Address,
    /// Columns from one row to the next.
    pub stride: u32,
    /// `[rows, table_stride]` u32, or `[sequences, table_stride]`: block numbers.
    pub table: Address,
    /// Blocks that a row, or a sequence, may have.
    pub table_stride: u32,
    /// Query heads.
    pub heads: u32,
    /// Columns of a head: 64, 96, 128 or 256.
    pub dim: u32,
    /// What products are multiplied with.
    pub scale: f32,
    /// Scores are `cap · tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// The newest tokens that a row sees.
    pub window: Option<u32>,
}

impl Launch {
    /// The shape, as `kernels/attend.cuh` has it.
    fn attend(self, attend: Attend, cache: Cache) -> Self {
        let launch = self.int(attend.heads).int(cache.kv_heads).int(attend.stride);
        let launch = launch.int(cache.block_tokens).int(attend.table_stride);
        let launch = launch.int(attend.window.unwrap_or(0));
        launch.float(attend.scale * std::f32::consts::LOG2_E).float(attend.softcap.unwrap_or(0.0))
    }
}

/// Partial results of single rows, `splits` a head; [`merge`] puts them together. `length` is `[rows]` u32:
/// the tokens that a row sees.
///
/// # Panics
/// If there is no kernel for the size of the heads.
#[must_use]
pub fn decode(
    kind: Type,
    attend: Attend,
    cache: Cache,
    [parts, weights, length]: [Address; 3],
    [rows, splits]: [u32; 2],
) -> Launch {
    let group = attend.heads / cache.kv_heads;
    // Heads that a block computes together: as many as registers hold, no more than there are.
    let together = match (attend.dim, group) {
        (64 | 96 | 128 | 256, 1) => 1,
        (96, _) => 2,
        (64 | 128, 5..) => 8,
        (64 | 128 | 256, _) => 4,
        (dim, _) => panic!("heads of {dim} columns"),
    };
    let kernel = format!("decode_d{}_g{together}_{}", attend.dim, kind.name());
    let blocks = [cache.kv_heads * group.div_ceil(together), splits, rows];
    let launch = Launch::new(kernel, blocks, THREADS);
    let launch = launch.at(parts).at(weights).at(attend.queries).at(cache.keys).at(cache.values);
    launch.at(attend.table).at(length).attend(attend, cache)
}

/// Rows of one sequence that [`prefill`] computes in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its first row.
    pub row: u32,
    /// At most [`tile_rows`].
    pub rows: u32,
    /// Whose blocks: a row of the table.
    pub sequence: u32,
    /// The position of its first row.
    pub start: u32,
}

impl Tile {
    /// As the kernel reads it.
    #[must_use]
    pub fn words(self) -> [u32; 4] {
        [self.row, self.rows, self.sequence, self.start]
    }
}

/// Rows that a tile may have, with heads of so many columns.
#[must_use]
pub const fn tile_rows(dim: u32) -> u32 {
    if dim == 256 { 32 } else { 64 }
}

/// `kernels/prefill.cu`: `out [rows, heads · dim]` of tiles, `[tiles]` of [`Tile`].
///
/// # Panics
/// If there is no kernel for the size of the heads.
#[must_use]
pub fn prefill(
    kind: Type,
    attend: Attend,
    cache: Cache,
    [out, tiles]: [Address; 2],
    count: u32,
) -> Launch {
    let dim = attend.dim;
    assert!([64, 96, 128, 256].contains(&dim), "heads of {dim} columns");
    let kernel = format!("prefill_d{dim}_{}", kind.name());
    let launch = Launch::new(kernel, [count, attend.heads, 1], tile_rows(dim) * 2);
    let launch = launch.at(out).at(attend.queries).at(cache.keys).at(cache.values);
    launch.at(attend.table).at(tiles).attend(attend, cache)
}

/// `out [rows, heads · dim]` of what [`decode`] left.
#[must_use]
pub fn merge(
    kind: Type,
    [out, parts, weights]: [Address; 3],
    [rows, heads, dim, splits]: [u32; 4],
) -> Launch {
    let kernel = format!("merge_{}", kind.name());
    let launch = Launch::new(kernel, [heads, rows, 1], THREADS);
    launch.at(out).at(parts).at(weights).int(dim).int(splits)
}
