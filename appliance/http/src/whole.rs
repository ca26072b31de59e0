//! Whole answers: JSON with its length, counted until the client has read it.
//!
//! Never chunked, as the cloud's asynchronous calls need it. What waits for a client stays here and is
//! handed over in pieces, so that no other buffer holds it uncounted. Next: `stream.rs`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::budget::Share;
use crate::call::{self, Call};
use crate::fault::Fault;

/// Bytes that are handed over at once: about what a socket's buffer takes.
const PIECE_BYTES: usize = 64 << 10;

/// A whole answer as JSON; refused where too many large ones wait for clients that do not read.
pub(crate) fn json(call: &Call, rest: Bytes) -> Result<Response<Body>, Fault> {
    let mut share = call.app.answers().share(call.peer.address);
    share.grow_to(rest.len())?;
    Ok(call::json_text(Body::new(Whole { rest, _share: share })))
}

/// What is not handed over yet.
struct Whole {
    rest: Bytes,
    _share: Share,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match self.rest.len() {
            ..=PIECE_BYTES => std::mem::take(&mut self.rest),
            // A copy: a part of the whole would keep the whole.
            _ => Bytes::copy_from_slice(&self.rest.split_to(PIECE_BYTES)),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
