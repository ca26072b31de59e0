//! How long a server takes from the start of its process to its first token.
//!
//! It starts `PROGRAM serve MODEL` on a free port of this machine, follows its log to the address,
//! asks `/ping` until it is 200, asks for one token, and ends it by SIGTERM: once for each repeat.
//! Nothing is dropped from the system's caches in between.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::attempt::{Route, attempt};
use crate::client::{Target, Timeouts};
use crate::environment::Environment;
use crate::error::BenchError;
use crate::script::Ask;
use crate::stats::median;
use crate::wire::{Api, Text};

/// The version of the JSON.
const SCHEMA: u32 = 1;
/// Between two questions whether it is ready, and so the resolution of that phase.
const READY_INTERVAL: Duration = Duration::from_millis(2);
/// Between two looks whether a process has ended.
const EXIT_INTERVAL: Duration = Duration::from_millis(5);
/// A drain takes 28 seconds at most.
const EXIT_PATIENCE: Duration = Duration::from_secs(35);
/// Lines of a log that are shown when a boot fails.
const LAST_LINES: usize = 12;

/// What to boot.
#[derive(Clone, Debug)]
pub struct BootPlan {
    /// The binary.
    pub program: PathBuf,
    /// Its model.
    pub model: PathBuf,
    /// More flags of `serve`.
    pub arguments: Vec<OsString>,
    /// How often.
    pub repeats: u32,
    /// Longest wait for each phase.
    pub timeouts: Timeouts,
}

/// One boot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Boot {
    /// From starting the process until its log names the address it listens on.
    pub listening_ms: f64,
    /// From then until `/ping` is 200.
    pub ready_ms: f64,
    /// From then until the first token of `POST /invocations` arrives.
    pub first_token_ms: f64,
    /// From starting the process until then.
    pub total_ms: f64,
    /// Memory then, where the system tells: Linux.
    pub memory: Option<Memory>,
}

/// Resident memory of a process, MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The most there ever was of both.
    pub peak_mib: f64,
    /// Its own.
    pub anonymous_mib: f64,
    /// Pages of files, which the system may drop.
    pub file_mib: f64,
}

impl Memory {
    /// **Source**: proc_pid_status(5).
    fn of(status: &str) -> Option<Self> {
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim();
            Some(kib.parse::<f64>().ok()? / 1024.0)
        };
        Some(Self {
            peak_mib: mib("VmHWM")?,
            anonymous_mib: mib("RssAnon")?,
            file_mib: mib("RssFile")?,
        })
    }
}

/// All boots.
#[derive(Clone, Debug, Serialize)]
pub struct BootReport {
    /// Version of this shape.
    pub schema: u32,
    /// Where and when.
    pub environment: Environment,
    /// The model, as it was named.
    pub model: String,
    /// In the order they ran.
    pub boots: Vec<Boot>,
}

impl BootPlan {
    /// Boots as often as planned.
    ///
    /// # Errors
    /// A boot that fails, with the last lines of its log.
    pub async fn run(&self, environment: Environment) -> Result<BootReport, BenchError> {
        let mut boots = Vec::new();
        for _ in 0..self.repeats {
            boots.push(self.once().await?);
        }
        let model = self.model.display().to_string();
        Ok(BootReport { schema: SCHEMA, environment, model, boots })
    }

    async fn once(&self) -> Result<Boot, BenchError> {
        let started = Instant::now();
        let mut server = Process::start(self)?;
        let listening = tokio::time::timeout(self.timeouts.read, server.listening()).await;
        let Ok(Some((listened, address))) = listening else {
            return Err(server.failed("it never listened"));
        };
        let target =
            Target::parse(&format!("http://{address}")).map_err(BenchError::Unavailable)?;
        let route = Route { target, api: Api::Invocations, timeouts: self.timeouts };
        let Some(ready) = server.ready(&route, started).await else {
            return Err(server.failed("it was never ready"));
        };
        let text = Text { prefix: "", prompt: "Once upon a time" };
        let ask = Ask {
            index: 0,
            due: None,
            prompt_tokens: 4,
            output_tokens: 1,
            body: Api::Invocations.body(None, &text, 1),
        };
        let record = attempt(&route, &ask, started).await;
        let (Some(ttft_us), None) = (record.ttft_us, &record.error) else {
            let why = record.error.map_or("no token".to_owned(), |error| error.message);
            return Err(server.failed(&format!("its first request failed: {why}")));
        };
        let memory = server.memory();
        server.stop().await?;
        let total = Duration::from_micros(record.sent_us.saturating_add(ttft_us));
        let (listened, ready) = (listened.duration_since(started), ready.duration_since(started));
        Ok(Boot {
            listening_ms: millis(listened),
            ready_ms: millis(ready.saturating_sub(listened)),
            first_token_ms: millis(total.saturating_sub(ready)),
            total_ms: millis(total),
            memory,
        })
    }
}

impl BootReport {
    /// The report as text.
    #[must_use]
    pub fn table(&self) -> String {
        let of = |part: &dyn Fn(&Boot) -> f64| {
            let values: Vec<f64> = self.boots.iter().map(part).collect();
            let (low, high) =
                values.iter().fold((f64::MAX, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
            format!("{:>9.1}  {low:>9.1}  {high:>9.1}", median(&values).unwrap_or(0.0))
        };
        let mut table = format!(
            "{} boots of {} (the system's caches as they were)\n\n\
             ms              median        min        max\n\
             listening    {}\n\
             ready        {}\n\
             first token  {}\n\
             total        {}\n",
            self.boots.len(),
            self.model,
            of(&|boot| boot.listening_ms),
            of(&|boot| boot.ready_ms),
            of(&|boot| boot.first_token_ms),
            of(&|boot| boot.total_ms),
        );
        if self.boots.iter().all(|boot| boot.memory.is_some()) {
            let memory = |boot: &Boot| boot.memory.unwrap_or_default();
            table += &format!(
                "\nMiB\npeak memory  {}\nanonymous    {}\nof files     {}\n",
                of(&|boot| memory(boot).peak_mib),
                of(&|boot| memory(boot).anonymous_mib),
                of(&|boot| memory(boot).file_mib),
            );
        }
        table
    }

    /// The JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers")
    }
}

/// A server's process; killed when dropped.
struct Process {
    child: Child,
    address: oneshot::Receiver<(Instant, String)>,
    log: Option<std::thread::JoinHandle<VecDeque<String>>>,
}

impl Process {
    fn start(plan: &BootPlan) -> Result<Self, BenchError> {
        let mut child = Command::new(&plan.program)
            .arg("serve")
            .arg(&plan.model)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(["--log-format", "json", "--log-level", "info"])
            .args(&plan.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| {
                BenchError::Unavailable(format!("{} does not start: {e}", plan.program.display()))
            })?;
        let (found, address) = oneshot::channel();
        // The log is read to its end, or the server would wait for who reads it.
        let log = child.stderr.take().map(|log| std::thread::spawn(move || follow(log, found)));
        Ok(Self { child, address, log })
    }

    /// When the log named an address, and which.
    async fn listening(&mut self) -> Option<(Instant, String)> {
        (&mut self.address).await.ok()
    }

    /// What the system says of its memory.
    fn memory(&self) -> Option<Memory> {
        let path = format!("/proc/{}/status", self.child.id());
        Memory::of(&std::fs::read_to_string(path).ok()?)
    }

    /// When `/ping` was 200.
    async fn ready(&mut self, route: &Route, started: Instant) -> Option<Instant> {
        let mut link = None;
        while started.elapsed() < route.timeouts.request && self.is_running() {
            let (target, timeouts) = (&route.target, &route.timeouts);
            let ping = target.exchange(&mut link, timeouts, Method::GET, "/ping", String::new());
            if matches!(ping.await, Ok(reply) if reply.status == 200) {
                return Some(Instant::now());
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        None
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a supervisor would.
    async fn stop(&mut self) -> Result<(), BenchError> {
        // std sends SIGKILL only; `kill` is POSIX, and one call is no reason for `unsafe`.
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        if !told.is_ok_and(|status| status.success()) {
            return Err(self.failed("SIGTERM cannot be sent: there is no kill"));
        }
        let asked = Instant::now();
        while self.is_running() {
            if asked.elapsed() > EXIT_PATIENCE {
                return Err(self.failed("it did not end on SIGTERM"));
            }
            tokio::time::sleep(EXIT_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends it at once, and tells the end of its log.
    fn failed(&mut self, what: &str) -> BenchError {
        drop(self.child.kill());
        drop(self.child.wait());
        let lines = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        let lines: Vec<String> = lines.into();
        BenchError::Unavailable(format!(
            "the boot failed, {what}; its log ends:\n{}",
            lines.join("\n")
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads a log to its end: tells the first address, keeps the last lines.
fn follow(log: ChildStderr, found: oneshot::Sender<(Instant, String)>) -> VecDeque<String> {
    let mut found = Some(found);
    let mut last = VecDeque::new();
    for line in BufReader::new(log).split(b'\n') {
        let now = Instant::now();
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(address) = found.as_ref().and_then(|_| address(&line)) {
            // Who does not wait any more misses nothing.
            if let Some(found) = found.take() {
                drop(found.send((now, address)));
            }
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

/// The address in a log line that says where it listens.
fn address(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let address = (event["message"] == "listening").then(|| event["address"].as_str())??;
    Some(address.to_owned())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_in_the_line_that_listens() {
        for (line, expect) in [
            (r#"{"message":"listening","address":"127.0.0.1:8"}"#, Some("127.0.0.1:8")),
            (r#"{"message":"ready","address":"127.0.0.1:8"}"#, None),
            (r#"{"message":"listening"}"#, None),
            ("gimbal: no model", None),
        ] {
            assert_eq!(address(line).as_deref(), expect, "{line}");
        }
    }

    #[test]
    fn phases_are_told_by_their_medians() {
        let status = "VmHWM:\t    2048 kB\nRssAnon:\t  512 kB\nRssFile:\t 1024 kB\n";
        let memory = Memory::of(status);
        let boot = |total_ms| Boot {
            listening_ms: 1.0,
            ready_ms: 2.0,
            first_token_ms: 3.0,
            total_ms,
            memory,
        };
        let report = BootReport {
            schema: SCHEMA,
            environment: Environment::here("a test".to_owned()),
            model: "m".to_owned(),
            boots: vec![boot(9.0), boot(7.0), boot(20.0)],
        };
        let text = report.table();
        assert!(text.contains("total              9.0        7.0       20.0"), "{text}");
        assert!(text.contains("anonymous          0.5        0.5        0.5"), "{text}");
    }

    #[tokio::test]
    async fn a_program_that_is_no_server_fails_with_its_words() {
        let second = Duration::from_secs(30);
        let plan = BootPlan {
            // A shell that finds no script named `serve`.
            program: PathBuf::from("/bin/sh"),
            model: PathBuf::from("-c"),
            arguments: Vec::new(),
            repeats: 1,
            timeouts: Timeouts { connect: second, read: second, request: second },
        };
        let why = plan.run(Environment::here("a test".to_owned())).await.expect_err("no server");
        let why = why.to_string();
        assert!(why.contains("it never listened") && why.contains("serve"), "{why}");
    }
}
