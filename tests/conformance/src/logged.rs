//! Log-probabilities as `llama-perplexity --kl-divergence-base` keeps them.
//!
//! Format (llama.cpp, `tools/perplexity/perplexity.cpp`): `_logits_`, then as int32 the tokens of a
//! chunk, the vocabulary and the chunks, then all tokens. Of each chunk its second half but the last
//! token follows: an f32 scale, an f32 minimum, and for each token of the vocabulary a u16; log p is
//! scale · u16 + minimum. What is more than 16 below the maximum is kept as if it were 16 below.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::quality::log_sum_exp;

/// How far below the maximum a log-probability is still told from others.
const DEPTH: f64 = 16.0;
const MAGIC: &[u8] = b"_logits_";

/// A file.
#[derive(Debug)]
pub struct Logged {
    /// Tokens of each chunk.
    pub chunks: Vec<Vec<u32>>,
    vocabulary: usize,
    /// Log-probabilities, row by row.
    rows: Vec<u8>,
}

impl Logged {
    /// Reads one.
    ///
    /// # Errors
    /// The file cannot be read or is not of the format.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Self::read(&bytes).with_context(|| path.display().to_string())
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let rest = bytes.strip_prefix(MAGIC).context("no logits of llama-perplexity")?;
        let (head, rest) = rest.split_at_checked(12).context("no head")?;
        let [length, vocabulary, chunks] = [0, 4, 8].map(|at| word(head, at) as usize);
        ensure!(length > 3 && vocabulary > 0 && chunks > 0, "{length} {vocabulary} {chunks}");
        let (tokens, rows) = rest.split_at_checked(4 * length * chunks).context("no tokens")?;
        let tokens: Vec<u32> = (0..length * chunks).map(|i| word(tokens, 4 * i)).collect();
        let chunks = tokens.chunks_exact(length).map(<[u32]>::to_vec).collect();
        let logged = Self { chunks, vocabulary, rows: rows.to_vec() };
        let expect = logged.row_bytes() * logged.chunks.len() * logged.wanted().len();
        ensure!(rows.len() == expect, "{} bytes of rows, {expect} expected", rows.len());
        Ok(logged)
    }

    /// The positions of a chunk that are kept.
    #[must_use]
    pub fn wanted(&self) -> std::ops::Range<usize> {
        self.chunks[0].len() / 2..self.chunks[0].len() - 1
    }

    /// The log-probabilities of kept row `row`, counted over all chunks.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Vec<f64> {
        let bytes = &self.rows[row * self.row_bytes()..(row + 1) * self.row_bytes()];
        let [scale, least] = [0, 4].map(|at| f64::from(f32::from_bits(word(bytes, at))));
        let values = bytes[8..].chunks_exact(2).take(self.vocabulary);
        values.map(|q| f64::from(u16::from_le_bytes([q[0], q[1]])).mul_add(scale, least)).collect()
    }

    /// A row is padded to whole words.
    fn row_bytes(&self) -> usize {
        8 + 2 * self.vocabulary.next_multiple_of(2)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Log-probabilities of logits, as deep as such a file keeps them.
#[must_use]
pub fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum = log_sum_exp(logits);
    logits.iter().map(|x| f64::from(*x).max(most - DEPTH) - sum).collect()
}

/// KL(p ‖ q) of log-probabilities, in nats.
#[must_use]
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_what_is_cut_is_refused() {
        let mut file = MAGIC.to_vec();
        for head in [4_u32, 3, 1, 7, 8, 9, 10] {
            file.extend(head.to_le_bytes());
        }
        file.extend(0.5_f32.to_le_bytes());
        file.extend((-4.0_f32).to_le_bytes());
        for q in [0_u16, 2, 8, 0] {
            file.extend(q.to_le_bytes());
        }
        let logged = Logged::read(&file).expect("whole");
        assert_eq!(logged.chunks, [[7, 8, 9, 10]]);
        assert_eq!(logged.wanted(), 2..3);
        assert_eq!(logged.row(0), [-4.0, -3.0, 0.0]);
        for cut in [0, 8, 15, 30, file.len() - 1] {
            assert!(Logged::read(&file[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_distribution_has_no_distance_from_itself_and_one_from_another() {
        let p = log_probabilities(&[1.0, 2.0, 3.0, -90.0]);
        assert!((p[3] - (p[2] - DEPTH)).abs() < 1e-9, "{p:?}");
        assert!(divergence(&p, &p).abs() < 1e-12);
        assert!(divergence(&p, &log_probabilities(&[3.0, 2.0, 1.0, -90.0])) > 0.5);
    }
}
