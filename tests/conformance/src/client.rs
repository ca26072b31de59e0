//! A small HTTP/1.1 client over plain sockets: what a real client sends, and what a broken one does.
//!
//! Not a library: it speaks only to the server under test and reads bodies of known length, chunked
//! bodies, and bodies that end with the connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// An answer whose head was read.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines, names in small letters.
    pub headers: Vec<(String, String)>,
    body: BufReader<TcpStream>,
}

/// Sends a request and reads the answer's head.
///
/// # Errors
/// The connection fails or the answer is no HTTP.
pub fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Response> {
    let mut socket = TcpStream::connect(address).context("cannot connect")?;
    socket.set_read_timeout(Some(Duration::from_secs(120)))?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    Response::read(socket)
}

/// Posts JSON and returns status and JSON.
///
/// # Errors
/// The connection fails or the answer is no JSON.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let response = send(address, "POST", path, &body.to_string())?;
    let status = response.status;
    let text = response.text()?;
    Ok((status, serde_json::from_str(&text).with_context(|| text)?))
}

impl Response {
    /// Reads an answer's head from a socket.
    ///
    /// # Errors
    /// The answer is no HTTP.
    pub fn read(socket: TcpStream) -> anyhow::Result<Self> {
        let mut body = BufReader::new(socket);
        let mut line = String::new();
        body.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("no status in {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            body.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None if line.trim_end().is_empty() => break,
                None => bail!("header {line:?}"),
            }
        }
        Ok(Self { status, headers, body })
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The whole body.
    ///
    /// # Errors
    /// The connection fails or the body is no UTF-8.
    pub fn text(mut self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk()? {
            bytes.extend(chunk);
        }
        Ok(String::from_utf8(bytes)?)
    }

    /// The next chunk of a chunked body, or the whole of another one; `None` is its end.
    ///
    /// # Errors
    /// The connection fails in the middle.
    pub fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if self.header("transfer-encoding") != Some("chunked") {
            let mut bytes = Vec::new();
            self.body.read_to_end(&mut bytes)?;
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
        let mut line = String::new();
        self.body.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).with_context(|| line.clone())?;
        let mut bytes = vec![0; length + 2];
        self.body.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok((length > 0).then_some(bytes))
    }
}
