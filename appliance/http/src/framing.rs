//! How the values of a stream are framed: JSON lines, or server-sent events.
//!
//! Next: `stream.rs`.

use serde_json::Value;

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON value a line, and nothing else.
    Lines,
    /// Server-sent events as LMI and TGI write them: no space after the colon, no `[DONE]`.
    PlainEvents,
    /// Server-sent events as OpenAI writes them.
    Events,
}

impl Framing {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/jsonlines",
            Self::PlainEvents | Self::Events => EVENT_STREAM,
        }
    }
}

/// Frames that wait to be sent.
#[derive(Debug)]
pub(crate) struct Frames {
    framing: Framing,
    pub(crate) text: String,
}

impl Frames {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, text: String::new() }
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: &Value) {
        let frame = match self.framing {
            Framing::Lines => format!("{value}\n"),
            Framing::PlainEvents => format!("data:{value}\n\n"),
            Framing::Events => format!("data: {value}\n\n"),
        };
        self.text.push_str(&frame);
    }

    /// Adds what ends a stream that did not fail.
    pub(crate) fn done(&mut self) {
        if self.framing == Framing::Events {
            self.text.push_str("data: [DONE]\n\n");
        }
    }
}
