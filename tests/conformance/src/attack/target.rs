//! The server under attack, and two who watch it: one pings, one is an honest client.
//!
//! Next: `memory.rs`.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::client::send;

/// A server that holds more is ended, as a container would end it.
const MEMORY_MAX: u64 = 6 << 30;
const BOOT_MAX: Duration = Duration::from_secs(120);
/// The longest that either of the watchers waits.
const PATIENCE: Duration = Duration::from_secs(20);
const PING_PERIOD: Duration = Duration::from_millis(50);
const HONEST_PERIOD: Duration = Duration::from_millis(300);

/// A running server.
#[derive(Debug)]
pub struct Target {
    process: std::sync::Mutex<Child>,
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    log_bytes: Arc<AtomicU64>,
}

impl Target {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(binary: &Path, model: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.arg("serve").arg(model).args(["--host", "127.0.0.1", "--port", "0"]);
        command.args(["--log-format", "json"]).args(flags);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(process.stderr.take().context("stderr is a pipe")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            anyhow::ensure!(log.read_line(&mut line)? > 0, "the log ended before `listening`");
            let entry: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if entry["message"] == "listening" {
                break entry["address"].as_str().context("an address")?.parse()?;
            }
        };
        let log_bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&log_bytes);
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(length @ 1..) = log.read(&mut piece) {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        let pid = process.id();
        let target = Self { process: process.into(), pid, address, log_bytes };
        let begun = Instant::now();
        while !send(address, "GET", "/ping", "").is_ok_and(|answer| answer.status == 200) {
            anyhow::ensure!(begun.elapsed() < BOOT_MAX, "not warm after {BOOT_MAX:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(target)
    }

    /// True while the process lives.
    pub fn is_alive(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(|e| e.into_inner());
        matches!(process.try_wait(), Ok(None))
    }

    /// Bytes of log so far.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory it holds now.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid)
    }

    /// The sum of a metric's series.
    ///
    /// # Errors
    /// `/metrics` does not answer.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = send(self.address, "GET", "/metrics", "")?.text()?;
        let is_of = |series: &str| series.split('{').next() == Some(name);
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            is_of(series).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// A connection with short patience.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Begins to watch.
    pub fn watch(&self) -> Watch {
        let ends = Arc::new(AtomicBool::new(false));
        let (address, pid) = (self.address, self.pid);
        let before = self.memory();
        let spawn = |work: fn(SocketAddr, &AtomicBool) -> Vec<Option<f64>>| {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || work(address, &ends))
        };
        let (pings, honest) = (spawn(ping), spawn(ask));
        let memory = {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || peak(pid, &ends))
        };
        Watch { ends, pings, honest, memory, before }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(|e| e.into_inner());
        if process.kill().is_ok() {
            process.wait().ok();
        }
    }
}

/// Those who watch.
#[derive(Debug)]
pub struct Watch {
    ends: Arc<AtomicBool>,
    pings: JoinHandle<Vec<Option<f64>>>,
    honest: JoinHandle<Vec<Option<f64>>>,
    memory: JoinHandle<u64>,
    before: u64,
}

/// What they saw.
#[derive(Debug)]
pub struct Seen {
    /// Milliseconds of each `/ping`; none where it was not 200 in time.
    pub pings: Vec<Option<f64>>,
    /// Milliseconds to the honest client's first tokens; none where none came in time.
    pub honest: Vec<Option<f64>>,
    /// Bytes at most.
    pub peak: u64,
    before: u64,
}

impl Watch {
    /// Ends the watch.
    pub fn end(self) -> Seen {
        self.ends.store(true, Ordering::Relaxed);
        Seen {
            pings: self.pings.join().unwrap_or_default(),
            honest: self.honest.join().unwrap_or_default(),
            peak: self.memory.join().unwrap_or_default(),
            before: self.before,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pings, lost) = sorted(&self.pings);
        let (honest, starved) = sorted(&self.honest);
        let at = |values: &[f64], percent: usize| {
            let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
            values.get(index).copied().unwrap_or(f64::NAN)
        };
        let grown = self.peak.saturating_sub(self.before) >> 20;
        write!(
            f,
            "+{grown} MiB | {:.1}, {:.1}, {:.0} ms | {lost} of {} | {:.0}, {:.0} ms{}",
            at(&pings, 50),
            at(&pings, 99),
            at(&pings, 100),
            self.pings.len(),
            at(&honest, 50),
            at(&honest, 100),
            match starved {
                0 => String::new(),
                count => format!(", none in {count} of {}", self.honest.len()),
            }
        )
    }
}

fn sorted(values: &[Option<f64>]) -> (Vec<f64>, usize) {
    let mut found: Vec<f64> = values.iter().flatten().copied().collect();
    found.sort_by(f64::total_cmp);
    let lost = values.len() - found.len();
    (found, lost)
}

fn ping(address: SocketAddr, ends: &AtomicBool) -> Vec<Option<f64>> {
    let mut times = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let head = exchange(address, "GET", "/ping", "", 12);
        let is_fine = head.is_some_and(|head| head.starts_with(b"HTTP/1.1 200"));
        times.push(is_fine.then(|| begun.elapsed().as_secs_f64() * 1e3));
        std::thread::sleep(PING_PERIOD);
    }
    times
}

fn ask(address: SocketAddr, ends: &AtomicBool) -> Vec<Option<f64>> {
    let body = json!({"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0,
        "ignore_eos": true, "stream": true});
    let mut times = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let first = exchange(address, "POST", "/v1/completions", &body.to_string(), 1024);
        let is_token = |answer: &Vec<u8>| answer.windows(7).any(|w| w == b"data: {");
        let came = first.filter(is_token).map(|_| begun.elapsed().as_secs_f64() * 1e3);
        times.push(came);
        std::thread::sleep(HONEST_PERIOD);
    }
    times
}

/// Sends a request and reads until so many bytes, the first frame of a stream, or the end.
fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    bytes: usize,
) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request(method, path, body).as_bytes()).ok()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while answer.len() < bytes && !answer.windows(7).any(|w| w == b"data: {") {
        match stream.read(&mut piece).ok()? {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    Some(answer)
}

/// The bytes of a request.
pub(super) fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The most memory a process held; one that holds too much is ended.
fn peak(pid: u32, ends: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ends.load(Ordering::Relaxed) {
        peak = peak.max(memory_of(pid));
        if peak > MEMORY_MAX {
            // The process may be gone already.
            Command::new("kill").args(["-KILL", &pid.to_string()]).status().ok();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
