//! Gives nodes their weights.

use std::collections::HashMap;

use gimbal_model::Model;
use gimbal_model::graph::WeightId;
use gimbal_model::weights::DType;

use super::norm::NormWeight;
use crate::kernels::table::Kernels;
use crate::pack::Packed;
use gimbal_model::fuse::Norm;

/// Gives nodes their weights.
pub(crate) struct Packer<'a> {
    pub(super) model: &'a Model,
    pub(super) packed: &'a HashMap<WeightId, Packed>,
    pub(super) kernels: &'static Kernels,
}

impl Packer<'_> {
    pub(super) fn weight(&self, id: WeightId) -> Packed {
        self.packed.get(&id).expect("every matrix was packed").clone()
    }

    pub(super) fn dtype(&self, id: WeightId) -> DType {
        let name = &self.model.graph.weights[id.0].name;
        self.model.weights.get(name).expect("the model has every weight").dtype
    }

    pub(super) fn norm(&self, norm: Norm) -> NormWeight {
        NormWeight { weight: self.floats(norm.weight), eps: norm.eps }
    }

    pub(super) fn floats(&self, id: WeightId) -> Vec<f32> {
        let name = &self.model.graph.weights[id.0].name;
        self.model.weights.get(name).expect("the model has every weight").to_f32()
    }
}
