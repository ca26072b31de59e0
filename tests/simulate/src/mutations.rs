//! Ways in which the scheduler could be wrong, as data: each must be noticed by a test.
//!
//! Next: `mutations/guesses.rs`, `mutations/seams.rs`, then `main.rs`.

mod guesses;
mod seams;

/// One change of one file.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// What is wrong afterwards.
    pub name: &'static str,
    /// A file in `scheduler/src`.
    pub file: &'static str,
    /// Text that stands there once.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
}

const fn of(
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation { name, file, find, replace }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Mutation> {
    STEPS.iter().chain(guesses::GUESSES).chain(seams::SEAMS)
}

/// How steps are planned and committed, by file.
const STEPS: &[Mutation] = &[
    of(
        "full-prompt-from-cache",
        "plan.rs",
        "let tokens = sequence.known() - 1;",
        "let tokens = sequence.known();",
    ),
    of(
        "starts-ignore-slots",
        "plan.rs",
        ">= self.frame.rolling_max ||",
        "> self.frame.rolling_max ||",
    ),
    of("starts-leave-no-block", "plan.rs", "need + idle_hits + self.growing()", "need + idle_hits"),
    of("idle-hits-counted-twice", "plan.rs", "need + idle_hits + self", "need + self"),
    of("depth-is-exceeded", "plan.rs", "self.steps.len() >= self", "self.steps.len() > self"),
    of(
        "preemption-in-flight",
        "plan.rs",
        "if !self.steps.is_empty() {\n                return false;",
        "if self.steps.len() > 9 {\n                return false;",
    ),
    of("oldest-is-preempted", "plan.rs", "*self.running.last()", "*self.running.first()"),
    of(
        "prompts-before-decode-rows",
        "plan.rs",
        "self.grant_all(Sequence::is_decoding, &mut room);\n        self.plan_prompts(&mut room);",
        "self.plan_prompts(&mut room);\n        self.grant_all(Sequence::is_decoding, &mut room);",
    ),
    of("long-prompts-take-all-rows", "prompts.rs", "{ room.rows() / 2 }", "{ 0 }"),
    of("short-prompts-take-all-rows", "prompts.rs", "room.rows() / 2", "room.rows()"),
    of(
        "the-longest-prompt-is-next",
        "prompts.rs",
        ".filter(is_next).min()",
        ".filter(is_next).max()",
    ),
    of("rows-are-granted-twice", "prompts.rs", "s.pending().saturating_sub(s.rows)", "s.pending()"),
    of("seats-are-not-shared", "plan.rs", "self.share_seats();", ""),
    of("one-seat-more-is-too-many", "fairness.rs", "(surplus >= 2)", "(surplus >= 1)"),
    of("three-seats-more-are-fair", "fairness.rs", "(surplus >= 2)", "(surplus >= 4)"),
    of("keys-are-not-told-apart", "fairness.rs", "a.client != b.client, a.job", "false, a.job"),
    of(
        "addresses-are-not-told-apart",
        "fairness.rs",
        "[a.client.address != b.client.address,",
        "[false,",
    ),
    of("requests-are-not-told-apart", "fairness.rs", "a.job != b.job]", "false]"),
    of("the-poor-wait", "fairness.rs", "|(_, best)| claim < best", "|(_, best)| claim > best"),
    of("turns-never-end", "fairness.rs", "had >= turn)", "had > 9 * turn)"),
    of("turns-are-a-token", "fairness.rs", "had >= turn)", "had >= 1)"),
    of(
        "turns-count-from-the-start",
        "plan.rs",
        "sequence.seated = count(sequence.output.len());",
        "",
    ),
    of(
        "a-turn-is-had-again-at-once",
        "fairness.rs",
        "sequence.rank.arrival = self.next_arrival;",
        "",
    ),
    of(
        "seats-go-to-lower-priorities",
        "fairness.rs",
        "s.rank.priority >= waiter.rank.priority &&",
        "",
    ),
    of("rows-for-who-gives-way", "sequence.rs", "has_more && !self.gives_way &&", "has_more &&"),
    of("nobody-leaves-for-blocks", "fairness.rs", "(is_full || self.is_short)", "is_full"),
    of("who-gives-way-still-counts", "fairness.rs", "if !sequence.gives_way {", "{"),
    of("starts-overtake-prompts", "plan.rs", "while calm && granted_all &&", "while calm &&"),
    of("no-start-after-preemption-is-off", "plan.rs", "== preemptions;", ">= preemptions;"),
    of(
        "decode-rows-starve",
        "plan.rs",
        "== Lead::Prefill => Lead::Decode",
        "== Lead::Prefill => Lead::Prefill",
    ),
    of(
        "leads-do-not-rotate",
        "plan.rs",
        "min_by_key(|key| self.sequences[*key].served)",
        "max_by_key(|key| self.sequences[*key].served)",
    ),
    of(
        "running-is-not-ordered",
        "plan.rs",
        "self.running.insert(at, key);",
        "self.running.insert(0, key);",
    ),
    of("slots-are-not-opened", "step.rs", "&mut s.opened, true)", "&mut s.opened, false)"),
    of(
        "prompt-chunks-want-outputs",
        "step.rs",
        "{ 1 + drafts } else { 0 }",
        "{ 1 + drafts } else { 1 }",
    ),
    of(
        "reopened-without-output",
        "step.rs",
        "match s.output.is_empty() {",
        "match !s.prompt.is_empty() {",
    ),
    of(
        "closes-are-forgotten",
        "step.rs",
        "batch.closes.append(&mut self.closes);",
        "self.closes.clear();",
    ),
    of(
        "equal-prompts-do-not-wait",
        "plan.rs",
        "if !self.is_being_computed(key, hits) {",
        "if hits < 1_000_000 {",
    ),
    of(
        "prompts-take-all-the-time",
        "plan.rs",
        "Some(_) if decoding > 0 =>",
        "Some(_) if decoding > 999 =>",
    ),
    of("prompts-are-always-cut", "plan.rs", "Some(_) if decoding > 0 =>", "Some(_) =>"),
    of("pace-never-recovers", "pace.rs", "if took <= target && !is_full {", "if took <= target {"),
    of("masked-in-two-steps", "sequence.rs", "(self.promised == 0 || !self.serial)", "true"),
    of(
        "rows-past-the-last-token",
        "sequence.rs",
        "self.known() + self.promised < self",
        "self.known() < self",
    ),
    of(
        "promise-is-not-counted",
        "sequence.rs",
        "self.known() + self.promised - self.cached",
        "(self.known() + self.promised).max(self.cached + 1) - self.cached",
    ),
    of(
        "restart-keeps-kv",
        "sequence.rs",
        "(self.cached, self.promised, self.rows, self.published) = (0, 0, 0, 0);",
        "(self.promised, self.rows, self.published) = (0, 0, 0);",
    ),
    of(
        "restart-keeps-published",
        "sequence.rs",
        "self.published) = (0, 0, 0, 0);",
        "_) = (0, 0, 0, 0);",
    ),
    of(
        "names-without-parents",
        "sequence.rs",
        "unwrap_or(domain.root)",
        "filter(|_| false).unwrap_or(domain.root)",
    ),
    of(
        "names-of-partial-blocks",
        "sequence.rs",
        "(self.keys.len() + 1) * size <= tokens",
        "self.keys.len() * size + 1 <= tokens",
    ),
    of(
        "stop-tokens-are-ignored",
        "commit.rs",
        "if stop_tokens.contains(&token) {",
        "if stop_tokens.len() > 99 {",
    ),
    of(
        "one-token-too-many",
        "commit.rs",
        "sequence.known() == sequence",
        "sequence.known() > sequence",
    ),
    of("late-answers-shift", "commit.rs", "answers.by_ref().take(left).for_each(drop);", ""),
    of(
        "zombies-stay",
        "commit.rs",
        "if sequence.in_flight == 0 {\n                self.bury(part.sequence);",
        "if sequence.in_flight == 9 {\n                self.bury(part.sequence);",
    ),
    of(
        "zombies-speak",
        "commit.rs",
        "if let State::Zombie(_) = sequence.state {\n            answers",
        "if sequence.in_flight > 9 {\n            answers",
    ),
    of("faulty-kv-is-shared", "commit.rs", "self.blocks.forget(*block);", ""),
    of(
        "fault-takes-siblings",
        "commit.rs",
        "self.spawn_siblings(part.sequence);\n        self.end",
        "self.end",
    ),
    of(
        "publish-at-schedule",
        "commit.rs",
        "(part.start + part.rows).min(sequence.cached)",
        "sequence.cached.min(sequence.known())",
    ),
    of(
        "siblings-do-not-wait",
        "admission.rs",
        "self.spawn(job, 0);",
        "for choice in 0..self.jobs[job].request.choices {\n            self.spawn(job, choice);\n        }",
    ),
    of(
        "choices-share-a-seed",
        "admission.rs",
        "wrapping_add(u64::from(choice))",
        "wrapping_add(0)",
    ),
    of(
        "queue-is-one-too-long",
        "admission.rs",
        "if queue_len < job_queue_size",
        "if queue_len <= job_queue_size",
    ),
    of(
        "context-is-one-too-long",
        "admission.rs",
        "<= u64::from(model_len_max)",
        "<= u64::from(model_len_max) + 1",
    ),
    of("cache-off-shares", "admission.rs", "{ 0 } else { arrival + 1 }", "{ 0 } else { 1 }"),
    of("whole-prompts-share", "admission.rs", " && !self.frame.whole", ""),
    of("deadline-is-one-late", "scheduler.rs", "|at| at <= now)", "|at| at < now)"),
    of(
        "earliest-deadline-is-kept",
        "scheduler.rs",
        "self.earliest_deadline = self",
        "let _unused: Option<Micros> = self",
    ),
    of(
        "priority-is-ignored",
        "scheduler.rs",
        ".rank < rank);\n        self.waiting",
        ".rank.arrival < rank.arrival);\n        self.waiting",
    ),
    of(
        "blocks-leak",
        "scheduler.rs",
        "self.blocks.release(block);",
        "if block.0 > 0 {\n                self.blocks.release(block);\n            }",
    ),
    of(
        "beginnings-are-evicted-first",
        "scheduler.rs",
        "while let Some(block) = sequence.table.pop() {",
        "for block in std::mem::take(&mut sequence.table) {",
    ),
    of("slots-leak", "scheduler.rs", "self.slots_free.push(slot);", ""),
    of(
        "freed-in-flight",
        "scheduler.rs",
        "if self.sequences[key].in_flight == 0 {",
        "if self.sequences[key].in_flight < 9 {\n            self.sequences[key].in_flight = 0;",
    ),
    of(
        "unborn-choices-have-no-end",
        "scheduler.rs",
        "for choice in spawned..choices {",
        "for choice in choices..choices {",
    ),
    of("loss-keeps-the-cache", "loss.rs", "self.blocks.reset();", ""),
    of("loss-keeps-closes", "loss.rs", "self.closes.clear();", ""),
    of("losses-do-not-count", "loss.rs", ">= LOSSES_MAX", "> LOSSES_MAX"),
    of("losses-count-for-all", "loss.rs", "if in_flight {", "if self.jobs.find(job).is_some() {"),
    of(
        "shared-blocks-lose-owners",
        "blocks.rs",
        "self.blocks[block.0 as usize].refs += 1;",
        "self.blocks[block.0 as usize].refs = 1;",
    ),
    of(
        "newest-is-evicted",
        "blocks.rs",
        "let block = BlockId(self.oldest);",
        "let block = BlockId(self.newest);",
    ),
    of("evicted-names-stay", "blocks.rs", "self.forget(block);\n                block", "block"),
    of(
        "names-move-to-the-newest",
        "blocks.rs",
        "entry.key.is_none() && !self.by_key.contains_key(&key)",
        "entry.key.is_none()",
    ),
    of("reset-keeps-names", "blocks.rs", "self.by_key.clear();", ""),
    of("salt-is-ignored", "key.rs", "[salt, adapter", "[0 * salt, adapter"),
    of("adapter-is-ignored", "key.rs", "adapter, lonely].into", "adapter * 0, lonely].into"),
    of("hash-has-fewer-rounds", "key.rs", "rounds::<2>(v);", "rounds::<1>(v);"),
    of(
        "whole-is-split",
        "shape.rs",
        "if self.whole && rows < need.pending { 0 }",
        "if false { 0 }",
    ),
    of(
        "bucket-context-is-ignored",
        "shape.rs",
        ".min(self.rows_each).min(reach);",
        ".min(self.rows_each).min(reach.max(1));",
    ),
    of("bucket-parts-are-ignored", "shape.rs", "self.parts -= 1;", ""),
    of(
        "budget-is-ignored",
        "shape.rs",
        "self.parts -= 1;\n        self.rows -= rows;",
        "self.parts -= 1;",
    ),
    of("largest-bucket-wins", "shape.rs", "Reverse((area, b.context))", "(area, b.context)"),
    of(
        "batch-outgrows-the-budget",
        "shape.rs",
        "rolling_max: rolling.min(rows)",
        "rolling_max: rolling",
    ),
    of(
        "seats-are-not-awaited",
        "admission.rs",
        "u64::from(seats_short)",
        "u64::from(seats_short * 0)",
    ),
    of("pace-counts-twice", "pace.rs", "scheduled.max(self.newest_commit)", "scheduled"),
];
