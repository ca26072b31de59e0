//! `cargo xtask gemma` and `big`: models that are too large, or not free enough, for every test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{assets, command, root, serve};

/// Compares Gemma 3 270M with its references and times it.
pub(crate) fn gemma() -> anyhow::Result<()> {
    const PORT: &str = "8098";
    let (assets, gemma) = (assets::fetch()?, assets::gemma_model()?);
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("GIMBAL_TEST_GEMMA", &gemma);
    cargo.env("GIMBAL_ONNXRUNTIME", &assets.runtime).arg("test");
    cargo.args(["--package", "gimbal-conformance", "--test", "gemma", "--", "--nocapture"]);
    command::run(&mut cargo)?;
    let binary = serve::build()?;
    let mut server = Command::new(&binary);
    server.arg("serve").arg(&gemma).arg("--onnxruntime").arg(&assets.runtime);
    server.args(["--host", "127.0.0.1", "--port", PORT, "--log-level", "warn"]);
    let mut server = server.spawn().context("cannot start the server")?;
    let mut bench = Command::new(&binary);
    bench.arg("bench").arg(format!("http://127.0.0.1:{PORT}"));
    bench.args(["--concurrency", "1,8", "--prompt-tokens", "128", "--output-tokens", "64"]);
    let measured = wait_until_ready(PORT, "/ping").and_then(|()| command::run(&mut bench));
    server.kill().context("the server")?;
    server.wait().context("the server")?;
    measured
}

/// Asks a path until it is 200.
pub(crate) fn wait_until_ready(port: &str, path: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let started = Instant::now();
    let ask = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        write!(socket, "GET {path} HTTP/1.1\r\nhost: xtask\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    while !ask().unwrap_or(false) {
        anyhow::ensure!(started.elapsed() < PATIENCE, "the server is not ready after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Boots a model of random weights and says what that took.
pub(crate) fn big(arguments: &[String]) -> anyhow::Result<()> {
    let billions = arguments.first().map_or("7", String::as_str);
    let assets = assets::fetch()?;
    let cache = assets::cache()?;
    let venv = cache.join("gguf-venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let packages = ["numpy==2.4.6", "gguf==0.19.0"];
        command::run(Command::new(&python).args(["-m", "pip", "install"]).args(packages))?;
    }
    let model = cache.join(format!("random-{billions}b.gguf"));
    if !model.is_file() {
        let part = model.with_extension("part");
        let mut make = Command::new(&python);
        make.arg(root().join("tests/golden/big.py")).arg(&assets.model).arg(&part).arg(billions);
        command::run(&mut make)?;
        std::fs::rename(&part, &model).context("the model")?;
    }
    let binary = serve::build()?;
    let packed = cache.join("big-packed");
    for (cache, repeats) in [("off".as_ref(), "3"), (packed.as_os_str(), "4")] {
        let mut bench = Command::new(&binary);
        bench.args(["bench", "--repeats", repeats, "--boot"]).arg(&model).arg("--");
        bench.args(["--max-model-len", "2048", "--onnxruntime"]).arg(&assets.runtime);
        command::run(bench.arg("--packed-cache").arg(cache))?;
    }
    std::fs::remove_dir_all(&packed).context("the packed weights")
}
