//! How the values of a stream are framed: JSON lines, or server-sent events.
//!
//! Next: `stream.rs`.

use serde::Serialize;

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON value a line, and nothing else.
    Lines,
    /// The same, by the name that Ollama has for it.
    NewlineDelimited,
    /// Server-sent events as LMI and TGI write them: no space after the colon, no `[DONE]`.
    PlainEvents,
    /// Server-sent events as OpenAI writes them.
    Events,
}

impl Framing {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/jsonlines",
            Self::NewlineDelimited => "application/x-ndjson",
            Self::PlainEvents | Self::Events => EVENT_STREAM,
        }
    }
}

/// Frames that wait to be sent.
#[derive(Debug)]
pub(crate) struct Frames {
    framing: Framing,
    pub(crate) bytes: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, bytes: Vec::new() }
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: &impl Serialize) {
        let (before, after) = match self.framing {
            Framing::Lines | Framing::NewlineDelimited => ("", "\n"),
            Framing::PlainEvents => ("data:", "\n\n"),
            Framing::Events => ("data: ", "\n\n"),
        };
        self.bytes.extend_from_slice(before.as_bytes());
        serde_json::to_writer(&mut self.bytes, value).expect("names of members are texts");
        self.bytes.extend_from_slice(after.as_bytes());
    }

    /// Adds an event that has a name; for `Events`.
    pub(crate) fn named(&mut self, name: &str, value: &impl Serialize) {
        self.bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
        self.add(value);
    }

    /// Adds what ends a stream that did not fail.
    pub(crate) fn done(&mut self) {
        if self.framing == Framing::Events {
            self.bytes.extend_from_slice(b"data: [DONE]\n\n");
        }
    }
}
