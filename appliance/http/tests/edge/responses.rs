//! `/v1/responses` over real sockets: what a body means is what a chat means, streams are whole answers
//! in pieces, and what is kept is the own key's.
//!
//! The real client: `tests/clients/doors_client.py`. Next: `ollama.rs`.

use gimbal_http::{HttpSettings, Keys};
use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::client::{self, Response};
use crate::rig::{Server, lane, limits, policy};

const RESPONSES: &str = "/v1/responses";

async fn server(name: &str) -> Server {
    server_with(HttpSettings::default(), name).await
}

async fn server_with(settings: HttpSettings, name: &str) -> Server {
    Server::start_with(settings, name, policy(), lane(&limits(), &Script::default())).await
}

/// A body that asks for six tokens, and more.
fn body(more: &Value) -> Value {
    let mut body = json!({ "max_output_tokens": 6, "temperature": 0 });
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    body
}

async fn ask(server: &Server, more: Value) -> Response {
    server.post(RESPONSES, &body(&more)).await
}

async fn send(server: &Server, method: &str, path: &str, key: &str) -> Response {
    let headers = [("x-api-key", key)];
    let headers = if key.is_empty() { &[][..] } else { &headers[..] };
    client::exchange(server.address, &client::request(method, path, headers, "")).await
}

/// The answer to a prompt as a chat, and how long the prompt is.
async fn chat(server: &Server, written: &str) -> (String, Value) {
    let messages = json!([{ "role": "user", "content": written }]);
    let chat = json!({ "messages": messages, "max_tokens": 6, "temperature": 0 });
    let answer = server.post("/v1/chat/completions", &chat).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    let text = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    (text.to_owned(), answer["usage"]["prompt_tokens"].clone())
}

fn text_of(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().expect("a text")
}

#[tokio::test]
async fn items_are_what_a_chat_s_messages_are() {
    let server = server("items").await;
    let user = |content: Value| json!({ "role": "user", "content": content });
    let part = |text: &str| json!({ "type": "input_text", "text": text });
    let call = json!({ "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" });
    let result =
        |output: Value| json!({ "type": "function_call_output", "call_id": "1", "output": output });
    let said = json!({ "type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
        "content": [{ "type": "output_text", "text": "b", "annotations": [], "logprobs": [] }] });
    let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [],
        "content": [{ "type": "reasoning_text", "text": "Hm." }], "encrypted_content": null });
    // What is asked, and what the template writes of it: each message's content, nothing else.
    for (more, written) in [
        (json!({ "input": "abc" }), "abc"),
        (json!({ "input": "b", "instructions": "a" }), "ab"),
        (json!({ "input": [user(json!("a")), user(json!([part("b"), part("c")]))] }), "ab\nc"),
        (
            json!({ "instructions": "a", "input": [
                { "role": "developer", "content": "b" }, user(json!("c"))] }),
            "a\nbc",
        ),
        (json!({ "input": [user(json!("a")), thought, said, user(json!("c"))] }), "abc"),
        (json!({ "input": [user(json!("a")), said, call, result(json!("c"))] }), "abc"),
        (json!({ "input": [user(json!("a")), call, result(json!([part("c")]))] }), "ac"),
    ] {
        let (text, prompt_tokens) = chat(&server, written).await;
        let answer = ask(&server, more.clone()).await;
        assert_eq!(answer.status, 200, "{more}: {}", answer.body);
        let told = answer.json();
        assert_eq!((told["output"].as_array().map(Vec::len), text_of(&told)), (Some(1), &*text));
        assert_eq!((&told["status"], &told["object"]), (&json!("incomplete"), &json!("response")));
        assert_eq!(told["incomplete_details"], json!({ "reason": "max_output_tokens" }));
        assert_eq!(told["output"][0]["status"], "incomplete");
        let usage = &told["usage"];
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&prompt_tokens, &json!(6)));
        assert_eq!(usage["output_tokens_details"], json!({ "reasoning_tokens": 0 }));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_is_the_whole_answer_in_pieces() {
    let server = server("pieces").await;
    let asked = json!({
        "input": "abc", "metadata": { "a": "b" }, "user": "me", "top_p": 0.5,
        "include": ["message.output_text.logprobs"], "top_logprobs": 2,
        "tools": [{ "type": "function", "name": "f" }], "tool_choice": "none",
    });
    let whole = ask(&server, asked.clone()).await.json();
    let mut stream = asked.clone();
    stream["stream"] = true.into();
    let events = ask(&server, stream).await;
    assert!(events.body.starts_with("event: response.created\ndata: {"), "{}", events.body);
    assert!(!events.body.contains("[DONE]"));
    let events = events.lines();
    let (mut text, mut logprobs) = (String::new(), Vec::new());
    for (i, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(i), "{event}");
        if event["type"] == "response.output_text.delta" {
            text += event["delta"].as_str().expect("a text");
            logprobs.extend(event["logprobs"].as_array().expect("a list").clone());
        }
    }
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let (begin, rest) = kinds.split_at(4);
    let end = &rest[rest.len() - 4..];
    assert_eq!(
        begin,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
    );
    assert_eq!(
        end,
        [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
    );
    assert_eq!(text, text_of(&whole));
    let told = &whole["output"][0]["content"][0]["logprobs"];
    assert_eq!(json!(logprobs), *told);
    assert_eq!(
        (logprobs.len(), logprobs[0]["top_logprobs"].as_array().map(Vec::len)),
        (6, Some(2))
    );
    let mut last = events.last().expect("events")["response"].clone();
    for member in ["id", "created_at"] {
        assert!(!last[member].is_null());
        last[member] = whole[member].clone();
    }
    last["output"][0]["id"] = whole["output"][0]["id"].clone();
    let cached = "/usage/input_tokens_details/cached_tokens";
    *last.pointer_mut(cached).expect("it is there") = whole.pointer(cached).expect("it is").clone();
    assert_eq!(last, whole);
    assert_eq!((&whole["metadata"], &whole["user"]), (&json!({ "a": "b" }), &json!("me")));
    assert_eq!((&whole["top_p"], &whole["tool_choice"]), (&json!(0.5), &json!("none")));
    server.stop().await;
}

#[tokio::test]
async fn a_kept_response_is_gone_on_with_and_forgotten() {
    let server =
        server_with(HttpSettings { responses_kept: 3, ..HttpSettings::default() }, "kept").await;
    let first = ask(&server, json!({ "input": "a", "instructions": "x" })).await.json();
    let id = first["id"].as_str().expect("an id");
    assert!(id.starts_with("resp_") && id.len() == 37, "{id}");
    let shown = server.get(&format!("{RESPONSES}/{id}")).await;
    assert_eq!((shown.status, shown.json()), (200, first.clone()));
    // Instructions are those of one request.
    let more = json!({ "input": "b", "previous_response_id": id });
    let second = ask(&server, more.clone()).await.json();
    let (text, _) = chat(&server, &format!("a{}b", text_of(&first))).await;
    assert_eq!((text_of(&second), &second["previous_response_id"]), (&*text, &json!(id)));
    // An item stands for itself.
    let item = json!({ "type": "item_reference", "id": first["output"][0]["id"] });
    let user = json!({ "role": "user", "content": "b" });
    let items = json!({ "input": [{ "role": "user", "content": "a" }, item, user] });
    assert_eq!(text_of(&ask(&server, items).await.json()), text);
    let path = format!("{RESPONSES}/{}/input_items", second["id"].as_str().expect("an id"));
    let page = server.get(&format!("{path}?limit=2&order=asc")).await.json();
    assert_eq!((&page["object"], &page["has_more"]), (&json!("list"), &json!(true)));
    assert_eq!(page["data"][0]["content"], json!([{ "type": "input_text", "text": "a" }]));
    assert_eq!(page["data"][1], first["output"][0]);
    let after = page["last_id"].as_str().expect("an id");
    let rest = server.get(&format!("{path}?order=asc&after={after}")).await.json();
    assert_eq!(
        (rest["data"].as_array().map(Vec::len), &rest["has_more"]),
        (Some(1), &json!(false))
    );
    assert_eq!(server.get(&path).await.json()["data"][0], rest["data"][0], "the newest first");
    for wrong in ["limit=0", "order=x", "after=x", "x=y"] {
        assert_eq!(server.get(&format!("{path}?{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(server.get(&format!("{RESPONSES}/{id}?stream=true")).await.status, 400);
    let gone = send(&server, "DELETE", &format!("{RESPONSES}/{id}"), "").await;
    assert_eq!(gone.json(), json!({ "id": id, "object": "response", "deleted": true }));
    for method in ["GET", "DELETE"] {
        let unknown = send(&server, method, &format!("{RESPONSES}/{id}"), "").await;
        assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("not_found")));
    }
    let refused = ask(&server, more).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (404, &json!("previous_response_not_found")));
    assert_eq!(error["param"], "previous_response_id");
    assert!(
        error["message"].as_str().is_some_and(|said| said.contains("responses_kept")),
        "{error}"
    );
    // What is not to be kept is not, and the oldest make room.
    let unkept = ask(&server, json!({ "input": "a", "store": false })).await.json();
    let id = unkept["id"].as_str().expect("an id");
    assert_eq!(
        (&unkept["store"], server.get(&format!("{RESPONSES}/{id}")).await.status),
        (&json!(false), 404)
    );
    for _ in 0..3 {
        ask(&server, json!({ "input": "a" })).await;
    }
    assert_eq!(server.get(&path).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_keeps_nothing_says_so() {
    let settings = HttpSettings { responses_kept: 0, ..HttpSettings::default() };
    let server = server_with(settings, "unkept").await;
    for (store, told) in [(json!(true), Some("store")), (json!(null), None), (json!(false), None)] {
        let answer = ask(&server, json!({ "input": "a", "store": store })).await;
        assert_eq!((answer.status, answer.header("x-gimbal-ignored")), (200, told));
        let answer = answer.json();
        let path = format!("{RESPONSES}/{}", answer["id"].as_str().expect("an id"));
        assert_eq!((&answer["store"], server.get(&path).await.status), (&json!(false), 404));
    }
    server.stop().await;
}

#[tokio::test]
async fn no_key_reads_what_another_asked_for() {
    let keys = Keys::open("one,two", None).expect("no file");
    let server = server_with(HttpSettings { keys, ..HttpSettings::default() }, "owners").await;
    let post = async |key: &str, more: Value| {
        server.post_with(RESPONSES, &[("x-api-key", key)], &body(&more).to_string()).await
    };
    let first = post("one", json!({ "input": "a" })).await.json();
    let id = first["id"].as_str().expect("an id");
    let item = json!([{ "type": "item_reference", "id": first["output"][0]["id"] }]);
    let path = format!("{RESPONSES}/{id}");
    for (key, found) in [("two", 404), ("one", 200)] {
        assert_eq!(send(&server, "GET", &path, key).await.status, found, "{key}");
        let items = send(&server, "GET", &format!("{path}/input_items"), key).await;
        assert_eq!(items.status, found, "{key}");
        let next = post(key, json!({ "input": "b", "previous_response_id": id })).await;
        assert_eq!(next.status, found, "{key}: {}", next.body);
        let named = post(key, json!({ "input": item })).await.status;
        assert_eq!(named, if found == 200 { 200 } else { 400 }, "{key}");
        assert_eq!(send(&server, "DELETE", &path, key).await.status, found, "{key}");
    }
    // A key that is not known changes nothing about whose a request is.
    let both = [("authorization", "Bearer two"), ("x-api-key", "none")];
    let asked = body(&json!({ "input": "a" })).to_string();
    let second = server.post_with(RESPONSES, &both, &asked).await.json();
    let path = format!("{RESPONSES}/{}", second["id"].as_str().expect("an id"));
    assert_eq!(send(&server, "GET", &path, "two").await.status, 200);
    server.stop().await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_cannot_be_done_is_refused_by_its_path() {
    let server = server("paths").await;
    let with = |name: &str, value: Value| {
        let mut body = json!({ "input": "a" });
        body[name] = value;
        body
    };
    let item = |item: Value| json!({ "input": [item] });
    let part = |part: Value| item(json!({ "role": "user", "content": [part] }));
    for (more, param, message) in [
        (json!({}), "input", "input: is missing"),
        (json!({ "input": [] }), "input", "input: must not be empty"),
        (json!({ "input": 1 }), "input", "input: must be a string or a list"),
        (with("background", json!(true)), "background", "background is not supported"),
        (with("truncation", json!("auto")), "truncation", "truncation is not supported"),
        (with("conversation", json!("x")), "conversation", "conversation is not supported"),
        (with("max_output_tokens", json!(0)), "max_output_tokens", "max_output_tokens: must be"),
        (with("top_logprobs", json!(21)), "top_logprobs", "top_logprobs: must be from 0 to 20"),
        (with("include", json!(["x"])), "include[0]", "include[0]: must be one of"),
        (with("metadata", json!({ "a": 1 })), "metadata", "metadata: must have at most 16"),
        (with("text", json!({ "verbosity": "low" })), "text.verbosity", "text.verbosity is not"),
        (
            with("text", json!({ "format": { "type": "x" } })),
            "text.format.type",
            "text.format.type",
        ),
        (
            with("text", json!({ "format": { "type": "json_schema", "name": "x" } })),
            "text.format.schema",
            "text.format.schema: must be a JSON schema",
        ),
        (with("reasoning", json!({ "x": 1 })), "reasoning.x", "reasoning.x is not supported"),
        (
            with("tools", json!([{ "type": "function", "name": "f" }, { "type": "web_search" }])),
            "tools[1].type",
            "tools[1].type: \"web_search\" is not supported",
        ),
        (with("tools", json!([{ "type": "function" }])), "tools[0].name", "tools[0].name: must be"),
        (
            with("tools", json!([{ "type": "function", "name": "a b" }])),
            "tools",
            "tools: tools[0].name must have",
        ),
        (
            with("tool_choice", json!({ "type": "file_search" })),
            "tool_choice.type",
            "tool_choice.type: \"file_search\" is not supported",
        ),
        (with("tool_choice", json!("required")), "tool_choice", "tool_choice: asks for a call"),
        (
            part(json!({ "type": "input_image", "image_url": "x" })),
            "input[0].content[0].type",
            "input[0].content[0].type: \"input_image\" is not supported",
        ),
        (part(json!({ "type": "input_text" })), "input[0].content[0].text", "input[0].content[0]"),
        (item(json!({ "role": "x", "content": "" })), "input[0].role", "input[0].role: must be"),
        (
            item(json!({ "type": "computer_call" })),
            "input[0].type",
            "input[0].type: \"computer_call\" is not supported",
        ),
        (
            item(json!({ "type": "function_call", "call_id": "1", "name": "f", "arguments": "[" })),
            "input[0].arguments",
            "input[0].arguments: must be the text of a JSON object",
        ),
        (
            item(json!({ "type": "item_reference", "id": "msg_1" })),
            "input[0].id",
            "input[0].id: no item of this id is kept here; send the item itself",
        ),
    ] {
        let answer = ask(&server, more.clone()).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{more}: {error}");
        let said = error["message"].as_str().expect("a text");
        assert!(said.starts_with(message), "{more}: {said}");
    }
    server.stop().await;
}
