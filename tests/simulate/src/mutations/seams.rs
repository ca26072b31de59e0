//! What the scheduler promises to those beside it: adapters, late masks, other limits, spans, and the
//! batcher.

use super::{Mutation, of};

/// All of them, by promise.
pub(super) const SEAMS: &[Mutation] = &[
    of("loss-keeps-adapters", "loss.rs", "self.adapters.reset();", ""),
    of("adapters-are-not-told", "plan.rs", "self.adapters.write(batch);", ""),
    of(
        "adapters-are-told-for-ever",
        "adapters.rs",
        "let news = self.untold.drain(..);",
        "let news = self.untold.iter().copied();",
    ),
    of(
        "adapters-change-under-requests",
        "adapters.rs",
        "requests => return Err(AdapterRefusal::InUse { requests }),",
        "_ => {}",
    ),
    of(
        "adapters-need-not-be-loaded",
        "admission.rs",
        "if self.adapters.generation(request.adapter).is_none() {",
        "if self.adapters.generation(request.adapter) == Some(u64::MAX) {",
    ),
    of("who-is-held-has-rows", "sequence.rs", "&& !self.held && (self", "&& (self"),
    of("who-is-held-is-seated", "fairness.rs", " || sequence.held {", " {"),
    of("prefixes-of-who-is-held", "plan.rs", "!s.held && s.published", "s.published"),
    of("held-for-ever", "holding.rs", "self.set_held(id, choice, false);", ""),
    of("all-choices-are-held", "holding.rs", "s.id == id && s.choice == choice", "s.id == id"),
];
