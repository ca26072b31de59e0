//! `gimbal serve` as others see it: started, asked, ended. `check` asks for one streamed chat, as slow as
//! emulated processors are.

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
pub(crate) struct Served {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) && self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

impl Served {
    /// Starts `serve`, which logs as JSON, and waits until it listens.
    pub(crate) fn start(serve: &mut Command) -> anyhow::Result<Self> {
        let mut process = serve.stderr(Stdio::piped()).spawn().context("cannot start it")?;
        let log = process.stderr.take().context("its log is a pipe")?;
        let mut served = Self { process, address: ([127, 0, 0, 1], 0).into() };
        let mut lines = BufReader::new(log).lines();
        let mut last = String::new();
        served.address = loop {
            let next = lines.next();
            last = next.with_context(|| format!("its log ended before `listening`: {last}"))??;
            let entry: Value = serde_json::from_str(&last).with_context(|| last.clone())?;
            if entry["message"] == "listening" {
                break entry["address"].as_str().context("an address")?.parse()?;
            }
        };
        // A full pipe would stop it; it ends with the process.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(served)
    }

    /// Waits until the model is warm, asking as often.
    pub(crate) fn wait_warm(&mut self, every: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while status(&self.ask("GET", "/ping", "")?)? != 200 {
            ensure!(started.elapsed() < BOOT_MAX, "not warm after {BOOT_MAX:?}");
            ensure!(self.process.try_wait()?.is_none(), "the server ended at its start");
            thread::sleep(every);
        }
        Ok(())
    }

    /// A whole answer, head and body, in chunks as it came.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let address = self.address;
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

    /// SIGTERM to that process, which is it or below it, must end it well.
    pub(crate) fn end(mut self, pid: u32) -> anyhow::Result<()> {
        let pid = pid.to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill {pid}");
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

/// Starts `serve` with its first words, asks, and ends it.
pub(crate) fn check(serve: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    serve.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
    let mut served = Served::start(serve)?;
    served.wait_warm(Duration::from_millis(200))?;
    let warm = started.elapsed();
    let messages = [json!({ "role": "user", "content": "Say hello." })];
    let body = json!({
        "messages": messages, "temperature": 0, "max_tokens": TOKENS, "stream": true,
    });
    let answer = served.ask("POST", "/v1/chat/completions", &body.to_string())?;
    let (text, pieces) = spoken(&answer)?;
    ensure!(pieces > 1 && !text.trim().is_empty(), "the stream said {text:?} in {pieces} pieces");
    let pid = served.process.id();
    served.end(pid)?;
    eprintln!("it was warm after {:.0} s, said {text:?} in {pieces} pieces", warm.as_secs_f64());
    Ok(())
}

pub(crate) fn status(answer: &str) -> anyhow::Result<u16> {
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
