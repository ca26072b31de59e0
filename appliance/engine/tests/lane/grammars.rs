//! Grammars on the simulated device, whose tokens have no sense of their own: all that comes is what a
//! grammar made of them.

use std::sync::Arc;

use gimbal_batch::Limits;
use gimbal_engine::*;
use gimbal_sim::{Config, Cost, Incident, Reads, Script, SimBackend, Time};
use gimbal_text::GrammarSource;
use serde_json::{Value, json};

use crate::rig::*;

/// A lane whose vocabulary has the token that ends a turn.
fn lane(depth: u32, script: &Script) -> LaneSource {
    let limits = Limits { vocab: 258, context_tokens_max: 512, ..limits(depth) };
    let script = script.clone();
    let open = move || -> Box<dyn gimbal_hal::Backend> {
        let (cost, time, reads) = (Cost::NONE, Time::Virtual, Reads::All);
        let config = Config { vocab: 258, cost, time, reads, script: script.clone() };
        Box::new(SimBackend::new(limits.clone(), config))
    };
    LaneSource { backend: open(), reopen: Box::new(move || Ok(open())) }
}

/// Each choice is a document of the schema, also where the device is lost and the others of the step
/// are free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_fits_its_grammar() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "tags", "n"],
        "properties": {
            "name": { "type": "string", "pattern": "^[a-z]{1,6}$" },
            "tags": { "type": "array", "items": { "enum": ["x", "yy"] }, "maxItems": 3 },
            "n": { "type": "integer", "minimum": -3, "maximum": 120 },
        },
    });
    for depth in [1, 2] {
        let service =
            named_service("grammar", policy(), lane(depth, &Script::new(&[(30, Incident::Lost)])));
        let free = answer(&service, request("abc", 40)).await;
        let source = GrammarSource::JsonSchema(schema.clone());
        let wanted = |source| Some(Wanted { field: "regex", source: Arc::new(source) });
        let grammar = wanted(source);
        let params = SampleParams { temperature: 1.0, ..SampleParams::default() };
        let request = |seed| GenerateRequest {
            grammar: grammar.clone(),
            choices: 3,
            seed: Some(seed),
            params: params.clone(),
            ..request("say", 480)
        };
        for seed in 0..8 {
            let others = tokio::spawn({
                let service = service.clone();
                async move { answer(&service, crate::rig::request("abc", 40)).await }
            });
            let generation = service.generate(request(seed)).await.expect("admitted");
            for choice in generation.complete().await.0 {
                assert_eq!(choice.finish, FinishReason::EosToken, "{:?}", choice.text);
                let value: Value = serde_json::from_str(&choice.text).expect("JSON");
                // 7.0 is a whole number too.
                let n = value["n"].as_f64().expect("a number");
                assert!(n.fract() == 0.0 && (-3.0..=120.0).contains(&n), "{value}");
                let name = value["name"].as_str().expect("text");
                assert!((1..=6).contains(&name.len()), "{value}");
            }
            assert_eq!(others.await.expect("no panic"), free, "depth {depth}, seed {seed}");
        }
        let wrong = wanted(GrammarSource::Regex("(".to_owned()));
        let wrong = GenerateRequest { grammar: wrong, ..request(0) };
        let refused = service.generate(wrong).await.expect_err("it is none");
        assert!(matches!(refused, Refusal::Invalid { field: "regex", .. }), "{refused}");
    }
}
