//! llama.cpp's routes over real sockets: what a body means is what a completion means.
//!
//! Next: `limits.rs`.

use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

#[tokio::test]
async fn a_completion_is_that_of_openais_route() {
    let server = server("llama").await;
    let asked = json!({ "prompt": "abc", "max_tokens": 6, "temperature": 0, "logprobs": 2 });
    let expect = server.post("/v1/completions", &asked).await.json();
    let (expect, usage) = (&expect["choices"][0], &expect["usage"]);
    let body = json!({ "prompt": "abc", "n_predict": 6, "temperature": 0, "n_probs": 2,
        "return_tokens": true });
    for path in ["/completion", "/completions"] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let told = answer.json();
        assert_eq!(told["content"], expect["text"]);
        assert_eq!((&told["stop_type"], &told["stopping_word"]), (&json!("limit"), &json!("")));
        assert_eq!((&told["stop"], &told["prompt"]), (&json!(true), &json!("abc")));
        assert_eq!(told["tokens_predicted"], usage["completion_tokens"]);
        assert_eq!(told["tokens_evaluated"], usage["prompt_tokens"]);
        let settings = &told["generation_settings"];
        assert_eq!((&settings["n_predict"], &settings["seed"]), (&json!(6), &json!(-1)));
        assert_eq!(told["timings"]["predicted_n"], 6);
        let probabilities = told["completion_probabilities"].as_array().expect("a list");
        let logprobs: Vec<&Value> = probabilities.iter().map(|p| &p["logprob"]).collect();
        let theirs = expect["logprobs"]["token_logprobs"].as_array().expect("a list");
        assert_eq!(logprobs, theirs.iter().collect::<Vec<_>>());
        assert!(
            probabilities
                .iter()
                .all(|p| p["top_logprobs"].as_array().is_some_and(|t| t.len() == 2))
        );
        assert_eq!(told["tokens"].as_array().map(Vec::len), Some(6));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_is_the_whole_in_pieces() {
    let server = server("llama-stream").await;
    let whole = json!({ "prompt": "abc", "n_predict": 9, "temperature": 0 });
    let whole_text = server.post("/completion", &whole).await.json()["content"].clone();
    let whole_text = whole_text.as_str().expect("a text").to_owned();
    // Ends at what it says itself.
    let word: String = whole_text.chars().skip(4).take(2).collect();
    for stop in [json!([]), json!([word])] {
        let mut body = whole.clone();
        body["stop"] = stop;
        let expect = server.post("/completion", &body).await.json();
        body["stream"] = true.into();
        let stream = server.post("/completion", &body).await;
        let events = stream.body.split_terminator("\n\n").map(|event| {
            let data = event.strip_prefix("data: ").expect("data");
            serde_json::from_str::<Value>(data).expect("JSON")
        });
        let events: Vec<Value> = events.collect();
        let text: String = events.iter().filter_map(|event| event["content"].as_str()).collect();
        assert_eq!(Value::from(text), expect["content"]);
        let (last, pieces) = events.split_last().expect("events");
        assert!(pieces.iter().all(|piece| piece["stop"] == false && piece["model"].is_null()));
        for member in ["stop", "stop_type", "stopping_word", "tokens_predicted", "has_new_line"] {
            assert_eq!(last[member], expect[member], "{member}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn several_prompts_have_an_answer_each() {
    let server = server("llama-many").await;
    let body = json!({ "prompt": ["abc", "de"], "n_predict": 3, "temperature": 0 });
    let told = server.post("/completion", &body).await.json();
    for (i, prompt) in ["abc", "de"].into_iter().enumerate() {
        let one = json!({ "prompt": prompt, "n_predict": 3, "temperature": 0 });
        let one = server.post("/completion", &one).await.json();
        assert_eq!((&told[i]["index"], &told[i]["prompt"]), (&json!(i), &json!(prompt)));
        for member in ["content", "tokens_evaluated", "tokens_predicted"] {
            assert_eq!(told[i][member], one[member], "{member}");
        }
    }
    for (more, expect) in [
        (json!({ "stream": true }), "stream: not with several prompts"),
        (json!({ "n_predict": 0 }), "n_predict: must be at least 1"),
        (json!({ "n_probs": 21 }), "n_probs: must be from 0 to 20"),
        (json!({ "samplers": ["top_k"] }), "samplers"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("more").clone());
        let answer = server.post("/completion", &body).await;
        assert!(answer.status == 400 && answer.body.contains(expect), "{}", answer.body);
    }
    server.stop().await;
}

#[tokio::test]
async fn properties_and_the_prompt_of_a_chat() {
    let server = server("llama-props").await;
    let props = server.get("/props").await.json();
    assert_eq!(props["default_generation_settings"]["n_ctx"], 128);
    assert_eq!((&props["total_slots"], &props["model_alias"]), (&json!(4), &json!("llama-props")));
    let messages = json!([{ "role": "user", "content": "ab" }, { "role": "user", "content": "c" }]);
    let told = server.post("/apply-template", &json!({ "messages": messages })).await;
    assert_eq!(told.json(), json!({ "prompt": "abc" }));
    server.stop().await;
}
