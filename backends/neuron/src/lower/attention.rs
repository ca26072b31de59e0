//! Attention over the paged cache: what is new is written where `slots` says, then each sequence's blocks are
//! gathered by its table.
//!
//! Bytes of a layer: keys and values of `sequences · context` tokens, read once from the cache, and what
//! is new. Rows of padding write into the block behind all others, so that no other row sees them. Next:
//! `choice.rs`.

use gimbal_model::graph::{State, StateId};

use super::program::{Lowering, Parameter, Shared};
use crate::hlo::{Binary, DType, Direction, Dot, Literal, Op as Hlo, Scatter, Shape, Unary, Value};

/// Below any score: f32's least but for some room.
const UNSEEN: f32 = -3e38;

impl Lowering<'_> {
    /// `softmax(scale · q kᵀ) v` over the tokens that each row sees. `[rows, heads · columns]`.
    pub(super) fn attend(
        &mut self,
        state: StateId,
        heads: usize,
        (scale, softcap): (f32, Option<f32>),
        [q, k, v]: [Value; 3],
    ) -> Value {
        let State::Kv { kv_heads, head_dim, window } = self.graph.states[state.0];
        let (sequences, rows) = self.steps();
        let group = heads / kv_heads;
        let keys = self.cached(Parameter::Keys(state), k, [kv_heads, head_dim]);
        let values = self.cached(Parameter::Values(state), v, [kv_heads, head_dim]);
        let values = self.written(values);
        let q = self.narrow(q);
        let q = self.b.reshape(q, &[sequences, rows, kv_heads, group, head_dim]);
        // `[sequences, kv_heads, rows, group, tokens]`.
        let (contracting, batch) = ([vec![4], vec![3]], [vec![0, 2], vec![0, 2]]);
        let dtype = DType::F32;
        let scores = self.b.add(Hlo::Dot(Dot { contracting, batch, dtype }), &[q, keys]);
        let scores = self.b.with(Binary::Multiply, scores, scale);
        let scores = softcap.map_or(scores, |cap| self.softcap(scores, cap));
        let is_seen = self.mask(window, kv_heads, group);
        let dims = self.b.dims(scores);
        let unseen = self.b.fill(Literal::f32(UNSEEN), &dims);
        let scores = self.b.add(Hlo::Select, &[is_seen, scores, unseen]);
        let shares = self.softmax(scores);
        let shares = self.narrow(shares);
        // `[sequences, kv_heads, rows, group, columns]`.
        let (contracting, batch) = ([vec![4], vec![1]], [vec![0, 1], vec![0, 2]]);
        let made = self.b.add(Hlo::Dot(Dot { contracting, batch, dtype }), &[shares, values]);
        let made = match rows {
            1 => made,
            _ => self.b.add(Hlo::Transpose(vec![0, 2, 1, 3, 4]), &[made]),
        };
        self.b.reshape(made, &[sequences * rows, heads * head_dim])
    }

    fn steps(&self) -> (usize, usize) {
        let bucket = self.wants.bucket;
        (bucket.sequences as usize, bucket.rows_each as usize)
    }

    /// Tokens of a sequence's table.
    fn reach(&self) -> usize {
        self.wants.table() * self.wants.kv.block_tokens as usize
    }

    /// Writes what is new and gathers what each sequence has: `[sequences, tokens, heads, columns]`.
    fn cached(&mut self, cache: Parameter, new: Value, [heads, columns]: [usize; 2]) -> Value {
        let (before, slots) = (self.given(cache), self.given(Parameter::Slots));
        let new = self.narrow(new);
        let rows = self.b.dims(slots)[0];
        let slots = self.b.reshape(slots, &[rows, 1]);
        let scatter =
            Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
        let after = self.b.add(Hlo::Scatter(scatter), &[before, slots, new]);
        self.replace(cache, after);
        let (blocks, tokens) = (self.wants.kv.blocks as usize + 1, self.wants.kv.block_tokens);
        let blocked = self.b.reshape(after, &[blocks, tokens as usize * heads * columns]);
        let tables = self.given(Parameter::Tables);
        let count: usize = self.b.dims(tables).iter().product();
        let tables = self.b.reshape(tables, &[count]);
        let gathered = self.rows_of(blocked, tables);
        let (sequences, reach) = (self.steps().0, self.reach());
        self.b.reshape(gathered, &[sequences, reach, heads, columns])
    }

    /// Zeros where nothing of the sequence lies: a share of 0 of what is no number would be none, too.
    fn written(&mut self, values: Value) -> Value {
        let dims = self.b.dims(values);
        let key = Shared::Written(dims[2], dims[3]);
        let is_written = match self.shared.get(&key) {
            Some(is_written) => *is_written,
            None => {
                let (sequences, rows) = self.steps();
                let positions = self.given(Parameter::Positions);
                let positions = self.b.reshape(positions, &[sequences, rows]);
                let last = self.b.reduce(Binary::Maximum, positions, &[1], Literal::s32(0));
                let place = self.places(&[sequences, dims[1]], 1);
                let last = self.b.broadcast(last, &[sequences, dims[1]], &[0]);
                let is_written = self.b.add(Hlo::Compare(Direction::Le), &[place, last]);
                let is_written = self.b.broadcast(is_written, &dims, &[0, 1]);
                self.shared.insert(key, is_written);
                is_written
            }
        };
        let zero = Literal { shape: Shape::scalar(self.wants.dtype), bits: vec![0] };
        let zeros = self.b.fill(zero, &dims);
        self.b.add(Hlo::Select, &[is_written, values, zeros])
    }

    /// Numbers of places along a dimension.
    fn places(&mut self, dims: &[usize], dim: usize) -> Value {
        self.b.add(Hlo::Iota { shape: Shape::new(DType::S32, dims), dim }, &[])
    }

    /// Which tokens each row sees: up to its own, and of a window the last ones of those.
    fn mask(&mut self, window: Option<usize>, kv_heads: usize, group: usize) -> Value {
        let key = Shared::Mask(window, kv_heads, group);
        if let Some(mask) = self.shared.get(&key) {
            return *mask;
        }
        let (sequences, rows) = self.steps();
        let dims = [sequences, rows, self.reach()];
        let place = self.places(&dims, 2);
        let positions = self.given(Parameter::Positions);
        let positions = self.b.reshape(positions, &dims[..2]);
        let position = self.b.broadcast(positions, &dims, &[0, 1]);
        let mut is_seen = self.b.add(Hlo::Compare(Direction::Le), &[place, position]);
        if let Some(window) = window {
            let window = i32::try_from(window).unwrap_or(i32::MAX);
            let window = self.b.fill(Literal::s32(window), &dims);
            let before = self.b.binary(Binary::Subtract, position, window);
            let is_near = self.b.add(Hlo::Compare(Direction::Gt), &[place, before]);
            is_seen = self.b.binary(Binary::And, is_seen, is_near);
        }
        let whole = [sequences, kv_heads, rows, group, dims[2]];
        let mask = self.b.broadcast(is_seen, &whole, &[0, 2, 4]);
        self.shared.insert(key, mask);
        mask
    }

    /// Along the last dimension.
    fn softmax(&mut self, scores: Value) -> Value {
        let dims = self.b.dims(scores);
        let last = dims.len() - 1;
        let others: Vec<usize> = (0..last).collect();
        let most = self.b.reduce(Binary::Maximum, scores, &[last], Literal::f32(UNSEEN));
        let most = self.b.broadcast(most, &dims, &others);
        let below = self.b.binary(Binary::Subtract, scores, most);
        let powers = self.b.unary(Unary::Exponential, below);
        let total = self.b.reduce(Binary::Add, powers, &[last], Literal::f32(0.0));
        let total = self.b.broadcast(total, &dims, &others);
        self.b.binary(Binary::Divide, powers, total)
    }
}
