//! An answer's text, apart in what is said and what is called.
//!
//! Letters are taken one by one, so how the text is cut cannot matter. What may be a marker or a call
//! is held back; it comes out as it was once it turns out to be neither. Blanks before, between and
//! behind calls are left out. A call that ends early, because the text does, keeps the arguments it
//! had. Next: `object.rs`.

use super::calls::{Calls, Fed, Piece};
use super::format::{Form, ToolFormat};
use super::named::{DEEPSEEK_CALL, DeepSeek, Mistral};
use super::object::{List, Object, is_blank};
use super::spec::{ToolSpec, is_of_name};
use super::xml::{FUNCTION, Xml};

/// Bytes that are held back for a call whose name is not known yet, or for one of its arguments.
const HELD_BYTES_MAX: usize = 256 << 10;
/// Blanks that are held back because a call may follow.
const BLANK_BYTES_MAX: usize = 256;
/// The longest marker has fewer bytes.
const MARKER_BYTES_MAX: usize = 48;

/// Finds calls in an answer.
#[derive(Debug)]
pub struct ToolParser {
    format: ToolFormat,
    form: &'static Form,
    state: State,
    /// What has come since all was certain.
    held: String,
    calls: Calls,
}

#[derive(Debug)]
enum State {
    /// Nothing but blanks since the beginning or a call; a marker may begin at this byte.
    Gap { is_after_call: bool, marker: usize },
    /// Text; a marker may have begun.
    Text,
    /// Behind a marker.
    Marked(&'static str),
    Reading {
        reader: Reader,
        /// Calls before it.
        count: usize,
    },
}

#[derive(Debug)]
enum Reader {
    Object(Object),
    List(List),
    Mistral(Mistral),
    DeepSeek(DeepSeek),
    Xml(Xml),
}

impl Reader {
    fn feed(&mut self, c: char, calls: &mut Calls) -> Fed {
        match self {
            Self::Object(object) => object.feed(c, calls),
            Self::List(list) => list.feed(c, calls),
            Self::Mistral(mistral) => mistral.feed(c, calls),
            Self::DeepSeek(deepseek) => deepseek.feed(c, calls),
            Self::Xml(xml) => xml.feed(c, calls),
        }
    }
}

impl ToolParser {
    /// For one answer of a model that writes calls in that format and was shown those tools.
    #[must_use]
    pub fn new(format: ToolFormat, tools: &[ToolSpec]) -> Self {
        let state = State::Gap { is_after_call: false, marker: 0 };
        let (held, calls) = (String::new(), Calls::new(tools));
        Self { format, form: format.form(), state, held, calls }
    }

    /// Takes more text, and tells what became certain.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        for c in text.chars() {
            self.feed(c);
        }
        self.calls.take()
    }

    /// The rest, when no more text comes.
    pub fn finish(&mut self) -> Vec<Piece> {
        let is_left_out = match &self.state {
            // Half an end marker of a call is no text.
            State::Gap { is_after_call, marker } => {
                let begun = self.held.get(*marker..).unwrap_or_default();
                let is_end = self.form.ends.iter().any(|end| end.starts_with(begun));
                *is_after_call && (begun.is_empty() || is_end)
            }
            State::Text | State::Marked(_) => false,
            State::Reading { count, .. } => self.calls.count() > *count,
        };
        if !is_left_out {
            self.calls.text(&self.held);
        }
        self.held.clear();
        self.state = State::Text;
        self.calls.take()
    }

    /// Calls that have begun so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.calls.count()
    }

    fn feed(&mut self, c: char) {
        match &mut self.state {
            State::Text => {
                self.held.push(c);
                self.settle();
            }
            State::Gap { .. } => self.gap(c),
            State::Marked(marker) => {
                let marker = *marker;
                self.held.push(c);
                if self.held.len() > HELD_BYTES_MAX {
                    self.settle();
                } else if !is_blank(c) {
                    self.begin(c, Some(marker));
                }
            }
            State::Reading { .. } => {
                self.held.push(c);
                self.read(c);
            }
        }
    }

    /// Text has grown: what cannot be a marker's beginning is let go.
    fn settle(&mut self) {
        let opens = self.form.opens;
        let from = self.held.len().saturating_sub(MARKER_BYTES_MAX);
        let begins = self.held.char_indices().map(|(at, _)| at).skip_while(|at| *at < from);
        let begins = begins.filter(|at| {
            let tail = &self.held[*at..];
            opens.iter().any(|open| open.starts_with(tail))
        });
        let begin = begins.min().unwrap_or(self.held.len());
        self.calls.text(&self.held[..begin]);
        self.held.drain(..begin);
        self.state = match opens.iter().find(|open| **open == self.held) {
            Some(open) => State::Marked(open),
            None => State::Text,
        };
    }

    fn gap(&mut self, c: char) {
        let State::Gap { is_after_call, marker } = self.state else { return };
        self.held.push(c);
        let begun = &self.held[marker..];
        if begun.len() == c.len_utf8() && is_blank(c) {
            if self.held.len() > BLANK_BYTES_MAX {
                return self.settle();
            }
            self.state = State::Gap { is_after_call, marker: self.held.len() };
            return;
        }
        if begun.len() == c.len_utf8() && self.form.bare.contains(&c) {
            return self.begin(c, None);
        }
        let opens = self.form.opens;
        if let Some(open) = opens.iter().find(|open| **open == begun) {
            self.state = State::Marked(open);
            return;
        }
        let ends = if is_after_call { self.form.ends } else { &[] };
        if opens.iter().any(|open| open.starts_with(begun)) {
            return;
        }
        // An end may begin as an open does.
        if let Some(end) = ends.iter().find(|end| begun.starts_with(**end)) {
            let rest = begun[end.len()..].to_owned();
            self.held.clear();
            self.state = State::Gap { is_after_call, marker: 0 };
            rest.chars().for_each(|c| self.feed(c));
        } else if !ends.iter().any(|end| end.starts_with(begun)) {
            self.settle();
        }
    }

    /// The first letter behind a marker, or of a call without one.
    fn begin(&mut self, c: char, marker: Option<&'static str>) {
        use ToolFormat::{DeepSeekV3, DeepSeekV31, Mistral as MistralFormat, Pythonic, Qwen3Xml};
        let is_weak = self.form.is_weak || marker.is_none();
        let is_deepseek = matches!(self.format, DeepSeekV3 | DeepSeekV31);
        let is_call = marker == Some(DEEPSEEK_CALL);
        let mut reader = match (c, self.format) {
            _ if is_deepseek => Reader::DeepSeek(DeepSeek::new(is_call)),
            _ if marker == Some(FUNCTION) => Reader::Xml(Xml::new(true)),
            ('<', Qwen3Xml) => Reader::Xml(Xml::new(false)),
            ('{', _) => Reader::Object(Object::new(is_weak)),
            ('[', _) => Reader::List(List::new(is_weak, self.format == Pythonic)),
            (c, MistralFormat) if is_of_name(c) => Reader::Mistral(Mistral::new()),
            _ => return self.settle(),
        };
        // The others begin behind their bracket.
        let is_fed = match &reader {
            Reader::Object(_) | Reader::List(_) => true,
            Reader::Mistral(_) | Reader::DeepSeek(_) | Reader::Xml(_) => false,
        };
        let fed = if is_fed { Fed::More } else { reader.feed(c, &mut self.calls) };
        self.state = State::Reading { reader, count: self.calls.count() };
        if fed == Fed::Wrong {
            self.settle();
        }
    }

    fn read(&mut self, c: char) {
        let State::Reading { reader, .. } = &mut self.state else { return };
        let before = self.calls.handed();
        let mut fed = reader.feed(c, &mut self.calls);
        if self.calls.handed() != before {
            self.held.clear();
        }
        if self.held.len() > HELD_BYTES_MAX {
            fed = Fed::Wrong;
        }
        match fed {
            Fed::More => {}
            Fed::Wrong => self.settle(),
            Fed::Done | Fed::Before => {
                self.held.clear();
                self.state = State::Gap { is_after_call: true, marker: 0 };
                if fed == Fed::Before {
                    self.feed(c);
                }
            }
        }
    }
}
