//! Modules as they are written, run: what is computed, what is changed in place, and what is refused.
//! Next: `families.rs`.

use gimbal_hlo::{Argument, Buffer, Data, Error, Exchange, Module};
use gimbal_neuron::hlo::{
    Alias, Binary, Builder, DType, Direction, Gather, Literal, Op, Scatter, Shape, Unary, Value,
};

fn f32s(dims: &[usize]) -> Shape {
    Shape::new(DType::F32, dims)
}

fn floats(dims: &[usize], values: &[f32]) -> Buffer {
    Buffer::new(&f32s(dims), Data::F32(values.to_vec())).expect("as many as the shape says")
}

fn integers(values: &[i32]) -> Buffer {
    let shape = Shape::new(DType::S32, &[values.len()]);
    Buffer::new(&shape, Data::S32(values.to_vec())).expect("as many as the shape says")
}

/// Of values of one input of such a shape.
fn computed(x: &Buffer, make: impl Fn(&mut Builder, Value) -> Value) -> Vec<f32> {
    let mut b = Builder::new("one");
    let value = b.parameter("x", x.shape().clone());
    let made = make(&mut b, value);
    let module = b.finish(&[("y".to_owned(), made)], &[]);
    let module = Module::read(&module.write()).expect("it was written by us");
    let mut results = module.run(vec![Argument::Shared(x)]).expect("it fits");
    results.remove(0).expect("it lies in no argument").data().to_f32()
}

#[test]
fn each_operation_computes_what_it_says() {
    let x = floats(&[2, 3], &[1.0, -2.0, 3.0, 0.5, -0.25, 4.0]);
    let by =
        |by: Binary, first: f32| computed(&x, |b, x| b.reduce(by, x, &[1], Literal::f32(first)));
    assert_eq!(by(Binary::Add, 0.0), [2.0, 4.25]);
    assert_eq!(by(Binary::Maximum, f32::MIN), [3.0, 4.0]);
    assert_eq!(by(Binary::Minimum, f32::MAX), [-2.0, -0.25]);
    assert_eq!(by(Binary::Multiply, 1.0), [-6.0, -0.5]);
    let columns = computed(&x, |b, x| b.reduce(Binary::Add, x, &[0], Literal::f32(1.0)));
    assert_eq!(columns, [2.5, -1.25, 8.0]);
    let turned = computed(&x, |b, x| b.add(Op::Transpose(vec![1, 0]), &[x]));
    assert_eq!(turned, [1.0, 0.5, -2.0, -0.25, 3.0, 4.0]);
    let cut = computed(&x, |b, x| b.slice(x, 1, 1, 3));
    assert_eq!(cut, [-2.0, 3.0, -0.25, 4.0]);
    let joined = computed(&x, |b, x| b.add(Op::Concatenate(1), &[x, x]));
    assert_eq!(joined[..6], [1.0, -2.0, 3.0, 1.0, -2.0, 3.0]);
    let whole = computed(&x, |b, x| b.convert(x, DType::S32));
    assert_eq!(whole, [1.0, -2.0, 3.0, 0.0, 0.0, 4.0]);
    let rounded = computed(&x, |b, x| {
        let tiny = b.with(Binary::Add, x, 1e-5);
        b.convert(tiny, DType::Bf16)
    });
    assert_eq!(rounded, [1.0, -2.0, 3.0, 0.5, -0.25, 4.0]);
    let product = computed(&x, |b, x| b.matmul(x, x));
    assert_eq!(product, [14.0, 13.0, 13.0, 16.3125]);
    let chosen = computed(&x, |b, x| {
        let zero = b.fill(Literal::f32(0.0), &[2, 3]);
        let is_less = b.add(Op::Compare(Direction::Lt), &[x, zero]);
        let count = b.add(Op::Iota { shape: f32s(&[2, 3]), dim: 1 }, &[]);
        b.add(Op::Select, &[is_less, count, x])
    });
    assert_eq!(chosen, [1.0, 1.0, 3.0, 0.5, 1.0, 4.0]);
    type Function = fn(f32) -> f32;
    let functions: [(Unary, Function); 4] = [
        (Unary::Negate, |x| -x),
        (Unary::Exponential, f32::exp),
        (Unary::Tanh, f32::tanh),
        (Unary::Rsqrt, |x| x.sqrt().recip()),
    ];
    for (unary, of) in functions {
        let made = computed(&x, |b, x| b.unary(unary, x));
        let is_same = |(made, x): (&f32, f32)| *made == of(x) || (made.is_nan() && of(x).is_nan());
        assert!(made.iter().zip(x.data().to_f32()).all(is_same), "{unary:?}");
    }
    let nan = floats(&[2], &[f32::NAN, 1.0]);
    assert!(computed(&nan, |b, x| b.with(Binary::Maximum, x, 0.0))[0].is_nan());
    assert!(computed(&nan, |b, x| b.with(Binary::Minimum, x, 0.0))[0].is_nan());
}

/// Writes rows of `new` into `cache` and reads all of it by another order.
fn cached(reads_before: bool) -> Module {
    let mut b = Builder::new("cached");
    let cache = b.parameter("cache", f32s(&[4, 2]));
    let at = b.parameter("at", Shape::new(DType::S32, &[2]));
    let new = b.parameter("new", f32s(&[2, 2]));
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let written = b.add(Op::Scatter(scatter), &[cache, at, new]);
    let seen = if reads_before { cache } else { written };
    let (offset_dims, collapsed, index_map) = (vec![1], vec![0], vec![0]);
    let gather = Gather { offset_dims, collapsed, index_map, index_dim: 1, sizes: vec![1, 2] };
    let rows = b.add(Op::Gather(gather), &[seen, at]);
    let results = [("rows".to_owned(), rows), ("cache".to_owned(), written)];
    let module = b.finish(&results, &[Alias { result: 1, parameter: 0 }]);
    Module::read(&module.write()).expect("it was written by us")
}

#[test]
fn a_donated_parameter_is_changed_in_place() {
    let start = floats(&[4, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let (at, new) = (integers(&[3, 1]), floats(&[2, 2], &[10.0, 11.0, 12.0, 13.0]));
    for reads_before in [false, true] {
        let module = cached(reads_before);
        let mut cache = start.clone();
        let address = cache.bytes().as_ptr();
        let arguments =
            vec![Argument::Donated(&mut cache), Argument::Shared(&at), Argument::Shared(&new)];
        let results = module.run(arguments).expect("it fits");
        assert_eq!(cache.data().to_f32(), [0.0, 1.0, 12.0, 13.0, 4.0, 5.0, 10.0, 11.0]);
        let rows = results[0].as_ref().expect("it lies in no argument").data().to_f32();
        if reads_before {
            // What was there before is needed yet, so the result is another value.
            assert_eq!(rows, [6.0, 7.0, 2.0, 3.0]);
        } else {
            assert_eq!(rows, [10.0, 11.0, 12.0, 13.0]);
            assert_eq!(cache.bytes().as_ptr(), address, "nothing was copied");
        }
        assert_eq!(results[1], None);
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let module = cached(false);
    let mut cache = floats(&[4, 2], &[0.0; 8]);
    let (at, new) = (integers(&[3, 4]), floats(&[2, 2], &[1.0; 4]));
    let arguments =
        vec![Argument::Donated(&mut cache), Argument::Shared(&at), Argument::Shared(&new)];
    let outside = Error::Outside { instruction: 3, opcode: "scatter", index: 4, limit: 4 };
    assert_eq!(module.run(arguments), Err(outside));
    assert_eq!(cache.data().to_f32(), [0.0; 8], "nothing was written");
    let told = |arguments| module.run(arguments).expect_err("refused").to_string();
    assert_eq!(told(vec![]), "0 arguments for 3 parameters");
    let same = floats(&[4, 2], &[0.0; 8]);
    let shared = vec![Argument::Shared(&same), Argument::Shared(&at), Argument::Shared(&new)];
    assert_eq!(told(shared), "cache: a result lies in it");
    let swapped =
        vec![Argument::Donated(&mut cache), Argument::Shared(&new), Argument::Shared(&at)];
    assert_eq!(told(swapped), "at: f32[2,2] is given, not s32[2]");
}

/// Two ranks sum and gather; one that ends early does not leave the other waiting.
#[test]
fn ranks_exchange_and_leave_together() {
    let mut b = Builder::new("ranks");
    let x = b.parameter("x", f32s(&[2]));
    let at = b.parameter("at", Shape::new(DType::S32, &[1]));
    let sum = b.add(Op::AllReduce { by: Binary::Add, ranks: 2 }, &[x]);
    let (offset_dims, collapsed, index_map) = (vec![], vec![0], vec![0]);
    let gather = Gather { offset_dims, collapsed, index_map, index_dim: 1, sizes: vec![1] };
    let picked = b.add(Op::Gather(gather), &[sum, at]);
    let both = b.add(Op::AllGather { dim: 0, ranks: 2 }, &[picked]);
    let module = b.finish(&[("y".to_owned(), both)], &[]);
    let module = Module::read(&module.write()).expect("it was written by us");
    let run = |indices: [i32; 2]| {
        let exchange = Exchange::new(2);
        std::thread::scope(|scope| {
            let ranks = [0, 1].map(|rank| {
                let (module, exchange) = (&module, &exchange);
                scope.spawn(move || {
                    let x = floats(&[2], &[rank as f32, 10.0 * rank as f32]);
                    let at = integers(&[indices[rank]]);
                    let arguments = vec![Argument::Shared(&x), Argument::Shared(&at)];
                    module.run_rank(arguments, exchange, rank)
                })
            });
            ranks.map(|rank| rank.join().expect("no panic"))
        })
    };
    for rank in run([0, 1]) {
        let results = rank.expect("both fit");
        assert_eq!(results[0].as_ref().map(|y| y.data().to_f32()), Some(vec![1.0, 10.0]));
    }
    let [early, late] = run([2, 0]);
    let outside = Error::Outside { instruction: 3, opcode: "gather", index: 2, limit: 2 };
    assert_eq!(early, Err(outside));
    assert_eq!(late, Err(Error::Ranks("rank 0 ended early".to_owned())));
    let refused = module.run(vec![]).expect_err("it is for two");
    assert_eq!(refused, Error::Ranks("it is for 2 ranks".to_owned()));
}
