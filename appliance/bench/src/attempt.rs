//! One request, from its first byte out to its last byte in, with a time for each token.
//!
//! Times are taken when bytes arrive, before they are understood. Each request has a connection of
//! its own, and nothing is retried: llama.cpp's server promises to keep a connection and closes it
//! after each stream (build 0c1e570), and whether a request that met the end was read, nobody knows.
//! Next: `record.rs`.

use std::time::{Duration, Instant};

use hyper::{Method, header};
use serde_json::Value;

use crate::client::{Fault, FaultKind, Target, Timeouts, next_piece, read_whole};
use crate::frames::{Frames, Framing, TooLong};
use crate::record::{Counted, Record, RequestError};
use crate::script::Ask;
use crate::wire::{Api, Counts, message_of};

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) target: Target,
    pub(crate) api: Api,
    pub(crate) timeouts: Timeouts,
}

/// What has come of a stream so far.
#[derive(Debug, Default)]
struct Marks {
    first: Option<Instant>,
    last: Option<Instant>,
    gaps_us: Vec<u64>,
    pieces: u32,
    counts: Counts,
    is_finished: bool,
}

/// Makes a request. Never fails: what went wrong is in the record.
pub(crate) async fn attempt(route: &Route, ask: &Ask, epoch: Instant) -> Record {
    let sent = Instant::now();
    let mut marks = Marks::default();
    let whole = stream(route, ask, &mut marks);
    let ended = match tokio::time::timeout(route.timeouts.request, whole).await {
        Ok(ended) => ended,
        Err(_) => {
            let what = format!("not finished in {:?}", route.timeouts.request);
            Err(Fault::new(FaultKind::Timeout, what))
        }
    };
    let end = Instant::now();
    let error = ended
        .err()
        .map(|fault| RequestError { kind: fault.kind.to_string(), message: fault.message });
    let counts = marks.counts;
    Record {
        index: ask.index,
        due_us: ask.due.map(micros),
        sent_us: micros(sent.saturating_duration_since(epoch)),
        prompt_tokens_asked: ask.prompt_tokens,
        output_tokens_asked: ask.output_tokens,
        prompt_tokens: counts.prompt,
        cached_tokens: counts.cached,
        output_tokens: counts.output.unwrap_or(marks.pieces),
        output_counted: if counts.output.is_some() { Counted::Server } else { Counted::Pieces },
        ttft_us: marks.first.map(|first| micros(first.duration_since(sent))),
        itl_us: marks.gaps_us,
        e2e_us: micros(end.duration_since(sent)),
        error,
    }
}

/// A duration as whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn stream(route: &Route, ask: &Ask, marks: &mut Marks) -> Result<(), Fault> {
    let request = || {
        let path = route.api.path();
        let mut request = route.target.request(Method::POST, path, ask.body.clone());
        let accept = header::HeaderValue::from_static(route.api.accept());
        request.headers_mut().insert(header::ACCEPT, accept);
        request
    };
    // Dropped at the end, early or not, and with it the request.
    let (_connection, response) = route.target.send(None, &route.timeouts, request).await?;
    let status = response.status().as_u16();
    if status != 200 {
        let body = read_whole(response, route.timeouts.read).await?;
        return Err(Fault::new(FaultKind::Status(status), told(&body)));
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(framing) = Framing::of(content_type) else {
        let what = format!("no stream, but content-type {content_type:?}");
        return Err(Fault::new(FaultKind::Shape, what));
    };
    let mut frames = Frames::new(framing);
    let mut body = response.into_body();
    while let Some(piece) = next_piece(&mut body, route.timeouts.read).await? {
        let now = Instant::now();
        frames
            .push(&piece)
            .map_err(|TooLong| Fault::new(FaultKind::Shape, "an event of more than a megabyte"))?;
        marks.take(route.api, &mut frames, now)?;
    }
    frames.end();
    marks.take(route.api, &mut frames, Instant::now())?;
    if !marks.is_finished {
        let what = format!("the stream ended after {} tokens, before its end", marks.pieces);
        return Err(Fault::new(FaultKind::Cut, what));
    }
    Ok(())
}

/// What a refusal says.
fn told(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => message_of(&value),
        Err(_) => message_of(&Value::String(String::from_utf8_lossy(body).into_owned())),
    }
}

impl Marks {
    /// Takes what the events of one arrival say.
    fn take(&mut self, api: Api, frames: &mut Frames, now: Instant) -> Result<(), Fault> {
        while let Some(event) = frames.next_event() {
            let seen = api.read(&event).map_err(|why| {
                Fault::new(FaultKind::Shape, format!("an event that is not understood: {why}"))
            })?;
            if let Some(message) = seen.error {
                return Err(Fault::new(FaultKind::Stream, message));
            }
            self.is_finished |= seen.is_finished;
            if let Some(counts) = seen.counts {
                self.counts = counts;
            }
            if seen.has_token {
                self.pieces = self.pieces.saturating_add(1);
                match self.last.replace(now) {
                    None => self.first = Some(now),
                    Some(last) => self.gaps_us.push(micros(now.duration_since(last))),
                }
            }
        }
        Ok(())
    }
}
