//! The token of each row, chosen on the device.
//!
//! neuronx-cc has no argmax: it is the least number among those whose logit is the largest. Numbers are f32, which
//! holds all of them exactly. Next: `inputs.rs`.

use super::program::Lowering;
use crate::hlo::{Binary, DType, Direction, Literal, Op as Hlo, Shape, Value};

impl Lowering<'_> {
    /// `[outputs]` s32: the first of the most probable tokens; where logits are no numbers, the number
    /// of tokens there are, which is none of them.
    pub(super) fn choose(&mut self, logits: Value) -> Value {
        let dims = self.b.dims(logits);
        let most = self.b.reduce(Binary::Maximum, logits, &[1], Literal::f32(f32::MIN));
        let most = self.b.broadcast(most, &dims, &[0]);
        let is_most = self.b.add(Hlo::Compare(Direction::Ge), &[logits, most]);
        let number = self.b.add(Hlo::Iota { shape: Shape::new(DType::F32, &dims), dim: 1 }, &[]);
        let none = dims[1] as f32;
        let none_everywhere = self.b.fill(Literal::f32(none), &dims);
        let candidates = self.b.add(Hlo::Select, &[is_most, number, none_everywhere]);
        let chosen = self.b.reduce(Binary::Minimum, candidates, &[1], Literal::f32(none));
        self.b.convert(chosen, DType::S32)
    }
}
