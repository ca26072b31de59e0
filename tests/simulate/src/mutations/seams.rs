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
    of("batches-of-tensors-outgrow", "batcher.rs", "request.rows > rows_max - rows", "false"),
    of("kinds-of-tensors-are-mixed", "batcher.rs", "w.request.kind == kind", "true"),
    of(
        "tensors-overtake-their-kind",
        "batcher.rs",
        "full = true;\n                break;",
        "full = true;\n                continue;",
    ),
    of("tensors-find-no-company", "batcher.rs", "if !full && now < patient {", "if false {"),
    of("tensors-wait-for-ever", "batcher.rs", "!full && now < patient", "!full"),
    of("full-batches-of-tensors-wait", "batcher.rs", "full |= rows == rows_max;", ""),
    of("closed-batches-of-tensors-wait", "batcher.rs", "full = true;\n", ""),
    of(
        "a-full-queue-of-tensors-waits",
        "batcher.rs",
        "let mut full = self.queue_len() >= job_queue_size;",
        "let mut full = false;",
    ),
    of(
        "tensors-are-due-late",
        "batcher.rs",
        "Some(if full { Micros(0) }",
        "Some(if false { Micros(0) }",
    ),
    of(
        "tensors-queue-without-bound",
        "batcher.rs",
        "if queue_len >= job_queue_size {",
        "if queue_len > job_queue_size {",
    ),
    of("tensors-of-any-size", "batcher.rs", "if rows > rows_max {", "if rows > 9 * rows_max {"),
    of("all-choices-are-held", "holding.rs", "s.id == id && s.choice == choice", "s.id == id"),
];
