//! Every row of the table of request fields, sent by every route.
//!
//! Next: `guests.rs`.

use gimbal_sim::Script;
use serde_json::{Value, json};

use crate::rig::{Server, lane, limits, policy};

const TABLE: &str = include_str!("../../docs/fields.md");

/// A field, its example, and what the document says of it in each column.
struct Row {
    name: String,
    example: Value,
    verdicts: Vec<String>,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        Row {
            name: plain(cells[0]),
            example: serde_json::from_str(&plain(cells[3])).expect("an example is JSON"),
            verdicts: cells[4..].iter().map(|cell| (*cell).to_owned()).collect(),
        }
    };
    lines.map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_done_harmless_or_refused_as_the_table_says() {
    let server = Server::start("names", policy(), lane(&limits(), &Script::default())).await;
    let messages = json!([{"role": "user", "content": "Hi"}]);
    // In the order of the document's columns.
    let routes = [
        ("/v1/chat/completions", json!({"messages": messages, "max_tokens": 2}), ""),
        ("/v1/completions", json!({"prompt": "Hi", "max_tokens": 2}), ""),
        ("/invocations", json!({"inputs": "Hi"}), ""),
        (
            "/invocations",
            json!({"inputs": "Hi", "parameters": {"max_new_tokens": 2}}),
            "parameters",
        ),
        ("/tokenize", json!({"messages": messages}), ""),
        ("/detokenize", json!({"tokens": [72]}), ""),
        ("/v1/messages", json!({"messages": messages, "max_tokens": 2}), ""),
        ("/v1/responses", json!({"input": "Hi", "max_output_tokens": 2}), ""),
        ("/completion", json!({"prompt": "Hi", "n_predict": 2}), ""),
        ("/apply-template", json!({"messages": messages}), ""),
        ("/api/chat", json!({"messages": messages, "options": {"num_predict": 2}}), ""),
        ("/api/generate", json!({"prompt": "Hi", "options": {"num_predict": 2}}), ""),
        ("/api/chat", json!({"messages": messages, "options": {"num_predict": 2}}), "options"),
        ("/api/show", json!({}), ""),
    ];
    let rows = rows();
    assert!(rows.len() > 150, "the table was read");
    let mut wrong = Vec::new();
    for row in &rows {
        for ((path, body, inside), verdict) in routes.iter().zip(&row.verdicts) {
            let mut body = body.clone();
            let object = if inside.is_empty() { &mut body } else { &mut body[*inside] };
            // These choose another schema on `/invocations`, or stand in the body already.
            let is_other = *path == "/invocations" && ["messages", "prompt"].contains(&&*row.name);
            let is_there = object.get(&row.name).is_some_and(|_| inside.is_empty());
            if (is_other && inside.is_empty()) || is_there {
                continue;
            }
            object[&row.name] = row.example.clone();
            let answer = server.post(path, &body).await;
            let what = format!("{path} {body}: {} {}", answer.status, answer.body);
            let ignored = answer.header("x-gimbal-ignored").unwrap_or_default();
            let names = ignored.split(", ").map(|name| name.trim_start_matches("parameters."));
            let names = names.map(|name| name.trim_start_matches("options."));
            let is_ignored = names.into_iter().any(|name| name == row.name);
            let as_told = match verdict.as_str() {
                // Anthropic's errors have the name in their words only.
                "refused" if *path == "/v1/messages" => {
                    answer.status == 400 && answer.body.contains(&format!("\"{} ", row.name))
                }
                "refused" if path.starts_with("/v1") => {
                    let param = &answer.json()["error"]["param"];
                    answer.status == 400 && param.as_str().is_some_and(|p| p.ends_with(&row.name))
                }
                "refused" | "in parameters" => answer.status == 400,
                "harmless" => answer.status == 200 && is_ignored,
                "done" => !is_ignored && answer.status < 500,
                other => panic!("{other} is no verdict"),
            };
            if !as_told {
                wrong.push(format!("{verdict}: {what} {ignored}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}
