//! A server before the load: who it is, how it counts tokens, and whether it answers at all.
//!
//! One small request is made in earnest, so that a wrong route or model is told before a bench has
//! begun, with the remedy. Next: `load.rs`.

use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use crate::attempt::{Route, attempt};
use crate::client::{Connection, Fault, Reply, Target};
use crate::error::BenchError;
use crate::lengths::Lengths;
use crate::plan::Plan;
use crate::record::{Record, RequestError};
use crate::report::About;
use crate::script::{Casting, Script};
use crate::wire::Api;
use crate::words::Vocabulary;

/// Words and tokens of the request before the load.
const TRIAL: (u32, u32) = (16, 2);
/// A run's number that no run has.
const TRIAL_RUN: u64 = u64::MAX;

/// What to do where a server asks who is there.
const NO_KEY: &str = "name a key that may run models: --api-key KEY";

/// Where servers tell their version: vLLM, llama.cpp, whoever describes an API.
const VERSIONS: [(&str, &str); 3] =
    [("/version", "/version"), ("/props", "/build_info"), ("/openapi.json", "/info/version")];

/// Where servers say that they are well: SageMaker's route, and the others'.
const PINGS: [&str; 2] = ["/ping", "/health"];

/// A server under test.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) about: About,
    pub(crate) route: Route,
    pub(crate) casting: Casting,
    /// Where it says that it is well, if it does.
    pub(crate) ping: Option<&'static str>,
}

impl Server {
    /// Asks a server everything that must be known before the load.
    pub(crate) async fn open(plan: &Plan, side: usize) -> Result<Self, BenchError> {
        let target = plan.targets[side].clone();
        let route = Route { target, api: plan.api, timeouts: plan.timeouts };
        let target = &route.target;
        let listed = get(&route, "/v1/models").await;
        let listed = listed.map_err(|fault| unreachable(target, &fault))?;
        if let 401 | 403 = listed.status {
            let what = format!("{target}/v1/models: {}; {NO_KEY}", listed.status);
            return Err(BenchError::Unavailable(what));
        }
        let models: Value = serde_json::from_slice(&listed.body).unwrap_or_default();
        let model = model(plan, target, &models)?;
        let vocabulary = vocabulary(&route, model.as_deref()).await;
        let mut casting = Casting {
            api: plan.api,
            model,
            vocabulary,
            prompt: plan.prompt.clone(),
            output: plan.output.clone(),
            prefix_tokens: plan.prefix_tokens,
            seed: plan.seed,
        };
        trial(&route, &mut casting).await?;
        let ping = if plan.ping { ping_path(&route).await } else { None };
        let about = About {
            side: if side == 0 { "A" } else { "B" },
            url: target.to_string(),
            route: plan.api.path(),
            model: casting.model.clone(),
            product: product(&models, listed.server),
            version: version(&route).await,
            prompt_counted: if casting.vocabulary.exact { "exact" } else { "about" },
            ping,
        };
        Ok(Self { about, route, casting, ping })
    }
}

async fn get(route: &Route, path: &str) -> Result<Reply, Fault> {
    let (target, timeouts) = (&route.target, &route.timeouts);
    target.exchange(&mut None, timeouts, Method::GET, path, String::new()).await
}

fn unreachable(target: &Target, fault: &Fault) -> BenchError {
    BenchError::Unavailable(format!(
        "{target} does not answer ({}); start the server, or correct the URL",
        fault.message
    ))
}

/// The model to name; LMI's route needs none.
fn model(plan: &Plan, target: &Target, models: &Value) -> Result<Option<String>, BenchError> {
    if plan.model.is_some() || plan.api == Api::Invocations {
        return Ok(plan.model.clone());
    }
    let first = models["data"][0]["id"].as_str();
    let first = first.ok_or_else(|| {
        BenchError::Unavailable(format!(
            "{target}/v1/models names no model; is the URL the server's root, without /v1? \
             Otherwise say --model NAME"
        ))
    })?;
    Ok(Some(first.to_owned()))
}

async fn ping_path(route: &Route) -> Option<&'static str> {
    for path in PINGS {
        if matches!(get(route, path).await, Ok(reply) if reply.status == 200) {
            return Some(path);
        }
    }
    None
}

fn product(models: &Value, header: Option<String>) -> Option<String> {
    models["data"][0]["owned_by"].as_str().map(str::to_owned).or(header)
}

async fn version(route: &Route) -> Option<String> {
    for (path, pointer) in VERSIONS {
        let Ok(reply) = get(route, path).await else { continue };
        let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let (200, Some(version)) = (reply.status, told.pointer(pointer).and_then(Value::as_str))
        {
            return Some(version.to_owned());
        }
    }
    None
}

/// The words that are one token here, if the server counts.
async fn vocabulary(route: &Route, model: Option<&str>) -> Vocabulary {
    let (mut link, mut counts) = (None, Vec::new());
    for text in Vocabulary::questions() {
        match count(route, &mut link, model, &text).await {
            Some(count) => counts.push(count),
            None => return Vocabulary::assumed(),
        }
    }
    Vocabulary::calibrated(&counts).unwrap_or_else(Vocabulary::assumed)
}

/// Tokens of a text: vLLM and Gimbal read `prompt`, llama.cpp `content`.
async fn count(
    route: &Route,
    link: &mut Option<Connection>,
    model: Option<&str>,
    text: &str,
) -> Option<u32> {
    let mut body = json!({ "prompt": text, "content": text });
    if let Some(model) = model {
        body["model"] = model.into();
    }
    let (target, timeouts) = (&route.target, &route.timeouts);
    let reply = target.exchange(link, timeouts, Method::POST, "/tokenize", body.to_string());
    let reply = reply.await.ok().filter(|reply| reply.status == 200)?;
    let told: Value = serde_json::from_slice(&reply.body).ok()?;
    let listed = told["tokens"].as_array().and_then(|tokens| u32::try_from(tokens.len()).ok());
    listed.filter(|count| *count > 0)
}

/// One small request in earnest.
async fn trial(route: &Route, casting: &mut Casting) -> Result<(), BenchError> {
    let small = Casting {
        prompt: Lengths::Fixed(TRIAL.0),
        output: Lengths::Fixed(TRIAL.1),
        prefix_tokens: 0,
        ..casting.clone()
    };
    let ask = Script::new(&small, TRIAL_RUN, None).ask(0, None);
    let record = attempt(route, &ask, Instant::now()).await;
    if let Some(error) = &record.error {
        return Err(BenchError::Unavailable(remedy(route, error)));
    }
    // A template's tokens come on top in a chat; there a length is the user's text.
    if let (Some(prompt), Api::Completions | Api::Invocations) = (record.prompt_tokens, route.api) {
        casting.vocabulary.correct(small.vocabulary.words_of(TRIAL.0), prompt);
    }
    check(route, &record)
}

fn check(route: &Route, record: &Record) -> Result<(), BenchError> {
    if record.ttft_us.is_some() {
        return Ok(());
    }
    let (target, path) = (&route.target, route.api.path());
    Err(BenchError::Unavailable(format!("{target}{path} streamed no token: nothing to measure")))
}

fn remedy(route: &Route, error: &RequestError) -> String {
    let (target, path) = (&route.target, route.api.path());
    let what = format!("{target}: POST {path}: {} ({})", error.kind, error.message);
    let next = match error.kind.as_str() {
        "404" | "405" => {
            "the server has no such route or model: choose another --api (completions, chat, \
             invocations) or --model, or give the server's root as the URL, without /v1"
        }
        "401" | "403" => NO_KEY,
        "503" => "the server is not ready: wait until it is",
        "shape" => "the server does not stream there: choose another --api",
        "timeout" => "the server is busy or stuck; see --read-timeout-s",
        _ => "a small request must succeed before a load makes sense",
    };
    format!("{what}; {next}")
}
