//! Guesses: made where they are worth it, kept where they were right.

use super::{Mutation, of};

/// All of them, in the order in which a guess meets them.
pub(super) const GUESSES: &[Mutation] = &[
    of("wrong-agreement", "drafts.rs", "end - AGREE + i", "end - AGREE + i.min(1)"),
    of("guesses-from-one-too-far", "drafts.rs", "agrees() { end }", "agrees() { end + 1 }"),
    of(
        "what-repeats-ends",
        "drafts.rs",
        "Some(at) => drafts[at as usize],",
        "Some(_) => token(0),",
    ),
    of(
        "prompts-judge-guesses",
        "drafts.rs",
        "self.from > 0 && newest >= generated",
        "self.from > 0",
    ),
    of("guesses-are-not-judged", "drafts.rs", "self.from > 0 && newest >= generated", "false"),
    of("guesses-cost-nothing", "drafts.rs", "*chance > price", "*chance > price * 0.0"),
    of("later-guesses-are-as-good", "drafts.rs", "Some(chance * self.chance)", "Some(*chance)"),
    of(
        "guesses-past-the-end",
        "drafts.rs",
        "s.tokens_max() - s.known() - 1;",
        "s.tokens_max() - s.known();",
    ),
    of("guesses-ignore-the-budget", "drafts.rs", ".min(rows_left).min(fits)", ".min(fits)"),
    of("guesses-ignore-the-pool", "drafts.rs", ".min(fits).min(useful)", ".min(useful)"),
    of("guesses-on-what-is-in-flight", "drafts.rs", "s.promised > 0 ||", ""),
    of("guesses-do-not-wait", "drafts.rs", "s.masked || lookup.worth(price, 1) > 0", "s.masked"),
    of("who-guesses-at-once-does-not-wait", "drafts.rs", "s.serial |= drafts > 0;", ""),
    of(
        "grammars-do-not-wait-for-guesses",
        "drafts.rs",
        "s.masked || lookup.worth(price, 1) > 0",
        "lookup.worth(price, 1) > 0",
    ),
    of(
        "guesses-ignore-penalties",
        "admission.rs",
        "!self.frame.turns && !params.has_penalties()",
        "!self.frame.turns",
    ),
    of("wrong-guess-kv-is-kept", "commit.rs", "sequence.cached = sequence.known() - 1;", ""),
    of("wrong-guesses-are-kept", "commit.rs", "if draft != Some(token) {", "if draft.is_none() {"),
    of("guesses-are-not-cleared", "commit.rs", "sequence.drafts.clear();", ""),
    of("faults-behind-guesses-end", "commit.rs", "Err(_) if accepted > 0 => break,", ""),
    of("any-fault-is-forgiven", "commit.rs", "Err(_) if accepted > 0", "Err(_) if accepted < 99"),
    of("guesses-need-no-margin", "drafts.rs", "f64 = 1.25;", "f64 = 1.0;"),
    of("rows-are-free", "pace.rs", "f64::from(tokens) * each", "0.0 * each"),
    of("a-pause-is-a-row", "pace.rs", "let took = took.min(most);", "let _ = most;"),
    of("steps-with-prompts-price-rows", "commit.rs", "if oldest.prompt_rows == 0 {", "{"),
];
