//! A body in pieces becomes events: server-sent events or JSON lines, whatever the pieces are.
//!
//! What an event means is the API's matter (`wire.rs`).

use std::collections::VecDeque;

/// An event larger than this is no token of a stream.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `text/event-stream`: the `data:` lines up to an empty line are one event.
    Sse,
    /// One event a line.
    JsonLines,
}

impl Framing {
    /// The framing of a content type that streams.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Some(Self::Sse),
            "application/jsonlines" | "application/x-ndjson" | "application/jsonl" => {
                Some(Self::JsonLines)
            }
            _ => None,
        }
    }
}

/// An event that exceeds the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// A body's bytes on their way to events.
#[derive(Debug)]
pub(crate) struct Frames {
    framing: Framing,
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a line feed after it belongs to it.
    after_return: bool,
    events: VecDeque<Vec<u8>>,
}

impl Frames {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_return: false,
            events: VecDeque::new(),
        }
    }

    /// Takes the next piece of the body.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line();
                }
                _ => {
                    self.after_return = false;
                    self.line.push(*byte);
                    if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(())
    }

    /// The body is over: a last JSON line may lack its end; an unfinished server-sent event is
    /// dropped, as the specification says.
    pub(crate) fn end(&mut self) {
        if self.framing == Framing::JsonLines {
            self.end_line();
        }
    }

    /// The oldest event not taken yet.
    pub(crate) fn next_event(&mut self) -> Option<Vec<u8>> {
        self.events.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.framing {
            Framing::JsonLines if line.is_empty() => {}
            Framing::JsonLines => self.events.push_back(line),
            Framing::Sse if line.is_empty() => {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.has_data) {
                    self.events.push_back(data);
                }
            }
            // Other fields and comments (`:`) tell nothing about tokens.
            Framing::Sse => {
                let Some(value) = line.strip_prefix(b"data:") else { return };
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same events for every way to cut the body in two, and byte by byte.
    fn check(framing: Framing, body: &str, expect: &[&str]) {
        let bytes = body.as_bytes();
        let read = |pieces: &[&[u8]]| -> Vec<String> {
            let mut frames = Frames::new(framing);
            for piece in pieces {
                frames.push(piece).expect("short events");
            }
            frames.end();
            let events = std::iter::from_fn(|| frames.next_event());
            events.map(|e| String::from_utf8(e).expect("text")).collect()
        };
        for cut in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), expect, "cut at {cut}: {body:?}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), expect, "byte by byte: {body:?}");
    }

    #[test]
    fn server_sent_events_survive_every_cut() {
        let one = ["{\"a\":1}", "[DONE]"];
        check(Framing::Sse, "data: {\"a\":1}\n\ndata: [DONE]\n\n", &one);
        check(Framing::Sse, "data:{\"a\":1}\r\n\r\ndata: [DONE]\r\n\r\n", &one);
        check(Framing::Sse, "data: {\"a\":1}\r\rdata: [DONE]\r\r", &one);
        check(Framing::Sse, ": ping\n\nevent: x\nid: 4\ndata: a\ndata:  b\n\n", &["a\n b"]);
        check(Framing::Sse, "data: é\n\n\n\ndata:\n\n", &["é", ""]);
        check(Framing::Sse, "data: a\n\ndata: never ended", &["a"]);
    }

    #[test]
    fn json_lines_survive_every_cut() {
        check(Framing::JsonLines, "{\"a\":\"é\"}\n{}\n", &["{\"a\":\"é\"}", "{}"]);
        check(Framing::JsonLines, "1\r\n\n\n2", &["1", "2"]);
        check(Framing::JsonLines, "", &[]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut frames = Frames::new(Framing::Sse);
        assert_eq!(frames.push(&vec![b'x'; EVENT_BYTES_MAX]), Ok(()));
        assert_eq!(frames.push(b"x"), Err(TooLong));
    }

    #[test]
    fn content_types_decide_the_framing() {
        for (text, expect) in [
            ("text/event-stream; charset=utf-8", Some(Framing::Sse)),
            ("application/jsonlines", Some(Framing::JsonLines)),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(Framing::of(text), expect, "{text}");
        }
    }
}
