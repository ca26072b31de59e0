//! `gimbal bench`: measures a server, or two side by side, from outside; or a boot of this binary, or
//! its kernels.
//!
//! Flags become a plan here; everything else is in `gimbal-bench`. Any server that speaks OpenAI's
//! routes may be the target: whose it is, is the user's affair.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};
use gimbal_bench::{
    Api, BenchError, BootPlan, Environment, Lengths, Limits, Load, Plan, Span, Target, Timeouts,
    Trace,
};
use gimbal_model::Model;

use crate::failure::Failure;
use crate::print;
use kernels::Roofline;

mod kernels;

/// One for the requests, one for what must not wait behind them.
const THREADS: usize = 2;

/// The command's flags.
pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Loads a server and reports what it was like; two servers are compared")
        .arg(
            Arg::new("URL")
                .num_args(1..=2)
                .required_unless_present_any(["boot", "kernels"])
                .value_parser(Target::parse)
                .help("A server's root, as http://127.0.0.1:8080; a second one to compare"),
        )
        .args(asking())
        .args(loading())
        .args(telling())
        .args(booting())
}

fn flag(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// What is asked.
fn asking() -> [Arg; 7] {
    let apis = Api::ALL.map(|(name, _)| name);
    [
        flag("api", "API", "The way to ask").value_parser(apis).default_value("completions"),
        flag("model", "NAME", "The model to name [default: the first of /v1/models]"),
        flag("api-key", "KEY", "Sent to the servers as authorization: Bearer KEY; not in reports")
            .conflicts_with_all(["boot", "kernels"]),
        flag("prompt-tokens", "LENGTHS", "128, 64-512 (uniform), chat, long or agent")
            .value_parser(Lengths::prompt)
            .default_value("128"),
        flag("output-tokens", "LENGTHS", "As --prompt-tokens [default: its mix, else 64]")
            .value_parser(Lengths::output),
        flag("shared-prefix", "TOKENS", "Tokens all prompts begin with, beside their own")
            .value_parser(value_parser!(u32))
            .default_value("0"),
        flag("seed", "SEED", "Decides everything random")
            .value_parser(value_parser!(u64))
            .default_value("1"),
    ]
}

/// How much is asked, and how.
fn loading() -> [Arg; 10] {
    let seconds = |name, help, default| {
        flag(name, "SECONDS", help).value_parser(seconds).default_value(default)
    };
    [
        flag("concurrency", "LIST", "Closed loop: clients, as 1,8,32; each is a cell")
            .value_parser(Load::concurrencies),
        flag("rate", "LIST", "Open loop: Poisson arrivals a second, as 0.5,2; each is a cell")
            .value_parser(Load::rates),
        flag("trace", "FILE", "Open loop: JSON lines of at_ms, prompt_tokens, output_tokens"),
        flag("requests", "N", "Requests of a run [default: 8 a client, at least 32; 64 by rate]")
            .value_parser(value_parser!(u32).range(1..))
            .conflicts_with("duration"),
        flag("duration", "SECONDS", "Begin requests for so long instead")
            .value_parser(self::seconds),
        flag("warmup", "N", "Requests before each run that are not counted")
            .value_parser(value_parser!(u32))
            .default_value("4"),
        flag("repeats", "K", "Runs of each cell on each server; two servers alternate")
            .value_parser(value_parser!(u32).range(1..))
            .default_value("1"),
        seconds("connect-timeout-s", "Longest wait for a connection", "5"),
        seconds("read-timeout-s", "Longest silence of a server", "300"),
        seconds("request-timeout-s", "Longest request", "900"),
    ]
}

/// What is told.
fn telling() -> [Arg; 5] {
    [
        flag("ttft-limit-ms", "MS", "Goodput counts requests whose first token came in time")
            .value_parser(millis),
        flag(
            "itl-limit-ms",
            "MS",
            "Goodput counts requests whose mean time between tokens kept it",
        )
        .value_parser(millis),
        Arg::new("no-ping").long("no-ping").num_args(0).help("Do not ask /ping every 50 ms"),
        flag("json", "FILE", "Write everything as data, each request included"),
        flag("html", "FILE", "Write everything as a page with plots that needs nothing else")
            .conflicts_with("boot"),
    ]
}

/// Other things to measure.
fn booting() -> [Arg; 5] {
    [
        Arg::new("kernels")
            .long("kernels")
            .num_args(0)
            .conflicts_with_all(["URL", "boot", "html"])
            .help("Measure this CPU's kernels against its bandwidth and its arithmetic"),
        flag("threads", "N", "Threads for --kernels [default: the cores the process may use]")
            .value_parser(value_parser!(u32).range(1..))
            // Of kernels and URL there is one, and `requires` gives way to a conflict.
            .conflicts_with_all(["URL", "boot"]),
        flag("roofline", "MODEL", "With --kernels: the most tokens/s that memory allows the model")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with_all(["URL", "boot"]),
        flag("boot", "MODEL", "Measure `gimbal serve MODEL` from its start to its first token")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("URL"),
        Arg::new("SERVE")
            .num_args(0..)
            .last(true)
            // Of boot and URL there is one, and `requires` gives way to a conflict.
            .conflicts_with("URL")
            .value_parser(value_parser!(OsString))
            .help("Flags of serve for --boot"),
    ]
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s: &f64| (0.001..=604_800.0).contains(s));
    let seconds = seconds.ok_or("give seconds, from 0.001 to 604800 (a week)")?;
    Ok(Duration::from_secs_f64(seconds))
}

fn millis(text: &str) -> Result<f64, String> {
    let ms = text.parse().ok().filter(|ms: &f64| *ms > 0.0 && ms.is_finite());
    ms.ok_or_else(|| "give milliseconds above 0".to_owned())
}

/// Runs the command.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    // A file that cannot be written is told before an hour of measuring, not after it.
    let json = Output::create(matches, "json")?;
    let environment = Environment::here(without_keys(std::env::args()));
    if matches.get_flag("kernels") {
        let model = matches.get_one::<PathBuf>("roofline").map(|path| Model::open(path));
        let model = model.transpose()?;
        let report = kernels::measure(matches.get_one("threads").copied())?;
        let roofline = model.map(|model| Roofline::of(&model, &report)).transpose()?;
        print::stdout(kernels::table(&report, roofline.as_ref(), &environment))?;
        return json.write(|| kernels::json(&report, roofline.as_ref(), &environment));
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(anyhow::Error::from)?;
    if let Some(model) = matches.get_one::<PathBuf>("boot") {
        let plan = boot_plan(matches, model)?;
        let report = runtime.block_on(plan.run(environment)).map_err(failure)?;
        print::stdout(report.table())?;
        return json.write(|| report.json());
    }
    let plan = plan(matches)?;
    let html = Output::create(matches, "html")?;
    let is_watched = std::io::stderr().is_terminal();
    let bench = gimbal_bench::run(&plan, environment, is_watched);
    let report = runtime.block_on(bench).map_err(failure)?;
    print::stdout(report.table())?;
    json.write(|| report.json())?;
    html.write(|| report.page())?;
    let failed = report.failed_cells();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::unavailable(format!("every request failed: {}", failed.join(", "))))
}

/// The command line as reports show it.
fn without_keys(arguments: impl Iterator<Item = String>) -> String {
    const SHOWN: &str = "(a secret)";
    let mut is_key = false;
    let shown = arguments.map(|word| {
        let flag = word.split('=').next().unwrap_or_default().replace('_', "-");
        let (was_key, has_value) = (is_key, word.contains('='));
        is_key = !was_key && flag == "--api-key" && !has_value;
        match flag == "--api-key" && has_value {
            _ if was_key => SHOWN.to_owned(),
            true => format!("{flag}={SHOWN}"),
            false => word,
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn boot_plan(matches: &ArgMatches, model: &std::path::Path) -> Result<BootPlan, Failure> {
    let program = std::env::current_exe().context("while looking for this binary")?;
    let arguments = matches.get_many::<OsString>("SERVE").into_iter().flatten();
    Ok(BootPlan {
        program,
        model: model.to_owned(),
        arguments: arguments.cloned().collect(),
        repeats: matches.get_one("repeats").copied().unwrap_or(1),
        timeouts: timeouts(matches),
    })
}

fn timeouts(matches: &ArgMatches) -> Timeouts {
    let wait = |name: &str| matches.get_one::<Duration>(name).copied().unwrap_or_default();
    Timeouts {
        connect: wait("connect-timeout-s"),
        read: wait("read-timeout-s"),
        request: wait("request-timeout-s"),
    }
}

fn plan(matches: &ArgMatches) -> Result<Plan, Failure> {
    let one = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or(1);
    let api: Option<&String> = matches.get_one("api");
    let api = Api::ALL.iter().find(|(name, _)| api.is_some_and(|api| api == name));
    let prompt: Option<&Lengths> = matches.get_one("prompt-tokens");
    let prompt = prompt.cloned().unwrap_or(Lengths::Fixed(128));
    let output = matches.get_one("output-tokens").cloned().or_else(|| {
        // A named mix has answers too.
        matches!(prompt, Lengths::Mix { .. }).then(|| Lengths::output(&prompt.to_string()).ok())?
    });
    let span = match (matches.get_one("requests"), matches.get_one("duration")) {
        (Some(requests), _) => Span::Requests(*requests),
        (None, Some(duration)) => Span::Duration(*duration),
        (None, None) => Span::Default,
    };
    let key = matches.get_one::<String>("api-key");
    let keyed = |target: Target| match key {
        Some(key) => {
            target.with_key(key).map_err(|why| Failure::usage(format!("--api-key: {why}")))
        }
        None => Ok(target),
    };
    let targets = matches.get_many("URL").into_iter().flatten().cloned().map(keyed);
    let plan = Plan {
        targets: targets.collect::<Result<_, _>>()?,
        api: api.map_or(Api::Completions, |(_, api)| *api),
        model: matches.get_one("model").cloned(),
        loads: loads(matches)?,
        span,
        warmup: one("warmup"),
        repeats: one("repeats"),
        prompt,
        output: output.unwrap_or(Lengths::Fixed(64)),
        prefix_tokens: one("shared-prefix"),
        seed: matches.get_one("seed").copied().unwrap_or(1),
        limits: Limits {
            ttft_ms: matches.get_one("ttft-limit-ms").copied(),
            itl_ms: matches.get_one("itl-limit-ms").copied(),
        },
        timeouts: timeouts(matches),
        ping: !matches.get_flag("no-ping"),
    };
    plan.check().map_err(failure)?;
    Ok(plan)
}

/// All loads that are asked for; one client where none is.
fn loads(matches: &ArgMatches) -> Result<Vec<Load>, Failure> {
    let list = |name: &str| matches.get_one::<Vec<Load>>(name).cloned().unwrap_or_default();
    let mut loads = [list("concurrency"), list("rate")].concat();
    if let Some(path) = matches.get_one::<String>("trace") {
        let usage = |what: String| Failure::usage(format!("--trace {path}: {what}"));
        let text = std::fs::read_to_string(path).map_err(|e| usage(e.to_string()))?;
        loads.push(Load::Trace(Trace::parse(&text).map_err(|e| usage(e.to_string()))?));
    }
    if loads.is_empty() {
        loads.push(Load::Closed(1));
    }
    Ok(loads)
}

/// A file that was asked for, if one was.
#[derive(Debug)]
struct Output(Option<File>);

impl Output {
    fn create(matches: &ArgMatches, flag: &str) -> Result<Self, Failure> {
        let Some(path) = matches.get_one::<String>(flag) else { return Ok(Self(None)) };
        let file = File::create(path);
        file.map(|file| Self(Some(file)))
            .map_err(|e| Failure::usage(format!("--{flag} {path}: {e}; name a file to write")))
    }

    fn write(self, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let Some(mut file) = self.0 else { return Ok(()) };
        Ok(file.write_all(text().as_bytes()).context("while writing the report")?)
    }
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Usage(what) => Failure::usage(what),
        BenchError::Unavailable(what) => Failure::unavailable(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(flags: &str) -> Result<Plan, String> {
        let arguments = ["bench"].into_iter().chain(flags.split_whitespace());
        let matches = command().try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        plan(&matches).map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_become_a_plan() {
        let plan = planned("http://a http://b --rate 2 --concurrency 1,8 --prompt-tokens chat")
            .expect("a plan");
        let loads: Vec<String> = plan.loads.iter().map(Load::to_string).collect();
        assert_eq!(loads, ["concurrency 1", "concurrency 8", "rate 2/s"]);
        assert_eq!((plan.targets.len(), plan.warmup, plan.repeats, plan.seed), (2, 4, 1, 1));
        assert_eq!(
            (plan.prompt.to_string(), plan.output.to_string()),
            ("chat".into(), "chat".into())
        );
        assert!(plan.span == Span::Default && plan.ping);
        let plan = planned("http://a --duration 2.5 --no-ping --api chat").expect("a plan");
        assert_eq!(plan.span, Span::Duration(Duration::from_millis(2_500)));
        assert_eq!((plan.loads.len(), plan.output), (1, Lengths::Fixed(64)));
        assert!(plan.api == Api::Chat && !plan.ping);
    }

    #[test]
    fn a_report_shows_no_key() {
        let shown = |line: &str| without_keys(line.split(' ').map(str::to_owned));
        let expect = "bench U --api-key (a secret) --api-key=(a secret) --seed 1";
        assert_eq!(shown("bench U --api-key cheese --api_key=cheese --seed 1"), expect);
        assert_eq!(shown("a --api-key --api-key b"), "a --api-key (a secret) b");
        let plan = planned("http://a --api-key cheese").expect("a plan");
        assert!(!format!("{plan:?}").contains("cheese"), "{plan:?}");
    }

    #[test]
    fn wrong_flags_say_what_is_accepted() {
        for (flags, expect) in [
            ("", "<URL>"),
            ("http://a http://b http://c", "http://c"),
            ("a", "http://127.0.0.1:8080"),
            ("http://a --api rest", "invocations"),
            ("http://a --concurrency 0", "1,8,32"),
            ("http://a --rate fast", "0.5,2,5"),
            ("http://a --prompt-tokens 9-3", "write 3-9"),
            ("http://a --requests 0", "1.."),
            ("http://a --requests 1 --duration 1", "cannot be used with"),
            ("http://a --duration 0", "604800"),
            ("http://a --repeats 9999", "from 1 to 1000"),
            ("http://a --trace /nonexistent/trace", "/nonexistent/trace"),
            ("http://a --boot m", "cannot be used with"),
            ("http://a --api-key é", "--api-key: a key is of visible"),
            ("http://a -- --port 1", "cannot be used with"),
            ("-- --port 1", "<URL>"),
            ("http://a --kernels", "cannot be used with"),
            ("http://a --threads 2", "cannot be used with"),
            ("http://a --roofline m", "cannot be used with"),
            ("--roofline m", "<URL>"),
            ("--threads 2", "<URL>"),
        ] {
            let why = planned(flags).expect_err(flags);
            assert!(why.contains(expect), "{flags}: {why}");
        }
    }
}
