//! Kernels of single rows: embedding, norms, rotation, activations, the choice of a token.

use super::{Address, Launch, Type, Weights};

/// Threads of a block that works on a row.
const THREADS: u32 = 256;

/// `kernels/embed.cu`, or of a table in blocks `kernels/quant_embed.cu`. An id may be [`of_slot`].
#[must_use]
pub fn embed(
    kind: Type,
    weights: Weights,
    [out, table, ids, newest]: [Address; 4],
    scale: f32,
    [rows, vocab, hidden]: [u32; 3],
) -> Launch {
    let name = if weights == Weights::Same { kind.name() } else { weights.name() };
    let launch = Launch::new(format!("embed_{name}"), [rows, 1, 1], THREADS);
    let launch = launch.at(out).at(table).at(ids).at(newest).float(scale);
    if weights == Weights::Same { launch.int(hidden) } else { launch.int(vocab).int(hidden) }
}

/// The word of a token that is the newest of a slot.
#[must_use]
pub const fn of_slot(slot: u32) -> u32 {
    slot | 1 << 31
}

/// A norm's weight and epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// `[cols]` f32.
    pub weight: Address,
    /// What is added to the mean.
    pub eps: f32,
}

/// `rms_norm` of `kernels/norm.cu`; `picked` may be 0.
#[must_use]
pub fn rms_norm(
    kind: Type,
    norm: Norm,
    [out, x, picked]: [Address; 3],
    [rows, cols]: [u32; 2],
) -> Launch {
    let launch = Launch::new(format!("rms_norm_{}", kind.name()), [rows, 1, 1], THREADS);
    launch.at(out).at(x).at(norm.weight).at(picked).float(norm.eps).int(cols)
}

/// `rms_norm_add` of `kernels/norm.cu`.
#[must_use]
pub fn rms_norm_add(
    kind: Type,
    norm: Norm,
    [hidden, x]: [Address; 2],
    [rows, cols]: [u32; 2],
) -> Launch {
    let launch = Launch::new(format!("rms_norm_add_{}", kind.name()), [rows, 1, 1], THREADS);
    launch.at(hidden).at(x).at(norm.weight).float(norm.eps).int(cols)
}

/// `rms_norm_groups` of `kernels/norm.cu`: `groups` of `cols` columns from `first` on, of rows that are
/// `stride` apart.
#[must_use]
pub fn rms_norm_groups(
    kind: Type,
    norm: Norm,
    x: Address,
    [rows, groups, cols]: [u32; 3],
    [first, stride]: [u32; 2],
) -> Launch {
    let kernel = format!("rms_norm_groups_{}", kind.name());
    let launch = Launch::new(kernel, [rows, groups, 1], THREADS);
    launch.at(x).at(norm.weight).float(norm.eps).int(cols).int(first).int(stride)
}

/// `kernels/round.cu`.
#[must_use]
pub fn round(kind: Type, [out, x]: [Address; 2], [rows, cols]: [u32; 2]) -> Launch {
    let launch = Launch::new(format!("round_{}", kind.name()), [rows, 1, 1], THREADS);
    launch.at(out).at(x).int(cols)
}

/// What `kernels/rope.cu` reads and writes, and the shape of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rope {
    /// `[rows, (heads + 2 · kv_heads) · dim]`.
    pub qkv: Address,
    /// Of all of a row's columns; may be 0.
    pub bias: Address,
    /// `[positions, pairs, 2]` f32.
    pub angles: Address,
    /// `[rows]` u32.
    pub position: Address,
    /// `[rows]` i32.
    pub cell: Address,
    /// Query heads.
    pub heads: u32,
    /// Columns of a head.
    pub dim: u32,
    /// Pairs of a head that rotate.
    pub pairs: u32,
    /// Pairs are neighbours.
    pub is_adjacent: bool,
}

/// `kernels/rope.cu`.
#[must_use]
pub fn rope_kv_write(kind: Type, rope: Rope, cache: super::Cache, rows: u32) -> Launch {
    let kernel = format!("rope_kv_write_{}", kind.name());
    let launch = Launch::new(kernel, [rows, 1, 1], THREADS);
    let launch = launch.at(rope.qkv).at(cache.keys).at(cache.values).at(rope.bias).at(rope.angles);
    let launch = launch.at(rope.position).at(rope.cell);
    let launch = launch.int(rope.heads).int(cache.kv_heads).int(rope.dim).int(rope.pairs);
    launch.int(rope.is_adjacent.into()).int(cache.block_tokens)
}

/// `silu_mul` of `kernels/activate.cu`.
#[must_use]
pub fn silu_mul(kind: Type, [out, both]: [Address; 2], [rows, width]: [u32; 2]) -> Launch {
    activate("silu", kind, [out, both], [rows, width])
}

/// `gelu_mul` of `kernels/activate.cu`.
#[must_use]
pub fn gelu_mul(kind: Type, [out, both]: [Address; 2], [rows, width]: [u32; 2]) -> Launch {
    activate("gelu", kind, [out, both], [rows, width])
}

fn activate(name: &str, kind: Type, [out, both]: [Address; 2], [rows, width]: [u32; 2]) -> Launch {
    let kernel = format!("{name}_mul_{}", kind.name());
    let launch = Launch::new(kernel, [width.div_ceil(THREADS), rows, 1], THREADS);
    launch.at(out).at(both).int(width)
}

/// `kernels/argmax.cu`.
#[must_use]
pub fn argmax([token, logits]: [Address; 2], [rows, vocab]: [u32; 2]) -> Launch {
    Launch::new("argmax".to_owned(), [rows, 1, 1], THREADS).at(token).at(logits).int(vocab)
}

/// `reduce` of `kernels/reduce.cu`: the sum of `[ranks, count]` as the type.
#[must_use]
pub fn reduce(kind: Type, [out, parts]: [Address; 2], [ranks, count]: [u32; 2]) -> Launch {
    sum(format!("reduce_{}", kind.name()), [out, parts], [ranks, count])
}

/// `reduce_add` of `kernels/reduce.cu`: the same, added to f32.
#[must_use]
pub fn reduce_add([out, parts]: [Address; 2], [ranks, count]: [u32; 2]) -> Launch {
    sum("reduce_add".to_owned(), [out, parts], [ranks, count])
}

fn sum(kernel: String, [out, parts]: [Address; 2], [ranks, count]: [u32; 2]) -> Launch {
    let launch = Launch::new(kernel, [count.div_ceil(THREADS), 1, 1], THREADS);
    launch.at(out).at(parts).int(ranks).int(count)
}
