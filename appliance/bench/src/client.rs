//! One server's address, and connections to it with every wait bounded.
//!
//! HTTP/1.1 without TLS, no redirects, no pool: who wants to keep a connection holds it. Next: `attempt.rs`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest answer that is read whole; a list of token ids is the largest of them.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// How long to wait for a server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of an answer, the first ones included.
    pub read: Duration,
    /// For a whole request.
    pub request: Duration,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
    prefix: String,
    /// What is sent as `authorization`.
    key: Option<HeaderValue>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
}

/// Why a request has no answer, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// No connection.
    Connect,
    /// Nothing came for too long.
    Timeout,
    /// The server said no.
    Status(u16),
    /// The answer ended before its end.
    Cut,
    /// The server said in the stream that it failed.
    Stream,
    /// The answer is of no known shape.
    Shape,
    /// The client had too many requests under way.
    NotSent,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The `server` header.
    pub(crate) server: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// One connection; ends when dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<String>,
    driver: JoinHandle<()>,
}

impl Target {
    /// `http://HOST[:PORT][/PREFIX]`.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text}: {what}; give a URL as http://127.0.0.1:8080");
        let uri: Uri = text.parse().map_err(|e| wrong(&format!("{e}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("TLS is not spoken here; name the server behind it"));
            }
            _ => return Err(wrong("no URL of a server")),
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(wrong("no host"));
        };
        if uri.query().is_some() {
            return Err(wrong("a query belongs to a request"));
        }
        Ok(Self {
            url: text.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            key: None,
        })
    }

    /// The same server, with a key for every request.
    ///
    /// # Errors
    /// No header can hold the key, and what one can.
    pub fn with_key(self, key: &str) -> Result<Self, String> {
        let is_legal = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        let value = HeaderValue::from_str(&format!("Bearer {key}")).ok().filter(|_| is_legal);
        let mut value = value.ok_or("a key is of visible ASCII letters")?;
        value.set_sensitive(true);
        Ok(Self { key: Some(value), ..self })
    }

    /// A request for a route; nothing is sent yet.
    pub(crate) fn request(&self, method: Method, path: &str, body: String) -> Request<String> {
        let builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::USER_AGENT, concat!("gimbal-bench/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json");
        let builder = match &self.key {
            Some(key) => builder.header(header::AUTHORIZATION, key),
            None => builder,
        };
        builder.body(body).expect("routes are constants and the prefix was part of a URI")
    }

    /// A new connection.
    async fn connect(&self, timeouts: &Timeouts) -> Result<Connection, Fault> {
        let fault = |what: &dyn fmt::Display| {
            Fault::new(FaultKind::Connect, format!("no connection: {what}"))
        };
        // A literal address of version 6 is in brackets in a URL only.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, self.port));
        let stream = match tokio::time::timeout(timeouts.connect, connecting).await {
            Err(_) => return Err(fault(&format!("nothing for {:?}", timeouts.connect))),
            Ok(Err(e)) => return Err(fault(&e)),
            Ok(Ok(stream)) => stream,
        };
        stream.set_nodelay(true).map_err(|e| fault(&e))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|e| fault(&e))?;
        // A connection's end is seen by who uses it.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Connection { sender, driver })
    }

    /// Sends a request and waits for the head of its answer, on the kept connection or a new one.
    ///
    /// Servers close connections after a number of requests or a time. A kept one that turns out
    /// to be closed is replaced once: that is no answer of the server's.
    pub(crate) async fn send(
        &self,
        kept: Option<Connection>,
        timeouts: &Timeouts,
        request: impl Fn() -> Request<String>,
    ) -> Result<(Connection, Response<Incoming>), Fault> {
        if let Some(mut connection) = kept {
            match connection.send(request(), timeouts.read).await {
                Ok(response) => return Ok((connection, response)),
                Err(broken) if broken.is_stale() => {}
                Err(broken) => return Err(broken.fault()),
            }
        }
        let mut connection = self.connect(timeouts).await?;
        match connection.send(request(), timeouts.read).await {
            Ok(response) => Ok((connection, response)),
            Err(broken) => Err(broken.fault()),
        }
    }

    /// A whole exchange; leaves the connection for the next one.
    pub(crate) async fn exchange(
        &self,
        link: &mut Option<Connection>,
        timeouts: &Timeouts,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Reply, Fault> {
        let request = || self.request(method.clone(), path, body.clone());
        let (connection, response) = self.send(link.take(), timeouts, request).await?;
        let status = response.status().as_u16();
        let server = response.headers().get(header::SERVER);
        let server = server.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read_whole(response, timeouts.read).await?;
        *link = Some(connection);
        Ok(Reply { status, server, body })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Connection {
    async fn send(
        &mut self,
        request: Request<String>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Broken> {
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Broken::Failed(error)),
            Err(_) => Err(Broken::Silent(patience)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// How a connection failed before there was an answer.
#[derive(Debug)]
enum Broken {
    Failed(hyper::Error),
    Silent(Duration),
}

impl Broken {
    /// The server had closed the kept connection before the request was written: a new one may do.
    /// Once it was written, the server may have read it, and silence is its answer.
    fn is_stale(&self) -> bool {
        matches!(self, Self::Failed(e) if e.is_canceled() || e.is_closed())
    }

    fn fault(self) -> Fault {
        match self {
            Self::Failed(error) => Fault::new(FaultKind::Cut, format!("before an answer: {error}")),
            Self::Silent(patience) => Fault::silent(patience),
        }
    }
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn silent(patience: Duration) -> Self {
        Self::new(FaultKind::Timeout, format!("nothing came for {patience:?}"))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Cut => f.write_str("cut"),
            Self::Stream => f.write_str("stream"),
            Self::Shape => f.write_str("shape"),
            Self::NotSent => f.write_str("not sent"),
        }
    }
}

/// The next piece of a body; none at its proper end.
pub(crate) async fn next_piece(
    body: &mut Incoming,
    patience: Duration,
) -> Result<Option<Bytes>, Fault> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match bounded(frame, patience).await? {
            None => return Ok(None),
            Some(Err(e)) => return Err(Fault::new(FaultKind::Cut, format!("in the answer: {e}"))),
            // Trailers tell nothing about tokens.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A whole body, up to the limit.
pub(crate) async fn read_whole(
    response: Response<Incoming>,
    patience: Duration,
) -> Result<Vec<u8>, Fault> {
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(piece) = next_piece(&mut incoming, patience).await? {
        if body.len() + piece.len() > REPLY_BYTES_MAX {
            let what = format!("an answer of more than {REPLY_BYTES_MAX} bytes");
            return Err(Fault::new(FaultKind::Shape, what));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

async fn bounded<T>(wait: impl Future<Output = T>, patience: Duration) -> Result<T, Fault> {
    tokio::time::timeout(patience, wait).await.map_err(|_| Fault::silent(patience))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_with_the_remedy() {
        let target = Target::parse("http://[::1]:9/behind/").expect("a URL");
        assert_eq!((target.host.as_str(), target.port), ("[::1]", 9));
        assert_eq!(
            (target.prefix.as_str(), target.url.as_str()),
            ("/behind", "http://[::1]:9/behind")
        );
        assert_eq!(Target::parse("http://host").expect("a URL").port, 80);
        let keyed = target.with_key("cheese").expect("a key");
        let sent = keyed.request(Method::GET, "/", String::new());
        assert_eq!(sent.headers()[header::AUTHORIZATION], "Bearer cheese");
        assert!(!format!("{keyed:?} {keyed} {sent:?}").contains("cheese"), "{keyed:?}");
        assert!(keyed.with_key("a\nb").is_err());
        for (text, expect) in [
            ("https://host", "TLS"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("host", "no URL"),
            ("http://", "http://127.0.0.1:8080"),
            ("http://host/?a=b", "query"),
            ("ftp://host", "no URL"),
        ] {
            let why = Target::parse(text).expect_err(text);
            assert!(why.contains(expect), "{text}: {why}");
        }
    }
}
