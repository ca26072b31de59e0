//! Weights as they lie in a mapped file.
//!
//! Reading order: `dtype` (block types and their exact values), `map` (the mapping), `gguf` with
//! `elements` and `safetensors` (the readers), `shard` (what one rank reads of a tensor). Nothing is
//! copied: a tensor is a view of a mapping.

mod dtype;
mod elements;
mod gguf;
mod map;
pub(crate) mod safetensors;
mod shard;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

pub use dtype::{DType, Unpacked, bf16_to_f32, f16_to_f32};
pub use elements::{Array, Elements, Value};
pub use gguf::Gguf;
pub use map::Mapping;
pub use shard::Shard;

/// Bytes of a tensor that a fingerprint reads at three places.
const SAMPLE: usize = 1024;

/// All tensors of a model, by canonical name.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    mappings: Vec<Arc<Mapping>>,
    entries: HashMap<String, Entry>,
}

/// Where a tensor lies; checked against the file's length when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type of its elements.
    pub dtype: DType,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns: elements that lie together.
    pub cols: usize,
    /// Which of the mappings.
    pub file: usize,
    /// Bytes in the mapping.
    pub bytes: Range<usize>,
}

/// A view of one tensor, row-major `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Type of its elements.
    pub dtype: DType,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows` times `dtype.row_bytes(cols)` bytes.
    pub bytes: &'a [u8],
}

impl Weights {
    /// Views of a mapping; the entries' ranges lie within it, and their `file` is 0.
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, entries: HashMap<String, Entry>) -> Self {
        Self { mappings: vec![mapping], entries }
    }

    /// Adds another mapping's tensors.
    pub(crate) fn add(&mut self, mapping: Arc<Mapping>, entries: Vec<(String, Entry)>) {
        let file = self.mappings.len();
        self.mappings.push(mapping);
        self.entries.extend(entries.into_iter().map(|(name, e)| (name, Entry { file, ..e })));
    }

    /// Lets go of a tensor's pages; the tensor stays readable.
    pub fn release(&self, name: &str) {
        if let Some(Entry { file, bytes, .. }) = self.entries.get(name) {
            self.mappings[*file].release(bytes.clone());
        }
    }

    /// A hash of what the files are: lengths, times of writing, tensors, and samples of each
    /// tensor's bytes. Equal hashes mean equal weights, unless a file was changed with care.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for mapping in &self.mappings {
            // Whole seconds: layers of images keep no more.
            let written = mapping.modified().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            hash.update(written.unwrap_or_default().as_secs().to_le_bytes());
        }
        hash.update(self.fingerprint_of_bytes());
        hash.finalize().into()
    }

    /// The same without times of writing: files that were copied have it, too.
    #[must_use]
    pub fn fingerprint_of_bytes(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for mapping in &self.mappings {
            hash.update(mapping.bytes().len().to_le_bytes());
        }
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_unstable_by_key(|(name, _)| *name);
        for (name, Entry { dtype, rows, cols, file, bytes }) in entries {
            hash.update(format!("{name} {dtype:?} {rows} {cols} "));
            let bytes = &self.mappings[*file].bytes()[bytes.clone()];
            for at in [0, bytes.len() / 2, bytes.len().saturating_sub(SAMPLE)] {
                hash.update(&bytes[at..bytes.len().min(at + SAMPLE)]);
            }
        }
        // What was looked at, and what lay around it, need not stay: a packed file may serve instead.
        self.release_all();
        hash.finalize().into()
    }

    /// Lets go of all pages of the files; everything stays readable.
    pub fn release_all(&self) {
        for mapping in &self.mappings {
            mapping.release(0..mapping.bytes().len());
        }
    }

    /// The bytes of the first file: all of a GGUF file.
    pub(super) fn first_bytes(&self) -> &[u8] {
        self.mappings.first().map(|mapping| mapping.bytes()).unwrap_or_default()
    }

    /// Drops a tensor.
    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// Replaces a tensor by parts of so many rows each, if it is there and has as many.
    pub(crate) fn cut(&mut self, name: &str, parts: &[(String, usize)]) {
        let total: usize = parts.iter().map(|(_, rows)| rows).sum();
        let Some(entry) = self.entries.get(name).filter(|e| e.rows == total).cloned() else {
            return;
        };
        self.entries.remove(name);
        let mut at = entry.bytes.start;
        for (name, rows) in parts {
            let end = at + rows * entry.dtype.row_bytes(entry.cols);
            self.entries
                .insert(name.clone(), Entry { rows: *rows, bytes: at..end, ..entry.clone() });
            at = end;
        }
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let Entry { dtype, rows, cols, file, bytes } = self.entries.get(name)?;
        let bytes = &self.mappings[*file].bytes()[bytes.clone()];
        Some(Tensor { dtype: *dtype, rows: *rows, cols: *cols, bytes })
    }

    /// Elements of the blocks in which a tensor's columns lie; 1 for floats and for no tensor.
    ///
    /// What `shard` asks where weights are used as they lie in the file.
    #[must_use]
    pub fn block(&self, name: &str) -> usize {
        self.entries.get(name).map_or(1, |entry| entry.dtype.block().0)
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|e| e.bytes.len() as u64).sum()
    }

    /// Names and places of all tensors, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

impl Tensor<'_> {
    /// One row's bytes.
    #[must_use]
    pub fn row(&self, row: usize) -> &[u8] {
        let bytes = self.dtype.row_bytes(self.cols);
        &self.bytes[row * bytes..(row + 1) * bytes]
    }

    /// One row's exact values.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "a row has cols values");
        self.dtype.read(self.row(row), out);
    }

    /// All values of a tensor, row-major.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows * self.cols];
        self.dtype.read(self.bytes, &mut all);
        all
    }
}
