//! A rank's tensors as a safetensors file, made as it is read: one tensor is held at a time.
//!
//! Next: `../bundle.rs`.

use std::collections::BTreeMap;
use std::io::{self, Read};

use gimbal_model::{Model, Shards};
use half::bf16;
use serde_json::json;

use crate::bundle::Dtype;
use crate::lower::{Parameter, Program};

use super::program::{dtype, source};
use crate::bundle::Source;

/// The bytes of a file of tensors.
#[derive(Debug)]
pub struct Tensors<'a> {
    shards: &'a Shards,
    model: &'a Model,
    rank: usize,
    /// Rows of the tables of angles.
    positions: u32,
    /// What follows, in the file's order, and as what.
    left: std::vec::IntoIter<(Parameter, Dtype)>,
    /// What is being read, and how far.
    piece: Vec<u8>,
    at: usize,
}

impl<'a> Tensors<'a> {
    /// What all programs take of a rank's weights and tables.
    ///
    /// # Errors
    /// It has elements that no bundle has.
    pub fn new(
        shards: &'a Shards,
        programs: &[Program],
        model: &'a Model,
        rank: usize,
    ) -> Result<Self, String> {
        let mut tensors = BTreeMap::new();
        for program in programs {
            for (named, parameter) in program.module.parameters().zip(&program.parameters) {
                if source(*parameter) == Source::Weights {
                    let found = (*parameter, dtype(named.shape.dtype)?, named.shape.dims.clone());
                    tensors.insert(named.name.to_owned(), found);
                }
            }
        }
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, (_, dtype, dims)) in &tensors {
            let bytes = dims.iter().map(|size| *size as u64).product::<u64>() * dtype.bytes();
            let offsets = [end, end + bytes];
            end += bytes;
            header.insert(
                name.clone(),
                json!({ "dtype": dtype, "shape": dims, "data_offsets": offsets }),
            );
        }
        let mut text = serde_json::Value::Object(header).to_string();
        // Data begins at a multiple of eight bytes.
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        let mut piece = (text.len() as u64).to_le_bytes().to_vec();
        piece.extend(text.into_bytes());
        let positions = programs.first().map_or(0, |program| program.wants.context_tokens_max);
        let left: Vec<_> =
            tensors.into_values().map(|(parameter, dtype, _)| (parameter, dtype)).collect();
        Ok(Self { shards, model, rank, positions, left: left.into_iter(), piece, at: 0 })
    }

    /// A tensor's bytes.
    fn make(&self, parameter: Parameter, dtype: Dtype) -> Result<Vec<u8>, String> {
        let weights = &self.model.weights;
        let values = parameter.constant(self.shards, weights, self.rank, self.positions)?;
        let values = values.ok_or("a tensor without values")?;
        match dtype {
            Dtype::F32 => Ok(values.into_iter().flat_map(f32::to_le_bytes).collect()),
            Dtype::Bf16 => {
                let rounded = values.into_iter().map(|value| bf16::from_f32(value).to_le_bytes());
                Ok(rounded.flatten().collect())
            }
            other => Err(format!("weights of {other:?}")),
        }
    }
}

impl Read for Tensors<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some((parameter, dtype)) = self.left.next() else { return Ok(0) };
            self.piece = self.make(parameter, dtype).map_err(io::Error::other)?;
            self.at = 0;
        }
        let count = to.len().min(self.piece.len() - self.at);
        to[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
