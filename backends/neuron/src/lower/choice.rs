//! The token of each row, chosen on the device.
//!
//! neuronx-cc has no argmax and no sort. The most probable token is the least number among those whose logit is the
//! largest; numbers are f32, which holds all of them exactly. What a random choice is made from (top-k, top-p, min-p)
//! is all above one bound, found by halving: 30 times three passes over a row. The choice is the first token
//! whose sum of weights, in the order of tokens, is above `uniform` times all; sums are products with a triangle.
//! Next: `inputs.rs`.

use super::program::{Lowering, Parameter};
use crate::hlo::{Binary, DType, Direction, Dot, Literal, Op as Hlo, Shape, Unary, Value};

/// Nats below the most probable token at which none is chosen any more, as of the hal's sampler.
const SPAN: f32 = 42.0;
/// Halvings of that: what is left is below the distance of two f32 of its middle.
const HALVINGS: usize = 30;

impl Lowering<'_> {
    /// `[outputs]` s32: the first of the most probable tokens, or one drawn; where logits are no numbers, the
    /// number of tokens there are, which is none of them.
    pub(super) fn choose(&mut self, logits: Value) -> Value {
        let dims = self.b.dims(logits);
        let most = self.b.reduce(Binary::Maximum, logits, &[1], Literal::f32(f32::MIN));
        let wide = self.b.broadcast(most, &dims, &[0]);
        let is_most = self.b.add(Hlo::Compare(Direction::Ge), &[logits, wide]);
        let mut chosen = self.first(is_most);
        if self.wants.has_draws {
            let below = self.b.binary(Binary::Subtract, logits, wide);
            chosen = self.drawn(below, chosen);
        }
        self.b.convert(chosen, DType::S32)
    }

    /// The number of the first column that is so, as f32; the number of columns, if none is.
    fn first(&mut self, is_so: Value) -> Value {
        let dims = self.b.dims(is_so);
        let number = self.b.add(Hlo::Iota { shape: Shape::new(DType::F32, &dims), dim: 1 }, &[]);
        let none = dims[1] as f32;
        let nowhere = self.b.fill(Literal::f32(none), &dims);
        let numbers = self.b.add(Hlo::Select, &[is_so, number, nowhere]);
        self.b.reduce(Binary::Minimum, numbers, &[1], Literal::f32(none))
    }

    /// A choice of `below`, logits less the largest; `greedy` where the temperature is 0 or nothing is found.
    fn drawn(&mut self, below: Value, greedy: Value) -> Value {
        let (dims, rows) = (self.b.dims(below), self.b.dims(greedy));
        let given = Parameter::DRAWS.map(|parameter| self.given(parameter));
        let [temperature, top_k, top_p, min_p, uniform] = given;
        let (zero, one) = (self.numbers(0.0, &rows), self.numbers(1.0, &rows));
        let is_drawn = self.b.add(Hlo::Compare(Direction::Gt), &[temperature, zero]);
        let divisor = self.b.add(Hlo::Select, &[is_drawn, temperature, one]);
        let divisor = self.b.broadcast(divisor, &dims, &[0]);
        let scaled = self.b.binary(Binary::Divide, below, divisor);
        // As many as `top_k` above it.
        let ones = self.numbers(1.0, &dims);
        let bound = self.bound(scaled, ones, top_k);
        let (kept, _) = self.above(scaled, bound);
        // Of those, as much as `top_p` of all their weights.
        let powers = self.b.unary(Unary::Exponential, scaled);
        let none = self.numbers(0.0, &dims);
        let weights = self.b.add(Hlo::Select, &[kept, powers, none]);
        let all = self.b.reduce(Binary::Add, weights, &[1], Literal::f32(0.0));
        let share = self.b.binary(Binary::Multiply, top_p, all);
        let nearer = self.bound(scaled, weights, share);
        let bound = self.b.binary(Binary::Maximum, bound, nearer);
        // And none less probable than `min_p` of the most probable, which is given as its logarithm.
        let bound = self.b.binary(Binary::Maximum, bound, min_p);
        let (kept, _) = self.above(scaled, bound);
        let weights = self.b.add(Hlo::Select, &[kept, powers, none]);
        let (sums, all) = self.sums(weights);
        let target = self.b.binary(Binary::Multiply, uniform, all);
        let target = self.b.broadcast(target, &dims, &[0]);
        let is_behind = self.b.add(Hlo::Compare(Direction::Gt), &[sums, target]);
        // Sums of neighbours are rounded apart: only what has a weight is chosen.
        let is_candidate = self.b.binary(Binary::And, is_behind, kept);
        let first = self.first(is_candidate);
        let count = self.numbers(dims[1] as f32, &rows);
        let is_found = self.b.add(Hlo::Compare(Direction::Lt), &[first, count]);
        let is_drawn = self.b.binary(Binary::And, is_drawn, is_found);
        self.b.add(Hlo::Select, &[is_drawn, first, greedy])
    }

    fn numbers(&mut self, number: f32, dims: &[usize]) -> Value {
        self.b.fill(Literal::f32(number), dims)
    }

    /// Which columns are at least a row's bound, and that bound in all columns.
    fn above(&mut self, x: Value, bound: Value) -> (Value, Value) {
        let dims = self.b.dims(x);
        let wide = self.b.broadcast(bound, &dims, &[0]);
        (self.b.add(Hlo::Compare(Direction::Ge), &[x, wide]), wide)
    }

    /// The highest bound of each row, from `-SPAN` to 0, such that what is above it weighs as much as is wanted.
    fn bound(&mut self, x: Value, weights: Value, wanted: Value) -> Value {
        let (dims, rows) = (self.b.dims(x), self.b.dims(wanted));
        let none = self.numbers(0.0, &dims);
        let (mut low, mut high) = (self.numbers(-SPAN, &rows), self.numbers(0.0, &rows));
        for _ in 0..HALVINGS {
            let both = self.b.binary(Binary::Add, low, high);
            let middle = self.b.with(Binary::Multiply, both, 0.5);
            let (is_above, _) = self.above(x, middle);
            let counted = self.b.add(Hlo::Select, &[is_above, weights, none]);
            let sum = self.b.reduce(Binary::Add, counted, &[1], Literal::f32(0.0));
            let is_enough = self.b.add(Hlo::Compare(Direction::Ge), &[sum, wanted]);
            low = self.b.add(Hlo::Select, &[is_enough, middle, low]);
            high = self.b.add(Hlo::Select, &[is_enough, high, middle]);
        }
        low
    }

    /// Of each column the sum of all up to it, and of all: blocks by one triangle, then their sums by another.
    fn sums(&mut self, x: Value) -> (Value, Value) {
        let dims = self.b.dims(x);
        let (rows, columns) = (dims[0], dims[1]);
        let block = (1_usize << (columns.ilog2() / 2)).max(2);
        let blocks = columns.div_ceil(block);
        let surplus = blocks * block - columns;
        let mut whole = x;
        if surplus > 0 {
            let zeros = self.numbers(0.0, &[rows, surplus]);
            whole = self.b.add(Hlo::Concatenate(1), &[x, zeros]);
        }
        let blocked = self.b.reshape(whole, &[rows * blocks, block]);
        let triangle = self.triangle(block, Direction::Le);
        let within = self.product(blocked, triangle);
        let last = self.b.slice(within, 1, block - 1, block);
        let totals = self.b.reshape(last, &[rows, blocks]);
        let triangle = self.triangle(blocks, Direction::Lt);
        let before = self.product(totals, triangle);
        let within = self.b.reshape(within, &[rows, blocks, block]);
        let before = self.b.broadcast(before, &[rows, blocks, block], &[0, 1]);
        let sums = self.b.binary(Binary::Add, within, before);
        let sums = self.b.reshape(sums, &[rows, blocks * block]);
        let all = self.b.slice(sums, 1, blocks * block - 1, blocks * block);
        let all = self.b.reshape(all, &[rows]);
        let sums = if surplus > 0 { self.b.slice(sums, 1, 0, columns) } else { sums };
        (sums, all)
    }

    /// `[n, n]`: 1 where the row's number is so to the column's.
    fn triangle(&mut self, n: usize, direction: Direction) -> Value {
        let shape = Shape::new(DType::F32, &[n, n]);
        let [row, column] =
            [0, 1].map(|dim| self.b.add(Hlo::Iota { shape: shape.clone(), dim }, &[]));
        let is_so = self.b.add(Hlo::Compare(direction), &[row, column]);
        self.b.convert(is_so, DType::F32)
    }

    /// `x · y` of `[n, k]` and `[k, m]`.
    fn product(&mut self, x: Value, y: Value) -> Value {
        let (contracting, batch) = ([vec![1], vec![0]], [vec![], vec![]]);
        self.b.add(Hlo::Dot(Dot { contracting, batch, dtype: DType::F32 }), &[x, y])
    }
}
