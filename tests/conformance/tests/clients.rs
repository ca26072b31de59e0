//! Real clients against the real binary: the packages `openai`, `anthropic` and `ollama`, and requests that Schemathesis
//! makes from our OpenAPI document.
//!
//! `cargo xtask test` installs them, pinned by `tests/clients/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::Command;

use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path, path_of};

/// Model, library, the folder of the installed clients and that of their scripts, or nothing where
/// `cargo xtask test` did not set them.
fn setup() -> Option<(PathBuf, String, PathBuf, PathBuf)> {
    binary_path()?;
    let clients = path_of("GIMBAL_TEST_CLIENTS")?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients");
    Some((model_path()?, library_path()?.to_str()?.to_owned(), clients, scripts))
}

/// Runs a client to its end and shows what it said if it failed.
fn run(client: &mut Command) -> anyhow::Result<()> {
    let output = client.output()?;
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{client:?}\n{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Runs a script against a server of its own with these flags; its model is named for who asks.
fn run_script(script: &str, flags: &[&str]) -> anyhow::Result<()> {
    let Some((model, library, clients, scripts)) = setup() else { return Ok(()) };
    let name = ["--served-model-name", "small", "--onnxruntime", &library];
    let server = Server::start(&model, &[&name[..], flags].concat())?;
    let mut client = Command::new(clients.join("python"));
    client.arg(scripts.join(script)).env("GIMBAL_MODEL", "small");
    run(client.env("GIMBAL_URL", format!("http://{}", server.address)))
}

#[test]
fn the_openai_client_works_unchanged() -> anyhow::Result<()> {
    run_script("openai_client.py", &["--job-queue-size", "2", "--max-rolling-batch-size", "2"])
}

#[test]
fn the_openai_client_calls_tools() -> anyhow::Result<()> {
    run_script("tools_client.py", &[])
}

#[test]
fn the_openai_client_parses_and_streams_its_types() -> anyhow::Result<()> {
    run_script("frameworks/openai_python.py", &[])
}

/// Responses and Messages, by the packages of OpenAI and Anthropic.
#[test]
fn the_clients_of_responses_and_messages_work_unchanged() -> anyhow::Result<()> {
    run_script("doors_client.py", &[])
}

/// Ollama's routes, by its own package.
#[test]
fn the_ollama_client_works_unchanged() -> anyhow::Result<()> {
    run_script("ollama_client.py", &[])
}

/// The simulated device: thousands of requests, each with the real tokenizer and template.
#[test]
fn generated_requests_find_no_difference_to_the_document() -> anyhow::Result<()> {
    let Some((model, _, clients, scripts)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--backend", "sim", "--max-model-len", "256"])?;
    let mut client = Command::new(clients.join("schemathesis"));
    client.args(["run", &format!("http://{}/openapi.json", server.address), "--no-color"]);
    // The seed is fixed, so that a failure is found again and a pass stays one.
    client.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    client.args(["--seed", "1", "--max-examples", "50", "--continue-on-failure"]);
    client.args(["--generation-database", "none", "--workers", "1"]);
    client.env("SCHEMATHESIS_HOOKS", "checks").env("PYTHONPATH", &scripts);
    run(client.current_dir(&clients))
}
