//! Element types of weights and their exact values.
//!
//! **Source**: ggml `ggml-common.h` (block structs) and `ggml-quants.c` (`dequantize_row_*`).
//! Reading is written for clarity; kernels have their own layouts.

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Blocks of 32: f16 `d`, f16 `m`, 16 bytes of nibbles; value `d·q + m`.
    Q4_1,
    /// Blocks of 32: f16 `d`, 32 signed bytes; value `d·q`.
    Q8_0,
}

impl DType {
    /// All types, for error messages and tables.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q4_1, Self::Q8_0];

    /// The type's number in a GGUF file. **Source**: ggml `ggml.h`, `enum ggml_type`.
    #[must_use]
    pub const fn gguf_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
        }
    }

    /// The name ggml uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
        }
    }

    /// Elements and bytes of a block.
    #[must_use]
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q4_1 => (32, 20),
            Self::Q8_0 => (32, 34),
        }
    }

    /// Bytes of `cols` elements, a multiple of the block.
    #[must_use]
    pub const fn row_bytes(self, cols: usize) -> usize {
        let (elements, bytes) = self.block();
        cols / elements * bytes
    }

    /// Reads `out.len()` values.
    pub(crate) fn read(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), self.row_bytes(out.len()), "bytes of {}", self.name());
        let (elements, size) = self.block();
        for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(elements)) {
            match self {
                Self::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
                Self::F16 => out[0] = f16_to_f32(block),
                Self::Q4_1 => {
                    let (d, m) = (f16_to_f32(block), f16_to_f32(&block[2..]));
                    for (i, byte) in block[4..].iter().enumerate() {
                        out[i] = d * f32::from(byte & 15) + m;
                        out[i + 16] = d * f32::from(byte >> 4) + m;
                    }
                }
                Self::Q8_0 => {
                    let d = f16_to_f32(block);
                    for (out, byte) in out.iter_mut().zip(&block[2..]) {
                        *out = d * f32::from(byte.cast_signed());
                    }
                }
            }
        }
    }
}

/// The f16 that `bytes` begin with.
#[must_use]
pub fn f16_to_f32(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}
