//! Reading a request's body within its limits: bytes, time, and the bytes of all bodies together.
//!
//! What a body means is not known here. Next: `fields.rs`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;

use crate::AppState;
use crate::fault::{Fault, Kind};
use crate::state::BODY_UNIT_BYTES;

/// A whole body, and its share of the memory for bodies.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    _share: Vec<OwnedSemaphorePermit>,
}

/// Reads a body.
pub(crate) async fn receive(
    app: &AppState,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Fault> {
    let settings = app.settings();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    check_len(announced.unwrap_or(0), settings.body_bytes_max)?;
    let read = read(app, body.into_data_stream());
    tokio::time::timeout(settings.body_timeout, read).await.unwrap_or_else(|_| {
        let seconds = settings.body_timeout.as_secs();
        Err(Fault::new(Kind::BodyTooSlow, format!("the body did not come within {seconds} s")))
    })
}

async fn read(app: &AppState, mut stream: BodyDataStream) -> Result<Received, Fault> {
    let (mut bytes, mut share, mut shared) = (Vec::new(), Vec::new(), 0);
    while let Some(chunk) = poll_fn(|c| Pin::new(&mut stream).poll_next(c)).await {
        let broken = |e| Fault::new(Kind::Invalid, format!("the body broke off: {e}"));
        let chunk = chunk.map_err(broken)?;
        check_len(bytes.len() + chunk.len(), app.settings().body_bytes_max)?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() > shared {
            let units = (bytes.len() - shared).div_ceil(BODY_UNIT_BYTES);
            shared += units * BODY_UNIT_BYTES;
            share.push(reserve(app, units)?);
        }
    }
    Ok(Received { bytes, _share: share })
}

fn reserve(app: &AppState, units: usize) -> Result<OwnedSemaphorePermit, Fault> {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    Arc::clone(app.bodies()).try_acquire_many_owned(units).map_err(|_| {
        let message = "too many large bodies at once; try again";
        Fault { retry_after_ms: Some(1000), ..Fault::new(Kind::Unavailable, message) }
    })
}

fn check_len(bytes: usize, bytes_max: usize) -> Result<(), Fault> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("the body has more than {bytes_max} bytes (body_bytes_max)");
    Err(Fault::new(Kind::BodyTooLarge, message))
}
