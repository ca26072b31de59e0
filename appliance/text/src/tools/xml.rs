//! Calls as Qwen3-Coder writes them: `<function=name><parameter=key>value</parameter></function>`.
//!
//! A value is bare text, which `typed.rs` makes JSON of; arguments are handed on one by one. A value
//! ends at a `</parameter>` that is followed by another parameter or the end of the call: a value may
//! say `</parameter>` itself. One line feed at each of its ends is not its own.
//!
//! **Source**: vLLM `tool_parsers/qwen3coder_tool_parser.py`. Next: `typed.rs`.

use serde_json::json;

use super::calls::{Calls, Fed};
use super::object::is_blank;
use super::spec::is_name;
use super::typed;

pub(super) const FUNCTION: &str = "<function=";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const FUNCTION_END: &str = "</function>";
const CALL_END: &str = "</tool_call>";
/// What may follow a parameter; models forget the first end.
const NEXT: [&str; 3] = [PARAMETER, FUNCTION_END, CALL_END];
/// Letters of a name or a key.
const NAME_BYTES_MAX: usize = 256;
/// Blanks between two parameters.
const BLANKS_MAX: usize = 256;

/// One call.
#[derive(Debug)]
pub(super) struct Xml {
    part: Part,
    name: String,
    key: String,
    raw: String,
    has_begun: bool,
    has_arguments: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// Within `<function=`.
    Begin,
    Name,
    /// Before a parameter or the end.
    Between,
    Key,
    Value,
    /// Behind a `</parameter>` that begins at this byte of the value.
    Ended(usize),
}

impl Xml {
    /// From its mark on, or behind it.
    pub(super) fn new(is_marked: bool) -> Self {
        let part = if is_marked { Part::Name } else { Part::Begin };
        let (name, key, raw) = Default::default();
        Self { part, name, key, raw, has_begun: false, has_arguments: false }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        if self.part == Part::Between && self.raw.is_empty() && is_blank(c) {
            return Fed::More;
        }
        self.raw.push(c);
        match self.part {
            Part::Begin if self.raw == FUNCTION => self.go(Part::Name),
            Part::Begin if FUNCTION.starts_with(&self.raw) => Fed::More,
            Part::Begin => Fed::Wrong,
            Part::Name | Part::Key if self.raw.len() > NAME_BYTES_MAX => Fed::Wrong,
            Part::Name if c == '>' => {
                self.name = self.raw[..self.raw.len() - 1].trim().to_owned();
                if is_name(&self.name) { self.go(Part::Between) } else { Fed::Wrong }
            }
            Part::Key if c == '>' => {
                self.key = self.raw[..self.raw.len() - 1].trim().to_owned();
                self.begin(calls);
                self.go(Part::Value)
            }
            Part::Name | Part::Key => Fed::More,
            Part::Between => self.next(&self.raw.clone(), calls).unwrap_or(Fed::Wrong),
            Part::Value => {
                if let Some(value) = self.raw.strip_suffix(PARAMETER_END) {
                    self.part = Part::Ended(value.len());
                }
                Fed::More
            }
            Part::Ended(at) => self.behind(at, calls),
        }
    }

    fn go(&mut self, part: Part) -> Fed {
        self.part = part;
        self.raw.clear();
        Fed::More
    }

    fn begin(&mut self, calls: &mut Calls) {
        if !self.has_begun {
            calls.begin(&self.name);
            self.has_begun = true;
        }
    }

    /// A mark, or its beginning.
    fn next(&mut self, mark: &str, calls: &mut Calls) -> Option<Fed> {
        match mark {
            PARAMETER => Some(self.go(Part::Key)),
            FUNCTION_END | CALL_END => {
                self.begin(calls);
                calls.arguments(if self.has_arguments { "}" } else { "{}" });
                Some(Fed::Done)
            }
            _ => NEXT.iter().any(|known| known.starts_with(mark)).then_some(Fed::More),
        }
    }

    /// Whether what stands behind a `</parameter>` shows that the value has ended there.
    fn behind(&mut self, at: usize, calls: &mut Calls) -> Fed {
        let rest = &self.raw[at + PARAMETER_END.len()..];
        let mark = rest.trim_start_matches(is_blank).to_owned();
        if NEXT.contains(&mark.as_str()) {
            self.argument(at, calls);
            return self.next(&mark, calls).unwrap_or(Fed::Wrong);
        }
        let may_come = NEXT.iter().any(|known| known.starts_with(&mark));
        if !may_come || rest.len() - mark.len() > BLANKS_MAX {
            self.part = Part::Value;
        }
        Fed::More
    }

    fn argument(&mut self, end: usize, calls: &mut Calls) {
        let value = &self.raw[..end];
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let value = typed::json(value, &self.key, calls.schema(&self.name));
        let before = if self.has_arguments { ", " } else { "{" };
        self.has_arguments = true;
        calls.arguments(&format!("{before}{}: {value}", json!(self.key)));
    }
}
