//! Answers: whole, or deltas that become frames of a schema, and frames a chunked body.
//!
//! Frames are made by the schemas (`Encode`). When the client goes, the body is dropped, the pump
//! ends, and with it the generations. Next: `lmi/`, `openai/`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use futures_core::Stream;
use gimbal_engine::{Completed, Delta, Usage};
use tokio::sync::mpsc;
use tracing::debug;

use crate::call::Call;
use crate::fault::Fault;
use crate::framing::{Frames, Framing};
use crate::generations::Generations;
use crate::peer::Peer;
use crate::whole;

/// Frames that wait for the socket; the rest waits as tokens in the engine's channel.
const FRAMES_MAX: usize = 16;

/// How a schema writes an answer.
pub(crate) trait Encode: Send + 'static {
    /// The whole of it.
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes;

    /// One delta of a prompt. `Break` ends the stream at once, without `end`.
    fn delta(&mut self, prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()>;

    /// What comes after the last token.
    fn end(&mut self, _cost: Usage, _out: &mut Frames) {}
}

/// The answer: a stream where there is a framing for it, whole otherwise.
pub(crate) async fn answer(
    call: &Call,
    generations: Generations,
    encoder: impl Encode,
    framing: Option<Framing>,
) -> Result<Response<Body>, Fault> {
    if let Some(framing) = framing {
        return Ok(response(call, generations, encoder, framing));
    }
    let (prompts, cost) = generations.complete().await?;
    whole::json(call, encoder.whole(&prompts, cost))
}

/// A response that streams.
fn response(
    call: &Call,
    generations: Generations,
    encoder: impl Encode,
    framing: Framing,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let out = Frames::new(framing);
    tokio::spawn(pump(call.peer.clone(), generations, encoder, out, sender));
    let mut response = Response::new(Body::from_stream(Sent(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that would collect a stream (nginx) are asked not to.
    let no = HeaderValue::from_static("no");
    headers.insert(HeaderName::from_static("x-accel-buffering"), no);
    response
}

/// Runs until the last frame is handed over or the client is gone.
async fn pump(
    peer: Peer,
    mut generations: Generations,
    mut encoder: impl Encode,
    mut out: Frames,
    frames: mpsc::Sender<Bytes>,
) {
    loop {
        let bytes = std::mem::take(&mut out.bytes);
        if !bytes.is_empty() && frames.send(Bytes::from(bytes)).await.is_err() {
            break;
        }
        let next = tokio::select! {
            biased;
            () = frames.closed() => break,
            () = peer.gone() => break,
            next = poll_fn(|context| generations.poll_next(context)) => next,
        };
        let flow = match next {
            Some((prompt, delta)) => encoder.delta(prompt, delta, &mut out),
            None => {
                encoder.end(generations.usage(), &mut out);
                ControlFlow::Break(())
            }
        };
        if flow.is_break() {
            // The client may be gone; then nobody misses the last frame.
            drop(frames.send(Bytes::from(out.bytes)).await);
            let usage = generations.usage();
            debug!(tokens = usage.completion_tokens, "stream ended");
            return;
        }
    }
    debug!("client gone");
}

/// The receiving end as a body.
struct Sent(mpsc::Receiver<Bytes>);

impl Stream for Sent {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
