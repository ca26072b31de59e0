//! What a model thinks, apart from what it answers.
//!
//! Thoughts stand at the beginning; the prompt may have opened them. Their marks and the blanks beside
//! those are left out. A text that ends within thoughts is thoughts to its end. As in `parser.rs`,
//! letters are taken one by one.
//!
//! **Source**: vLLM `reasoning/*_reasoning_parser.py`, llama.cpp `common/chat.cpp`. As llama.cpp, and
//! unlike vLLM, an answer that opens no thoughts has none. Next: `lib.rs`.

use super::object::is_blank;

/// Blanks that are held back because thoughts may begin or end behind them.
const BLANK_BYTES_MAX: usize = 256;

/// How a model writes thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasoningFormat {
    /// `<think>…</think>`: DeepSeek R1, QwQ, Qwen 3, SmolLM3 and most others.
    Think,
    /// `Here is my thought process: … Here is my response:`, as Granite 3.2.
    Granite,
    /// `[THINK]…[/THINK]`, as Magistral.
    Mistral,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thought {
    /// What the model thinks.
    Reasoning(String),
    /// What it answers.
    Text(String),
}

/// Names of the setting, as vLLM's option `--reasoning-parser` has them.
const NAMES: [(&str, ReasoningFormat); 5] = [
    ("deepseek_r1", ReasoningFormat::Think),
    ("deepseek_v3", ReasoningFormat::Think),
    ("qwen3", ReasoningFormat::Think),
    ("granite", ReasoningFormat::Granite),
    ("mistral", ReasoningFormat::Mistral),
];

impl ReasoningFormat {
    /// The format of that name; `auto` and `none` are no formats.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// All names, for an error.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The format that a chat template knows, if it knows one.
    #[must_use]
    pub fn of_template(template: &str) -> Option<Self> {
        let all = [Self::Mistral, Self::Granite, Self::Think];
        let knows = |format: &Self| format.begins().iter().any(|begin| template.contains(begin));
        // Templates that cut thoughts out of earlier turns may name their end only.
        let think = || template.contains("</think>").then_some(Self::Think);
        all.into_iter().find(knows).or_else(think)
    }

    /// Texts of control tokens that a splitter must see: elsewhere they are left out of an answer.
    #[must_use]
    pub fn keeps(self) -> &'static [&'static str] {
        match self {
            Self::Think => &["<think>", "</think>"],
            Self::Granite => &[],
            Self::Mistral => &["[THINK]", "[/THINK]"],
        }
    }

    /// True if a prompt that ends so has already opened the thoughts.
    #[must_use]
    pub fn begins_inside(self, prompt_end: &str) -> bool {
        let end = prompt_end.trim_end();
        self.begins().iter().any(|begin| end.ends_with(begin))
    }

    fn begins(self) -> &'static [&'static str] {
        match self {
            Self::Think => &["<think>"],
            Self::Granite => &["Here is my thought process:", "Here's my thought process:"],
            Self::Mistral => &["[THINK]"],
        }
    }

    fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Think => &["</think>"],
            Self::Granite => &["Here is my response:", "Here's my response:"],
            Self::Mistral => &["[/THINK]"],
        }
    }
}

/// Splits an answer.
#[derive(Debug)]
pub struct ReasoningSplitter {
    format: ReasoningFormat,
    state: State,
    /// What has come since all was certain.
    held: String,
    pieces: Vec<Thought>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Thoughts may begin; blanks do not count behind thoughts.
    Before {
        is_after: bool,
    },
    /// Behind the beginning of thoughts.
    Begun,
    Inside,
    Text,
}

impl ReasoningSplitter {
    /// For one answer; `is_inside` where the prompt has opened the thoughts.
    #[must_use]
    pub fn new(format: ReasoningFormat, is_inside: bool) -> Self {
        let state = if is_inside { State::Begun } else { State::Before { is_after: false } };
        Self { format, state, held: String::new(), pieces: Vec::new() }
    }

    /// Takes more text, and tells what became certain.
    pub fn push(&mut self, text: &str) -> Vec<Thought> {
        for (at, c) in text.char_indices() {
            if self.state == State::Text {
                self.text(&text[at..]);
                break;
            }
            self.feed(c);
        }
        std::mem::take(&mut self.pieces)
    }

    /// The rest, when no more text comes.
    pub fn finish(&mut self) -> Vec<Thought> {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Inside => self.reasoning(held.trim_end_matches(is_blank)),
            _ => self.text(&held),
        }
        self.state = State::Text;
        std::mem::take(&mut self.pieces)
    }

    fn feed(&mut self, c: char) {
        match self.state {
            State::Begun if is_blank(c) => {}
            State::Begun | State::Inside => {
                self.state = State::Inside;
                self.held.push(c);
                self.inside();
            }
            State::Before { is_after: true } if self.held.is_empty() && is_blank(c) => {}
            State::Before { .. } => {
                self.held.push(c);
                self.before();
            }
            State::Text => self.text(c.encode_utf8(&mut [0; 4])),
        }
    }

    fn before(&mut self) {
        let begun = self.held.trim_start_matches(is_blank);
        let begins = self.format.begins();
        if begins.contains(&begun) {
            self.held.clear();
            self.state = State::Begun;
        } else if !begins.iter().any(|begin| begin.starts_with(begun))
            || self.held.len() - begun.len() > BLANK_BYTES_MAX
        {
            let held = std::mem::take(&mut self.held);
            self.text(&held);
            self.state = State::Text;
        }
    }

    fn inside(&mut self) {
        let ends = self.format.ends();
        if let Some(held) = ends.iter().find_map(|end| self.held.strip_suffix(end)) {
            let held = held.trim_end_matches(is_blank).to_owned();
            self.reasoning(&held);
            self.held.clear();
            self.state = State::Before { is_after: true };
            return;
        }
        // What may be an end, and the blanks before it.
        let begins = |at: &usize| ends.iter().any(|end| end.starts_with(&self.held[*at..]));
        let end = self.held.char_indices().map(|(at, _)| at).find(begins);
        let end = end.unwrap_or(self.held.len());
        let blank = self.held[..end].trim_end_matches(is_blank).len();
        let certain = if end - blank > BLANK_BYTES_MAX { end } else { blank };
        let rest = self.held.split_off(certain);
        let held = std::mem::replace(&mut self.held, rest);
        self.reasoning(&held);
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Thought::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Thought::Text(text.to_owned())),
        }
    }

    fn reasoning(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Thought::Reasoning(before)) => before.push_str(text),
            _ => self.pieces.push(Thought::Reasoning(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is thought and what is answered; each in one piece.
    fn split<'t>(
        format: ReasoningFormat,
        is_inside: bool,
        cuts: impl IntoIterator<Item = &'t str>,
    ) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(format, is_inside);
        let mut pieces: Vec<Thought> =
            cuts.into_iter().flat_map(|cut| splitter.push(cut)).collect();
        pieces.extend(splitter.finish());
        let (mut reasoning, mut text) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Thought::Reasoning(more) => reasoning += &more,
                Thought::Text(more) => text += &more,
            }
        }
        (reasoning, text)
    }

    fn check(format: ReasoningFormat, is_inside: bool, whole: &str, expect: (&str, &str)) {
        let (reasoning, text) = split(format, is_inside, [whole]);
        assert_eq!((reasoning.as_str(), text.as_str()), expect, "{whole}");
        let letters = whole.split("").filter(|letter| !letter.is_empty());
        assert_eq!(split(format, is_inside, letters), (reasoning, text), "{whole}");
    }

    #[test]
    fn thoughts_are_told_apart() {
        use ReasoningFormat::{Granite, Mistral, Think};
        check(Think, false, "<think>\nI add.\n</think>\n\n4", ("I add.", "4"));
        check(Think, true, "I add.\n\nYes.\n</think>\n\n4\n", ("I add.\n\nYes.", "4\n"));
        check(Think, true, "<think", ("<think", ""));
        check(Think, false, " \n4 </think>", ("", " \n4 </think>"));
        check(Think, false, "<think>\n\n</think>\n\n4", ("", "4"));
        check(Think, false, "<think>I a", ("I a", ""));
        check(Think, false, "<think>a < b </thin</think>c", ("a < b </thin", "c"));
        check(Think, false, "<think>a</think><think>b</think> c", ("ab", "c"));
        check(Think, false, "4 <think>", ("", "4 <think>"));
        check(Think, false, "<thin", ("", "<thin"));
        check(Think, false, "", ("", ""));
        check(
            Granite,
            false,
            "Here is my thought process:\nI add.\nHere is my response: 4",
            ("I add.", "4"),
        );
        check(Granite, false, "Here's my thought process: a Here's my response: b", ("a", "b"));
        check(Granite, false, "Here is my answer", ("", "Here is my answer"));
        check(Mistral, false, "[THINK]I add.[/THINK]4", ("I add.", "4"));
        let blanks = " ".repeat(1000);
        check(
            Think,
            true,
            &format!("a{blanks}</think>"),
            (&format!("a{blanks}")[..1 + 3 * 257], ""),
        );
    }

    #[test]
    fn templates_and_prompts_tell_the_format() {
        use ReasoningFormat as F;
        let of = F::of_template;
        assert_eq!(of("{{- '<|im_start|>assistant\\n<think>\\n' }}"), Some(F::Think));
        assert_eq!(of("{{ content.split('</think>')[-1] }}"), Some(F::Think));
        assert_eq!(of("Here is my thought process: x Here is my response:"), Some(F::Granite));
        assert_eq!(of("[THINK]Your thoughts[/THINK]"), Some(F::Mistral));
        assert_eq!(of("{{ messages }}"), None);
        assert!(F::Think.begins_inside("<|im_start|>assistant\n<think>\n"));
        assert!(!F::Think.begins_inside("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!F::Think.begins_inside("<|im_start|>assistant\n"));
        for name in F::names() {
            assert!(F::named(name).is_some(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn cuts_never_matter(
            words in proptest::collection::vec(proptest::sample::select(&[
                "<think>", "</think>", "[THINK]", "[/THINK]", "Here is my thought process:",
                "Here's my response:", "Here", "<", "</thi", "é", " ", "\n", "a",
            ][..]), 0..12),
            format in proptest::sample::select(&[
                ReasoningFormat::Think, ReasoningFormat::Granite, ReasoningFormat::Mistral,
            ][..]),
            is_inside: bool,
        ) {
            let text = words.concat();
            let whole = split(format, is_inside, [text.as_str()]);
            let letters = text.split("").filter(|letter| !letter.is_empty());
            prop_assert_eq!(&split(format, is_inside, letters), &whole);
            prop_assert_eq!(&split(format, is_inside, words.iter().copied()), &whole);
            if whole.0.is_empty() && !is_inside && !text.contains("</") && !text.contains("[/") {
                prop_assert!(text.ends_with(&whole.1));
            }
        }
    }
}
