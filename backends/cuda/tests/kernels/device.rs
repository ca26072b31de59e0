//! An emulated device as the cases use it.

use std::cell::RefCell;

use gimbal_cuda::selftest::{Machine, Told};
use gimbal_cuda::{Launch, Type, ptx};
use gimbal_libcuda::{Grid, Memory, Module, launch};

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
    setup: Setup,
    memory: RefCell<Memory>,
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
        Self { setup, memory: RefCell::default() }
    }
}

impl Machine for Device {
    fn room(&self, bytes: usize) -> Result<u64, String> {
        self.memory.borrow().allocate(bytes).ok_or_else(|| format!("no {bytes} bytes"))
    }

    fn clear(&self) -> Told {
        self.memory.replace(Memory::default());
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Told {
        self.memory.borrow().write(at, bytes).map_err(|error| format!("{error:?}"))
    }

    fn run(&self, work: &Launch) -> Told {
        let module = module(self.setup.capability);
        let kernel = module.kernel(&work.kernel).ok_or_else(|| work.kernel.clone())?;
        let grid = Grid {
            blocks: work.blocks,
            is_reversed: self.setup.is_reversed,
            ..Grid::of(1, work.threads)
        };
        launch(kernel, grid, &work.params, &self.memory.borrow()).map_err(|fault| fault.to_string())
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Told {
        self.memory.borrow().read(at, bytes).map_err(|error| format!("{error:?}"))
    }
}
