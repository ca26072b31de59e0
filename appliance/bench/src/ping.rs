//! How fast a server says that it is well, while it works.
//!
//! A load balancer asks this and nothing else; a server whose answer waits behind its work is
//! taken for dead. Next: `figures.rs`.

use std::time::{Duration, Instant};

use hyper::Method;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::attempt::Route;

/// Between the beginnings of two questions, unless an answer takes longer.
const INTERVAL: Duration = Duration::from_millis(50);

/// Answers during one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pings {
    /// From asking to the whole answer, of those with status 200.
    pub(crate) ms: Vec<f64>,
    /// Questions without such an answer.
    pub(crate) failed: u32,
}

/// Asks in the background until it is stopped.
#[derive(Debug)]
pub(crate) struct Pinger {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Pings>,
}

impl Pinger {
    /// Begins to ask, on a connection of its own.
    pub(crate) fn start(route: Route, path: &'static str) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(poll(route, path, stopped)) }
    }

    /// Ends, and tells what came.
    pub(crate) async fn stop(self) -> Pings {
        drop(self.stop);
        self.task.await.unwrap_or_default()
    }
}

async fn poll(route: Route, path: &'static str, mut stopped: oneshot::Receiver<()>) -> Pings {
    let mut pings = Pings::default();
    let mut link = None;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return pings,
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        let answer = tokio::select! {
            _ = &mut stopped => return pings,
            answer = route.target.exchange(
                &mut link, &route.timeouts, Method::GET, path, String::new(),
            ) => answer,
        };
        let took = asked.elapsed();
        match answer {
            Ok(reply) if reply.status == 200 => pings.ms.push(took.as_secs_f64() * 1e3),
            // The next question has a connection of its own.
            Ok(_) | Err(_) => pings.failed = pings.failed.saturating_add(1),
        }
    }
}
