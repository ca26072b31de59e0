//! `gimbal generate`: one prompt through the whole path, without HTTP.

use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::{Arg, ArgMatches, value_parser};
use gimbal_engine::{FinishReason, GenerateRequest, Prompt, SampleParams, Service, Turn};
use gimbal_settings::Settings;
use serde_json::{Map, json};

use crate::boot::Devices;
use crate::config::Process;
use crate::failure::Failure;
use crate::logging;
use crate::print;

/// Flags of this command alone.
pub(super) fn flags() -> [Arg; 6] {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    [
        flag("max-new-tokens", "Tokens to generate at most [default: 30, LMI's]")
            .value_name("TOKENS")
            .value_parser(value_parser!(u32).range(1..)),
        flag("temperature", "0 is greedy [default: 0]").value_parser(value_parser!(f32)),
        flag("top-p", "Keeps the most probable tokens up to this share [default: 1]")
            .value_parser(value_parser!(f32)),
        flag("seed", "Decides all randomness [default: random]").value_parser(value_parser!(u64)),
        flag("chat", "Send the prompt as a user's message, by the model's template").num_args(0),
        flag("token-ids", "Print token ids instead of text").num_args(0),
    ]
}

/// Runs the command.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches, model: &Path) -> Result<(), Failure> {
    // A person watches: only what is wrong is worth a line beside the text.
    logging::start(settings, Some("warn"));
    let service = Devices::here(&Process::of(settings))?.plan(None, settings, model)?.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(anyhow::Error::from)?;
    runtime.block_on(print(&service, request(matches), matches.get_flag("token-ids")))
}

fn request(matches: &ArgMatches) -> GenerateRequest {
    let prompt: String = matches.get_one::<String>("PROMPT").cloned().unwrap_or_default();
    let prompt = if matches.get_flag("chat") {
        let messages = vec![json!({ "role": "user", "content": prompt })];
        let variables = Map::new();
        Prompt::Chat { messages, variables, turn: Turn::Begun, add_special_tokens: false }
    } else {
        Prompt::Text(prompt)
    };
    let params = SampleParams {
        temperature: matches.get_one("temperature").copied().unwrap_or(0.0),
        top_p: matches.get_one("top-p").copied().unwrap_or(1.0),
        ..SampleParams::default()
    };
    GenerateRequest {
        max_new_tokens: Some(matches.get_one("max-new-tokens").copied().unwrap_or(30)),
        params,
        seed: matches.get_one("seed").copied(),
        ..GenerateRequest::new(prompt)
    }
}

async fn print(service: &Service, request: GenerateRequest, ids: bool) -> Result<(), Failure> {
    let mut generation = service.generate(request).await.map_err(Failure::usage)?;
    let mut out = std::io::stdout().lock();
    while let Some(delta) = generation.next().await {
        let written = match (ids, &delta.token) {
            (true, Some(token)) => write!(out, "{} ", token.id),
            (true, None) => Ok(()),
            (false, _) => write!(out, "{}", delta.text),
        };
        match written.and_then(|()| out.flush()) {
            // `| head` is no failure.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(anyhow::Error::from)?,
        }
        if let Some(FinishReason::Error(why)) = delta.finish {
            return Err(anyhow::anyhow!("generation ended: {why}").into());
        }
    }
    drop(out);
    print::stdout("\n")
}
