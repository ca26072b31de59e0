//! One function for each kernel. Addresses are of device memory; what lies there and in which shape is
//! said in the kernel's source.

mod attend;
mod linear;
mod rows;
mod sample;

pub use attend::{Attend, Cache, SPLIT, Tile, decode, merge, prefill, tile_rows};
pub use linear::{Output, Weights, linear};
pub use rows::{
    Norm, Rope, argmax, embed, gelu_mul, of_slot, reduce, reduce_add, rms_norm, rms_norm_add,
    rms_norm_groups, rope_kv_write, round, silu_mul,
};
pub use sample::{Choices, Draw, Drawn, Fault, sample};

/// An address in device memory; 0 where there is nothing.
pub type Address = u64;

/// What weights and activations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// bf16: devices of 8.0 and later.
    Bf16,
    /// IEEE half.
    F16,
}

impl Type {
    /// As kernels' names end.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// A kernel with its grid and parameters: plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's name in the module.
    pub kernel: String,
    /// Blocks: x, y, z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// The parameters' bytes, each at a multiple of its size.
    pub params: Vec<u8>,
}

impl Launch {
    fn new(kernel: String, blocks: [u32; 3], threads: u32) -> Self {
        Self { kernel, blocks, threads, params: Vec::new() }
    }

    fn put<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        self.params.resize(self.params.len().next_multiple_of(N), 0);
        self.params.extend(bytes);
        self
    }

    fn at(self, address: Address) -> Self {
        self.put(address.to_le_bytes())
    }

    fn int(self, value: u32) -> Self {
        self.put(value.to_le_bytes())
    }

    fn float(self, value: f32) -> Self {
        self.put(value.to_le_bytes())
    }
}
