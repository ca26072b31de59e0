//! Programs for tests, and NEFFs of them made by the product's own writer. Next: `nrt.rs`.

use gimbal_libnrt::MODULE;
use gimbal_neuron::hlo::{Alias, Binary, Builder, DType, Op, Scatter, Shape};
use gimbal_neuron::neff::{File, Header, Package, pack};

/// Inputs of [`step`] by name, with their bytes.
pub(crate) const INPUTS: [(&str, usize); 6] =
    [("x", 16), ("w", 16), ("sum", 16), ("kv", 24), ("slots", 8), ("rows", 16)];
/// Outputs of it; `sum` and `kv` lie in the inputs of that name.
pub(crate) const OUTPUTS: [(&str, usize); 3] = [("y", 16), ("sum", 16), ("kv", 24)];

/// `y = x / w`, `sum += x`, and rows written into `kv` where `slots` says.
pub(crate) fn step() -> Vec<u8> {
    let mut builder = Builder::new("step");
    let floats = |dims: &[usize]| Shape::new(DType::F32, dims);
    let x = builder.parameter("x", floats(&[4]));
    let w = builder.parameter("w", floats(&[4]));
    let sum = builder.parameter("sum", floats(&[4]));
    let kv = builder.parameter("kv", floats(&[3, 2]));
    let slots = builder.parameter("slots", Shape::new(DType::S32, &[2]));
    let rows = builder.parameter("rows", floats(&[2, 2]));
    let y = builder.binary(Binary::Divide, x, w);
    let added = builder.binary(Binary::Add, sum, x);
    let scatter =
        Scatter { window_dims: vec![1], inserted: vec![0], index_map: vec![0], index_dim: 1 };
    let written = builder.add(Op::Scatter(scatter), &[kv, slots, rows]);
    let results = [("y", y), ("sum", added), ("kv", written)];
    let results = results.map(|(name, value)| (name.to_owned(), value));
    let aliases = [Alias { result: 1, parameter: 2 }, Alias { result: 2, parameter: 3 }];
    builder.finish(&results, &aliases).write()
}

/// Twice the number.
pub(crate) fn twice() -> Vec<u8> {
    let mut builder = Builder::new("twice");
    let x = builder.parameter("x", Shape::new(DType::F32, &[1]));
    let y = builder.binary(Binary::Add, x, x);
    builder.finish(&[("y".to_owned(), y)], &[]).write()
}

/// The sum over ranks.
pub(crate) fn all_reduce(ranks: usize) -> Vec<u8> {
    let mut builder = Builder::new("all");
    let x = builder.parameter("x", Shape::new(DType::F32, &[1]));
    let y = builder.add(Op::AllReduce { by: Binary::Add, ranks }, &[x]);
    builder.finish(&[("y".to_owned(), y)], &[]).write()
}

/// What a NEFF for one logical core of one physical core says.
pub(crate) fn header() -> Header {
    Header {
        package: Package::Gzip,
        version: [2, 0],
        compiler: "FAKE 1".to_owned(),
        cores: 1,
        uuid: [7; 16],
        name: "test".to_owned(),
        cores_wanted: 1,
        features: 0,
        lnc: 1,
    }
}

/// A NEFF of the emulator.
pub(crate) fn neff(header: &Header, module: Vec<u8>) -> Vec<u8> {
    let files = [
        File { path: "neff.json".to_owned(), bytes: b"{}".to_vec() },
        File { path: MODULE.to_owned(), bytes: module },
    ];
    pack(header, &files).expect("a NEFF")
}
