//! Answers in a grammar, by the real binary and the default model: every one validates, and what is
//! wrong or would cost too much is answered beside a stream that goes on.
//!
//! Not the grammars themselves (`gimbal-text`). Schemas and requests are Python, because there the
//! validator and the clients are. Next: `tests/clients/forms_client.py`.

use std::path::Path;
use std::process::Command;

use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path, path_of};

/// Runs a script of `tests/clients` against a server of its own, and shows what it said.
fn run(script: &str) -> anyhow::Result<()> {
    let setup = (binary_path(), path_of("GIMBAL_TEST_CLIENTS"), model_path(), library_path());
    let (Some(_), Some(clients), Some(model), Some(library)) = setup else { return Ok(()) };
    let library = library.display().to_string();
    let server = Server::start(&model, &["--onnxruntime", &library])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients").join(script);
    let mut client = Command::new(clients.join("python"));
    client.arg("-B").arg(&script).env("GIMBAL_URL", format!("http://{}", server.address));
    let output = client.output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{}\n{said}", script.display());
    eprintln!("{said}");
    Ok(())
}

#[test]
fn every_answer_has_the_form_that_was_asked_for() -> anyhow::Result<()> {
    run("forms_client.py")
}

#[test]
fn bad_forms_are_answered_and_others_go_on() -> anyhow::Result<()> {
    run("bad_forms.py")
}
