//! What a server does unasked: nothing leaves the machine, and a log that nobody reads stops nobody.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use gimbal_conformance::client::send;
use gimbal_conformance::server::binary_path;
use gimbal_conformance::{library_path, model_path};

/// Waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);
const REQUEST: &str = r#"{"prompt": "Hi", "max_tokens": 1}"#;

/// Binary, model and library, or nothing where `cargo xtask test` did not set them.
fn setup() -> Option<(PathBuf, PathBuf, PathBuf)> {
    Some((binary_path()?, model_path()?, library_path()?))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server whose stderr is `log`.
struct Served {
    process: Child,
    address: SocketAddr,
}

impl Served {
    fn start(log: Stdio, change: impl FnOnce(&mut Command)) -> anyhow::Result<Option<Self>> {
        let Some((binary, model, library)) = setup() else { return Ok(None) };
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.arg("serve").arg(model).arg("--onnxruntime").arg(library);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--threads", "1"]);
        command.args(["--log-format", "json", "--log-level", "debug"]);
        change(&mut command);
        let process = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut served = Self { process, address };
        served.until_ready()?;
        Ok(Some(served))
    }

    fn until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            ensure!(self.process.try_wait()?.is_none(), "the server ended at its start");
            if send(self.address, "GET", "/ping", "").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self) -> anyhow::Result<u16> {
        Ok(send(self.address, "POST", "/v1/completions", REQUEST)?.status)
    }

    /// Ends it as a platform would; it must end by itself, and well.
    fn end(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < PATIENCE, "SIGTERM does nothing");
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

fn closed() -> anyhow::Result<Stdio> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(OwnedFd::from(writer).into())
}

fn dropped(served: &Served) -> anyhow::Result<f64> {
    let text = send(served.address, "GET", "/metrics", "")?.text()?;
    let line = text.lines().find(|line| line.starts_with("gimbal_log_lines_dropped_total"));
    let value = line.and_then(|line| line.rsplit_once(' ')).context("no such metric")?;
    Ok(value.1.parse()?)
}

#[test]
fn a_closed_stderr_stops_nobody() -> anyhow::Result<()> {
    let Some(served) = Served::start(closed()?, |_| {})? else { return Ok(()) };
    assert_eq!(served.ask()?, 200);
    ensure!(dropped(&served)? > 0.0, "what is lost is counted");
    served.end()
}

#[test]
fn a_reader_of_stderr_may_leave() -> anyhow::Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let log = OwnedFd::from(writer).into();
    let Some(served) = Served::start(log, |_| {})? else { return Ok(()) };
    assert_eq!(served.ask()?, 200);
    drop(reader);
    for _ in 0..20 {
        assert_eq!(served.ask()?, 200);
    }
    served.end()
}

#[test]
fn a_stderr_that_nobody_reads_stops_nobody() -> anyhow::Result<()> {
    let (mut reader, writer) = std::io::pipe()?;
    let log = OwnedFd::from(writer).into();
    let Some(served) = Served::start(log, |_| {})? else { return Ok(()) };
    // A pipe holds 64 KiB, a line has some 200 bytes: 290 requests once stopped everything.
    for _ in 0..600 {
        assert_eq!(served.ask()?, 200);
    }
    assert_eq!(send(served.address, "GET", "/ping", "")?.status, 200);
    served.end()?;
    let mut piece = [0; 1024];
    ensure!(reader.read(&mut piece)? > 0, "what fitted was written");
    Ok(())
}

/// What is not logged is done all the same: the wait for a signal once stood in a line's fields.
#[test]
fn a_server_that_says_little_serves() -> anyhow::Result<()> {
    for level in ["warn", "error"] {
        let change = |command: &mut Command| {
            command.args(["--log-level", level]);
        };
        let Some(served) = Served::start(Stdio::null(), change)? else { return Ok(()) };
        assert_eq!(served.ask()?, 200, "{level}");
        served.end()?;
    }
    Ok(())
}

#[test]
fn a_full_disk_stops_nobody() -> anyhow::Result<()> {
    let full = OpenOptions::new().write(true).open("/dev/full")?;
    let Some(served) = Served::start(full.into(), |_| {})? else { return Ok(()) };
    for _ in 0..20 {
        assert_eq!(served.ask()?, 200);
    }
    ensure!(dropped(&served)? > 0.0, "what is lost is counted");
    served.end()
}

/// Commands that print and whose reader has left end well.
#[test]
fn a_closed_stdout_is_no_failure() -> anyhow::Result<()> {
    let Some((binary, model, _)) = setup() else { return Ok(()) };
    let model = model.to_str().context("a UTF-8 path")?;
    for command in [&["probe"][..], &["plan", model], &["inspect", model], &["man"], &["--help"]] {
        let ended = Command::new(&binary).args(command).stdout(closed()?).output()?;
        ensure!(ended.status.success(), "{command:?}: {ended:?}");
    }
    Ok(())
}

/// Notes every name that is looked up and every socket that is made.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void note(const char *what, const char *name, int a, int b) {
    FILE *file = fopen(getenv("SHIM_LOG"), "a");
    if (file) { fprintf(file, "%s %s %d %d\n", what, name ? name : "-", a, b); fclose(file); }
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    note("name", node, 0, 0);
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}

struct hostent *gethostbyname(const char *name) {
    note("name", name, 0, 0);
    struct hostent *(*real)(const char *) = dlsym(RTLD_NEXT, "gethostbyname");
    return real(name);
}

int socket(int domain, int type, int protocol) {
    note("socket", 0, domain, type & 15);
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    return real(domain, type, protocol);
}
"#;

/// All files below a folder, by their paths in it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path => found.push(path),
        }
    }
}

/// ONNX Runtime looks its vendor's host up from the ninth second on, unless it is told not to.
#[test]
fn nothing_is_looked_up_and_nothing_but_our_cache_is_written() -> anyhow::Result<()> {
    const WATCHED: Duration = Duration::from_secs(60);
    const DATAGRAM: &str = "2";
    if setup().is_none() {
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("gimbal-quiet-{}", std::process::id()));
    let (home, log) = (folder.join("home"), folder.join("log"));
    fs::create_dir_all(&home)?;
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&source, SHIM)?;
    File::create(&log)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl");
    if !compiler.status().is_ok_and(|status| status.success()) {
        bail!("no C compiler (cc) for a shim that notes what is looked up");
    }
    let served = Served::start(Stdio::null(), |command| {
        command.env("HOME", &home).env_remove("XDG_CACHE_HOME");
        command.env("LD_PRELOAD", &shim).env("SHIM_LOG", &log);
    })?;
    let Some(served) = served else { return Ok(()) };
    assert_eq!(served.ask()?, 200);
    std::thread::sleep(WATCHED);
    served.end()?;
    let noted = fs::read_to_string(&log)?;
    ensure!(noted.contains("socket"), "the shim sees our own listener: {noted:?}");
    let asks = |line: &&str| line.starts_with("name") || line.ends_with(DATAGRAM);
    let asked: Vec<&str> = noted.lines().filter(asks).collect();
    ensure!(asked.is_empty(), "looked up: {asked:?}");
    let mut written = Vec::new();
    files(&home, &mut written);
    let foreign = |path: &&PathBuf| !path.starts_with(home.join(".cache/gimbal"));
    let foreign: Vec<_> = written.iter().filter(foreign).collect();
    ensure!(foreign.is_empty(), "written: {foreign:?}");
    ensure!(!written.is_empty(), "our own cache is there");
    Ok(fs::remove_dir_all(&folder)?)
}
