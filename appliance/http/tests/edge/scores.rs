//! Log probabilities of prompts, and ids of tokens, in the forms of OpenAI and vLLM.
//!
//! What is expected is computed from the simulated model itself, without scheduler or engine. Next:
//! `clients.rs`.

use gimbal_batch::{Answer, TokenId};
use gimbal_sim::{Chain, Script};
use serde_json::{Map, Value, json};

use crate::rig::{Server, lane, limits, policy};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn server(name: &str) -> Server {
    Server::start(name, policy(), lane(&limits(), &Script::default())).await
}

/// A token's log probability, its rank, and alternatives.
type Told = (f32, u32, Vec<(u32, f32)>);

/// What the model thinks of each byte of a text but the first.
fn truth(text: &str, top: u8) -> Vec<Told> {
    let tokens: Vec<TokenId> = text.bytes().map(|byte| TokenId::new(byte.into())).collect();
    let told = |at: usize| match Chain::of(&tokens[..at], 0).score(256, &tokens[at..=at], top) {
        Answer::Score { scores, top } => {
            let top = top.into_iter().map(|(id, logprob)| (id.get(), logprob)).collect();
            (scores[0].logprob, scores[0].rank, top)
        }
        other => panic!("{other:?} is no score"),
    };
    (1..tokens.len()).map(told).collect()
}

/// A log probability as it is written.
fn number(logprob: f32) -> Value {
    // The digits of an `f32`, as answers have them.
    serde_json::from_str(&logprob.clamp(-9999.0, 0.0).to_string()).expect("a number")
}

fn name(id: u32) -> String {
    let byte = u8::try_from(id).expect("a byte");
    String::from_utf8_lossy(&[byte]).into_owned()
}

/// `top_logprobs` of a byte: itself, then what it does not hide.
fn top_of(id: u32, told: &Told) -> Value {
    let mut map = Map::from_iter([(name(id), number(told.0))]);
    for (id, logprob) in &told.2 {
        map.entry(name(*id)).or_insert_with(|| number(*logprob));
    }
    map.into()
}

/// The body that lm-eval sends for each choice of a task, and what it reads of the answer.
#[tokio::test]
async fn an_echo_with_logprobs_tells_of_the_prompt_and_the_answer() {
    let server = server("echoed").await;
    let prompt = "To be, or not";
    let ids: Vec<u32> = prompt.bytes().map(u32::from).collect();
    for top in [0, 1, 3] {
        let told = truth(prompt, top);
        for length in [0, 1, 4] {
            let body = json!({
                "prompt": [ids], "max_tokens": length, "temperature": 0, "logprobs": top,
                "seed": 1234, "echo": true,
            });
            let answer = server.post(COMPLETIONS, &body).await.json();
            let choice = &answer["choices"][0];
            let text = choice["text"].as_str().expect("a text");
            assert!(text.starts_with(prompt) && (text.len() > prompt.len()) == (length > 0));
            assert_eq!(choice["finish_reason"], "length");
            assert_eq!(answer["usage"]["prompt_tokens"], prompt.len());
            assert_eq!(answer["usage"]["completion_tokens"], length);
            let list = |key: &str| choice["logprobs"][key].as_array().expect("a list");
            for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                assert_eq!(list(key).len(), prompt.len() + length, "{key}");
            }
            assert_eq!(
                (&list("token_logprobs")[0], &list("top_logprobs")[0]),
                (&Value::Null, &Value::Null)
            );
            for (at, (id, told)) in
                ids.iter().zip(std::iter::once(None).chain(told.iter().map(Some))).enumerate()
            {
                assert_eq!(list("tokens")[at], name(*id));
                assert_eq!(list("text_offset")[at], at);
                let Some(told) = told else { continue };
                assert_eq!(list("token_logprobs")[at], number(told.0), "token {at}");
                assert_eq!(list("top_logprobs")[at], top_of(*id, told), "token {at}");
            }
            for at in prompt.len()..prompt.len() + length {
                assert!(list("token_logprobs")[at].is_number(), "what follows is told too");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_tells_of_the_prompt_with_its_first_piece() {
    let server = server("echo-stream").await;
    let body = json!({
        "prompt": ["abc", "defgh"], "max_tokens": 3, "temperature": 0, "logprobs": 2, "echo": true,
        "n": 2, "return_token_ids": true,
    });
    let whole = server.post(COMPLETIONS, &body).await.json();
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let chunks = server.post(COMPLETIONS, &streamed).await.lines();
    for (index, choice) in whole["choices"].as_array().expect("choices").iter().enumerate() {
        let own = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == index);
        let own: Vec<&Value> = own.map(|chunk| &chunk["choices"][0]).collect();
        for pointer in [
            "/logprobs/tokens",
            "/logprobs/token_logprobs",
            "/logprobs/top_logprobs",
            "/logprobs/text_offset",
            "/token_ids",
        ] {
            let pieces = own.iter().filter_map(|choice| choice.pointer(pointer)?.as_array());
            let joined: Vec<Value> = pieces.flatten().cloned().collect();
            assert_eq!(Some(&Value::from(joined)), choice.pointer(pointer), "{pointer} of {index}");
        }
        assert_eq!(own[0]["prompt_token_ids"], choice["prompt_token_ids"]);
        assert!(own[1..].iter().all(|choice| choice.get("prompt_token_ids").is_none()));
    }
    server.stop().await;
}

#[tokio::test]
async fn prompt_logprobs_are_told_as_vllm_tells_them() {
    let server = server("prompt-logprobs").await;
    let (text, top) = ("abcd", 2);
    let told = truth(text, top);
    let mut expect = vec![Value::Null];
    for (id, (logprob, rank, others)) in text.bytes().skip(1).zip(&told) {
        let entry = |id: u32, logprob: f32, rank: u32| json!({"logprob": number(logprob), "rank": rank, "decoded_token": name(id)});
        let own = (id.to_string(), entry(id.into(), *logprob, *rank));
        let mut map = Map::from_iter([own]);
        for ((id, logprob), rank) in others.iter().zip(1..) {
            map.entry(id.to_string()).or_insert_with(|| entry(*id, *logprob, rank));
        }
        expect.push(map.into());
    }
    let body = json!({"prompt": text, "max_tokens": 2, "temperature": 0, "prompt_logprobs": top});
    let answer = server.post(COMPLETIONS, &body).await.json();
    assert_eq!(answer["choices"][0]["prompt_logprobs"], Value::from(expect.clone()));
    assert_eq!(answer["choices"][0]["logprobs"], Value::Null);
    let messages = json!([{"role": "user", "content": text}]);
    let body = json!({"messages": messages, "max_tokens": 2, "temperature": 0, "prompt_logprobs": top, "return_token_ids": true});
    let answer = server.post(CHAT, &body).await.json();
    assert_eq!(answer["prompt_logprobs"], Value::from(expect));
    assert_eq!(answer["prompt_token_ids"], json!([97, 98, 99, 100]));
    assert_eq!(answer["choices"][0]["token_ids"].as_array().map(Vec::len), Some(2));
    // Unasked they are null.
    let plain = json!({"prompt": text, "max_tokens": 1});
    let answer = server.post(COMPLETIONS, &plain).await.json();
    for name in ["prompt_logprobs", "prompt_token_ids"] {
        assert_eq!(answer["choices"][0].get(name), Some(&Value::Null), "{name}");
    }
    let plain = json!({"messages": messages, "max_tokens": 1});
    let answer = server.post(CHAT, &plain).await.json();
    assert_eq!(answer.get("prompt_logprobs"), Some(&Value::Null));
    // The prompt alone, without an echo.
    let body = json!({"prompt": text, "max_tokens": 0, "prompt_logprobs": 0});
    let choice = &server.post(COMPLETIONS, &body).await.json()["choices"][0];
    assert_eq!(
        (&choice["text"], choice["prompt_logprobs"].as_array().map(Vec::len)),
        (&json!(""), Some(4))
    );
    // More of the prompt than of the answer: each has its own.
    let body = json!({
        "prompt": text, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 3, "logprobs": 1, "echo": true,
    });
    let choice = &server.post(COMPLETIONS, &body).await.json()["choices"][0];
    let count = |value: &Value| value.as_object().map_or(0, Map::len);
    assert!(count(&choice["logprobs"]["top_logprobs"][1]) <= 2);
    assert!(count(&choice["prompt_logprobs"][1]) >= 3);
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_told_by_their_ids_where_that_is_asked_for() {
    let server = server("by-id").await;
    let body = json!({
        "prompt": "abc", "max_tokens": 3, "temperature": 0, "logprobs": 2, "return_token_ids": true,
        "return_tokens_as_token_ids": true,
    });
    let choice = &server.post(COMPLETIONS, &body).await.json()["choices"][0];
    let ids = choice["token_ids"].as_array().expect("ids");
    assert_eq!(choice["prompt_token_ids"], json!([97, 98, 99]));
    let names: Vec<Value> = ids.iter().map(|id| format!("token_id:{id}").into()).collect();
    assert_eq!(choice["logprobs"]["tokens"], Value::from(names.clone()));
    for (name, top) in
        names.iter().zip(choice["logprobs"]["top_logprobs"].as_array().expect("a list"))
    {
        let top = top.as_object().expect("a map");
        assert!(top.contains_key(name.as_str().expect("a name")));
        assert!(top.keys().all(|key| key.starts_with("token_id:")));
    }
    let messages = json!([{"role": "user", "content": "abc"}]);
    let body = json!({
        "messages": messages, "max_tokens": 3, "temperature": 0, "logprobs": true, "top_logprobs": 1,
        "return_token_ids": true, "return_tokens_as_token_ids": true, "stream": true,
    });
    let chunks = server.post(CHAT, &body).await.lines();
    assert_eq!(chunks[0]["prompt_token_ids"], json!([97, 98, 99]));
    let told =
        chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/logprobs/content/0/token"));
    assert_eq!(told.cloned().collect::<Vec<_>>(), names);
    let told = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/token_ids/0"));
    assert_eq!(&told.cloned().collect::<Vec<_>>(), ids);
    let body = json!({"prompt": "abc", "max_tokens": 0, "echo": true, "return_token_ids": true});
    let choice = &server.post(COMPLETIONS, &body).await.json()["choices"][0];
    assert_eq!(
        (&choice["prompt_token_ids"], &choice["token_ids"]),
        (&json!([97, 98, 99]), &json!([]))
    );
    server.stop().await;
}

/// vLLM's `logprob_token_ids`: the chosen token, and exactly those.
#[tokio::test]
async fn chosen_tokens_are_told_at_each_position() {
    let server = server("chosen").await;
    let body = json!({
        "prompt": "abc", "max_tokens": 3, "temperature": 0, "logprobs": 0, "logprob_token_ids": [65, 66],
        "return_tokens_as_token_ids": true,
    });
    let logprobs = &server.post(COMPLETIONS, &body).await.json()["choices"][0]["logprobs"];
    let mut chain = Chain::of(&[97, 98, 99].map(TokenId::new), 0);
    for at in 0..3 {
        let own = logprobs["tokens"][at].as_str().expect("a name");
        let mut expect = Map::new();
        expect.insert(own.to_owned(), logprobs["token_logprobs"][at].clone());
        for id in [65, 66] {
            expect.insert(format!("token_id:{id}"), number(chain.logprob(TokenId::new(id))));
        }
        assert_eq!(logprobs["top_logprobs"][at], Value::from(expect));
        let id = own.trim_start_matches("token_id:").parse().expect("an id");
        chain = chain.then(gimbal_sim::Row::of(TokenId::new(id)));
    }
    let messages = json!([{"role": "user", "content": "abc"}]);
    let body = json!({
        "messages": messages, "max_tokens": 1, "temperature": 0, "logprobs": true, "logprob_token_ids": [65, 66],
    });
    let told = &server.post(CHAT, &body).await.json()["choices"][0]["logprobs"]["content"][0];
    let names: Vec<&Value> =
        told["top_logprobs"].as_array().expect("a list").iter().map(|t| &t["token"]).collect();
    assert_eq!(names, [&told["token"], &json!("A"), &json!("B")]);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_by_name() {
    let server = server("refused-scores").await;
    let check = async |more: Value, param: &str| {
        let mut body = json!({"prompt": "abc", "max_tokens": 2});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let answer = server.post(COMPLETIONS, &body).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{body}: {error}");
    };
    check(json!({"prompt_logprobs": 21}), "prompt_logprobs").await;
    check(json!({"prompt_logprobs": -1}), "prompt_logprobs").await;
    check(json!({"prompt_logprobs": 1, "stream": true}), "prompt_logprobs").await;
    check(json!({"logprobs": 21, "echo": true}), "logprobs").await;
    check(json!({"logprob_token_ids": [5]}), "logprob_token_ids").await;
    check(json!({"logprob_token_ids": [], "logprobs": 1}), "logprob_token_ids").await;
    check(json!({"logprob_token_ids": [256], "logprobs": 1}), "logprob_token_ids").await;
    check(json!({"logprob_token_ids": vec![5; 129], "logprobs": 1}), "logprob_token_ids").await;
    check(json!({"max_tokens": 0}), "max_tokens").await;
    check(json!({"max_tokens": 0, "logprobs": 1}), "max_tokens").await;
    server.stop().await;
}
