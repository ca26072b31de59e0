//! The real binary, started on a free port and stopped like SageMaker stops it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::client::send;

/// Longest time from process start to a warm model; packing takes about a second.
const BOOT_MAX: Duration = Duration::from_secs(120);

/// The binary under test: `GIMBAL_TEST_BINARY`, set by `cargo xtask test`.
#[must_use]
pub fn binary_path() -> Option<PathBuf> {
    crate::path_of("GIMBAL_TEST_BINARY")
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `gimbal serve MODEL FLAGS` and waits until `/ping` is 200.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn start(model: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let binary = binary_path().context("GIMBAL_TEST_BINARY is not set")?;
        let mut command = Command::new(binary);
        command.arg("serve").arg(model);
        command.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
        command.args(flags);
        Self::spawn(command)
    }

    /// Starts a server that logs JSON and waits until `/ping` is 200.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn spawn(command: Command) -> anyhow::Result<Self> {
        let server = Self::listen(command)?;
        let started = Instant::now();
        while send(server.address, "GET", "/ping", "")?.status != 200 {
            if started.elapsed() > BOOT_MAX {
                bail!("not warm after {BOOT_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Starts a server that logs JSON and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn listen(mut command: Command) -> anyhow::Result<Self> {
        let mut process = command.stderr(Stdio::piped()).spawn()?;
        let log = BufReader::new(process.stderr.take().context("stderr is a pipe")?);
        let mut lines = log.lines();
        let address = loop {
            let line = lines.next().context("the log ended before `listening`")??;
            let entry: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if entry["message"] == "listening" {
                break entry["address"].as_str().context("an address")?.parse()?;
            }
        };
        // The pipe must be read, or a full one would stop the server.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { process, address })
    }

    /// The sum of a metric over all lanes; `label` is one `name="value"`, or empty for all.
    ///
    /// # Errors
    /// The metric is missing.
    pub fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let text = send(self.address, "GET", "/metrics", "")?.text()?;
        let is_wanted = |series: &str| {
            let (found, labels) = series.split_once('{').unwrap_or((series, ""));
            found == name && labels.contains(label)
        };
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            is_wanted(series).then(|| value.parse::<f64>())
        });
        let values: Vec<f64> = values.collect::<Result<_, _>>()?;
        if values.is_empty() {
            bail!("no {name}{{{label}}} in\n{text}");
        }
        Ok(values.iter().sum())
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its workers' numbers, the oldest first.
    ///
    /// # Errors
    /// Processes cannot be listed.
    pub fn workers(&self) -> anyhow::Result<Vec<u32>> {
        let parent = format!("PPid:\t{}", self.id());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let folder = entry?.path();
            let Some(pid) = folder.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end while it is looked at.
            let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
            let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
            let is_worker = line.split(|b| *b == 0).nth(1) == Some(b"worker");
            if is_worker && status.lines().any(|line| line == parent) {
                found.push(pid);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn terminate(&self) -> anyhow::Result<()> {
        signal("-TERM", self.id())
    }

    /// Waits for the exit and returns its code.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn wait(mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.process.wait()?.code())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `wait`; then both calls fail and nothing is left to do.
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

/// Sends a signal, by its flag of `kill`.
///
/// # Errors
/// There is no such process.
pub fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args([name, &pid.to_string()]).status()?;
    if !status.success() {
        bail!("kill {name} {pid}: {status}");
    }
    Ok(())
}

/// Runs the binary to its end.
///
/// # Errors
/// It cannot be started.
pub fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    let binary = binary_path().context("GIMBAL_TEST_BINARY is not set")?;
    Ok(Command::new(binary).args(arguments).output()?)
}
