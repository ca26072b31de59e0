//! Guessed tokens on the default model and the real binary: the answers of a server that guesses are
//! those of one that does not, to the last bit of every log probability.
//!
//! Not when guesses are made (`tests/simulate/tests/guesses.rs`).

use gimbal_conformance::client::post;
use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path};
use serde_json::{Value, json};

const TEXT: &str = "The baker opens his shop and sells bread to the village. The farmer opens his gate \
                    and sells apples to the village. The baker likes apples.";

/// Requests whose answers repeat something: their prompt, themselves, or the words of a form.
fn asked(seed: u64) -> Value {
    let temperature = [0.0, 0.7, 1.0][(seed % 3) as usize];
    let mut body = json!({
        "messages": [{"role": "user", "content": format!("Repeat this {seed} times: {TEXT}")}],
        "max_tokens": 48, "seed": seed, "n": 1 + seed % 4, "temperature": temperature,
        "logprobs": true, "top_logprobs": 2,
    });
    let row = json!({"type": "object", "required": ["name", "amount"], "additionalProperties": false,
        "properties": {"name": {"enum": ["apples", "bread"]}, "amount": {"type": "integer"}}});
    match seed % 5 {
        0 => {
            let schema = json!({"type": "array", "items": row, "minItems": 3, "maxItems": 4});
            body["response_format"] =
                json!({"type": "json_schema", "json_schema": {"name": "rows", "schema": schema}});
            body["max_tokens"] = json!(120);
        }
        1 => body["structured_outputs"] = json!({"regex": "(one apple, |two apples, ){4,9}none"}),
        2 => body["stop"] = json!(["village"]),
        // Nothing is guessed here: penalties would see the guesses.
        3 => body["frequency_penalty"] = json!(0.5),
        _ => {}
    }
    body
}

/// Answers in order, from four clients at once, and what was guessed for them.
fn answers(server: &Server, seeds: u64) -> anyhow::Result<(Vec<Value>, [u64; 2])> {
    let ask = |seed| {
        let (status, answer) = post(server.address, "/v1/chat/completions", &asked(seed))?;
        anyhow::ensure!(status == 200, "seed {seed}: {answer}");
        Ok(answer)
    };
    let of = |client: u64| (client..seeds).step_by(4).map(ask).collect::<anyhow::Result<Vec<_>>>();
    let of_clients = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || of(client))).collect();
        clients.into_iter().map(|c| c.join().expect("no panic")).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut guesses = [0; 2];
    for answer in of_clients.iter().flatten() {
        let details = &answer["usage"]["completion_tokens_details"];
        for (sum, key) in guesses.iter_mut().zip(["accepted", "rejected"]) {
            *sum += details[format!("{key}_prediction_tokens")].as_u64().unwrap_or(0);
        }
    }
    let choices = of_clients.into_iter().flatten().map(|mut answer| answer["choices"].take());
    Ok((choices.collect(), guesses))
}

#[test]
fn answers_with_guesses_are_those_without() -> anyhow::Result<()> {
    let setup = (binary_path(), model_path(), library_path());
    let (Some(_), Some(model), Some(library)) = setup else { return Ok(()) };
    let library = library.display().to_string();
    let seeds = 60;
    let plain = Server::start(&model, &["--onnxruntime", &library])?;
    let (expect, none) = answers(&plain, seeds)?;
    drop(plain);
    let guessing = Server::start(&model, &["--onnxruntime", &library, "--speculative", "ngram"])?;
    let (found, [accepted, rejected]) = answers(&guessing, seeds)?;
    assert_eq!(none, [0, 0], "a server that does not guess tells of no guesses");
    for (at, (found, expect)) in found.iter().zip(&expect).enumerate() {
        assert_eq!(found, expect, "answer {at}");
    }
    eprintln!("{accepted} guesses were right, {rejected} were not");
    assert!(accepted > 300 && rejected > 50, "{accepted} right, {rejected} wrong");
    Ok(())
}
