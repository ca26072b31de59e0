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

    /// Adds a value.
    pub(crate) fn frame(self, value: &Value, out: &mut String) {
        let frame = match self {
            Self::Lines => format!("{value}\n"),
            Self::PlainEvents => format!("data:{value}\n\n"),
            Self::Events => format!("data: {value}\n\n"),
        };
        out.push_str(&frame);
    }

    /// Adds what ends a stream that did not fail.
    pub(crate) fn done(self, out: &mut String) {
        if self == Self::Events {
            out.push_str("data: [DONE]\n\n");
        }
    }
}
