//! Who comes when, and with what: four kinds of crowds, a Poisson stream, or a file.
//!
//! Lengths are scaled to the device's context, so that the same trace makes sense on a small one.
//! Next: `planner.rs`.

use std::sync::Arc;

use gimbal_batch::TokenId;
use gimbal_scheduler::Micros;

use super::Failure;
use crate::rng::Rng;

/// One request of a client.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) at: Micros,
    pub(super) prompt: Arc<[TokenId]>,
    pub(super) output_tokens: u32,
    /// What the client does when it has its answer.
    pub(super) then: Option<Then>,
}

/// The rest of a loop: prompt, answer and new tokens become the next prompt.
#[derive(Clone, Debug)]
pub(super) struct Then {
    turns_left: u32,
    rng: Rng,
}

/// Lengths in tokens, scaled to a device.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    context: u32,
}

/// The visits of a trace, by time, without those that follow from answers.
pub(super) fn visits(
    name: &str,
    rate: f64,
    seconds: u32,
    context: u32,
    seed: u64,
) -> Result<Vec<Visit>, Failure> {
    let mut rng = Rng::new(seed);
    let lengths = Lengths { context };
    let make = match name {
        "chat" | "poisson" => chat,
        "burst" => chat,
        "long" => long,
        "agent" => agent,
        file => return from_file(&std::fs::read_to_string(file)?, context),
    };
    let mut visits = Vec::new();
    let mut at = 0.0;
    loop {
        at += exponential(&mut rng) / rate;
        if at >= f64::from(seconds) {
            return Ok(visits);
        }
        // A burst: everybody of ten seconds comes within the first one.
        let when = if name == "burst" { at - at % 10.0 + (at % 10.0) / 10.0 } else { at };
        visits.push(make(&mut rng, micros(when), lengths));
    }
}

impl Visit {
    /// The next turn of a loop, given the answer to this one.
    pub(super) fn next(&self, answer: &[TokenId], now: Micros, context: u32) -> Option<Self> {
        let Then { turns_left, mut rng } = self.then.clone()?;
        let lengths = Lengths { context };
        // A tool's result, after about a second.
        let at = Micros(now.0 + micros(exponential(&mut rng)).0);
        let result = lengths.around(&mut rng, 250.0, 0.6, 2_000);
        let output_tokens = lengths.around(&mut rng, 80.0, 0.5, 500);
        let tokens = self.prompt.iter().chain(answer).copied();
        let prompt: Arc<[TokenId]> = tokens.chain(fresh(&mut rng, result)).collect();
        if turns_left == 0 || prompt.len() + output_tokens as usize > context as usize {
            return None;
        }
        let then = Some(Then { turns_left: turns_left - 1, rng });
        Some(Self { at, prompt, output_tokens, then })
    }
}

/// A system prompt everybody shares, a question and an answer of a few hundred tokens.
fn chat(rng: &mut Rng, at: Micros, lengths: Lengths) -> Visit {
    let system = lengths.fixed(120);
    let question = lengths.around(rng, 220.0, 0.9, 4_000);
    let prompt = shared(0, system).chain(fresh(rng, question)).collect();
    Visit { at, prompt, output_tokens: lengths.around(rng, 180.0, 0.7, 1_500), then: None }
}

/// A document and a short answer; every fourth client only chats.
fn long(rng: &mut Rng, at: Micros, lengths: Lengths) -> Visit {
    if rng.once_in(4) {
        return chat(rng, at, lengths);
    }
    let document = lengths.around(rng, 7_000.0, 0.6, 24_000);
    let prompt = fresh(rng, document).collect();
    Visit { at, prompt, output_tokens: lengths.around(rng, 150.0, 0.6, 1_000), then: None }
}

/// A loop of about eight calls that begins with one of four long system prompts.
fn agent(rng: &mut Rng, at: Micros, lengths: Lengths) -> Visit {
    let kind = 1 + rng.below(4);
    let task = lengths.around(rng, 150.0, 0.6, 1_000);
    let prompt = shared(kind, lengths.fixed(2_000)).chain(fresh(rng, task)).collect();
    let output_tokens = lengths.around(rng, 80.0, 0.5, 500);
    let then = Some(Then { turns_left: rng.within(3, 12), rng: Rng::new(rng.next_word()) });
    Visit { at, prompt, output_tokens, then }
}

/// `seconds,prompt_tokens,output_tokens[,prefix,prefix_tokens]`, one request a line.
fn from_file(text: &str, context: u32) -> Result<Vec<Visit>, Failure> {
    let mut visits = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let wrong = |what: &str| format!("line {number}: {what}: {line}");
        let number = |at: usize, what: &str| -> Result<u32, Failure> {
            fields.get(at).map_or(Ok(0), |text| text.parse()).map_err(|_| wrong(what).into())
        };
        let seconds: f64 = fields[0].parse().map_err(|_| wrong("seconds"))?;
        let (tokens, output) = (number(1, "prompt_tokens")?, number(2, "output_tokens")?);
        let (kind, prefix) = (number(3, "prefix")?, number(4, "prefix_tokens")?);
        if tokens == 0 || output == 0 || prefix > tokens || tokens + output > context {
            return Err(wrong("tokens must be above 0 and fit the context").into());
        }
        let mut rng = Rng::new(visits.len() as u64);
        let prompt = shared(kind, prefix).chain(fresh(&mut rng, tokens - prefix)).collect();
        visits.push(Visit { at: micros(seconds), prompt, output_tokens: output, then: None });
    }
    visits.sort_by_key(|visit| visit.at);
    Ok(visits)
}

impl Lengths {
    /// A length for a context of 32,768 tokens, scaled to this one's (at least a sixteenth).
    fn fixed(self, tokens: u32) -> u32 {
        (tokens * self.context.clamp(2_048, 32_768) / 32_768).max(1)
    }

    /// Log-normal around a median, cut at `most`.
    fn around(self, rng: &mut Rng, median: f64, spread: f64, most: u32) -> u32 {
        let value = (median * (spread * normal(rng)).exp()).clamp(1.0, f64::from(most));
        self.fixed(whole(value))
    }
}

/// Tokens of a prefix that many have.
fn shared(kind: u32, count: u32) -> impl Iterator<Item = TokenId> {
    (0..count).map(move |n| TokenId::new(kind << 24 | n))
}

/// Tokens nobody else has.
fn fresh(rng: &mut Rng, count: u32) -> impl Iterator<Item = TokenId> + use<> {
    let mut rng = Rng::new(rng.next_word());
    (0..count).map(move |_| TokenId::new(1 << 31 | rng.below(1 << 31)))
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

/// The sum of twelve uniform numbers is normal enough for lengths.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0
}

fn micros(seconds: f64) -> Micros {
    let duration = std::time::Duration::from_secs_f64(seconds);
    Micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

fn whole(value: f64) -> u32 {
    // Through a duration of so many seconds: the only exact way without a truncating cast.
    u32::try_from(std::time::Duration::from_secs_f64(value).as_secs()).unwrap_or(u32::MAX)
}
