//! The launches of a step.
//!
//! Rows of sequences that have one in the step come first (`inputs` sorts them so): the split kernel
//! computes those, the tiled one all others. Next: `../inputs.rs`.

use std::ops::Range;

use gimbal_model::graph::Act;

use super::layout::Program;
use super::nodes::{Attention, Block, FeedForward, Joined, Matrix};
use super::shape::{Choice, SLAB_ROWS, Shape, Work};
use crate::launch::{
    self, Address, Attend, Choices, Draw, Drawn, Launch, Norm, Output, Rope, tile_rows,
};

/// Rows of a product whose columns do not fill the tiles of `gemm`.
const ROWS_FEW: u32 = 8;
/// What the columns of `gemm` are a multiple of.
const COLUMNS: u32 = 8;
/// Launches between exchanges with other ranks.
#[derive(Clone, Debug)]
pub(crate) struct Stages(Vec<Vec<Launch>>);

impl Stages {
    /// All of them; ranks exchange their parts between one and the next.
    pub(crate) fn stages(&self) -> &[Vec<Launch>] {
        &self.0
    }

    /// Exchanges so far.
    fn exchanges(&self) -> usize {
        self.0.len() - 1
    }

    fn push(&mut self, launch: Launch) {
        // There is one from the start.
        if let Some(last) = self.0.last_mut() {
            last.push(launch);
        }
    }

    fn exchange(&mut self) {
        self.0.push(Vec::new());
    }
}

impl Program {
    /// Rows that a tile may have.
    #[must_use]
    pub(crate) fn tile_rows(&self) -> u32 {
        let attentions = self.blocks.iter().filter_map(|block| match block {
            Block::Attention(node) => Some(tile_rows(node.dim)),
            Block::FeedForward(_) => None,
        });
        attentions.min().unwrap_or(tile_rows(64))
    }

    /// All rows through all blocks: what comes before each exchange with other ranks, and after the last.
    #[must_use]
    pub(crate) fn body(&self, shape: Shape) -> Stages {
        let place = |i: usize| self.inputs + u64::from(shape.places()[i]) * 4;
        let Matrix { at, n, k, weights } = self.table.weight;
        let places = [self.work.hidden, at, place(0), self.choice.newest];
        let sizes = [shape.rows, n, k];
        let mut all = Stages(vec![Vec::new()]);
        all.push(launch::embed(self.kind, weights, places, self.table.scale, sizes));
        for block in &self.blocks {
            match block {
                Block::Attention(node) => self.attention(node, shape, &mut all),
                Block::FeedForward(node) => self.feed_forward(node, shape.rows, &mut all),
            }
        }
        all
    }

    /// The outputs whose logits are made before the host has seen any: all slabs of them where the device draws
    /// their tokens, or else the first.
    pub(crate) fn slabs(shape: Shape) -> impl Iterator<Item = Range<u32>> {
        let count = if shape.is_drawn { usize::MAX } else { 1 };
        let firsts = (0..shape.outputs).step_by(SLAB_ROWS as usize).take(count);
        firsts.map(move |first| first..shape.outputs.min(first + SLAB_ROWS))
    }

    /// Logits of some of the outputs, at most `SLAB_ROWS`, and their tokens where the device draws them.
    #[must_use]
    pub(crate) fn head(&self, shape: Shape, outputs: Range<u32>) -> Stages {
        let rows = outputs.end - outputs.start;
        let picked = self.inputs + u64::from(shape.places()[3] + outputs.start) * 4;
        let places = [self.work.normed, self.work.hidden, picked];
        let sizes = [rows, self.hidden];
        let mut all = Stages(vec![Vec::new()]);
        all.push(launch::rms_norm(self.kind, self.head.norm, places, sizes));
        let to = (Output::Float, self.logits);
        self.product(to, self.work.normed, self.head.weight, rows, &mut all);
        if shape.is_drawn {
            all.push(self.draw(shape, outputs));
        }
        all
    }

    /// Tokens of some of the outputs, from their logits.
    fn draw(&self, shape: Shape, outputs: Range<u32>) -> Launch {
        let Choice { newest, drawn, changed } = self.choice;
        let place = |i: usize| self.inputs + u64::from(shape.places()[i]) * 4;
        let behind = |words: usize| u64::from(outputs.start) * (words * 4) as u64;
        let draws = place(7) + behind(Draw::WORDS);
        let choices = Choices { draws, lists: place(8), newest };
        let places = [drawn + behind(Drawn::WORDS), self.logits, changed];
        launch::sample(places, choices, [outputs.end - outputs.start, self.vocab()])
    }

    /// Rows of the residual stream as a product takes them.
    fn norm(&self, norm: Option<Norm>, rows: u32) -> Launch {
        let Work { normed, hidden, .. } = self.work;
        let sizes = [rows, self.hidden];
        match norm {
            Some(norm) => launch::rms_norm(self.kind, norm, [normed, hidden, 0], sizes),
            None => launch::round(self.kind, [normed, hidden], sizes),
        }
    }

    /// `out [rows, n]`, or what is added to it.
    fn product(
        &self,
        to: (Output, Address),
        x: Address,
        weight: Matrix,
        rows: u32,
        all: &mut Stages,
    ) {
        self.columns(to, x, weight, [rows, weight.n], all);
    }

    /// Results of several matrices beside one another.
    fn products(&self, out: Address, x: Address, joined: &Joined, rows: u32, all: &mut Stages) {
        let mut first = 0;
        for matrix in &joined.matrices {
            let to = (Output::Same, out + u64::from(first) * 2);
            self.columns(to, x, *matrix, [rows, joined.n], all);
            first += matrix.n;
        }
    }

    /// A matrix's columns of rows that are `stride` apart.
    fn columns(
        &self,
        (output, out): (Output, Address),
        x: Address,
        weight: Matrix,
        [rows, stride]: [u32; 2],
        all: &mut Stages,
    ) {
        let Matrix { at, n, k, weights } = weight;
        let each = if n.is_multiple_of(COLUMNS) { rows.max(1) } else { ROWS_FEW };
        let bytes = if output == Output::Same { 2 } else { 4 };
        for first in (0..rows).step_by(each as usize) {
            let row = u64::from(first);
            let places = [out + row * u64::from(stride) * bytes, x + row * u64::from(k) * 2, at];
            let sizes = [each.min(rows - first), n, k];
            all.push(launch::linear(self.kind, weights, output, places, sizes, stride));
        }
    }

    /// An output of a block: added to the residual stream, normalised before where the model wants it.
    fn add(&self, x: Address, weight: Matrix, post: Option<Norm>, rows: u32, all: &mut Stages) {
        let Work { hidden, out, .. } = self.work;
        if self.ranks > 1 {
            return self.add_ranks(x, weight, post, rows, all);
        }
        match post {
            None => self.product((Output::Add, hidden), x, weight, rows, all),
            Some(norm) => {
                self.product((Output::Same, out), x, weight, rows, all);
                all.push(launch::rms_norm_add(self.kind, norm, [hidden, out], [rows, self.hidden]));
            }
        }
    }

    /// The same of partial sums: each rank's goes to all of them, and each adds them up.
    fn add_ranks(
        &self,
        x: Address,
        weight: Matrix,
        post: Option<Norm>,
        rows: u32,
        all: &mut Stages,
    ) {
        let Work { hidden, out, .. } = self.work;
        let turn = all.exchanges();
        self.product((Output::Float, self.part(turn, self.rank, rows)), x, weight, rows, all);
        all.exchange();
        let (parts, sizes) = (self.part(turn, 0, rows), [self.ranks, rows * self.hidden]);
        match post {
            None => all.push(launch::reduce_add([hidden, parts], sizes)),
            Some(norm) => {
                all.push(launch::reduce(self.kind, [out, parts], sizes));
                all.push(launch::rms_norm_add(self.kind, norm, [hidden, out], [rows, self.hidden]));
            }
        }
    }

    /// Where a rank's partial sums of exchange `turn` lie, `[rows, hidden]` f32, on this rank's device.
    #[must_use]
    pub(crate) fn part(&self, turn: usize, rank: u32, rows: u32) -> Address {
        // Two sets in turns: when one is written again, all ranks have come past the exchange after it.
        let set = u64::from(self.ranks) * u64::from(self.sizes.rows * self.hidden) * 4;
        let own = u64::from(rank) * self.part_bytes(rows);
        self.work.inbox + (turn % 2) as u64 * set + own
    }

    /// Bytes of a rank's partial sums.
    #[must_use]
    pub(crate) fn part_bytes(&self, rows: u32) -> u64 {
        u64::from(rows) * u64::from(self.hidden) * 4
    }

    fn attention(&self, node: &Attention, shape: Shape, all: &mut Stages) {
        let Work { normed, qkv, attended, .. } = self.work;
        let (rows, places) = (shape.rows, shape.places());
        let place = |i: usize| self.inputs + u64::from(places[i]) * 4;
        all.push(self.norm(node.norm, rows));
        self.products(qkv, normed, &node.qkv, rows, all);
        for group in node.qk_norms.iter().flatten() {
            let sizes = [rows, group.groups, group.cols];
            let columns = [group.first, node.qkv.n];
            all.push(launch::rms_norm_groups(self.kind, group.norm, qkv, sizes, columns));
        }
        let rope = Rope {
            qkv,
            bias: node.bias,
            angles: node.rope.angles,
            position: place(1),
            cell: place(2),
            heads: node.heads,
            dim: node.dim,
            pairs: node.rope.pairs,
            is_adjacent: node.rope.is_adjacent,
        };
        all.push(launch::rope_kv_write(self.kind, rope, node.cache, rows));
        self.attend(node, shape, all);
        self.add(attended, node.out, node.post, rows, all);
    }

    fn attend(&self, node: &Attention, shape: Shape, all: &mut Stages) {
        let Work { qkv, attended, parts, shares, .. } = self.work;
        let places = shape.places();
        let place = |i: usize| self.inputs + u64::from(places[i]) * 4;
        let attend = Attend {
            queries: qkv,
            stride: node.qkv.n,
            table: place(5),
            table_stride: shape.stride,
            heads: node.heads,
            dim: node.dim,
            scale: node.scale,
            softcap: node.softcap,
            window: node.window,
        };
        let (kind, singles, splits) = (self.kind, shape.singles, shape.splits);
        if singles > 0 {
            let to = [parts, shares, place(4)];
            all.push(launch::decode(kind, attend, node.cache, to, [singles, splits]));
            let sizes = [singles, node.heads, node.dim, splits];
            all.push(launch::merge(kind, [attended, parts, shares], sizes));
        }
        if shape.tiles > 0 {
            let to = [attended, place(6)];
            all.push(launch::prefill(kind, attend, node.cache, to, shape.tiles));
        }
    }

    fn feed_forward(&self, node: &FeedForward, rows: u32, all: &mut Stages) {
        let Work { normed, both, gated, .. } = self.work;
        all.push(self.norm(node.norm, rows));
        self.products(both, normed, &node.both, rows, all);
        let activate = match node.act {
            Act::Silu => launch::silu_mul,
            Act::GeluTanh => launch::gelu_mul,
        };
        all.push(activate(self.kind, [gated, both], [rows, node.down.k]));
        self.add(gated, node.down, node.post, rows, all);
    }
}
