//! How long a container takes from its start to its first token, beside its own program without one, by
//! turns.
//!
//! Both have a cache that an earlier start has filled, as a machine has it from its second start on, or
//! none. An engine's own work (pulling, snapshots, networks) is not in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::Part;
use super::inside::{self, Inside};
use crate::command;
use crate::served::{self, Served};

const ROUNDS: usize = 8;
/// The promise of images/README.md.
const RATIO_MAX: f64 = 1.3;
/// How often a server is asked whether it is warm: the resolution.
const EVERY: Duration = Duration::from_millis(2);

/// Prints both medians; a container that is too slow is an error.
pub(super) fn compare(inside: &Inside, part: &Part, work: &Path) -> anyhow::Result<()> {
    let model = &part.assets.model;
    let [of_bare, of_container] = ["cache-bare", "cache-container"].map(|name| work.join(name));
    for folder in [&of_bare, &of_container] {
        let packed = folder.join("gimbal/packed");
        fs::create_dir_all(&packed).with_context(|| packed.display().to_string())?;
        let mut pack = Command::new(inside.program());
        command::run(pack.arg("pack").arg(model).arg("--packed-cache").arg(&packed))?;
    }
    let owner = format!("{0}:{0}", inside::USER);
    command::run(Command::new("chown").args(["-R", &owner]).arg(&of_container))?;
    let variables = [("GIMBAL_PORT", "0"), ("GIMBAL_LOG_FORMAT", "json")];
    let mut slow = Vec::new();
    for (what, has_cache) in [("cache filled", true), ("no cache", false)] {
        let bare = || {
            let mut command = Command::new(inside.program());
            command.args(["serve", "--packed-cache"]).arg(if has_cache { "auto" } else { "off" });
            command.arg("--model").arg(model).env("XDG_CACHE_HOME", &of_bare);
            command.env("GIMBAL_HOST", "127.0.0.1").envs(variables);
            Ok(command)
        };
        let container = || inside.command(model, has_cache.then_some(&*of_container), &variables);
        let ratio = by_turns(what, &bare, &container)?;
        if ratio > RATIO_MAX {
            slow.push(format!("{what}: {ratio:.2}"));
        }
    }
    ensure!(slow.is_empty(), "the container takes more than {RATIO_MAX} times as long: {slow:?}");
    Ok(())
}

/// The container's median by the bare binary's.
fn by_turns(
    what: &str,
    bare: &dyn Fn() -> anyhow::Result<Command>,
    container: &dyn Fn() -> anyhow::Result<Command>,
) -> anyhow::Result<f64> {
    let mut times = [Vec::new(), Vec::new()];
    // The first round fills the system's caches. What one leaves behind is not always the other's to wait for.
    for round in 0..=ROUNDS {
        let sides = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in sides {
            let took = first_token(&mut [bare, container][side]()?, side == 1)?;
            if round > 0 {
                times[side].push(took);
            }
        }
    }
    let [bare, container] = times.map(median);
    let ratio = container.as_secs_f64() / bare.as_secs_f64();
    eprintln!(
        "start to first token, {what}, medians of {ROUNDS} by turns: bare {} ms, container {} ms: \
         {ratio:.2}",
        bare.as_millis(),
        container.as_millis(),
    );
    Ok(ratio)
}

/// From starting the process until its first token has come.
fn first_token(command: &mut Command, is_inside: bool) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut served = Served::start(command)?;
    served.wait_warm(EVERY)?;
    let body = json!({ "inputs": "Hello", "parameters": { "max_new_tokens": 1 } });
    let answer = served.ask("POST", "/invocations", &body.to_string())?;
    let took = started.elapsed();
    ensure!(served::status(&answer)? == 200, "/invocations: {answer}");
    let pid = served.process.id();
    served.end(if is_inside { inside::process(pid)? } else { pid })?;
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let half = times.len() / 2;
    (times[half - 1] + times[half]) / 2
}
