//! What each signal does to a server: drain, end at once, or nothing; and to one that could not boot.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
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

/// With `on_boot_failure: stay` it says why until then, and ends as it would have at once.
#[test]
fn a_boot_that_failed_ends_with_its_code_when_it_is_told_to() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let folder = std::env::temp_dir().join(format!("gimbal-stay-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let cut = folder.join("cut.gguf");
    std::fs::write(&cut, b"GGUF\x03\0\0\0")?;
    let missing = folder.join("nothing");
    for (model, code) in [(&cut, 65), (&missing, 66)] {
        let start = |flags: &[&str]| {
            let mut command = Command::new(&binary);
            command.arg("serve").arg("--model").arg(model).args(flags);
            command.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
            command
        };
        let at_once = start(&[]).output()?;
        assert_eq!(at_once.status.code(), Some(code));
        let said = String::from_utf8(at_once.stderr)?;
        let (_, why) = said.rsplit_once("gimbal: ").context("a reason")?;
        let server = Server::listen(start(&["--on-boot-failure", "stay"]))?;
        let ping = || send(server.address, "GET", "/ping", "");
        let told = loop {
            let answer = ping()?;
            assert_eq!(answer.status, 503);
            let body = answer.text()?;
            if body.contains("failed") {
                break body;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(told.contains(why.trim()), "{told} does not say {why}");
        assert_eq!(send(server.address, "GET", "/livez", "")?.status, 200);
        server.terminate()?;
        assert_eq!(server.wait()?, Some(code));
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
