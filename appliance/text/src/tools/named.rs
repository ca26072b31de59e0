//! Calls as a name and then JSON: the newer Mistral models, and DeepSeek's.
//!
//! `[TOOL_CALLS]name[ARGS]{…}`, also without `[ARGS]` or with `[CALL_ID]…` before it;
//! `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}` (V3.1), or with `function` where the name stands and the
//! name and a fence of Markdown where the JSON stands (V3 and R1).
//!
//! **Source**: vLLM `tool_parsers/{mistral,deepseekv3,deepseekv31}_tool_parser.py`; llama.cpp
//! `models/templates/deepseek-ai-DeepSeek-V3.1.jinja`. Next: `pythonic.rs`.

use super::calls::{Calls, Fed};
use super::object::is_blank;
use super::scan::Scan;
use super::spec::{is_name, is_of_name};

/// Letters of a name and its marks.
const HEAD_BYTES_MAX: usize = 256;

/// Arguments that are handed on as they come, from their `{` on.
#[derive(Debug)]
struct Arguments {
    scan: Scan,
    raw: String,
}

impl Arguments {
    fn begin(name: &str, calls: &mut Calls) -> Self {
        calls.begin(name);
        let mut arguments = Self { scan: Scan::new(), raw: String::new() };
        arguments.feed('{', calls);
        arguments
    }

    fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        self.raw.clear();
        let fed = self.scan.feed(c, &mut self.raw);
        calls.arguments(&self.raw);
        fed
    }
}

/// A call of Mistral's, from its name on.
#[derive(Debug)]
pub(super) struct Mistral {
    name: String,
    part: MistralPart,
}

#[derive(Debug)]
enum MistralPart {
    Name,
    /// Behind the name.
    Mark(String),
    Id,
    Arguments(Arguments),
}

impl Mistral {
    pub(super) fn new() -> Self {
        Self { name: String::new(), part: MistralPart::Name }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        match &mut self.part {
            MistralPart::Arguments(arguments) => arguments.feed(c, calls),
            MistralPart::Name if is_of_name(c) => {
                self.name.push(c);
                if self.name.len() > HEAD_BYTES_MAX { Fed::Wrong } else { Fed::More }
            }
            MistralPart::Id if c != '[' => {
                if c.is_ascii_graphic() {
                    Fed::More
                } else {
                    Fed::Wrong
                }
            }
            MistralPart::Name | MistralPart::Id => self.mark(String::new(), c, calls),
            MistralPart::Mark(mark) => {
                let mark = std::mem::take(mark);
                self.mark(mark, c, calls)
            }
        }
    }

    fn mark(&mut self, mut mark: String, c: char, calls: &mut Calls) -> Fed {
        if mark.is_empty() && c == '{' && is_name(&self.name) {
            self.part = MistralPart::Arguments(Arguments::begin(&self.name, calls));
            return Fed::More;
        }
        if !(mark.is_empty() && is_blank(c)) {
            mark.push(c);
        }
        self.part = match mark.as_str() {
            "[ARGS]" => MistralPart::Mark(String::new()),
            "[CALL_ID]" => MistralPart::Id,
            _ if "[ARGS]".starts_with(&mark) || "[CALL_ID]".starts_with(&mark) => {
                MistralPart::Mark(mark)
            }
            _ => return Fed::Wrong,
        };
        Fed::More
    }
}

/// A call of DeepSeek's.
#[derive(Debug)]
pub(super) struct DeepSeek {
    raw: String,
    part: DeepSeekPart,
}

#[derive(Debug)]
enum DeepSeekPart {
    Begin,
    Head,
    /// Behind `<｜tool▁sep｜>`, with what stood before it.
    Separated(String),
    /// The name is known; a fence may come.
    Fence(String),
    Arguments(Arguments),
}

pub(super) const DEEPSEEK_CALL: &str = "<｜tool▁call▁begin｜>";
pub(super) const DEEPSEEK_SEPARATOR: &str = "<｜tool▁sep｜>";
/// As much of Markdown as stands before arguments.
const FENCE: &str = "```json";

impl DeepSeek {
    /// From its mark on, or behind it.
    pub(super) fn new(is_marked: bool) -> Self {
        let part = if is_marked { DeepSeekPart::Head } else { DeepSeekPart::Begin };
        Self { raw: String::new(), part }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        if let DeepSeekPart::Arguments(arguments) = &mut self.part {
            return arguments.feed(c, calls);
        }
        if self.raw.len() > HEAD_BYTES_MAX {
            return Fed::Wrong;
        }
        match &mut self.part {
            DeepSeekPart::Begin => {
                self.raw.push(c);
                if self.raw == DEEPSEEK_CALL {
                    self.raw.clear();
                    self.part = DeepSeekPart::Head;
                } else if !DEEPSEEK_CALL.starts_with(&self.raw) {
                    return Fed::Wrong;
                }
                Fed::More
            }
            DeepSeekPart::Head => {
                self.raw.push(c);
                if let Some(head) = self.raw.strip_suffix(DEEPSEEK_SEPARATOR) {
                    self.part = DeepSeekPart::Separated(head.trim().to_owned());
                    self.raw.clear();
                }
                Fed::More
            }
            DeepSeekPart::Separated(head) if c == '{' && self.raw.trim().is_empty() => {
                let name = std::mem::take(head);
                self.begin(&name, calls)
            }
            DeepSeekPart::Separated(_) if c == '\n' && !self.raw.trim().is_empty() => {
                let name = std::mem::take(&mut self.raw).trim().to_owned();
                self.part = DeepSeekPart::Fence(name);
                Fed::More
            }
            DeepSeekPart::Separated(_) => {
                self.raw.push(c);
                Fed::More
            }
            DeepSeekPart::Fence(name) if c == '{' && [FENCE, "```", ""].contains(&&*self.raw) => {
                let name = std::mem::take(name);
                self.begin(&name, calls)
            }
            DeepSeekPart::Fence(_) if is_blank(c) => Fed::More,
            DeepSeekPart::Fence(_) => {
                self.raw.push(c);
                if FENCE.starts_with(&self.raw) { Fed::More } else { Fed::Wrong }
            }
            DeepSeekPart::Arguments(_) => Fed::Wrong,
        }
    }

    fn begin(&mut self, name: &str, calls: &mut Calls) -> Fed {
        if !is_name(name) {
            return Fed::Wrong;
        }
        self.part = DeepSeekPart::Arguments(Arguments::begin(name, calls));
        Fed::More
    }
}
