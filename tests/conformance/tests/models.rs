//! Two models in one process, asked at once over every route: each answers for itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gimbal_conformance::client::{post, send};
use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path};
use serde_json::{Value, json};

/// The same weights; a template and a context of its own make the second another model.
const NAMES: [&str; 2] = ["long", "short"];
const LENGTHS: [u64; 2] = [1024, 64];
const ROUNDS: usize = 4;
/// Tokens of an answer.
const TOKENS: u64 = 8;
const PROMPT: &str = "The alphabet: A, B, C, D, E,";
const CONTINUED: &str = " F, G, H, I,";

/// A file of two models, gone with the test.
struct Files(PathBuf);

impl Files {
    fn new(model: &str, library: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("gimbal-models-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let template = folder.join("plain.jinja");
        std::fs::write(&template, "{% for m in messages %}{{ m.content }}{% endfor %}")?;
        let models = json!({
            "onnxruntime": library,
            "models": {
                NAMES[0]: { "model": model, "max_model_len": LENGTHS[0] },
                NAMES[1]: { "model": model, "max_model_len": LENGTHS[1], "chat_template": template },
            },
        });
        // JSON is YAML.
        std::fs::write(folder.join("two.yaml"), models.to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn start(files: &Files) -> anyhow::Result<Server> {
    let mut command = Command::new(binary_path().context("GIMBAL_TEST_BINARY is not set")?);
    command.arg("serve").arg("--config").arg(files.0.join("two.yaml"));
    command.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
    Server::spawn(command)
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let answer = send(address, "GET", path, "")?;
    ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(serde_json::from_str(&answer.text()?)?)
}

/// What one model says on every route that takes a name.
fn ask_all(address: SocketAddr, model: usize) -> anyhow::Result<Vec<String>> {
    let name = NAMES[model];
    let ask = |path: &str, body: Value| -> anyhow::Result<Value> {
        let (status, answer) = post(address, path, &body)?;
        ensure!(status == 200, "{name} {path}: {status} {answer}");
        let told = answer["model"].as_str();
        ensure!(told.is_none_or(|told| told == name), "{path}: {name} answers as {told:?}");
        Ok(answer)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let chat = json!({"model": name, "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": TOKENS, "temperature": 0});
    let completion =
        json!({"model": name, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0});
    let parameters = json!({"max_new_tokens": TOKENS});
    let lmi =
        ask("/invocations", json!({"model": name, "inputs": PROMPT, "parameters": parameters}))?;
    let mut told = vec![text(&lmi["generated_text"])?];
    for path in ["/v1/completions", "/invocations"] {
        told.push(text(&ask(path, completion.clone())?["choices"][0]["text"])?);
    }
    for path in ["/v1/chat/completions", "/invocations"] {
        told.push(text(&ask(path, chat.clone())?["choices"][0]["message"]["content"])?);
    }
    let ids = ask("/tokenize", json!({"model": name, "prompt": PROMPT}))?;
    ensure!(ids["max_model_len"] == LENGTHS[model], "{name}: {ids}");
    let back = ask("/detokenize", json!({"model": name, "tokens": ids["tokens"]}))?;
    told.push(text(&back["prompt"])?);
    let about = get(address, &format!("/v1/models/{name}"))?;
    ensure!(about["max_model_len"] == LENGTHS[model], "{name}: {about}");
    Ok(told)
}

/// One of 100 numbers fits into the first model's context alone.
fn long_prompts(address: SocketAddr, model: usize) -> anyhow::Result<Vec<u16>> {
    let long = (0..100).map(|n| format!("{n}, ")).collect::<String>();
    let name = NAMES[model];
    let bodies = [
        ("/v1/completions", json!({"model": name, "prompt": long, "max_tokens": 1})),
        (
            "/invocations",
            json!({"model": name, "inputs": long, "parameters": {"max_new_tokens": 1}}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": name, "messages": [{"role": "user", "content": long}], "max_tokens": 1}),
        ),
    ];
    bodies.iter().map(|(path, body)| Ok(post(address, path, body)?.0)).collect()
}

/// Generated texts, names and contexts are each model's own while both are asked; metrics, `/status` and
/// the lists know both; a name that is none is told those that are.
#[test]
fn two_models_answer_over_every_route() -> anyhow::Result<()> {
    let (Some(model), Some(library)) = (model_path(), library_path()) else { return Ok(()) };
    if binary_path().is_none() {
        return Ok(());
    }
    let (model, library) = (model.to_str().context("a path")?, library.to_str().context("a path")?);
    let files = Files::new(model, library)?;
    let server = start(&files)?;
    let address = server.address;
    let alone = [ask_all(address, 0)?, ask_all(address, 1)?];
    for told in &alone {
        assert_eq!(told[..3], [CONTINUED; 3], "the golden continuation");
        assert_eq!(told[5], PROMPT);
    }
    assert_ne!(alone[0][3], alone[1][3], "each has its template");
    assert_eq!(alone[1][3], CONTINUED, "this one adds nothing");
    std::thread::scope(|scope| {
        let asked = (0..2 * ROUNDS).map(|n| scope.spawn(move || ask_all(address, n % 2)));
        let asked: Vec<_> = asked.collect();
        for (n, thread) in asked.into_iter().enumerate() {
            assert_eq!(thread.join().expect("no panic")?, alone[n % 2], "{}", NAMES[n % 2]);
        }
        anyhow::Ok(())
    })?;
    assert_eq!(long_prompts(address, 0)?, [200, 200, 200]);
    assert_eq!(long_prompts(address, 1)?, [400, 400, 400]);

    let listed = get(address, "/v1/models")?;
    let names = |list: &Value| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|model| model["id"].clone()).collect()
    };
    assert_eq!(names(&listed["data"]), NAMES);
    let status = get(address, "/status")?;
    assert_eq!(names(&status["models"]), NAMES);
    // A seat is given back when the lane has forgotten the request, which may be after its answer.
    let until = Instant::now() + Duration::from_secs(10);
    while get(address, "/load")?["server_load"] != 0 {
        ensure!(Instant::now() < until, "a seat is not given back");
        std::thread::sleep(Duration::from_millis(5));
    }
    for (n, name) in NAMES.iter().enumerate() {
        let length = &status["models"][n]["max_model_len"];
        assert_eq!(*length, LENGTHS[n], "{name}");
        // Five generations a round, one round alone, and three long prompts that only one takes.
        let rounds = u32::try_from(ROUNDS)? + 1;
        let expected = f64::from(5 * rounds + if n == 0 { 3 } else { 0 });
        let ended = server.metric("gimbal_requests_total", &format!("model=\"{name}\""))?;
        assert!((ended - expected).abs() < 0.5, "{name}: {ended} of {expected}");
    }
    let (status, told) =
        post(address, "/v1/completions", &json!({"model": "other", "prompt": "a"}))?;
    assert_eq!(status, 404, "{told}");
    assert!(NAMES.iter().all(|name| told.to_string().contains(name)), "{told}");
    assert_eq!(send(address, "GET", "/ping", "")?.status, 200);
    server.terminate()?;
    assert_eq!(server.wait()?, Some(0));
    Ok(())
}
