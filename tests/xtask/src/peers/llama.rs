//! llama.cpp: built natively from the source that its Python package carries, and its own tools.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::Context;
use serde_json::Value;

use super::{THREADS, folder};
use crate::command;

/// The package whose source holds llama.cpp; the golden files come from the same.
const PACKAGE: &str = "llama-cpp-python==0.3.36";
/// All of llama.cpp's tools, for this processor. They make mtmd, so the package must not
/// (`LLAVA_BUILD`).
const FLAGS: &str = "-DGGML_NATIVE=ON -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON \
                     -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF \
                     -DLLAVA_BUILD=OFF";

/// A build.
pub(super) struct Llama {
    bin: PathBuf,
}

impl Llama {
    /// Builds it, once; 10 to 20 minutes on two cores.
    pub(super) fn build() -> anyhow::Result<Self> {
        let build = folder()?.join("llama.cpp");
        if let Ok(built) = Self::built(&build) {
            return Ok(built);
        }
        let venv = folder()?.join("venv");
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/python"));
        // The build folder stays, and with it the tools, which the package does not install.
        pip.env("SKBUILD_BUILD_DIR", &build).env("CMAKE_ARGS", FLAGS);
        pip.args(["-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir"]);
        command::run(pip.arg(&venv).args(["--no-binary=llama-cpp-python", PACKAGE]))?;
        Self::built(&build)
    }

    /// What lies in a build folder.
    pub(super) fn built(build: &Path) -> anyhow::Result<Self> {
        let places = ["bin", "vendor/llama.cpp/bin", ""].map(|place| build.join(place));
        let bin = places.into_iter().find(|place| place.join("llama-server").is_file());
        let bin = bin.with_context(|| format!("no llama-server in {}", build.display()))?;
        Ok(Self { bin })
    }

    /// What it calls itself.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        let server = self.bin.join("llama-server");
        let output = Command::new(&server).arg("--version").output();
        let output = output.with_context(|| server.display().to_string())?;
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.starts_with("version"));
        Ok(line.map_or_else(|| PACKAGE.to_owned(), |line| format!("{PACKAGE}, {line}")))
    }

    /// The model in another type, made once. Types of few bits are made of others again, as users
    /// of a single file do it.
    pub(super) fn quantised(&self, model: &Path, kind: &str) -> anyhow::Result<PathBuf> {
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let file = folder()?.join(format!("{stem}-{kind}.gguf"));
        if !file.is_file() {
            let part = file.with_extension("part");
            let mut quantize = Command::new(self.bin.join("llama-quantize"));
            quantize.arg("--allow-requantize").arg(model).arg(&part);
            command::run(quantize.args([kind, THREADS]))?;
            std::fs::rename(&part, &file).with_context(|| file.display().to_string())?;
        }
        Ok(file)
    }

    /// Tokens a second of its library at one work of `pace`, with as many steps. Flash attention is
    /// on: without it everything but 32 sequences of Q4_1 was slower.
    pub(super) fn pace(&self, model: &Path, work: &str) -> anyhow::Result<f64> {
        // Tokens of a prompt, tokens after it, and the sequences, as often as there are rates.
        let (prompt, tokens, sequences, rate) = match work {
            "decode 1" => ("64", "96", "1,1,1", "speed_tg"),
            "decode 8" => ("64", "48", "8", "speed_tg"),
            "decode 32" => ("64", "24", "32", "speed_tg"),
            _ => ("512", "1", "1,1,1", "speed_pp"),
        };
        let mut bench = Command::new(self.bin.join("llama-batched-bench"));
        bench.arg("-m").arg(model).args(["-t", THREADS, "-tb", THREADS, "-fa", "on"]);
        bench.args(["-c", "8192", "-b", "2048", "-ub", "512", "--output-format", "jsonl"]);
        bench.args(["-npp", prompt, "-ntg", tokens, "-npl", sequences]);
        let text = command::output(&mut bench)?;
        let mut rates = Vec::new();
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).context("llama-batched-bench")?;
            rates.push(line[rate].as_f64().context("llama-batched-bench's speed")?);
        }
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().context("llama-batched-bench printed nothing")
    }

    /// Writes its log-probabilities along some chunks of a text to a file.
    pub(super) fn log_probabilities(
        &self,
        model: &Path,
        kv: &str,
        text: &Path,
        to: &Path,
    ) -> anyhow::Result<()> {
        let mut perplexity = Command::new(self.bin.join("llama-perplexity"));
        perplexity.arg("-m").arg(model).arg("-f").arg(text).args(["-c", "256", "--chunks", "4"]);
        perplexity.args(["-t", THREADS, "-tb", THREADS, "-fa", "on", "-ctk", kv, "-ctv", kv]);
        command::output(perplexity.arg("--kl-divergence-base").arg(to)).map(drop)
    }

    /// Starts its server with as many slots as the largest load.
    pub(super) fn serve(&self, model: &Path, port: &str) -> anyhow::Result<Child> {
        let mut server = Command::new(self.bin.join("llama-server"));
        server.arg("-m").arg(model).args(["--host", "127.0.0.1", "--port", port]);
        server.args(["-t", THREADS, "-tb", THREADS, "-fa", "on", "-np", "32", "-c", "16384"]);
        server.args(["-b", "2048", "-ub", "512", "--no-webui", "--log-disable"]);
        server.spawn().context("llama-server")
    }
}
