//! Calls as Python: `f(a=1, b="x")`, in the list of `object.rs`.
//!
//! Arguments are handed on one by one, each when it is whole. Arguments without names, and values that
//! are no literals, make it no call. **Source**: vLLM
//! `tool_parsers/{pythonic,llama4_pythonic}_tool_parser.py`. Next: `literal.rs`.

use serde_json::json;

use super::calls::{Calls, Fed};
use super::literal;
use super::object::is_blank;
use super::spec::is_of_name;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    is_weak: bool,
    part: Part,
    name: String,
    key: String,
    value: String,
    /// The letter that ends the string in the value.
    quote: Option<char>,
    is_escaped: bool,
    depth: usize,
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Name,
    /// Before an argument's name, or the end.
    Before,
    Key,
    /// Behind an argument's name.
    Equals,
    Value,
}

impl Call {
    pub(super) fn new(is_weak: bool) -> Self {
        Self {
            is_weak,
            part: Part::Name,
            name: String::new(),
            key: String::new(),
            value: String::new(),
            quote: None,
            is_escaped: false,
            depth: 0,
            has_begun: false,
        }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        match self.part {
            Part::Name if is_of_name(c) => {
                self.name.push(c);
                Fed::More
            }
            Part::Name if c == '(' && calls.may(&self.name, self.is_weak) => self.go(Part::Before),
            Part::Value => self.value(c, calls),
            Part::Before if c == ')' => self.close(calls),
            Part::Before if c == '_' || c.is_alphabetic() => {
                self.key.clear();
                self.key.push(c);
                self.go(Part::Key)
            }
            Part::Key if c == '_' || c.is_alphanumeric() => {
                self.key.push(c);
                Fed::More
            }
            Part::Key | Part::Equals if c == '=' => {
                self.value.clear();
                self.go(Part::Value)
            }
            Part::Key if is_blank(c) => self.go(Part::Equals),
            Part::Before | Part::Equals if is_blank(c) => Fed::More,
            _ => Fed::Wrong,
        }
    }

    fn go(&mut self, part: Part) -> Fed {
        self.part = part;
        Fed::More
    }

    fn value(&mut self, c: char, calls: &mut Calls) -> Fed {
        if let Some(quote) = self.quote {
            if self.is_escaped {
                self.is_escaped = false;
            } else if c == '\\' {
                self.is_escaped = true;
            } else if c == quote {
                self.quote = None;
            }
        } else {
            match c {
                ',' | ')' if self.depth == 0 => return self.argument(c == ')', calls),
                '(' | '[' | '{' => self.depth += 1,
                ')' | ']' | '}' if self.depth == 0 => return Fed::Wrong,
                ')' | ']' | '}' => self.depth -= 1,
                '"' | '\'' => self.quote = Some(c),
                _ => {}
            }
        }
        self.value.push(c);
        Fed::More
    }

    /// An argument is whole.
    fn argument(&mut self, is_last: bool, calls: &mut Calls) -> Fed {
        let Some(value) = literal::json(&self.value) else { return Fed::Wrong };
        let before = if self.has_begun { ", " } else { "{" };
        if !self.has_begun {
            calls.begin(&self.name);
            self.has_begun = true;
        }
        calls.arguments(&format!("{before}{}: {value}", json!(self.key)));
        if is_last { self.close(calls) } else { self.go(Part::Before) }
    }

    fn close(&mut self, calls: &mut Calls) -> Fed {
        if self.has_begun {
            calls.arguments("}");
        } else {
            calls.begin(&self.name);
            calls.arguments("{}");
        }
        Fed::Done
    }
}
