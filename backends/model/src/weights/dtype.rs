//! Element types of weights and their exact values.
//!
//! Every quantised type is integers in groups that share a scale, and an offset in some: [`DType::
//! unpack`] gives those, and a value is `d·q` or `d·q + m` of them. Kernels have their own layouts.
//!
//! **Source**: ggml `ggml-common.h` (block structs) and `ggml-quants.c` (`dequantize_row_*`).

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// Blocks of 32: f16 `d`, 16 bytes of nibbles; value `d·(q - 8)`.
    Q4_0,
    /// Blocks of 32: f16 `d`, f16 `m`, 16 bytes of nibbles; value `d·q + m`.
    Q4_1,
    /// Blocks of 32: f16 `d`, fifth bits, 16 bytes of nibbles; value `d·(q - 16)`.
    Q5_0,
    /// Blocks of 32: f16 `d`, f16 `m`, fifth bits, 16 bytes of nibbles; value `d·q + m`.
    Q5_1,
    /// Blocks of 32: f16 `d`, 32 signed bytes; value `d·q`.
    Q8_0,
    /// Blocks of 256: f16 `d` and `m`, 6-bit scales of eight groups, nibbles.
    Q4K,
    /// As `Q4K`, with fifth bits.
    Q5K,
    /// Blocks of 256: nibbles, two upper bits each, int8 scales of 16 groups, f16 `d`.
    Q6K,
}

/// The integers, scales and offsets of one block.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// As many integers as the block has elements.
    pub quants: [i8; 256],
    /// `d` of each group.
    pub scales: [f32; 16],
    /// `m` of each group; 0 in types without offsets.
    pub offsets: [f32; 16],
}

impl Default for Unpacked {
    fn default() -> Self {
        Self { quants: [0; 256], scales: [0.0; 16], offsets: [0.0; 16] }
    }
}

impl DType {
    /// All types, for error messages and tables.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The type's number in a GGUF file. **Source**: ggml `ggml.h`, `enum ggml_type`.
    #[must_use]
    pub const fn gguf_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// The name ggml uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Elements and bytes of a block.
    #[must_use]
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// True where elements are integers with scales.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.block().0 > 1
    }

    /// Elements that share a scale.
    #[must_use]
    pub const fn group(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q6K => 16,
            _ => 32,
        }
    }

    /// True where a value is `d·q + m`, not `d·q`.
    #[must_use]
    pub const fn has_offset(self) -> bool {
        matches!(self, Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K)
    }

    /// Bytes of `cols` elements, a multiple of the block.
    #[must_use]
    pub const fn row_bytes(self, cols: usize) -> usize {
        let (elements, bytes) = self.block();
        cols / elements * bytes
    }

    /// The integers, scales and offsets of one block of a quantised type.
    ///
    /// # Panics
    /// If the type is a float, or `block` is not one block.
    pub fn unpack(self, block: &[u8], out: &mut Unpacked) {
        assert_eq!(block.len(), self.block().1, "a block of {}", self.name());
        let (d, m) = (f16_to_f32(block), f16_to_f32(&block[2..]));
        match self {
            Self::F32 | Self::F16 | Self::BF16 => panic!("{} has no integers", self.name()),
            Self::Q4_0 => out.nibbles(d, 0.0, &[0; 4], &block[2..], -8),
            Self::Q4_1 => out.nibbles(d, m, &[0; 4], &block[4..], 0),
            Self::Q5_0 => out.nibbles(d, 0.0, &block[2..6], &block[6..], -16),
            Self::Q5_1 => out.nibbles(d, m, &block[4..8], &block[8..], 0),
            Self::Q8_0 => {
                (out.scales[0], out.offsets[0]) = (d, 0.0);
                out.quants.iter_mut().zip(&block[2..]).for_each(|(q, b)| *q = b.cast_signed());
            }
            Self::Q4K => out.k_nibbles(d, m, &block[4..16], &[0; 32], &block[16..]),
            Self::Q5K => out.k_nibbles(d, m, &block[4..16], &block[16..48], &block[48..]),
            Self::Q6K => out.six_bits(block),
        }
    }

    /// The small scales of 32 columns of a block of 256 as it holds them: scale and offset, or in
    /// `Q6_K` the scales of the first and second 16 columns (int8).
    ///
    /// # Panics
    /// If the type is none with blocks of 256, or `group` not 0 to 7.
    #[must_use]
    pub fn small_scales(self, block: &[u8], group: usize) -> [u8; 2] {
        assert!(self.block().0 == 256 && group < 8, "{} of group {group}", self.name());
        if self == Self::Q6K {
            return [block[192 + 2 * group], block[193 + 2 * group]];
        }
        k_scale(&block[4..16], group).into()
    }

    /// Reads `out.len()` values.
    pub fn read(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), self.row_bytes(out.len()), "bytes of {}", self.name());
        let (elements, size) = self.block();
        let mut unpacked = Unpacked::default();
        for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(elements)) {
            match self {
                Self::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
                Self::F16 => out[0] = f16_to_f32(block),
                Self::BF16 => out[0] = bf16_to_f32(block),
                _ => {
                    self.unpack(block, &mut unpacked);
                    unpacked.read(self, out);
                }
            }
        }
    }
}

impl Unpacked {
    /// A block of 32: element `i` in the low and `16 + i` in the high nibble of byte `i`.
    fn nibbles(&mut self, d: f32, m: f32, fifth: &[u8], nibbles: &[u8], minus: i8) {
        (self.scales[0], self.offsets[0]) = (d, m);
        let fifth = u32::from_le_bytes([fifth[0], fifth[1], fifth[2], fifth[3]]);
        let bit = |at: usize| if fifth >> at & 1 == 1 { 16 } else { 0 };
        for (i, byte) in nibbles.iter().enumerate() {
            self.quants[i] = (byte & 15 | bit(i)).cast_signed() + minus;
            self.quants[i + 16] = (byte >> 4 | bit(i + 16)).cast_signed() + minus;
        }
    }

    /// A block of 256: of each 64 elements the first 32 are low, the others high nibbles of 32
    /// bytes; bit `j` of byte `i` of `fifth` is the fifth bit of element `i` of group `j`.
    fn k_nibbles(&mut self, d: f32, m: f32, scales: &[u8], fifth: &[u8], nibbles: &[u8]) {
        for group in 0..8 {
            let (scale, offset) = k_scale(scales, group);
            self.scales[group] = d * f32::from(scale);
            self.offsets[group] = -(m * f32::from(offset));
            let bytes = &nibbles[group / 2 * 32..][..32];
            for (i, byte) in bytes.iter().enumerate() {
                let four = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
                let bit = (fifth[i] >> group & 1) << 4;
                self.quants[group * 32 + i] = (four | bit).cast_signed();
            }
        }
    }

    /// `Q6_K`: of each 128 elements, 64 bytes of nibbles and 32 of four pairs of upper bits.
    fn six_bits(&mut self, block: &[u8]) {
        let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], 208);
        let d = f16_to_f32(&block[d..]);
        for (group, scale) in scales.iter().enumerate() {
            self.scales[group] = d * f32::from(scale.cast_signed());
            self.offsets[group] = 0.0;
        }
        for at in 0..256 {
            let (half, quarter, i) = (at / 128, at % 128 / 32, at % 32);
            let byte = low[half * 64 + quarter % 2 * 32 + i];
            let four = if quarter < 2 { byte & 15 } else { byte >> 4 };
            let two = high[half * 32 + i] >> (2 * quarter) & 3;
            self.quants[at] = (four | two << 4).cast_signed() - 32;
        }
    }

    fn read(&self, dtype: DType, out: &mut [f32]) {
        for (g, out) in out.chunks_exact_mut(dtype.group()).enumerate() {
            let (d, m, first) = (self.scales[g], self.offsets[g], g * dtype.group());
            for (out, q) in out.iter_mut().zip(&self.quants[first..]) {
                let value = d * f32::from(*q);
                // Adding 0 would turn -0 into 0.
                *out = if dtype.has_offset() { value + m } else { value };
            }
        }
    }
}

/// Scale and offset of one of eight groups: six bits each in twelve bytes. **Source**: ggml
/// `get_scale_min_k4`.
fn k_scale(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let (low, high) = (scales[group + 4], group - 4);
    (low & 15 | scales[high] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
}

/// The f16 that `bytes` begin with.
#[must_use]
pub fn f16_to_f32(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The bf16 that `bytes` begin with.
#[must_use]
pub fn bf16_to_f32(bytes: &[u8]) -> f32 {
    f32::from_bits(u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 24)
}
