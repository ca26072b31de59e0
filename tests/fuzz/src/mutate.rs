//! New inputs from old ones, the same for the same seed: the short run's generator.

/// Xorshift: reproducible noise without a dependency.
#[derive(Clone, Debug)]
pub struct Noise(pub u64);

impl Noise {
    /// A number below `n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap_or(0)
    }
}

/// Where headers and numbers lie in binary files: most changes fall into the first bytes.
const HEAD: usize = 4096;

/// Changes `input` in one to four places.
#[must_use]
pub fn mutate(noise: &mut Noise, input: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + noise.below(4) {
        let reach = if noise.below(4) == 0 { bytes.len() } else { bytes.len().min(HEAD) };
        let at = noise.below(reach + 1);
        let end = (at + 1 + noise.below(16)).min(bytes.len());
        match noise.below(8) {
            0 => bytes.truncate(at),
            1 if at < end => drop(bytes.drain(at..end)),
            2 => {
                let word = words[noise.below(words.len())].as_bytes();
                bytes.splice(at..at, word.iter().copied());
            }
            3 => {
                let from = noise.below(other.len() + 1);
                let piece = other[from..other.len().min(from + 64)].to_vec();
                bytes.splice(at..end.max(at), piece);
            }
            4 if at + 8 <= bytes.len() => {
                let numbers = [0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 63, u64::MAX / 8, 0x7FFF];
                let width = [1, 4, 8][noise.below(3)];
                let number = numbers[noise.below(numbers.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << noise.below(8),
            6 if at < end => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ if at < bytes.len() => bytes[at] = noise.0.to_le_bytes()[5],
            _ => {}
        }
    }
    bytes
}
