//! The instance metadata service, version 2: a token, then a few words.
//!
//! Over a plain socket, 150 ms in all; what goes wrong is a reason. In containers the service is
//! often out of reach (a hop limit of 1), and under SageMaker it is not offered.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Where EC2 has it.
pub const IMDS_ADDRESS: &str = "169.254.169.254:80";
/// For all requests together: it answers in 1 ms or not at all.
const BUDGET: Duration = Duration::from_millis(150);
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 8192;

/// Whether to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Imds {
    /// Do not.
    #[default]
    Never,
    /// Where DMI says EC2, at [`IMDS_ADDRESS`].
    OnEc2,
    /// At this address, whatever the machine is.
    At(SocketAddr),
}

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Instance type.
    pub instance: String,
    /// Region.
    pub region: String,
}

/// Asks the service, or says why there is no answer.
pub(crate) fn ask(address: SocketAddr) -> Result<Metadata, String> {
    let until = Instant::now() + BUDGET;
    let put = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let token = request(address, put, until)?;
    let get = |what: &str| {
        let head = format!(
            "GET /latest/meta-data/{what} HTTP/1.1\r\nX-aws-ec2-metadata-token: {token}\r\n"
        );
        request(address, &head, until)
    };
    Ok(Metadata { instance: get("instance-type")?, region: get("placement/region")? })
}

/// One request on a connection of its own; the body, if it is one plain word.
fn request(address: SocketAddr, head: &str, until: Instant) -> Result<String, String> {
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(format!("{address}: no answer in {BUDGET:?}")) } else { Ok(left) }
    };
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("{address}: no answer in {BUDGET:?}")
        }
        _ => format!("{address}: {error}"),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?).map_err(failed)?;
    stream.set_write_timeout(Some(left()?)).map_err(failed)?;
    let text = format!("{head}Host: {}\r\nConnection: close\r\n\r\n", address.ip());
    stream.write_all(text.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    // Read by read, so that a server that drips bytes does not outlive the budget.
    while (answer.len() as u64) < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(left()?)).map_err(failed)?;
        match stream.read(&mut chunk).map_err(failed)? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    word(&String::from_utf8_lossy(&answer)).map_err(|why| format!("{address}: {why}"))
}

/// The body of a 200 that is one word of at most 256 printable characters.
fn word(answer: &str) -> Result<String, String> {
    let status = answer.split_whitespace().nth(1).unwrap_or("nothing");
    if !answer.starts_with("HTTP/1.") || status != "200" {
        return Err(format!("answered {}", status.chars().take(16).collect::<String>()));
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    if body.is_empty() || body.len() > 256 || !body.chars().all(|c| c.is_ascii_graphic()) {
        return Err("answered something else than a word".to_owned());
    }
    Ok(body.to_owned())
}
