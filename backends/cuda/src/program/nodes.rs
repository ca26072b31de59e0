//! Fused nodes with the addresses of their weights and caches.
//!
//! What no kernel computes is refused here, by name. Next: `layout.rs`.

use std::collections::HashMap;

use gimbal_model::fuse::{self, Fused, QkNorms};
use gimbal_model::graph::{Act, Graph, Pair, State, WeightId};

use super::room::Room;
use super::shape::{BLOCK_TOKENS, Form, Placed, SLAB_ROWS, Sizes, Source, Work};
use crate::launch::{Address, Cache, Norm, SPLIT, Weights};

/// Bytes of a weight's or an activation's element.
const ELEMENT: u64 = 2;
/// Bytes of an element of a norm's weight.
const FLOAT: u64 = 4;
/// What the depth of a product is a multiple of.
const DEPTH: usize = 32;
/// Columns that a head may have.
const DIMS: [usize; 4] = [64, 96, 128, 256];

/// `[n, k]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) at: Address,
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) weights: Weights,
}

impl Matrix {
    /// What it takes, and what a product reads of it.
    pub(super) fn bytes(self) -> u64 {
        let (n, k) = (u64::from(self.n), u64::from(self.k));
        n * match self.weights {
            Weights::Same => k * ELEMENT,
            weights => weights.bytes_per_row(k),
        }
    }

    /// The place of a weight whose rows are those from `row` on.
    fn place(self, weight: WeightId, row: u32, is_whole: bool) -> Placed {
        let Self { at, n, k, weights } = self;
        match weights {
            Weights::Same => {
                let at = at + u64::from(row) * u64::from(k) * ELEMENT;
                Placed { weight, at, form: Form::Same, is_whole }
            }
            _ => Placed { weight, at, form: Form::Blocks { weights, n, row }, is_whole },
        }
    }
}

/// Matrices of one depth whose results lie beside one another, `[rows, n]`: one, where all weights are kept alike.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) matrices: Vec<Matrix>,
    pub(super) n: u32,
}

/// The embedding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) weight: Matrix,
    pub(super) scale: f32,
}

/// Logits of picked rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) norm: Norm,
    pub(super) weight: Matrix,
}

#[derive(Clone, Debug)]
pub(super) enum Block {
    Attention(Box<Attention>),
    FeedForward(FeedForward),
}

#[derive(Clone, Debug)]
pub(super) struct Attention {
    /// Where there is none, rows of the residual stream are rounded.
    pub(super) norm: Option<Norm>,
    pub(super) qkv: Joined,
    pub(super) bias: Address,
    /// Groups of queries and keys, columns of each, and their norms.
    pub(super) qk_norms: Option<[GroupNorm; 2]>,
    pub(super) rope: Turn,
    /// Placed after all weights.
    pub(super) cache: Cache,
    pub(super) heads: u32,
    pub(super) dim: u32,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    pub(super) window: Option<u32>,
    pub(super) out: Matrix,
    pub(super) post: Option<Norm>,
}

/// Norms of neighbouring groups of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupNorm {
    pub(super) norm: Norm,
    pub(super) groups: u32,
    pub(super) cols: u32,
    pub(super) first: u32,
}

/// How heads turn; no pair where they do not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub(super) angles: Address,
    pub(super) pairs: u32,
    pub(super) is_adjacent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct FeedForward {
    pub(super) norm: Option<Norm>,
    pub(super) both: Joined,
    pub(super) act: Act,
    pub(super) down: Matrix,
    pub(super) post: Option<Norm>,
}

/// Nodes that were placed, and the widths of what they leave.
pub(super) struct Nodes<'a> {
    /// The whole model's, for what each rank has whole.
    whole: &'a Graph,
    /// What this rank holds.
    graph: &'a Graph,
    /// What each weight could be kept as.
    kept: &'a [Weights],
    /// The output projection.
    projection: Option<WeightId>,
    ranks: usize,
    rank: usize,
    sizes: Sizes,
    pub(super) table: Option<Table>,
    pub(super) head: Option<Head>,
    pub(super) blocks: Vec<Block>,
    pub(super) weights: Vec<Placed>,
    pub(super) angles: Vec<Address>,
    turns: HashMap<usize, Turn>,
    /// Columns of queries, keys and values; of queries; of a feed-forward; each the widest.
    widths: [u32; 3],
}

impl<'a> Nodes<'a> {
    pub(super) fn new(source: Source<'a>, rank: usize, sizes: Sizes) -> Self {
        let Source { graph: whole, fused, kept, shards, .. } = source;
        let (graph, ranks) = (&shards.graph, shards.ranks);
        let projection = fused.iter().find_map(|node| match node {
            Fused::Head(node) => Some(node.weight),
            _ => None,
        });
        Self {
            whole,
            graph,
            kept,
            projection,
            ranks,
            rank,
            sizes,
            table: None,
            head: None,
            blocks: Vec::new(),
            weights: Vec::new(),
            angles: vec![0; graph.ropes.len()],
            turns: HashMap::new(),
            widths: [0; 3],
        }
    }

    pub(super) fn add(&mut self, node: &Fused, room: &mut Room) -> Result<(), String> {
        match node {
            Fused::Embed { table, scale } => {
                let weight = self.table(*table, room);
                self.table = Some(Table { weight, scale: *scale });
            }
            Fused::Attention(node) => {
                let block = self.attention(node, room)?;
                self.blocks.push(Block::Attention(Box::new(block)));
            }
            Fused::FeedForward(node) => {
                let block = self.feed_forward(node, room)?;
                self.blocks.push(Block::FeedForward(block));
            }
            Fused::Head(node) => {
                let (norm, weight) =
                    (self.norm(node.norm, room), self.matrix(&[node.weight], room)?);
                self.head = Some(Head { norm, weight });
            }
        }
        Ok(())
    }

    /// The embedding, whole, for any rank may be asked for any token: in blocks only where one rank reads it as
    /// the output projection, too.
    fn table(&mut self, id: WeightId, room: &mut Room) -> Matrix {
        let weight = &self.whole.weights[id.0];
        let is_shared = self.projection == Some(id) && self.ranks == 1;
        let weights = if is_shared { self.kept[id.0] } else { Weights::Same };
        let (n, k) = (narrow(weight.out), narrow(weight.inp));
        let at = room.take(weight.out as u64 * weights.bytes_per_row(weight.inp as u64));
        let matrix = Matrix { at, n, k, weights };
        self.weights.push(matrix.place(id, 0, true));
        matrix
    }

    /// Matrices of one depth; neighbours that are kept alike lie below one another.
    fn joined(&mut self, ids: &[WeightId], room: &mut Room) -> Result<Joined, String> {
        let kept = self.kept;
        let alike = ids.chunk_by(|a, b| kept[a.0] == kept[b.0]);
        let matrices = alike.map(|ids| self.matrix(ids, room)).collect::<Result<Vec<_>, _>>()?;
        Ok(Joined { n: matrices.iter().map(|matrix| matrix.n).sum(), matrices })
    }

    /// Matrices that are kept alike and lie below one another: their products are one.
    fn matrix(&mut self, ids: &[WeightId], room: &mut Room) -> Result<Matrix, String> {
        let kept = self.kept[ids[0].0];
        let weights: Vec<_> = ids.iter().map(|id| &self.graph.weights[id.0]).collect();
        let (k, n) = (weights[0].inp, weights.iter().map(|w| w.out).sum::<usize>());
        if !k.is_multiple_of(DEPTH) {
            let name = &weights[0].name;
            return Err(format!("{name} with {k} columns: no multiple of {DEPTH}"));
        }
        // An embedding that is the output projection, too, lies here once.
        let known = |id: &WeightId| self.weights.iter().find(|placed| placed.weight == *id);
        let mut matrix = Matrix { at: 0, n: narrow(n), k: narrow(k), weights: kept };
        if let ([id], Some(table)) = (ids, self.table)
            && known(id).is_some()
        {
            // Where ranks have a part of the tokens each, theirs are rows of it.
            let is_cut = self.whole.weights[id.0].out > n;
            let first = if is_cut { self.rank * n * k } else { 0 };
            let (at, weights) = (table.weight.at + first as u64 * ELEMENT, table.weight.weights);
            return Ok(Matrix { at, weights, ..matrix });
        }
        matrix.at = room.take(n as u64 * kept.bytes_per_row(k as u64));
        let mut row = 0;
        for (id, weight) in ids.iter().zip(weights) {
            self.weights.push(matrix.place(*id, row, false));
            row += narrow(weight.out);
        }
        Ok(matrix)
    }

    /// Vectors, one after the other.
    fn vector(&mut self, ids: &[WeightId], form: Form, room: &mut Room) -> Address {
        let element = if form == Form::Float { FLOAT } else { ELEMENT };
        let length = |id: &WeightId| self.graph.weights[id.0].out as u64 * element;
        let at = room.take(ids.iter().map(length).sum());
        let mut next = at;
        for id in ids {
            self.weights.push(Placed { weight: *id, at: next, form, is_whole: false });
            next += length(id);
        }
        at
    }

    fn norm(&mut self, norm: fuse::Norm, room: &mut Room) -> Norm {
        Norm { weight: self.vector(&[norm.weight], Form::Float, room), eps: norm.eps }
    }

    fn attention(&mut self, node: &fuse::Attention, room: &mut Room) -> Result<Attention, String> {
        let State::Kv { kv_heads, head_dim, window } = self.graph.states[node.state.0];
        if !DIMS.contains(&head_dim) {
            return Err(format!("heads of {head_dim} columns: kernels are for {DIMS:?}"));
        }
        if node.bias.is_some() && node.qk_norms.is_some() {
            return Err("queries with a bias and a norm".to_owned());
        }
        if self.ranks > 1 && matches!(node.qk_norms, Some(QkNorms::Row(_))) {
            return Err("norms of all heads of a row on several GPUs".to_owned());
        }
        let (heads, dim) = (narrow(node.heads / self.ranks), narrow(head_dim));
        let norm = node.norm.map(|norm| self.norm(norm, room));
        let qkv = self.joined(&node.qkv, room)?;
        let bias = node.bias.map_or(0, |bias| self.vector(&bias, Form::Same, room));
        let qk_norms = node.qk_norms.map(|norms| {
            let (norms, is_whole) = match norms {
                QkNorms::Head(norms) => (norms, false),
                QkNorms::Row(norms) => (norms, true),
            };
            let heads = [heads, narrow(kv_heads)];
            let group = |i: usize, norm: Norm| {
                let (groups, cols) = if is_whole { (1, heads[i] * dim) } else { (heads[i], dim) };
                GroupNorm { norm, groups, cols, first: if i == 0 { 0 } else { heads[0] * dim } }
            };
            [group(0, self.norm(norms[0], room)), group(1, self.norm(norms[1], room))]
        });
        let rope = node.rope.map_or(Turn::default(), |rope| self.turn(rope.0, room));
        let out = self.matrix(&[node.out], room)?;
        let post = node.post.map(|norm| self.norm(norm, room));
        self.widths[0] = self.widths[0].max(qkv.n);
        self.widths[1] = self.widths[1].max(heads * dim);
        let cache =
            Cache { keys: 0, values: 0, kv_heads: narrow(kv_heads), block_tokens: BLOCK_TOKENS };
        let (scale, softcap, window) = (node.scale, node.softcap, window.map(narrow));
        Ok(Attention {
            norm,
            qkv,
            bias,
            qk_norms,
            rope,
            cache,
            heads,
            dim,
            scale,
            softcap,
            window,
            out,
            post,
        })
    }

    fn turn(&mut self, rope: usize, room: &mut Room) -> Turn {
        if let Some(turn) = self.turns.get(&rope) {
            return *turn;
        }
        let table = &self.graph.ropes[rope];
        let pairs = narrow(table.frequencies.len());
        let angles = room.take(u64::from(self.sizes.context) * u64::from(pairs) * 8);
        let turn = Turn { angles, pairs, is_adjacent: table.pair == Pair::Adjacent };
        self.angles[rope] = angles;
        self.turns.insert(rope, turn);
        turn
    }

    fn feed_forward(
        &mut self,
        node: &fuse::FeedForward,
        room: &mut Room,
    ) -> Result<FeedForward, String> {
        let norm = node.norm.map(|norm| self.norm(norm, room));
        let both = self.joined(&[node.gate, node.up], room)?;
        let down = self.matrix(&[node.down], room)?;
        let post = node.post.map(|norm| self.norm(norm, room));
        self.widths[2] = self.widths[2].max(down.k);
        Ok(FeedForward { norm, both, act: node.act, down, post })
    }

    /// Keys and values of all layers; tells how many bytes.
    pub(super) fn place_caches(&mut self, room: &mut Room) -> u64 {
        let start = room.next();
        let cells = u64::from(self.sizes.blocks) * u64::from(BLOCK_TOKENS);
        for block in &mut self.blocks {
            let Block::Attention(node) = block else { continue };
            let bytes = cells * u64::from(node.cache.kv_heads * node.dim) * ELEMENT;
            node.cache.keys = room.take(bytes);
            node.cache.values = room.take(bytes);
        }
        room.next() - start
    }

    /// Activations.
    pub(super) fn place_work(&self, room: &mut Room) -> Work {
        let (rows, sequences) = (u64::from(self.sizes.rows), u64::from(self.sizes.sequences));
        let hidden = self.graph.hidden() as u64;
        let [qkv, queries, width] = self.widths.map(u64::from);
        let (mut parts, mut shares) = (0, 0);
        for block in &self.blocks {
            let Block::Attention(node) = block else { continue };
            let splits = sequences * u64::from(node.heads * self.sizes.context.div_ceil(SPLIT));
            shares = shares.max(splits * 8);
            parts = parts.max(splits * u64::from(node.dim) * 4);
        }
        Work {
            hidden: room.take(rows * hidden * 4),
            // Rows of a slab lie here, too.
            normed: room.take(rows.max(u64::from(SLAB_ROWS)) * hidden * ELEMENT),
            qkv: room.take(rows * qkv * ELEMENT),
            attended: room.take(rows * queries * ELEMENT),
            both: room.take(rows * 2 * width * ELEMENT),
            gated: room.take(rows * width * ELEMENT),
            out: room.take(rows * hidden * ELEMENT),
            parts: room.take(parts),
            shares: room.take(shares),
            inbox: match self.ranks {
                1 => 0,
                ranks => room.take(2 * ranks as u64 * rows * hidden * 4),
            },
        }
    }
}

/// Sizes of models are far below `u32::MAX`; what is not would be refused for its memory.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
