//! HLO modules: bundles of compiled models carry them.

use gimbal_hlo::golden::{DECODE, folder, wants};
use gimbal_hlo::rig::Rig;
use gimbal_hlo::{Argument, Buffer, Module};
use gimbal_model::Model;
use gimbal_neuron::hlo::{
    self, Alias, Binary, Builder, DType, Direction, Gather, Literal, Op, Scatter, Shape, Target,
    Unary, decode, lint,
};
use gimbal_neuron::lower::Wants;

pub(crate) const WORDS: &[&str] = &["neff_input_names", "reduce", "gather", "LT", "parameter"];

/// Elements of all values of a module that is run here.
const ELEMENTS: usize = 1 << 12;

/// What can be read is what was written, and can be run.
pub(crate) fn module(bytes: &[u8]) {
    if let Ok(proto) = decode(bytes) {
        for target in Target::ALL {
            for finding in lint(&proto, target) {
                assert!(finding.to_string().len() < 1_000, "what is told is bounded");
            }
        }
    }
    let Ok(module) = hlo::Module::read(bytes) else { return };
    assert_eq!(hlo::Module::read(&module.write()).as_ref(), Ok(&module), "written and read");
    let elements = |all: usize, i: &hlo::Instruction| all.saturating_add(i.shape.elements());
    let all = module.instructions().iter().fold(0, elements);
    if all <= ELEMENTS && module.ranks() == 1 {
        run(&Module::new(module));
    }
}

/// Of zeros: an index that points outside is an error, nothing is a panic.
fn run(module: &Module) {
    let mut buffers: Vec<Buffer> =
        module.parameters().map(|named| Buffer::zeros(named.shape)).collect();
    let is_donated = |number: usize| module.aliases().iter().any(|a| a.parameter == number);
    let arguments = buffers.iter_mut().enumerate().map(|(number, buffer)| {
        if is_donated(number) { Argument::Donated(buffer) } else { Argument::Shared(buffer) }
    });
    if let Ok(results) = module.run(arguments.collect()) {
        for (result, named) in results.iter().zip(module.results()) {
            let shape = result.as_ref().map_or(named.shape, Buffer::shape);
            assert_eq!(shape, named.shape, "results are as they are told");
        }
    }
}

/// A small module that is run, and one of a model.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let model = Model::open(&folder().join("llama")).expect("a golden model");
    let wants = Wants { has_draws: true, ..wants(DECODE, DType::Bf16) };
    let rig = Rig::new(&model, 1, &wants).expect("it is lowered");
    let loaded = rig.load(&wants).expect("it is lowered");
    vec![small().write(), loaded.program.module.write()]
}

fn small() -> hlo::Module {
    let mut b = Builder::new("small");
    let x = b.parameter("x", Shape::new(DType::F32, &[3, 4]));
    let cache = b.parameter("cache", Shape::new(DType::Bf16, &[5, 4]));
    let at = b.parameter("at", Shape::new(DType::S32, &[3]));
    let narrow = b.convert(x, DType::Bf16);
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let written = b.add(Op::Scatter(scatter), &[cache, at, narrow]);
    let (offset_dims, collapsed, index_map) = (vec![1], vec![0], vec![0]);
    let gather = Gather { offset_dims, collapsed, index_map, index_dim: 1, sizes: vec![1, 4] };
    let rows = b.add(Op::Gather(gather), &[written, at]);
    let product = b.matmul(rows, written);
    let count = b.add(Op::Iota { shape: Shape::new(DType::F32, &[3, 5]), dim: 1 }, &[]);
    let is_less = b.add(Op::Compare(Direction::Lt), &[product, count]);
    let chosen = b.add(Op::Select, &[is_less, product, count]);
    let grown = b.unary(Unary::Exponential, chosen);
    let turned = b.add(Op::Transpose(vec![1, 0]), &[grown]);
    let cut = b.slice(turned, 0, 1, 4);
    let joined = b.add(Op::Concatenate(1), &[cut, cut]);
    let sums = b.reduce(Binary::Add, joined, &[1], Literal::f32(0.0));
    let results = [("sums".to_owned(), sums), ("cache".to_owned(), written)];
    b.finish(&results, &[Alias { result: 1, parameter: 1 }])
}
