//! What is written is read, and what does not fit is refused by name. Next: `../read.rs`.

use prost::Message;

use super::super::{Alias, Binary, Builder, Scatter, Value};
use super::*;

/// A module with every operation there is.
fn every_op() -> Module {
    let mut b = Builder::new("every");
    let x = b.parameter("x", Shape::new(DType::F32, &[4, 6]));
    let cache = b.parameter("cache", Shape::new(DType::Bf16, &[8, 6]));
    let at = b.parameter("at", Shape::new(DType::S32, &[4]));
    let sum = b.reduce(Binary::Add, x, &[1], Literal::f32(0.0));
    let sum = b.with(Binary::Multiply, sum, 0.25);
    let wide = b.broadcast(sum, &[4, 6], &[0]);
    let is_less = b.add(Op::Compare(Direction::Lt), &[x, wide]);
    let both = b.binary(Binary::And, is_less, is_less);
    let chosen = b.add(Op::Select, &[both, x, wide]);
    let mut y = chosen;
    for unary in Unary::ALL {
        y = b.unary(unary, y);
    }
    for by in [Binary::Subtract, Binary::Divide, Binary::Maximum, Binary::Minimum] {
        y = b.binary(by, y, x);
    }
    let narrow = b.convert(y, DType::Bf16);
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let written = b.add(Op::Scatter(scatter), &[cache, at, narrow]);
    let rows = gathered(&mut b, written, at);
    let product = b.matmul(rows, written);
    let turned = b.add(Op::Transpose(vec![1, 0]), &[product]);
    let cut = b.slice(turned, 0, 1, 5);
    let flat = b.reshape(cut, &[16]);
    let count = b.add(Op::Iota { shape: Shape::new(DType::F32, &[16]), dim: 0 }, &[]);
    let joined = b.add(Op::Concatenate(0), &[flat, count]);
    let reduced = b.add(Op::AllReduce { by: Binary::Add, ranks: 2 }, &[joined]);
    let all = b.add(Op::AllGather { dim: 0, ranks: 2 }, &[reduced]);
    let results = [("y".to_owned(), all), ("cache".to_owned(), written)];
    b.finish(&results, &[Alias { result: 1, parameter: 1 }])
}

fn gathered(b: &mut Builder, x: Value, at: Value) -> Value {
    let sizes = vec![1, 6];
    let (offset_dims, collapsed, index_map) = (vec![1], vec![0], vec![0]);
    let gather = Gather { offset_dims, collapsed, index_map, index_dim: 1, sizes };
    b.add(Op::Gather(gather), &[x, at])
}

#[test]
fn what_is_written_is_read() {
    let module = every_op();
    let bytes = module.write();
    assert_eq!(Module::read(&bytes), Ok(module.clone()));
    assert_eq!(module.write(), bytes, "the same module has the same bytes");
    assert_eq!(module.ranks(), 2);
    let names: Vec<&str> = module.parameters().map(|named| named.name).collect();
    assert_eq!(names, ["x", "cache", "at"]);
}

/// Changes to a module that is right, and what is told.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    type Change = fn(&mut HloModule);
    let cases: [(Change, &str); 12] = [
        (|m| named(m, "negate").opcode = "cosh".to_owned(), "(cosh): this opcode is not computed"),
        (|m| named(m, "tanh").operand_ids[0] = 999_999, "operand 999999 does not come before it"),
        (|m| named(m, "tanh").operand_ids.clear(), "(tanh): 0 operands"),
        (|m| named(m, "reshape").shape.as_mut().expect("a shape").dimensions[0] = 15, "f32[15]"),
        (
            |m| named(m, "negate").shape.as_mut().expect("a shape").element_type = 10,
            "element type 10 is not computed with",
        ),
        (|m| named(m, "compare").comparison_direction = "XX".to_owned(), "direction \"XX\""),
        (
            |m| named(m, "maximum").called_computation_ids.push(1),
            "called_computation_ids means nothing",
        ),
        (|m| named(m, "dot").dot_dimension_numbers = None, "(dot): it has no dimensions"),
        (|m| named(m, "slice").slice_dimensions[0].limit = 9, "(slice): Slice"),
        (|m| named(m, "parameter").parameter_number = 7, "too few come before it"),
        (|m| m.entry_computation_id = 99, "its entry computation is missing"),
        (
            |m| m.input_output_alias.as_mut().expect("aliases").entries[0].parameter_number = 0,
            "does not fit x",
        ),
    ];
    let right = every_op().proto();
    for (change, told) in cases {
        let mut wrong = right.clone();
        change(&mut wrong);
        let error = Module::read(&wrong.encode_to_vec()).expect_err(told).to_string();
        assert!(error.contains(told), "{error}: not {told}");
    }
}

/// The first instruction of the entry with such an opcode.
fn named<'a>(module: &'a mut HloModule, opcode: &str) -> &'a mut HloInstruction {
    let entry = module.computations.last_mut().expect("an entry");
    entry.instructions.iter_mut().find(|i| i.opcode == opcode).expect("every op is there")
}

#[test]
fn changed_bytes_are_errors_and_never_panics() {
    let bytes = every_op().write();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).expect("below n")
    };
    let mut read = 0;
    for _ in 0..30_000 {
        let mut changed = bytes.clone();
        for _ in 0..=next(3) {
            let at = next(changed.len());
            match next(4) {
                0 => changed[at] ^= 1 << next(8),
                1 => changed[at] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
                2 => changed.truncate(at.max(1)),
                _ => drop(changed.drain(at..(at + 1 + next(4)).min(changed.len()))),
            }
            if changed.is_empty() {
                break;
            }
        }
        // What is still a module can be written and read again.
        if let Ok(module) = Module::read(&changed) {
            read += 1;
            assert_eq!(Module::read(&module.write()).as_ref(), Ok(&module));
        }
    }
    assert!(read > 0, "some changes mean nothing, such as those of a name");
}
