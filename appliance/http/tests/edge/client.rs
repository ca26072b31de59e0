//! An HTTP/1.1 client by hand, so that tests see the bytes: lengths, chunks, half-closed sockets.
//!
//! Next: `contract.rs`.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The JSON values of JSON lines or server-sent events, without their names and `[DONE]`.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.body.lines().map(|l| l.strip_prefix("data:").unwrap_or(l).trim());
        let is_value = |l: &&str| !l.is_empty() && *l != "[DONE]" && !l.starts_with("event:");
        let values = lines.filter(is_value);
        values.map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, bytes: &str) -> Response {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // A server that refuses early may close before all is written.
    drop(stream.write_all(bytes.as_bytes()).await);
    read(&mut stream).await
}

/// Reads a response until the server closes.
pub(crate) async fn read(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let response = Response { status, head: head.to_owned(), body: String::new() };
    let chunked = response.header("transfer-encoding") == Some("chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Response { body, ..response }
}

/// Chunk sizes are of bytes; the text of a chunk may end within a character only if the server
/// cuts one, which it never does.
fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        body.push_str(rest.get(..size).expect("a chunk of whole characters"));
        text = &rest[size + 2..];
    }
    body
}
