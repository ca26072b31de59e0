//! What each signal does to a server: drain, end at once, or nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use gimbal_conformance::client::send;
use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path};
use serde_json::json;

fn start() -> anyhow::Result<Option<Server>> {
    let (Some(_), Some(model), Some(library)) = (binary_path(), model_path(), library_path())
    else {
        return Ok(None);
    };
    let library = library.display().to_string();
    Server::start(&model, &["--onnxruntime", &library, "--drain-timeout-s", "25"]).map(Some)
}

fn signal(server: &Server, name: &str) -> anyhow::Result<()> {
    let pid = server.id().to_string();
    ensure!(Command::new("kill").args([name, &pid]).status()?.success(), "{name}");
    Ok(())
}

/// A stream that would take minutes.
fn long_stream(server: &Server) -> anyhow::Result<gimbal_conformance::client::Response> {
    let body = json!({"prompt": "Hi", "max_tokens": 8000, "ignore_eos": true, "stream": true});
    let mut stream = send(server.address, "POST", "/v1/completions", &body.to_string())?;
    ensure!(stream.chunk()?.is_some(), "it has begun");
    Ok(stream)
}

#[test]
fn hangups_and_quits_drain_as_sigterm_does() -> anyhow::Result<()> {
    for name in ["-HUP", "-QUIT"] {
        let Some(server) = start()? else { return Ok(()) };
        let body = json!({"prompt": "Hi", "max_tokens": 200, "ignore_eos": true, "stream": true});
        let mut stream = send(server.address, "POST", "/v1/completions", &body.to_string())?;
        ensure!(stream.chunk()?.is_some(), "it has begun");
        signal(&server, name)?;
        ensure!(stream.text()?.contains("[DONE]"), "{name}: a stream that runs ends whole");
        assert_eq!(server.wait()?, Some(0), "{name}");
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_at_once() -> anyhow::Result<()> {
    let Some(server) = start()? else { return Ok(()) };
    let stream = long_stream(&server)?;
    signal(&server, "-TERM")?;
    // The first one is taken when `/ping` says so.
    while send(server.address, "GET", "/ping", "")?.status == 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let from = Instant::now();
    signal(&server, "-INT")?;
    assert_eq!(server.wait()?, Some(0));
    eprintln!("ended {:?} after the second signal, of a drain of 25 s", from.elapsed());
    drop(stream);
    Ok(())
}

#[test]
fn signals_for_others_change_nothing() -> anyhow::Result<()> {
    let Some(server) = start()? else { return Ok(()) };
    for name in ["-USR1", "-USR2", "-ALRM", "-PIPE", "-XFSZ"] {
        signal(&server, name)?;
    }
    let body = json!({"prompt": "Hi", "max_tokens": 1});
    assert_eq!(send(server.address, "POST", "/v1/completions", &body.to_string())?.status, 200);
    server.terminate()?;
    assert_eq!(server.wait()?, Some(0));
    Ok(())
}
