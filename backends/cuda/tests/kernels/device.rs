//! An emulated device for these tests, and seeded numbers.

use std::cell::RefCell;

use gimbal_cuda::{Launch, Type, ptx};
use gimbal_libcuda::{Grid, Memory, Module, launch};
use half::{bf16, f16};

/// A compute capability, a type it has, and the order in which warps run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) capability: u32,
    pub(crate) kind: Type,
    pub(crate) is_reversed: bool,
}

/// Every module with every type it has, in both orders.
pub(crate) fn setups() -> impl Iterator<Item = Setup> {
    let types = [(80, Type::Bf16), (80, Type::F16), (75, Type::F16)];
    types.into_iter().flat_map(|(capability, kind)| {
        [false, true].map(|is_reversed| Setup { capability, kind, is_reversed })
    })
}

/// A device with a module loaded.
pub(crate) struct Device {
    pub(crate) setup: Setup,
    memory: Memory,
}

thread_local! {
    /// Modules that were read, by capability.
    static MODULES: RefCell<Vec<(u32, &'static Module)>> = const { RefCell::new(Vec::new()) };
}

fn module(capability: u32) -> &'static Module {
    MODULES.with_borrow_mut(|modules| {
        if let Some((_, module)) = modules.iter().find(|(known, _)| *known == capability) {
            return *module;
        }
        let text = ptx(capability).expect("a module").to_owned();
        // A module with a fault, of `cargo xtask mutants cuda`.
        let other = std::env::var_os(format!("GIMBAL_TEST_PTX_{capability}"));
        let text = other.map_or(text, |path| std::fs::read_to_string(path).expect("a module"));
        let module = Box::leak(Box::new(Module::parse(&text).expect("every form is known")));
        modules.push((capability, module));
        module
    })
}

impl Device {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, memory: Memory::default() }
    }

    /// Memory that nobody wrote.
    pub(crate) fn room(&self, bytes: usize) -> u64 {
        self.memory.allocate(bytes).expect("memory")
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) -> u64 {
        let at = self.room(bytes.len());
        self.memory.write(at, bytes).expect("ours");
        at
    }

    pub(crate) fn ints(&self, values: &[u32]) -> u64 {
        self.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    pub(crate) fn floats(&self, values: &[f64]) -> u64 {
        let bytes = values.iter().flat_map(|value| (*value as f32).to_le_bytes());
        self.bytes(&bytes.collect::<Vec<_>>())
    }

    /// Values in the setup's type; [`Setup::round`] says what they become.
    pub(crate) fn values(&self, values: &[f64]) -> u64 {
        let bytes = values.iter().flat_map(|value| match self.setup.kind {
            Type::Bf16 => bf16::from_f64(*value).to_le_bytes(),
            Type::F16 => f16::from_f64(*value).to_le_bytes(),
        });
        self.bytes(&bytes.collect::<Vec<_>>())
    }

    pub(crate) fn run(&self, work: &Launch) {
        let module = module(self.setup.capability);
        let kernel = module.kernel(&work.kernel).unwrap_or_else(|| panic!("{}", work.kernel));
        let grid = Grid {
            blocks: work.blocks,
            is_reversed: self.setup.is_reversed,
            ..Grid::of(1, work.threads)
        };
        if let Err(fault) = launch(kernel, grid, &work.params, &self.memory) {
            panic!("{:?}: {fault}", self.setup);
        }
    }

    pub(crate) fn read(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut found = vec![0; bytes];
        self.memory.read(at, &mut found).expect("written");
        found
    }

    pub(crate) fn read_ints(&self, at: u64, count: usize) -> Vec<u32> {
        let bytes = self.read(at, 4 * count);
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    pub(crate) fn read_floats(&self, at: u64, count: usize) -> Vec<f64> {
        self.read_ints(at, count).into_iter().map(|bits| f32::from_bits(bits).into()).collect()
    }

    pub(crate) fn read_values(&self, at: u64, count: usize) -> Vec<f64> {
        let bytes = self.read(at, 2 * count);
        let halves = bytes.as_chunks::<2>().0.iter();
        match self.setup.kind {
            Type::Bf16 => halves.map(|half| bf16::from_le_bytes(*half).to_f64()).collect(),
            Type::F16 => halves.map(|half| f16::from_le_bytes(*half).to_f64()).collect(),
        }
    }
}

impl Setup {
    /// What a value is in the type.
    pub(crate) fn round(self, value: f64) -> f64 {
        match self.kind {
            Type::Bf16 => bf16::from_f64(value).to_f64(),
            Type::F16 => f16::from_f64(value).to_f64(),
        }
    }

    /// The largest relative error of one rounding.
    pub(crate) fn half_step(self) -> f64 {
        match self.kind {
            Type::Bf16 => 1.0 / 256.0,
            Type::F16 => 1.0 / 2048.0,
        }
    }
}

/// Xorshift: reproducible noise without a dependency.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In -1..1.
    pub(crate) fn number(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub(crate) fn numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Numbers that the setup's type holds.
    pub(crate) fn values(&mut self, setup: Setup, count: usize) -> Vec<f64> {
        (0..count).map(|_| setup.round(self.number())).collect()
    }
}

/// Every value within `relative` of its size, or within `absolute`.
pub(crate) fn check(found: &[f64], expect: &[f64], [relative, absolute]: [f64; 2], what: &str) {
    assert_eq!(found.len(), expect.len(), "{what}");
    for (i, (found, expect)) in found.iter().zip(expect).enumerate() {
        let error = (found - expect).abs();
        // What is no number is not near anything.
        assert!(error <= relative * expect.abs() + absolute, "{what} [{i}]: {found}, not {expect}");
    }
}
