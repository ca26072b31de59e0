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

/// What `kernels/decode.cu` reads beside the cache, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decode {
    /// `[rows, stride]`, the heads' columns first.
    pub queries: Address,
    /// Columns from one row to the next.
    pub stride: u32,
    /// `[rows, table_stride]` u32: block numbers.
    pub table: Address,
    /// Blocks that a row may have.
    pub table_stride: u32,
    /// `[rows]` u32: tokens that a row sees.
    pub length: Address,
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

/// Partial results of single rows, `splits` a head; [`merge`] puts them together.
///
/// # Panics
/// If there is no kernel for the size of the heads.
#[must_use]
pub fn decode(
    kind: Type,
    decode: Decode,
    cache: Cache,
    [parts, weights]: [Address; 2],
    [rows, splits]: [u32; 2],
) -> Launch {
    let group = decode.heads / cache.kv_heads;
    // Heads that a block computes together: as many as registers hold, no more than there are.
    let together = match (decode.dim, group) {
        (64 | 96 | 128 | 256, 1) => 1,
        (96, _) => 2,
        (64 | 128, 5..) => 8,
        (64 | 128 | 256, _) => 4,
        (dim, _) => panic!("heads of {dim} columns"),
    };
    let kernel = format!("decode_d{}_g{together}_{}", decode.dim, kind.name());
    let blocks = [cache.kv_heads * group.div_ceil(together), splits, rows];
    let launch = Launch::new(kernel, blocks, THREADS);
    let launch = launch.at(parts).at(weights).at(decode.queries).at(cache.keys).at(cache.values);
    let launch = launch.at(decode.table).at(decode.length);
    let launch = launch.int(decode.heads).int(cache.kv_heads).int(decode.stride);
    let launch = launch.int(cache.block_tokens).int(decode.table_stride);
    let launch = launch.int(decode.window.unwrap_or(0));
    launch.float(decode.scale * std::f32::consts::LOG2_E).float(decode.softcap.unwrap_or(0.0))
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
