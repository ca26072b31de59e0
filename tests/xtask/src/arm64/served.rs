//! `gimbal serve` on an emulated processor: `/ping`, one streamed chat, and SIGTERM.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// From the start of the process to a warm model.
const BOOT_MAX: Duration = Duration::from_secs(300);
/// One read of an answer: a first token takes minutes where other work shares the machine.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// Tokens of the chat.
const TOKENS: usize = 8;

/// A process that ends with its owner.
struct Served {
    process: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) && self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

/// Starts `serve` with its first words, asks, and ends it.
pub(super) fn check(serve: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut served = start(serve)?;
    while status(&ask(served.address, "GET", "/ping", "")?)? != 200 {
        ensure!(started.elapsed() < BOOT_MAX, "not warm after {BOOT_MAX:?}");
        ensure!(served.process.try_wait()?.is_none(), "the server ended at its start");
        thread::sleep(Duration::from_millis(200));
    }
    let warm = started.elapsed();
    let messages = [json!({ "role": "user", "content": "Say hello." })];
    let body = json!({
        "messages": messages, "temperature": 0, "max_tokens": TOKENS, "stream": true,
    });
    let answer = ask(served.address, "POST", "/v1/chat/completions", &body.to_string())?;
    let (text, pieces) = spoken(&answer)?;
    ensure!(pieces > 1 && !text.trim().is_empty(), "the stream said {text:?} in {pieces} pieces");
    let pid = served.process.id().to_string();
    ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill {pid}");
    let status = served.process.wait()?;
    ensure!(status.success(), "the server ended with {status}");
    eprintln!("it was warm after {:.0} s, said {text:?} in {pieces} pieces", warm.as_secs_f64());
    Ok(())
}

fn start(serve: &mut Command) -> anyhow::Result<Served> {
    serve.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
    let mut process = serve.stderr(Stdio::piped()).spawn().context("cannot start the server")?;
    let log = process.stderr.take().context("its log is a pipe")?;
    let mut served = Served { process, address: ([127, 0, 0, 1], 0).into() };
    let mut lines = BufReader::new(log).lines();
    served.address = loop {
        let line = lines.next().context("the log ended before `listening`")??;
        let entry: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if entry["message"] == "listening" {
            break entry["address"].as_str().context("an address")?.parse()?;
        }
    };
    // A full pipe would stop it; it ends with the process.
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(served)
}

/// A whole answer, head and body, in chunks as it came.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    read.with_context(|| format!("{path} was not answered within {ANSWER_MAX:?}"))?;
    Ok(String::from_utf8(answer)?)
}

fn status(answer: &str) -> anyhow::Result<u16> {
    let code = answer.split(' ').nth(1).with_context(|| format!("no answer: {answer:?}"))?;
    Ok(code.parse()?)
}

/// The text of a streamed chat and its pieces; it must have ended as streams do.
fn spoken(answer: &str) -> anyhow::Result<(String, usize)> {
    if status(answer)? != 200 {
        bail!("the chat was answered with {answer}");
    }
    let events: Vec<&str> =
        answer.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::trim).collect();
    ensure!(events.last() == Some(&"[DONE]"), "a stream without its end: {answer}");
    let (mut text, mut pieces) = (String::new(), 0);
    for event in events.iter().take(events.len() - 1) {
        let event: Value = serde_json::from_str(event).with_context(|| (*event).to_owned())?;
        ensure!(event["error"].is_null(), "{event}");
        if let Some(piece) = event["choices"][0]["delta"]["content"].as_str()
            && !piece.is_empty()
        {
            text += piece;
            pieces += 1;
        }
    }
    Ok((text, pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_to_its_end() {
        let event = |text: &str| json!({ "choices": [{ "delta": { "content": text } }] });
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!(
            "{head}3e\r\ndata: {}\r\n\r\ndata: {}\r\n\r\ndata: [DONE]\r\n\r\n0\r\n\r\n",
            event("Hel"),
            event("lo")
        );
        assert_eq!(spoken(&answer).expect("whole"), ("Hello".to_owned(), 2));
        assert!(spoken(&answer.replace("[DONE]", "{}")).is_err());
        assert!(spoken("HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert_eq!(status("HTTP/1.1 404 Not Found\r\n").expect("a head"), 404);
        assert!(status("").is_err());
    }
}
