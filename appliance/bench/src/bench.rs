//! The bench: every cell, every repeat, side by side.
//!
//! Runs alternate A B A B within a cell, so that a machine that slows down slows both. Next:
//! `server.rs`, `load.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::environment::Environment;
use crate::error::BenchError;
use crate::figures::Figures;
use crate::load;
use crate::ping::Pinger;
use crate::plan::{Load, Plan};
use crate::progress::Progress;
use crate::report::{Cell, Report, Run};
use crate::script::Script;
use crate::server::Server;

/// What is added to a run's number for the requests before it.
const WARM_UP: u64 = 1 << 32;

/// Runs a bench on the runtime of the caller; `is_watched` shows progress on stderr.
///
/// # Errors
/// Nothing could be measured: the plan is wrong, or a server does not answer one small request.
pub async fn run(
    plan: &Plan,
    environment: Environment,
    is_watched: bool,
) -> Result<Report, BenchError> {
    plan.check()?;
    let mut servers = Vec::new();
    for side in 0..plan.targets.len() {
        servers.push(Server::open(plan, side).await?);
    }
    let abouts = servers.iter().map(|server| server.about.clone()).collect();
    let mut report = Report::new(plan, abouts, environment);
    let runs = plan.loads.len() * plan.repeats as usize * servers.len();
    let mut progress = Progress::new(u32::try_from(runs).unwrap_or(u32::MAX), is_watched);
    for (number, load) in (0_u32..).zip(&plan.loads) {
        let mut sides: Vec<_> =
            servers.iter().map(|server| (server.about.side, Vec::new())).collect();
        for repeat in 0..plan.repeats {
            // Both sides of a repeat get the same requests, and no other run gets them.
            let id = u64::from(number * plan.repeats + repeat);
            for (server, (_, runs)) in servers.iter().zip(&mut sides) {
                let name = format!("{load} {} repeat {}", server.about.side, repeat + 1);
                let finished = Arc::default();
                let ticker = progress.run(&name, &finished);
                runs.push(one(plan, server, load, (repeat, id), &finished).await);
                drop(ticker);
            }
        }
        report.cells.push(Cell::new(load, sides, plan.seed));
    }
    Ok(report)
}

/// One run: warm up, load, ping meanwhile.
async fn one(
    plan: &Plan,
    server: &Server,
    load: &Load,
    (repeat, id): (u32, u64),
    finished: &Arc<AtomicU32>,
) -> Run {
    let trace = if let Load::Trace(trace) = load { Some(trace.clone()) } else { None };
    let script = |id| Arc::new(Script::new(&server.casting, id, trace.clone()));
    load::warm(&server.route, &script(id | WARM_UP), load, plan.warmup).await;
    let script = script(id);
    let pinger = server.ping.map(|path| Pinger::start(server.route.clone(), path));
    let requests = load::run(&server.route, &script, load, plan.span, finished).await;
    let pings = match pinger {
        Some(pinger) => Some(pinger.stop().await),
        None => None,
    };
    let figures = Figures::of(&requests, plan.limits, pings);
    Run { repeat, figures, requests }
}
