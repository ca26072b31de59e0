//! The whole bench against servers that do what a test says (`fake.rs`).
//!
//! Nothing here is timed: counts, kinds, order and shapes are what is promised.

mod fake;
mod shape;

use std::sync::Arc;
use std::time::Duration;

use fake::{Act, Fake, Log};
use gimbal_bench::{
    Api, BenchError, Counted, Environment, Figures, Lengths, Limits, Load, Plan, Report, Span,
    Target, Timeouts, Trace,
};
use serde_json::Value;

/// Five tokens out of eight in, one client, no repeats.
fn plan(targets: Vec<Target>) -> Plan {
    let long = Duration::from_secs(60);
    Plan {
        targets,
        api: Api::Completions,
        model: None,
        loads: vec![Load::Closed(1)],
        span: Span::Requests(6),
        warmup: 0,
        repeats: 1,
        prompt: Lengths::Fixed(8),
        output: Lengths::Fixed(5),
        prefix_tokens: 0,
        seed: 3,
        limits: Limits::default(),
        timeouts: Timeouts { connect: long, read: long, request: long },
        ping: true,
    }
}

async fn run(plan: &Plan) -> Result<Report, BenchError> {
    gimbal_bench::run(plan, Environment::here("a test".to_owned()), false).await
}

/// The report of one server that acts in turn, and the requests it saw.
async fn one(acts: &[Act], change: impl FnOnce(&mut Plan)) -> (Report, Vec<Value>) {
    let log = Log::default();
    let fake = Fake::start("A", acts, &log).await;
    let mut plan = plan(vec![fake.target()]);
    change(&mut plan);
    let report = run(&plan).await.expect("a report");
    let seen =
        log.lock().expect("no panic holds it").iter().map(|(_, body)| body.clone()).collect();
    (report, seen)
}

fn figures(report: &Report) -> &Figures {
    &report.cells[0].sides[0].runs[0].figures
}

#[tokio::test]
async fn every_request_is_counted_with_its_tokens() {
    let (report, seen) = one(&[Act::Whole], |plan| plan.loads = vec![Load::Closed(3)]).await;
    let found = figures(&report);
    assert_eq!((found.succeeded, found.failed, seen.len()), (6, 0, 6));
    assert_eq!((found.output_tokens, found.short, found.output_counted), (30, 0, Counted::Server));
    // Lengths are exact: the server said how it counts.
    assert_eq!((found.prompt_tokens, found.prompt_tokens_asked), (Some(48), 48));
    assert_eq!(found.cached_tokens, Some(12));
    assert_eq!(report.servers[0].prompt_counted, "exact");
    for (n, record) in (0..).zip(&report.cells[0].sides[0].runs[0].requests) {
        assert_eq!((record.index, record.itl_us.len()), (n, 4));
        assert!(record.ttft_us.is_some_and(|ttft| ttft <= record.e2e_us));
        assert!(record.due_us.is_none() && record.error.is_none());
    }
    let about = &report.servers[0];
    assert_eq!(
        (about.model.as_deref(), about.product.as_deref()),
        (Some("fake-1"), Some("nobody"))
    );
    assert_eq!((about.version.as_deref(), about.ping), (Some("4.5"), Some("/ping")));
    assert!(found.ping.as_ref().is_some_and(|ping| ping.failed == 0));
}

#[tokio::test]
async fn every_failure_has_its_kind_and_adds_no_tokens() {
    let acts = [Act::Whole, Act::Status(429), Act::Cut, Act::Early, Act::Broken, Act::Plain];
    let (report, _) = one(&acts, |_| {}).await;
    let found = figures(&report);
    let kinds: Vec<(&str, u32)> = found.errors.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    assert_eq!(kinds, [("429", 1), ("cut", 2), ("shape", 1), ("stream", 1)]);
    assert_eq!((found.succeeded, found.failed, found.output_tokens), (1, 5, 5));
    assert_eq!(found.error_examples["429"], "not now");
    assert_eq!(found.error_examples["stream"], "the device is lost");
    let cut = &report.cells[0].sides[0].runs[0].requests[2];
    assert!(cut.error.as_ref().is_some_and(|e| e.message.starts_with("in the answer")), "{cut:?}");
    assert!(cut.ttft_us.is_some());
    assert!(report.failed_cells().is_empty());
    let text = report.table();
    assert!(text.contains("2 failed with cut, such as:"), "{text}");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    let (report, _) = one(&[Act::Stall], |plan| {
        plan.timeouts.read = Duration::from_millis(30);
        plan.span = Span::Requests(1);
    })
    .await;
    assert_eq!(figures(&report).errors.get("timeout"), Some(&1));
    assert_eq!(report.failed_cells(), ["concurrency 1 of A"]);
}

#[tokio::test]
async fn connections_that_end_and_answers_that_are_short_are_no_failures() {
    let (report, _) = one(&[Act::Closing, Act::Short], |_| {}).await;
    let found = figures(&report);
    assert_eq!((found.succeeded, found.short, found.output_tokens), (6, 3, 27));
}

#[tokio::test]
async fn a_server_that_does_not_count_is_counted_for_and_named() {
    let (report, _) = one(&[Act::Uncounted], |_| {}).await;
    let found = figures(&report);
    assert_eq!((found.output_tokens, found.output_counted), (30, Counted::Pieces));
    assert_eq!(found.prompt_tokens, None);
    assert!(report.table().contains("pieces of the stream were counted"));
}

#[tokio::test]
async fn two_servers_take_turns_and_get_the_same_requests() {
    let log = Log::default();
    let (a, b) =
        (Fake::start("A", &[Act::Whole], &log).await, Fake::start("B", &[Act::Whole], &log).await);
    let mut plan = plan(vec![a.target(), b.target()]);
    (plan.repeats, plan.span, plan.warmup) = (3, Span::Requests(2), 1);
    plan.loads = vec![Load::Closed(1), Load::Poisson(500.0)];
    let report = run(&plan).await.expect("a report");
    let seen = log.lock().expect("no panic holds it");
    let names: String = seen.iter().map(|(name, _)| *name).collect();
    // Two loads, three repeats, one request to warm up and two that count.
    assert_eq!(names, "AAABBB".repeat(6));
    let bodies: Vec<String> = seen.iter().map(|(_, body)| body["prompt"].to_string()).collect();
    for (n, pair) in bodies.chunks(6).enumerate() {
        assert_eq!(pair[..3], pair[3..], "repeat {n}");
        let again = bodies.iter().filter(|body| pair.contains(body)).count();
        assert_eq!(again, 6, "texts of repeat {n} come again");
    }
    let ratios: Vec<&str> = report.cells[1].ratios.iter().map(|r| r.metric).collect();
    assert!(ratios.contains(&"output_tokens_per_s") && ratios.contains(&"ttft_p99_ms"));
    assert!(report.cells[0].ratios.iter().all(|r| r.ratio.low.is_some()));
    assert!(report.table().contains("A over B"));
}

#[tokio::test]
async fn every_route_is_asked_in_its_words() {
    let (report, seen) = one(&[Act::Whole], |plan| plan.api = Api::Invocations).await;
    assert_eq!((figures(&report).succeeded, figures(&report).output_tokens), (6, 30));
    assert_eq!(seen[0]["parameters"]["ignore_eos_token"], true);
    let (report, seen) = one(&[Act::Whole], |plan| {
        (plan.api, plan.prefix_tokens) = (Api::Chat, 20);
    })
    .await;
    assert_eq!((figures(&report).succeeded, figures(&report).output_tokens), (6, 30));
    let system = |body: &Value| body["messages"][0]["content"].as_str().expect("text").to_owned();
    assert_eq!(system(&seen[0]).split(' ').count(), 20);
    assert!(seen.iter().all(|body| system(body) == system(&seen[0])));
    let (report, _) = one(&[Act::Early], |plan| plan.api = Api::Invocations).await;
    assert_eq!(figures(&report).errors.get("cut"), Some(&6));
}

#[tokio::test]
async fn an_open_loop_sends_at_its_times_whatever_happens() {
    let trace = "{\"at_ms\": 2, \"prompt_tokens\": 4, \"output_tokens\": 2}\n\
                 {\"at_ms\": 0, \"prompt_tokens\": 9, \"output_tokens\": 3}\n";
    let trace = Trace::parse(trace).expect("a trace");
    let (report, seen) = one(&[Act::Whole, Act::Status(503)], |plan| {
        plan.loads = vec![Load::Poisson(2_000.0), Load::Trace(trace)];
    })
    .await;
    let run = &report.cells[0].sides[0].runs[0];
    assert_eq!((run.figures.succeeded, run.figures.failed), (3, 3));
    let dues: Vec<u64> = run.requests.iter().filter_map(|record| record.due_us).collect();
    assert!(dues.len() == 6 && dues.is_sorted(), "{dues:?}");
    assert!(run.requests.iter().all(|r| r.due_us.is_some_and(|due| due <= r.sent_us)));
    assert!(run.figures.lag_ms.is_some());
    let traced = &report.cells[1].sides[0].runs[0].requests;
    let asked: Vec<(u32, u32)> =
        traced.iter().map(|r| (r.prompt_tokens_asked, r.output_tokens_asked)).collect();
    assert_eq!((asked, seen.len()), (vec![(9, 3), (4, 2)], 8));
}

#[tokio::test]
async fn what_cannot_be_measured_is_told_with_the_remedy() {
    let log = Log::default();
    let fake = Fake::start("A", &[Act::Whole], &log).await;
    let told = async |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(vec![fake.target()]);
        change(&mut plan);
        match run(&plan).await {
            Ok(_) => panic!("a report"),
            Err(error) => (matches!(error, BenchError::Usage(_)), error.to_string()),
        }
    };
    let behind = |plan: &mut Plan| {
        plan.targets = vec![Target::parse(&format!("{}/v1", fake.target())).expect("a URL")];
    };
    let (is_usage, why) = told(&behind).await;
    assert!(!is_usage && why.contains("without /v1"), "{why}");
    let (is_usage, why) = told(&|plan| {
        behind(plan);
        plan.api = Api::Chat;
        plan.model = Some("m".to_owned());
    })
    .await;
    assert!(!is_usage && why.contains("POST /v1/chat/completions: 404"), "{why}");
    let (is_usage, why) = told(&|plan| plan.loads.clear()).await;
    assert!(is_usage && why.contains("loads"), "{why}");
    // A port that was free a moment ago.
    let closed = Arc::new(fake);
    let gone = closed.target();
    drop(closed);
    tokio::task::yield_now().await;
    let why = run(&plan(vec![gone])).await.expect_err("nobody listens").to_string();
    assert!(why.contains("start the server"), "{why}");
}
