//! Programs of a few instructions: what a step of a model is made of, each by itself, with what the processor makes of
//! the same in f64.
//!
//! Next: `run.rs`.

use half::bf16;

use super::noise::Noise;
use crate::hlo::{
    Alias, Binary, Builder, DType, Gather, Literal, Module, Op, Scatter, Shape, Unary,
};

/// How far a sum of products of bf16 in f32 may be off, as a share of the largest.
const SUMMED: f64 = 1e-3;
/// The same of exponentials and roots: chips make them by tables. A guess, as no chip was asked.
const LOOKED_UP: f64 = 5e-3;

/// A program, what it is given, and what must come of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) module: Module,
    /// Inputs that are written before each execution.
    pub(super) steps: Vec<Vec<(&'static str, Vec<u8>)>>,
    /// Results after the last one, and how far one may be off, as a share of the largest.
    pub(super) results: Vec<(&'static str, Vec<f64>, f64)>,
}

/// All of them.
pub(super) fn all() -> [Case; 3] {
    [product(), functions(), cache()]
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn integers(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn finish(b: Builder, results: &[(&str, crate::hlo::Value)], aliases: &[Alias]) -> Module {
    let results: Vec<_> =
        results.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    b.finish(&results, aliases)
}

/// `y = x · wᵀ` of bf16, summed in f32, as every layer has it.
fn product() -> Case {
    let [rows, inner, columns] = [4, 256, 96];
    let mut noise = Noise::new(1);
    let x = noise.numbers(rows * inner);
    let w: Vec<bf16> = noise.numbers(columns * inner).into_iter().map(bf16::from_f32).collect();
    let mut b = Builder::new("selftest_product");
    let given = b.parameter("x", Shape::new(DType::F32, &[rows, inner]));
    let weights = b.parameter("w", Shape::new(DType::Bf16, &[columns, inner]));
    let narrow = b.convert(given, DType::Bf16);
    let y = b.matmul(narrow, weights);
    let sum = |row: usize, column: usize| {
        let of = |i: usize| {
            let x = bf16::from_f32(x[row * inner + i]);
            f64::from(x) * f64::from(w[column * inner + i])
        };
        (0..inner).map(of).sum::<f64>()
    };
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let expect = places.map(|(row, column)| sum(row, column)).collect();
    let w = w.iter().flat_map(|w| w.to_le_bytes()).collect();
    Case {
        name: "a product of bf16 that sums in f32",
        module: finish(b, &[("y", y)], &[]),
        steps: vec![vec![("x", bytes(&x)), ("w", w)]],
        results: vec![("y", expect, SUMMED)],
    }
}

/// Softmax and RMS norm of each row, and the number of its largest element.
fn functions() -> Case {
    let [rows, columns] = [4, 300];
    let dims = [rows, columns];
    let x = Noise::new(2).numbers(rows * columns);
    let mut b = Builder::new("selftest_functions");
    let given = b.parameter("x", Shape::new(DType::F32, &dims));
    let most = b.reduce(Binary::Maximum, given, &[1], Literal::f32(f32::MIN));
    let most = b.broadcast(most, &dims, &[0]);
    let below = b.binary(Binary::Subtract, given, most);
    let powers = b.unary(Unary::Exponential, below);
    let all = b.reduce(Binary::Add, powers, &[1], Literal::f32(0.0));
    let all = b.broadcast(all, &dims, &[0]);
    let shares = b.binary(Binary::Divide, powers, all);
    let squares = b.binary(Binary::Multiply, given, given);
    let squares = b.reduce(Binary::Add, squares, &[1], Literal::f32(0.0));
    let mean = b.with(Binary::Multiply, squares, 1.0 / columns as f32);
    let root = b.unary(Unary::Rsqrt, mean);
    let root = b.broadcast(root, &dims, &[0]);
    let normed = b.binary(Binary::Multiply, given, root);
    let is_most = b.add(Op::Compare(crate::hlo::Direction::Ge), &[given, most]);
    let number = b.add(Op::Iota { shape: Shape::new(DType::F32, &dims), dim: 1 }, &[]);
    let nowhere = b.fill(Literal::f32(columns as f32), &dims);
    let numbers = b.add(Op::Select, &[is_most, number, nowhere]);
    let first = b.reduce(Binary::Minimum, numbers, &[1], Literal::f32(columns as f32));
    let (mut share, mut norm, mut largest) = (Vec::new(), Vec::new(), Vec::new());
    for row in x.chunks(columns).map(|row| row.iter().copied().map(f64::from)) {
        let most = row.clone().fold(f64::MIN, f64::max);
        let all: f64 = row.clone().map(|x| (x - most).exp()).sum();
        share.extend(row.clone().map(|x| (x - most).exp() / all));
        let mean = row.clone().map(|x| x * x).sum::<f64>() / columns as f64;
        norm.extend(row.clone().map(|x| x / mean.sqrt()));
        let place = row.clone().position(|x| x >= most).unwrap_or(columns);
        largest.push(place as f64);
    }
    let results = [("shares", shares), ("normed", normed), ("first", first)];
    Case {
        name: "exponentials, roots, sums and the largest of a row",
        module: finish(b, &results, &[]),
        steps: vec![vec![("x", bytes(&x))]],
        results: vec![
            ("shares", share, LOOKED_UP),
            ("normed", norm, LOOKED_UP),
            // A number of a place is exact.
            ("first", largest, 1e-9),
        ],
    }
}

/// Rows written into a cache that is a result, too, and blocks gathered from it: what the first execution wrote is there
/// in the second one.
fn cache() -> Case {
    let [blocks, tokens, columns, rows] = [5, 4, 8, 2];
    let mut noise = Noise::new(3);
    let mut b = Builder::new("selftest_cache");
    let cache = b.parameter("cache", Shape::new(DType::F32, &[blocks * tokens, columns]));
    let slots = b.parameter("slots", Shape::new(DType::S32, &[rows]));
    let new = b.parameter("rows", Shape::new(DType::F32, &[rows, columns]));
    let table = b.parameter("table", Shape::new(DType::S32, &[rows]));
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let places = b.reshape(slots, &[rows, 1]);
    let after = b.add(Op::Scatter(scatter), &[cache, places, new]);
    let blocked = b.reshape(after, &[blocks, tokens * columns]);
    let gather = Gather {
        offset_dims: vec![1],
        collapsed: vec![0],
        index_map: vec![0],
        index_dim: 1,
        sizes: vec![1, tokens * columns],
    };
    let wanted = b.reshape(table, &[rows, 1]);
    let found = b.add(Op::Gather(gather), &[blocked, wanted]);
    let mut kept = vec![0.0; blocks * tokens * columns];
    let first = noise.numbers(kept.len());
    kept.copy_from_slice(&first);
    let mut steps = Vec::new();
    for (i, (slots, table)) in [([17, 3], [0, 4]), ([2, 16], [4, 0])].into_iter().enumerate() {
        let new = noise.numbers(rows * columns);
        for (slot, row) in slots.iter().zip(new.chunks(columns)) {
            let begin = *slot * columns;
            kept[begin..begin + columns].copy_from_slice(row);
        }
        let slots = slots.map(|slot| i32::try_from(slot).unwrap_or(0));
        let mut step =
            vec![("slots", integers(&slots)), ("rows", bytes(&new)), ("table", integers(&table))];
        step.extend((i == 0).then(|| ("cache", bytes(&first))));
        steps.push(step);
    }
    let kept: Vec<f64> = kept.into_iter().map(f64::from).collect();
    let width = tokens * columns;
    let gathered = [4, 0].iter().flat_map(|block: &usize| &kept[block * width..][..width]);
    let gathered = gathered.copied().collect();
    Case {
        name: "a cache that lies where its parameter lies",
        module: finish(
            b,
            &[("cache", after), ("found", found)],
            &[Alias { result: 0, parameter: 0 }],
        ),
        steps,
        // Nothing is computed: every bit is the same.
        results: vec![("cache", kept, 1e-9), ("found", gathered, 1e-9)],
    }
}
