//! Calls as JSON: `{"name": …, "arguments": {…}}`, alone or in a list.
//!
//! Hermes, Qwen, Llama 3, Granite, Phi-4-mini, the older Mistral models and whoever has learnt no form
//! write them so; what stands around them is `parser.rs`'s. Arguments may also be called
//! `parameters`, may be JSON in a string, and may come before the name, which holds them back. Other
//! members are read past behind a marker, and make it no call without one.
//!
//! **Source**: vLLM `tool_parsers/{hermes,llama,granite,phi4mini}_tool_parser.py`, llama.cpp
//! `common/chat.cpp`. Next: `named.rs`.

use super::calls::{Calls, Fed};
use super::pythonic::Call;
use super::scan::Scan;

/// One call, behind its `{`.
#[derive(Debug)]
pub(super) struct Object {
    part: Part,
    /// No marker stood before it.
    is_weak: bool,
    scan: Scan,
    /// The key or the value that is being read.
    raw: String,
    member: Member,
    name: Option<String>,
    /// Arguments that wait for the name.
    held: Option<String>,
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// Before a key, or the end.
    First,
    /// Before a key.
    Next,
    Key,
    Colon,
    Before,
    Value,
    /// Arguments that are handed on as they come.
    Stream,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Member {
    Name,
    Arguments,
    /// Ours to read past.
    Other,
}

impl Object {
    pub(super) fn new(is_weak: bool) -> Self {
        Self {
            part: Part::First,
            is_weak,
            scan: Scan::new(),
            raw: String::new(),
            member: Member::Other,
            name: None,
            held: None,
            has_begun: false,
        }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        match self.part {
            Part::Key => match self.scan.feed(c, &mut self.raw) {
                Fed::Done => self.key(),
                fed => fed,
            },
            Part::Value => match self.scan.feed(c, &mut self.raw) {
                Fed::Done => self.value(calls),
                Fed::Before => match self.value(calls) {
                    Fed::More => self.feed(c, calls),
                    fed => fed,
                },
                fed => fed,
            },
            Part::Stream => self.stream(c, calls),
            _ if is_blank(c) => Fed::More,
            Part::First if c == '}' => self.close(calls),
            Part::First | Part::Next if c == '"' => {
                self.begin_value();
                self.part = Part::Key;
                self.scan.feed(c, &mut self.raw)
            }
            Part::Colon if c == ':' => self.go(Part::Before),
            Part::Before => self.before(c, calls),
            Part::After if c == ',' => self.go(Part::Next),
            Part::After if c == '}' => self.close(calls),
            // A brace is missing; models forget the last.
            Part::After if self.has_begun => Fed::Before,
            _ => Fed::Wrong,
        }
    }

    fn go(&mut self, part: Part) -> Fed {
        self.part = part;
        Fed::More
    }

    fn begin_value(&mut self) {
        self.scan = Scan::new();
        self.raw.clear();
    }

    fn key(&mut self) -> Fed {
        let Some(key) = text(&self.raw) else { return Fed::Wrong };
        self.member = match key.as_str() {
            "name" => Member::Name,
            "arguments" | "parameters" => Member::Arguments,
            "type" | "id" => Member::Other,
            _ if self.is_weak => return Fed::Wrong,
            _ => Member::Other,
        };
        self.go(Part::Colon)
    }

    fn before(&mut self, c: char, calls: &mut Calls) -> Fed {
        self.begin_value();
        self.part = Part::Value;
        if let (Member::Arguments, '{', false, Some(name)) =
            (self.member, c, self.has_begun, &self.name)
        {
            calls.begin(name);
            self.has_begun = true;
            self.part = Part::Stream;
        }
        self.feed(c, calls)
    }

    fn stream(&mut self, c: char, calls: &mut Calls) -> Fed {
        self.raw.clear();
        let fed = self.scan.feed(c, &mut self.raw);
        calls.arguments(&self.raw);
        match fed {
            Fed::Done => self.go(Part::After),
            fed => fed,
        }
    }

    /// A value that was not handed on has been read.
    fn value(&mut self, calls: &Calls) -> Fed {
        match self.member {
            Member::Name if self.name.is_none() => {
                let name = text(&self.raw).filter(|name| calls.may(name, self.is_weak));
                if name.is_none() {
                    return Fed::Wrong;
                }
                self.name = name;
            }
            Member::Arguments if !self.has_begun && self.held.is_none() => {
                let Some(arguments) = arguments(&self.raw) else { return Fed::Wrong };
                self.held = Some(arguments);
            }
            // What came first is already with the client.
            _ => {}
        }
        self.go(Part::After)
    }

    fn close(&mut self, calls: &mut Calls) -> Fed {
        if self.has_begun {
            return Fed::Done;
        }
        match (&self.name, self.held.take()) {
            (Some(name), Some(held)) => {
                calls.begin(name);
                calls.arguments(&held);
                Fed::Done
            }
            (Some(name), None) if !self.is_weak => {
                calls.begin(name);
                calls.arguments("{}");
                Fed::Done
            }
            _ => Fed::Wrong,
        }
    }
}

/// Calls in a list, behind its `[`.
#[derive(Debug)]
pub(super) struct List {
    is_weak: bool,
    /// Whether calls may be written as Python.
    is_pythonic: bool,
    item: Option<Item>,
    /// An item stands before.
    is_after: bool,
    has_items: bool,
}

#[derive(Debug)]
enum Item {
    Object(Box<Object>),
    Call(Box<Call>),
}

impl List {
    pub(super) fn new(is_weak: bool, is_pythonic: bool) -> Self {
        Self { is_weak, is_pythonic, item: None, is_after: false, has_items: false }
    }

    pub(super) fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        let fed = match &mut self.item {
            Some(Item::Object(object)) => object.feed(c, calls),
            Some(Item::Call(call)) => call.feed(c, calls),
            None => return self.between(c, calls),
        };
        match fed {
            Fed::More | Fed::Wrong => fed,
            Fed::Done | Fed::Before => {
                self.item = None;
                self.is_after = true;
                self.has_items = true;
                if fed == Fed::Before { self.between(c, calls) } else { Fed::More }
            }
        }
    }

    fn between(&mut self, c: char, calls: &mut Calls) -> Fed {
        match c {
            _ if is_blank(c) => Fed::More,
            ']' if self.has_items => Fed::Done,
            ',' if self.is_after => {
                self.is_after = false;
                Fed::More
            }
            // A bracket is missing.
            _ if self.is_after => Fed::Before,
            '{' => {
                self.item = Some(Item::Object(Box::new(Object::new(self.is_weak))));
                Fed::More
            }
            _ if self.is_pythonic => {
                let mut call = Box::new(Call::new(self.is_weak));
                let fed = call.feed(c, calls);
                self.item = Some(Item::Call(call));
                fed
            }
            _ => Fed::Wrong,
        }
    }
}

pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// What a string of JSON says.
fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// Arguments that were read before the name, or as a string.
fn arguments(raw: &str) -> Option<String> {
    match raw.chars().next()? {
        '{' => Some(raw.to_owned()),
        'n' => Some("{}".to_owned()),
        '"' => {
            let inner = text(raw)?;
            let (mut scan, mut out, inner) = (Scan::new(), String::new(), inner.trim());
            let is_whole = inner.starts_with('{')
                && inner.char_indices().all(|(at, c)| match scan.feed(c, &mut out) {
                    Fed::More => true,
                    Fed::Done => at + 1 == inner.len(),
                    Fed::Before | Fed::Wrong => false,
                })
                && inner.ends_with('}');
            // An object's last letter is its brace, so that all letters fitted means it is whole only
            // if a reader that knows JSON agrees.
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok();
            (is_whole && is_json).then_some(out)
        }
        _ => None,
    }
}
