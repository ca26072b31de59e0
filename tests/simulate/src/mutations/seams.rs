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
    of("other-limits-are-ignored", "loss.rs", "self.limits = limits.clone();", ""),
    of("other-shapes-are-ignored", "loss.rs", "Frame::new(limits, &self.policy)", "self.frame"),
    of("other-blocks-are-ignored", "loss.rs", "self.blocks = Blocks::new(limits.kv);", ""),
    of("other-paces-are-ignored", "loss.rs", "self.pace = self.frame.pace(limits);", ""),
    of(
        "other-slots-are-ignored",
        "loss.rs",
        "self.slots_free.extend((0..limits.sequences_max)",
        "self.slots_free.extend((0..self.limits.depth)",
    ),
    of("nobody-is-refused", "loss.rs", "match self.check_device(request) {", "match Ok(()) {"),
    of(
        "blocks-of-another-length",
        "loss.rs",
        "self.jobs[job].domain.block_tokens = limits.kv.block_tokens;",
        "",
    ),
    of("names-of-another-length", "loss.rs", "self.sequences[key].keys.clear();", ""),
    of("whole-prompts-share-again", "loss.rs", "self.jobs[job].shares = shares;", ""),
    of("adapters-keep-their-slots", "loss.rs", "self.adapters.resize(limits.adapters_max);", ""),
    of(
        "time-stands-still",
        "loss.rs",
        "self.expire(now, events);\n        self.limits",
        "self.limits",
    ),
    of("all-choices-are-held", "holding.rs", "s.id == id && s.choice == choice", "s.id == id"),
];
