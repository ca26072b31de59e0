//! The arguments of the laboratory, and what each device is asked unless they say otherwise.
//!
//! Next: `trace.rs`.

use gimbal_scheduler::Micros;

use super::Failure;
use super::device::Device;
use super::meter::Limits;
use super::planner::PolicyName;

/// What the `lab` command takes.
pub(super) const USAGE: &str = "\
usage: gimbal-simulate lab [--device h100|t4|cpu2|inf2] [--policy both|gimbal|vllm-model]
         [--trace chat|long|agent|burst|poisson:R|FILE] [--rate R] [--sweep] [--seconds N]
         [--lanes N] [--seed N] [--first-token-ms N] [--pause-ms N] [--step-tokens N]
         [--html FILE]
  FILE holds one request a line: seconds,prompt_tokens,output_tokens[,prefix,prefix_tokens]";

/// Everything the laboratory was asked.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) device: Device,
    pub(super) policies: Vec<PolicyName>,
    pub(super) trace_name: String,
    /// Requests a second; conversations a second where they have several turns.
    pub(super) rate: f64,
    pub(super) sweep: bool,
    pub(super) seconds: u32,
    pub(super) lanes: u32,
    pub(super) seed: u64,
    pub(super) limits: Limits,
    /// Rows of a step for the model of vLLM, where its default should be replaced.
    pub(super) step_tokens: Option<u32>,
    pub(super) html: Option<String>,
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let mut arguments = arguments.iter().copied();
        let mut given: Vec<(&str, &str)> = Vec::new();
        let mut sweep = false;
        while let Some(key) = arguments.next() {
            match key {
                "--sweep" => sweep = true,
                _ => given.push((key, arguments.next().ok_or(USAGE)?)),
            }
        }
        let mut take = |key: &str| {
            let at = given.iter().position(|(k, _)| *k == key)?;
            Some(given.remove(at).1)
        };
        let name = take("--device").unwrap_or("h100");
        let device = Device::find(name).ok_or_else(|| format!("no device {name}\n{USAGE}"))?;
        let policies = match take("--policy").unwrap_or("both") {
            "both" => vec![PolicyName::Gimbal, PolicyName::VllmModel],
            "gimbal" => vec![PolicyName::Gimbal],
            "vllm-model" => vec![PolicyName::VllmModel],
            other => return Err(format!("no policy {other}\n{USAGE}").into()),
        };
        let trace = take("--trace").unwrap_or("chat");
        let (trace_name, poisson) = match trace.split_once(':') {
            Some(("poisson", rate)) => ("poisson", Some(rate)),
            _ => (trace, None),
        };
        let rate = match take("--rate").or(poisson) {
            Some(rate) => rate.parse()?,
            None => usual_rate(device.name, trace_name),
        };
        let (first_token_ms, pause_ms) = usual_limits(device.name);
        let number = |given: Option<&str>, usual: u64| given.map_or(Ok(usual), str::parse);
        let first_token = number(take("--first-token-ms"), first_token_ms)?;
        let pause = number(take("--pause-ms"), pause_ms)?;
        let limits =
            Limits { first_token: Micros(first_token * 1000), pause: Micros(pause * 1000) };
        let options = Self {
            policies,
            trace_name: trace_name.to_owned(),
            rate,
            sweep,
            seconds: u32::try_from(number(take("--seconds"), 300)?)?,
            lanes: u32::try_from(number(take("--lanes"), 1)?)?.max(1),
            seed: number(take("--seed"), 1)?,
            limits,
            step_tokens: take("--step-tokens").map(str::parse).transpose()?,
            html: take("--html").map(str::to_owned),
            device,
        };
        match given.first() {
            Some((key, _)) => Err(format!("unknown option {key}\n{USAGE}").into()),
            None => Ok(options),
        }
    }
}

/// What users of such a device expect: first token and pause in milliseconds. The faster ones are
/// the usual limits of interactive chat; the slow ones are scaled to what one request alone gets.
fn usual_limits(device: &str) -> (u64, u64) {
    match device {
        "h100" => (1_000, 50),
        "t4" => (2_000, 100),
        "inf2" => (2_000, 100),
        _ => (5_000, 200),
    }
}

/// A rate near the knee of each device, found with `--sweep`.
fn usual_rate(device: &str, trace: &str) -> f64 {
    let chat = match device {
        "h100" => 40.0,
        "t4" => 6.0,
        "inf2" => 8.0,
        _ => 1.5,
    };
    match trace {
        "long" => chat / 12.0,
        "agent" => chat / 10.0,
        "burst" => chat / 2.0,
        _ => chat,
    }
}
