//! Violations that are put into a module which has none, and what is told of them. Next: `../lint.rs`.

use super::super::{Binary, Builder, DType, Gather, Literal, Op, Scatter, Shape};
use super::*;

/// A module that writes rows, reads rows, sums and multiplies.
fn lawful() -> HloModule {
    let mut b = Builder::new("lawful");
    let x = b.parameter("x", Shape::new(DType::F32, &[4, 6]));
    let cache = b.parameter("cache", Shape::new(DType::F32, &[8, 6]));
    let at = b.add(Op::Iota { shape: Shape::new(DType::S32, &[4, 1]), dim: 0 }, &[]);
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let written = b.add(Op::Scatter(scatter), &[cache, at, x]);
    let (offset_dims, collapsed, index_map) = (vec![1], vec![0], vec![0]);
    let gather = Gather { offset_dims, collapsed, index_map, index_dim: 1, sizes: vec![1, 6] };
    let rows = b.add(Op::Gather(gather), &[written, at]);
    let product = b.matmul(rows, x);
    let all = b.add(Op::AllReduce { by: Binary::Add, ranks: 2 }, &[product]);
    let sums = b.reduce(Binary::Add, all, &[1], Literal::f32(0.0));
    b.finish(&[("sums".to_owned(), sums)], &[]).proto()
}

fn named<'a>(module: &'a mut HloModule, opcode: &str) -> &'a mut HloInstruction {
    let entry = module.computations.last_mut().expect("an entry");
    entry.instructions.iter_mut().find(|i| i.opcode == opcode).expect("it is there")
}

fn element(instruction: &mut HloInstruction) -> &mut i32 {
    &mut instruction.shape.as_mut().expect("a shape").element_type
}

/// The root of the computation that an instruction calls.
fn called<'a>(module: &'a mut HloModule, opcode: &str) -> &'a mut HloInstruction {
    let id = named(module, opcode).called_computation_ids[0];
    let mut computations = module.computations.iter_mut();
    let called = computations.find(|c| c.id == id).expect("it is called");
    let root = called.root_id;
    called.instructions.iter_mut().find(|i| i.id == root).expect("a root")
}

type Change = fn(&mut HloModule);

/// What is changed, the code and a part of why.
const CASES: [(Change, Option<&str>, &str); 19] = [
    (|m| named(m, "dot").opcode = "sort".to_owned(), Some("NCC_EVRF001"), "sort is no"),
    (|m| *element(named(m, "dot")) = 15, Some("NCC_EVRF004"), "element type 15"),
    (|m| *element(named(m, "dot")) = 24, Some("NCC_EVRF005"), "element type 24"),
    (|m| *element(named(m, "dot")) = 20, Some("NCC_EVRF051"), "element type 20"),
    (|m| *element(named(m, "dot")) = 32, Some("NCC_ESPP004"), "element type 32"),
    (
        |m| {
            let shape = named(m, "dot").shape.as_mut().expect("a shape");
            shape.is_dynamic_dimension = vec![true, false];
        },
        Some("NCC_EMOD025"),
        "dynamic",
    ),
    (|m| *element(named(m, "gather")) = 4, Some("NCC_EVRF035"), "dot of integers"),
    (|m| *element(named(m, "dot")) = 4, Some("NCC_EVRF061"), "all-reduce of integers"),
    (
        |m| {
            *element(named(m, "dot")) = 9;
            named(m, "all-reduce").opcode = "reduce-scatter".to_owned();
        },
        Some("NCC_EVRF063"),
        "reduce-scatter of integers",
    ),
    (
        |m| {
            *element(named(m, "dot")) = 8;
            named(m, "all-reduce").opcode = "topk".to_owned();
        },
        Some("NCC_EVRF013"),
        "topk of integers",
    ),
    (
        |m| {
            *element(named(m, "parameter")) = 5;
            named(m, "dot").opcode = "power".to_owned();
            named(m, "power").operand_ids.reverse();
        },
        Some("NCC_EVRF062"),
        "power of integers",
    ),
    (|m| named(m, "dot").opcode = "power".to_owned(), None, "the exponent is no constant"),
    (
        |m| {
            *element(named(m, "gather")) = 3;
            named(m, "dot").opcode = "shift-right-arithmetic".to_owned();
        },
        Some("NCC_EVRF022"),
        "32 bits",
    ),
    (|m| named(m, "dot").opcode = "custom-call".to_owned(), Some("NCC_EVRF015"), "a target"),
    (
        |m| {
            let id = named(m, "reduce").called_computation_ids.clone();
            named(m, "scatter").called_computation_ids = id;
            let entry = m.computations.last_mut().expect("an entry");
            *element(&mut entry.instructions[1]) = 4;
        },
        Some("NCC_EVRF060"),
        "scatter combines integers",
    ),
    (
        |m| {
            let iota = named(m, "iota");
            iota.shape.as_mut().expect("a shape").dimensions[0] = 9;
        },
        Some("NCC_EVRF031"),
        "beyond",
    ),
    (
        |m| {
            let gather = named(m, "gather").gather_dimension_numbers.as_mut();
            gather.expect("dimensions").collapsed_slice_dims.clear();
        },
        None,
        "one of the slice",
    ),
    (|m| called(m, "reduce").opcode = "subtract".to_owned(), None, "other than add"),
    (
        |m| {
            let parameter = named(m, "parameter").id;
            named(m, "reduce").operand_ids[1] = parameter;
        },
        None,
        "begins with is no constant",
    ),
];

#[test]
fn violations_are_found_by_their_code() {
    let right = lawful();
    assert_eq!(lint(&right, Target::Trn2), []);
    for (change, code, told) in CASES {
        let mut wrong = right.clone();
        change(&mut wrong);
        let found = lint(&wrong, Target::Trn2);
        let is_it = |finding: &Finding| finding.code == code && finding.why.contains(told);
        assert!(found.iter().any(is_it), "{code:?}, {told}: {found:?}");
    }
}

/// Inferentia2 and Trainium1 multiply 32-bit integers with a warning.
#[test]
fn integers_are_multiplied_by_some() {
    let mut module = lawful();
    *element(named(&mut module, "gather")) = 4;
    let refuses = |target| !lint(&module, target).is_empty();
    assert_eq!(Target::ALL.map(refuses), [false, false, true]);
}
