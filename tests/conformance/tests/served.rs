//! The real binary with the real model, over real sockets.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gimbal_conformance::client::{Response, post, send};
use gimbal_conformance::golden::{self, Greedy, Quality};
use gimbal_conformance::server::{Server, binary_path, run};
use gimbal_conformance::{library_path, model_path};
use serde_json::{Value, json};

/// Model, library and flags, or nothing where `cargo xtask test` did not set them.
fn setup() -> Option<(PathBuf, String)> {
    binary_path()?;
    Some((model_path()?, library_path()?.to_str()?.to_owned()))
}

fn ids(details: &Value) -> Vec<u32> {
    let tokens = details["tokens"].as_array().into_iter().flatten();
    tokens.filter_map(|t| u32::try_from(t["id"].as_u64()?).ok()).collect()
}

/// The README's request gives the f32 reference's first 16 tokens, and the command line, LMI,
/// completions and both ways to chat agree with each other.
#[test]
fn every_way_in_gives_the_same_tokens() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let golden: Greedy = golden::read("smollm2")?;
    let case = &golden.cases[golden.readme];
    let server = Server::start(&model, &["--onnxruntime", &library])?;
    let body = json!({
        "inputs": case.text,
        "parameters": { "max_new_tokens": 16, "details": true },
    });
    let (status, answer) = post(server.address, "/invocations", &body)?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ids(&answer["details"]), case.tokens[..16], "{answer}");

    let model = model.to_str().context("a UTF-8 path")?;
    let generate = |prompt: &str, more: &[&str]| -> anyhow::Result<String> {
        let fixed = ["generate", prompt, "--model", model, "--onnxruntime", &library];
        let output = run(&[&fixed, more].concat())?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let printed = generate(&case.text, &["--max-new-tokens", "16", "--token-ids"])?;
    let printed: Vec<u32> = printed.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    assert_eq!(printed, case.tokens[..16]);

    let body = json!({ "prompt": case.text, "max_tokens": 16, "temperature": 0 });
    let (_, completion) = post(server.address, "/v1/completions", &body)?;
    assert_eq!(completion["choices"][0]["text"], answer["generated_text"]);

    for question in
        ["What is the capital of France?", "Name three colours.", "Why is the sky blue?"]
    {
        let messages = json!([{ "role": "user", "content": question }]);
        let body = json!({ "messages": messages, "max_tokens": 24, "temperature": 0 });
        let (_, chat) = post(server.address, "/v1/chat/completions", &body)?;
        let (_, invoked) = post(server.address, "/invocations", &body)?;
        let content = &chat["choices"][0]["message"]["content"];
        assert_eq!(&invoked["choices"][0]["message"]["content"], content);
        let printed = generate(question, &["--max-new-tokens", "24", "--chat"])?;
        assert_eq!(Some(printed.trim_end_matches('\n')), content.as_str());
    }
    Ok(())
}

/// 32 streams of mixed lengths give each client the tokens it gets alone; with a third of them
/// leaving in the middle, slots and blocks come back.
#[test]
fn crowds_change_nothing_and_leave_nothing() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let golden: Quality = golden::read("quality")?;
    let flags = ["--onnxruntime", &library, "--enable-prefix-caching", "false"];
    let server = Server::start(&model, &flags)?;
    let address = server.address;
    let body = |i: usize| {
        let case = &golden.cases[i % golden.cases.len()];
        let inputs = format!("{}{}", " ".repeat(i / golden.cases.len()), case.text);
        let parameters = json!({ "max_new_tokens": 3 + i * 5 % 60, "details": true });
        json!({ "inputs": inputs, "parameters": parameters, "stream": true })
    };
    let stream = |i: usize| -> anyhow::Result<Vec<u32>> {
        let text = send(address, "POST", "/invocations", &body(i).to_string())?.text()?;
        let lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        Ok(lines.filter_map(|l| u32::try_from(l["token"]["id"].as_u64()?).ok()).collect())
    };
    let alone: Vec<Vec<u32>> = (0..32).map(stream).collect::<anyhow::Result<_>>()?;
    assert!(alone.iter().all(|tokens| !tokens.is_empty()));
    let together: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..32).map(|i| scope.spawn(move || stream(i))).collect();
        all.into_iter().map(|t| t.join().expect("no client panics")).collect::<anyhow::Result<_>>()
    })?;
    assert_eq!(together, alone);

    let leave = |i: usize| -> anyhow::Result<()> {
        let mut response = send(address, "POST", "/invocations", &body(i + 9).to_string())?;
        for _ in 0..=i % 3 {
            response.chunk()?;
        }
        Ok(()) // dropping the response closes the socket
    };
    let (leave, stream) = (&leave, &stream);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let leaving: Vec<_> = (0..10).map(|i| scope.spawn(move || leave(i))).collect();
        let staying: Vec<_> = (0..22).map(|i| scope.spawn(move || (i, stream(i)))).collect();
        for client in leaving {
            client.join().expect("no client panics")?;
        }
        for client in staying {
            let (i, tokens) = client.join().expect("no client panics");
            assert_eq!(tokens?, alone[i]);
        }
        Ok(())
    })?;
    settled(&server)
}

/// Nothing is held once all clients are gone; the lane may need a step to notice.
fn settled(server: &Server) -> anyhow::Result<()> {
    let gauges = [("gimbal_kv_blocks", "state=\"used\""), ("gimbal_slots_used", "")];
    let mut held = Vec::new();
    for _ in 0..200 {
        held = gauges
            .iter()
            .map(|(name, label)| server.metric(name, label))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if held == [0.0, 0.0] {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("{gauges:?} are {held:?}")
}

/// Whatever a client sends, it is told what was wrong, and the server goes on.
#[test]
fn broken_clients_are_told_and_harm_nobody() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--onnxruntime", &library, "--max-model-len", "512"])?;
    let address = server.address;
    for (method, path, body, status, says) in [
        ("POST", "/invocations", "{\"inputs\": ", 400, "EOF"),
        ("POST", "/invocations", "{\"inputs\": 5}", 400, "inputs"),
        ("POST", "/invocations", "{}", 400, "inputs"),
        ("POST", "/v1/chat/completions", "[]", 400, "invalid_request_error"),
        ("GET", "/no/such/route", "", 404, "/no/such/route"),
        ("DELETE", "/invocations", "", 405, "POST"),
    ] {
        let response = send(address, method, path, body)?;
        let (found, allow) = (response.status, response.header("allow").unwrap_or("").to_owned());
        let text = format!("{} {allow}", response.text()?);
        assert_eq!(found, status, "{method} {path}: {text}");
        assert!(text.contains(says), "{method} {path}: {text}");
    }
    let long = json!({ "inputs": "word ".repeat(600), "parameters": { "max_new_tokens": 8 } });
    let (status, refusal) = post(address, "/invocations", &long)?;
    let text = refusal.to_string();
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("600") || text.contains("601"), "the prompt's tokens: {text}");
    assert!(text.contains("512"), "the limit: {text}");

    // A body that never comes, and a socket that is closed for writing after the request.
    let mut half = TcpStream::connect(address)?;
    write!(half, "POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{{")?;
    half.shutdown(Shutdown::Both)?;
    let mut closed = TcpStream::connect(address)?;
    let body = json!({ "inputs": "Hello", "parameters": { "max_new_tokens": 3 } }).to_string();
    let length = body.len();
    write!(
        closed,
        "POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    closed.shutdown(Shutdown::Write)?;
    closed.set_read_timeout(Some(Duration::from_secs(20)))?;
    // A half-closed client may be answered or dropped; it must not be left waiting.
    if let Ok(response) = Response::read(closed) {
        assert_eq!(response.status, 200);
    }
    let (status, answer) = post(address, "/invocations", &serde_json::from_str(&body)?)?;
    assert_eq!(status, 200, "the server goes on: {answer}");
    settled(&server)
}

/// A model that is not there, cut off, bit-flipped or no model: the place, the reason, the code.
#[test]
fn broken_models_end_with_a_reason() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let whole = std::fs::read(&model)?;
    let folder = std::env::temp_dir().join(format!("gimbal-broken-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    std::fs::write(path("cut.gguf"), &whole[..whole.len() / 2])?;
    let mut flipped = whole[..4 << 20].to_vec();
    flipped[9] ^= 0x40;
    std::fs::write(path("flipped.gguf"), &flipped)?;
    std::fs::write(path("text.gguf"), "not a model at all")?;
    for (name, code, says) in [
        ("cut.gguf", 65, "ends past the file's"),
        ("flipped.gguf", 65, "do not fit the file"),
        ("text.gguf", 65, "does not begin with GGUF"),
        ("missing.gguf", 66, "No such file"),
    ] {
        let file = path(name);
        let output = run(&["serve", &file, "--port", "0", "--onnxruntime", &library])?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
        assert!(text.contains(&file), "{name}: {text}");
        assert!(!text.contains("panicked"), "{name}: {text}");
    }
    std::fs::remove_dir_all(&folder)?;

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let output = run(&["serve", &model.to_string_lossy(), "--host", "127.0.0.1", "--port", &port])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains(&port), "{text}");
    Ok(())
}

/// SIGTERM: the running stream ends as it would have, new requests are refused, the exit is clean.
#[test]
fn a_drain_finishes_what_runs() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--onnxruntime", &library])?;
    let body = json!({ "inputs": "Once upon a time", "parameters": { "max_new_tokens": 200 }, "stream": true });
    let mut stream = send(server.address, "POST", "/invocations", &body.to_string())?;
    let first = stream.chunk()?.context("a first token")?;
    server.terminate()?;
    let text = String::from_utf8(first)? + &stream.text()?;
    let last = text.lines().last().context("a last line")?;
    let last: Value = serde_json::from_str(last)?;
    let reason = &last["details"]["finish_reason"];
    assert!(reason == "length" || reason == "eos_token", "{last}");
    assert_eq!(server.wait()?, Some(0));
    Ok(())
}

/// SIGTERM under more load than the drain has time for: every stream that began ends with a finish
/// reason or with an error that says why, whole answers are answers or 503, and the exit is clean.
#[test]
fn no_stream_is_cut_without_a_reason() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let short = ["--drain-timeout-s", "1", "--max-rolling-batch-size", "8"];
    let server = Server::start(&model, &[&["--onnxruntime", &library], &short[..]].concat())?;
    let address = server.address;
    let ask = move |i: usize| -> anyhow::Result<(u16, String)> {
        let tokens = [20, 200, 2000][i % 3];
        let (path, body) = match i % 4 {
            0 => (
                "/v1/chat/completions",
                json!({
                    "messages": [{ "role": "user", "content": "Tell a story." }],
                    "max_tokens": tokens, "ignore_eos": true, "stream": true,
                }),
            ),
            1 => (
                "/invocations",
                json!({
                    "inputs": "Once upon a time", "stream": true,
                    "parameters": { "max_new_tokens": tokens, "ignore_eos_token": true },
                }),
            ),
            2 => (
                "/v1/completions",
                json!({
                    "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": true, "stream": true,
                }),
            ),
            _ => (
                "/v1/completions",
                json!({
                    "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": true,
                }),
            ),
        };
        let response = send(address, "POST", path, &body.to_string())?;
        Ok((response.status, response.text()?))
    };
    let answers = std::thread::scope(|scope| -> anyhow::Result<Vec<(u16, String)>> {
        let clients: Vec<_> = (0..24).map(|i| scope.spawn(move || ask(i))).collect();
        while server.metric("gimbal_running", "")? < 8.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.terminate()?;
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    })?;
    assert_eq!(server.wait()?, Some(0));
    let mut cut = 0;
    for (i, (status, text)) in answers.iter().enumerate() {
        let shown = format!("client {i}: {status} {}", &text[text.len().saturating_sub(300)..]);
        if *status != 200 {
            assert!([429, 503].contains(status), "{shown}");
            continue;
        }
        let ends_well = text.contains("[DONE]") || text.contains("\"finish_reason\":\"length\"");
        let says_why = text.contains("\"error\"");
        assert!(ends_well || says_why, "{shown}");
        cut += usize::from(says_why);
    }
    assert!(cut > 0, "the drain was to be too short for some");
    Ok(())
}

/// With keys, probes are open, a client needs a key, and `gimbal bench` measures with one and shows it
/// nowhere.
#[test]
fn a_server_with_keys_answers_who_has_one() -> anyhow::Result<()> {
    let Some((model, _)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--backend", "sim", "--api-key", "cheese"])?;
    for (path, status) in [("/ping", 200), ("/v1/models", 401), ("/metrics", 401), ("/status", 401)]
    {
        assert_eq!(send(server.address, "GET", path, "")?.status, status, "{path}");
    }
    let (status, _) = post(server.address, "/invocations", &json!({ "inputs": "a" }))?;
    assert_eq!(status, 401);
    let url = format!("http://{}", server.address);
    let fixed = ["bench", &url, "--requests", "2", "--prompt-tokens", "8", "--output-tokens", "2"];
    let output = run(&fixed)?;
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("--api-key"), "{said}");
    let output = run(&[&fixed[..], &["--api-key", "cheese"]].concat())?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    assert!(output.status.success() && !said.contains("cheese"), "{said}");
    Ok(())
}
