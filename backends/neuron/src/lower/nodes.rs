//! One op of the graph after the other. Every value is f32 `[rows, columns]`.
//!
//! Next: `attention.rs`.

use gimbal_model::graph::{Act, Node, Op, Pair, RopeId, WeightId};

use super::program::{Lowering, Parameter, Shared};
use crate::hlo::{Binary, DType, Direction, Gather, Literal, Op as Hlo, Unary, Value};

impl Lowering<'_> {
    /// Lowers a node.
    ///
    /// # Errors
    /// What cannot be computed, by name.
    pub(super) fn node(&mut self, node: &Node, args: &[Value]) -> Result<Value, String> {
        Ok(match (&node.op, args) {
            (Op::Embed(table), []) => {
                let (table, tokens) = (self.weight(*table), self.given(Parameter::Tokens));
                let rows = self.rows_of(table, tokens);
                self.b.convert(rows, DType::F32)
            }
            (Op::EmbedShard(table), []) => self.embed_shard(*table),
            (Op::Linear { weight, bias }, [x]) => {
                let (x, weight) = (self.narrow(*x), self.weight(*weight));
                let made = self.b.matmul(x, weight);
                bias.map_or(made, |bias| self.bias(made, bias))
            }
            (Op::RmsNorm { weight, eps, group }, [x]) => self.rms_norm(*x, *weight, *eps, *group),
            (Op::Rope { rope, head_dim }, [x]) => self.rotate(*x, *rope, *head_dim),
            (Op::Attend { state, heads, scale, softcap }, [q, k, v]) => {
                let scores = (*scale, *softcap);
                self.attend(*state, *heads, scores, [*q, *k, *v])
            }
            (Op::Act(Act::Silu), [x]) => self.silu(*x),
            (Op::Act(Act::GeluTanh), [x]) => self.gelu(*x),
            (Op::Add, [x, y]) => self.b.binary(Binary::Add, *x, *y),
            (Op::Mul, [x, y]) => self.b.binary(Binary::Multiply, *x, *y),
            (Op::Scale(by), [x]) => self.b.with(Binary::Multiply, *x, *by),
            (Op::Softcap(cap), [x]) => self.softcap(*x, *cap),
            (Op::Pick, [x]) if self.wants.has_picks() => {
                let picks = self.given(Parameter::Picks);
                self.rows_of(*x, picks)
            }
            (Op::Pick, [x]) => *x,
            (Op::AllReduce, [x]) => {
                let ranks = self.ranks;
                self.b.add(Hlo::AllReduce { by: Binary::Add, ranks }, &[*x])
            }
            (Op::AllGather { ranks }, [x]) if *ranks == self.ranks => {
                self.b.add(Hlo::AllGather { dim: 1, ranks: *ranks }, &[*x])
            }
            (Op::Bias(bias), [x]) => self.bias(*x, *bias),
            (Op::MeanSquare, [x]) => {
                let group = self.b.dims(*x)[1];
                let mean = self.mean_square(*x, 1, group);
                let rows = self.b.dims(mean)[0];
                self.b.reshape(mean, &[rows, 1])
            }
            (Op::Normalize { weight, eps }, [x, mean]) => {
                let rows = self.b.dims(*x)[0];
                let mean = self.b.reshape(*mean, &[rows]);
                self.normalize(*x, mean, *weight, *eps)
            }
            (op, _) => return Err(format!("{op:?}")),
        })
    }

    pub(super) fn weight(&self, id: WeightId) -> Value {
        self.given(Parameter::Weight(id))
    }

    /// As one side of a product.
    pub(super) fn narrow(&mut self, x: Value) -> Value {
        self.b.convert(x, self.wants.dtype)
    }

    /// Rows of a matrix: one for each of some numbers.
    pub(super) fn rows_of(&mut self, x: Value, numbers: Value) -> Value {
        let (columns, count) = (self.b.dims(x)[1], self.b.dims(numbers)[0]);
        let at = self.b.reshape(numbers, &[count, 1]);
        let gather = Gather {
            offset_dims: vec![1],
            collapsed: vec![0],
            index_map: vec![0],
            index_dim: 1,
            sizes: vec![1, columns],
        };
        self.b.add(Hlo::Gather(gather), &[x, at])
    }

    /// Rows of this rank's slice of the vocabulary; zeros for other ranks' tokens.
    fn embed_shard(&mut self, table: WeightId) -> Value {
        let held = self.graph.weights[table.0].out;
        let (table, tokens) = (self.weight(table), self.given(Parameter::Tokens));
        let rows = self.b.dims(tokens);
        let rank = self.given(Parameter::Rank);
        let rank = self.b.reshape(rank, &[]);
        let rank = self.b.broadcast(rank, &rows, &[]);
        let fill = |b: &mut crate::hlo::Builder, n: usize| {
            let n = i32::try_from(n).unwrap_or(i32::MAX);
            b.fill(Literal::s32(n), &rows)
        };
        let (none, all) = (fill(&mut self.b, 0), fill(&mut self.b, held));
        let first = self.b.binary(Binary::Multiply, rank, all);
        let place = self.b.binary(Binary::Subtract, tokens, first);
        let is_behind = self.b.add(Hlo::Compare(Direction::Ge), &[place, none]);
        let is_before = self.b.add(Hlo::Compare(Direction::Lt), &[place, all]);
        let is_held = self.b.binary(Binary::And, is_behind, is_before);
        let place = self.b.add(Hlo::Select, &[is_held, place, none]);
        let found = self.rows_of(table, place);
        let found = self.b.convert(found, DType::F32);
        let dims = self.b.dims(found);
        let is_held = self.b.broadcast(is_held, &dims, &[0]);
        let zeros = self.b.fill(Literal::f32(0.0), &dims);
        self.b.add(Hlo::Select, &[is_held, found, zeros])
    }

    fn bias(&mut self, x: Value, bias: WeightId) -> Value {
        let (dims, bias) = (self.b.dims(x), self.weight(bias));
        let bias = self.b.broadcast(bias, &dims, &[1]);
        self.b.binary(Binary::Add, x, bias)
    }

    /// Means of the squares of groups: `[rows · groups]`.
    fn mean_square(&mut self, x: Value, groups: usize, group: usize) -> Value {
        let rows = self.b.dims(x)[0];
        let grouped = self.b.reshape(x, &[rows * groups, group]);
        let squares = self.b.binary(Binary::Multiply, grouped, grouped);
        let sums = self.b.reduce(Binary::Add, squares, &[1], Literal::f32(0.0));
        self.b.with(Binary::Multiply, sums, (group as f32).recip())
    }

    /// `x / sqrt(m + eps) · weight` of `[n, cols]` and `[n]`.
    fn normalize(&mut self, x: Value, mean: Value, weight: WeightId, eps: f32) -> Value {
        let (dims, weight) = (self.b.dims(x), self.weight(weight));
        let mean = self.b.with(Binary::Add, mean, eps);
        let scale = self.b.unary(Unary::Rsqrt, mean);
        let scale = self.b.broadcast(scale, &dims, &[0]);
        let weight = self.b.broadcast(weight, &dims, &[1]);
        let scaled = self.b.binary(Binary::Multiply, x, scale);
        self.b.binary(Binary::Multiply, scaled, weight)
    }

    fn rms_norm(&mut self, x: Value, weight: WeightId, eps: f32, group: usize) -> Value {
        let dims = self.b.dims(x);
        let groups = dims[1] / group;
        let mean = self.mean_square(x, groups, group);
        let grouped = self.b.reshape(x, &[dims[0] * groups, group]);
        let made = self.normalize(grouped, mean, weight, eps);
        self.b.reshape(made, &dims)
    }

    /// A table's cosines or sines, of each row's position: `[rows, pairs]`.
    fn angles(&mut self, table: Parameter) -> Value {
        let key = Shared::Angles(table);
        if let Some(angles) = self.shared.get(&key) {
            return *angles;
        }
        let (table, positions) = (self.given(table), self.given(Parameter::Positions));
        let angles = self.rows_of(table, positions);
        self.shared.insert(key, angles);
        angles
    }

    /// Pairs of each head turn; columns past them stay.
    fn rotate(&mut self, x: Value, rope: RopeId, head_dim: usize) -> Value {
        let table = &self.graph.ropes[rope.0];
        let (pairs, pair) = (table.frequencies.len(), table.pair);
        let whole = self.b.dims(x);
        let (rows, heads) = (whole[0], whole[1] / head_dim);
        let split = self.b.reshape(x, &[rows, heads, head_dim]);
        // Halves of pairs: `[rows, heads, pairs]`.
        let dims = [rows, heads, pairs];
        let (first, second) = match pair {
            Pair::Halves => {
                (self.b.slice(split, 2, 0, pairs), self.b.slice(split, 2, pairs, 2 * pairs))
            }
            Pair::Adjacent => {
                let turning = self.b.slice(split, 2, 0, 2 * pairs);
                let turning = self.b.reshape(turning, &[rows, heads, pairs, 2]);
                let half = |lowering: &mut Self, which| {
                    let half = lowering.b.slice(turning, 3, which, which + 1);
                    lowering.b.reshape(half, &dims)
                };
                (half(self, 0), half(self, 1))
            }
        };
        let angles = [Parameter::Cosines(rope.0), Parameter::Sines(rope.0)].map(|table| {
            let angles = self.angles(table);
            self.b.broadcast(angles, &dims, &[0, 2])
        });
        let [cosine, sine] = angles;
        let mut product = |x, y| self.b.binary(Binary::Multiply, x, y);
        let [a, b] = [product(first, cosine), product(second, sine)];
        let [c, d] = [product(first, sine), product(second, cosine)];
        let low = self.b.binary(Binary::Subtract, a, b);
        let high = self.b.binary(Binary::Add, c, d);
        let mut parts = match pair {
            Pair::Halves => vec![low, high],
            Pair::Adjacent => {
                let halves = [low, high].map(|x| self.b.reshape(x, &[rows, heads, pairs, 1]));
                let turned = self.b.add(Hlo::Concatenate(3), &halves);
                vec![self.b.reshape(turned, &[rows, heads, 2 * pairs])]
            }
        };
        if 2 * pairs < head_dim {
            parts.push(self.b.slice(split, 2, 2 * pairs, head_dim));
        }
        let turned = match parts.as_slice() {
            [all] => *all,
            parts => self.b.add(Hlo::Concatenate(2), parts),
        };
        self.b.reshape(turned, &whole)
    }

    /// `x / (1 + e^-x)`.
    fn silu(&mut self, x: Value) -> Value {
        let negated = self.b.unary(Unary::Negate, x);
        let power = self.b.unary(Unary::Exponential, negated);
        let below = self.b.with(Binary::Add, power, 1.0);
        self.b.binary(Binary::Divide, x, below)
    }

    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    fn gelu(&mut self, x: Value) -> Value {
        let square = self.b.binary(Binary::Multiply, x, x);
        let cube = self.b.binary(Binary::Multiply, square, x);
        let cube = self.b.with(Binary::Multiply, cube, 0.044_715);
        let inner = self.b.binary(Binary::Add, x, cube);
        let inner = self.b.with(Binary::Multiply, inner, 0.797_884_6);
        let tanh = self.b.unary(Unary::Tanh, inner);
        let factor = self.b.with(Binary::Add, tanh, 1.0);
        let half = self.b.with(Binary::Multiply, x, 0.5);
        self.b.binary(Binary::Multiply, half, factor)
    }

    /// `c · tanh(x / c)`.
    pub(super) fn softcap(&mut self, x: Value, cap: f32) -> Value {
        let small = self.b.with(Binary::Multiply, x, cap.recip());
        let tanh = self.b.unary(Unary::Tanh, small);
        self.b.with(Binary::Multiply, tanh, cap)
    }
}
