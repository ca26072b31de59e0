//! `cargo xtask screenshot`: the dashboard of the real binary under load, as a picture.
//!
//! Arguments: model, ONNX Runtime, the file to write, seconds of load.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gimbal_conformance::browser::{Browser, View};
use gimbal_conformance::crowd;
use gimbal_conformance::server::Server;

/// More than `SLOTS`, so that a queue shows.
const CLIENTS: u32 = 9;
/// Slots and memory of a small machine: all figures move.
const SMALL: [&str; 6] =
    ["--max-rolling-batch-size", "8", "--kv-cache-bytes", "60000000", "--max-model-len", "2048"];
const VIEW: View = View { width: 1280, height: 880, is_dark: false };
/// Largest picture that is committed.
const BYTES_MAX: usize = 300 << 10;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, library, out, seconds] = arguments.as_slice() else {
        bail!("arguments: MODEL LIBRARY OUT SECONDS");
    };
    let load = Duration::from_secs(seconds.parse().context("SECONDS")?);
    let Some(mut browser) = Browser::start()? else { bail!("no browser") };
    let flags = [&["--onnxruntime", library.as_str()], &SMALL[..]].concat();
    let server = Server::start(Path::new(model), &flags)?;
    let picture = crowd::beside(server.address, CLIENTS, || {
        let page = browser.open(&format!("http://{}/", server.address), VIEW)?;
        let from = Instant::now();
        while from.elapsed() < load {
            std::thread::sleep(Duration::from_secs(1));
        }
        let filled =
            "[...document.querySelectorAll('.tile')].every((t) => t.dataset.filled === 'true')";
        browser.wait(&page, filled, Duration::from_secs(60))?;
        browser.screenshot(&page)
    })?;
    if picture.len() > BYTES_MAX {
        bail!("{} bytes, {BYTES_MAX} at most", picture.len());
    }
    std::fs::write(out, &picture).with_context(|| out.clone())?;
    eprintln!("{out}: {} bytes", picture.len());
    Ok(())
}
