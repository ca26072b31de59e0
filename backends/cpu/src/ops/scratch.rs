//! Buffers of a step.

use gimbal_model::Model;

use crate::kernels::table::ActBlock;
use crate::pack::BLOCK;

/// Buffers of a step, in use up to the largest one seen.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) floats: Vec<f32>,
    pub(super) acts: Vec<ActBlock>,
    pub(super) wide: Vec<f32>,
    pub(super) wide_acts: Vec<ActBlock>,
    pub(super) tiles: Vec<f32>,
    pub(super) picked: Vec<f32>,
    pub(super) logits: Vec<f32>,
}

impl Scratch {
    /// Address space for steps of so many rows: buffers that grew by and by would leave holes.
    pub(super) fn of(model: &Model, rows: usize) -> Self {
        let graph = &model.graph;
        let widest = (3 * graph.attention()).max(graph.widest()).max(2 * graph.hidden());
        let (floats, blocks) = (rows * widest, rows * widest / BLOCK);
        Self {
            floats: Vec::with_capacity(floats),
            acts: Vec::with_capacity(blocks),
            wide: Vec::with_capacity(floats),
            wide_acts: Vec::with_capacity(blocks),
            tiles: Vec::with_capacity(floats),
            picked: Vec::new(),
            logits: Vec::new(),
        }
    }
}

/// Makes a buffer at least `len` long; what it held does not matter.
pub(super) fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}
