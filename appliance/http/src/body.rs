//! Reading a request's body within its limits: bytes, time, and the bytes of all bodies together.
//!
//! What a body means is not known here. Next: `fields.rs`.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_core::Stream;
use tokio::time::{Instant, timeout_at};

use crate::AppState;
use crate::budget::Share;
use crate::fault::{Fault, Kind};

/// A body moves as long as it brings this much each `STRIDE_TIME`; its last piece may be shorter.
const STRIDE_BYTES: usize = 16 << 10;
const STRIDE_TIME: Duration = Duration::from_secs(10);

/// Bodies up to here are parsed at once: 64 KiB take a tenth of a millisecond.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
}

/// A whole body as it came, with its share of the memory for bodies.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    coding: Coding,
    bytes_max: usize,
    share: Share,
}

/// Reads a body.
pub(crate) async fn receive(
    app: &AppState,
    share: Share,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Fault> {
    let settings = app.settings();
    let bytes_max = settings.body_bytes_max;
    let coding = coding(headers)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    check_len(announced.unwrap_or(0), bytes_max)?;
    let mut received = Received { bytes: Vec::new(), coding, bytes_max, share };
    let mut stream = body.into_data_stream();
    let last = Instant::now() + settings.body_timeout;
    let (mut stride, mut stride_end) = (0, Instant::now() + STRIDE_TIME);
    loop {
        let chunk = timeout_at(last.min(stride_end), next(&mut stream)).await;
        let Some(chunk) = chunk.map_err(|_| too_slow(settings.body_timeout))? else { break };
        let chunk = chunk?;
        check_len(received.bytes.len() + chunk.len(), bytes_max)?;
        received.share.grow_to(received.bytes.len() + chunk.len())?;
        received.bytes.extend_from_slice(&chunk);
        if received.bytes.len() >= stride + STRIDE_BYTES {
            (stride, stride_end) = (received.bytes.len(), Instant::now() + STRIDE_TIME);
        }
    }
    Ok(received)
}

async fn next(stream: &mut BodyDataStream) -> Option<Result<Bytes, Fault>> {
    let broken = |e| Fault::new(Kind::Invalid, format!("the body broke off: {e}"));
    let chunk = poll_fn(|c| Pin::new(&mut *stream).poll_next(c)).await?;
    Some(chunk.map_err(broken))
}

impl Received {
    /// True if opening and parsing it takes no time worth waiting for.
    pub(crate) fn is_small(&self) -> bool {
        self.coding == Coding::Plain && self.bytes.len() <= SMALL_BYTES_MAX
    }

    /// The body itself and the share it holds. Takes a while where it must be unpacked.
    pub(crate) fn open(mut self) -> Result<(Bytes, Share), Fault> {
        if self.coding == Coding::Plain {
            return Ok((self.bytes.into(), self.share));
        }
        let packed = self.bytes.len();
        let mut reader = MultiGzDecoder::new(&self.bytes[..]);
        let (mut plain, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let read = reader.read(&mut piece).map_err(|e| {
                Fault::new(
                    Kind::Invalid,
                    format!("the body is not gzip, as content-encoding says: {e}"),
                )
            })?;
            if read == 0 {
                break;
            }
            check_len(plain.len() + read, self.bytes_max)?;
            self.share.grow_to(packed + plain.len() + read)?;
            plain.extend_from_slice(&piece[..read]);
        }
        Ok((plain.into(), self.share))
    }
}

fn coding(headers: &HeaderMap) -> Result<Coding, Fault> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Coding::Plain) };
    match value.to_str().map(|v| v.trim().to_ascii_lowercase()).as_deref() {
        Ok("identity" | "") => Ok(Coding::Plain),
        Ok("gzip" | "x-gzip") => Ok(Coding::Gzip),
        _ => {
            let message = "content-encoding must be gzip or identity";
            Err(Fault::new(Kind::MediaType, message))
        }
    }
}

fn check_len(bytes: usize, bytes_max: usize) -> Result<(), Fault> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("the body has more than {bytes_max} bytes (max_request_size)");
    Err(Fault::new(Kind::BodyTooLarge, message))
}

fn too_slow(body_timeout: Duration) -> Fault {
    let message = format!(
        "the body came too slowly: within {} s it must be whole, and bring {STRIDE_BYTES} bytes each {} s",
        body_timeout.as_secs(),
        STRIDE_TIME.as_secs()
    );
    Fault::new(Kind::BodyTooSlow, message)
}
