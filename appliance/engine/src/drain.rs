//! The end of a service: stop admitting, let streams finish, end the rest with a reason, join.
//!
//! The order over all crates stands in `lib.rs`. Next: `lib.rs`.

use std::time::Duration;

use tracing::{info, warn};

use crate::Service;
use crate::record::note_place;

/// Time for a lane to notice the order to stop, after which its thread is left behind.
const STOP_TIME: Duration = Duration::from_secs(2);

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Requests that were inside when it began.
    pub requests: u32,
    /// Of those, ended with an error for lack of time.
    pub cut: u32,
}

impl Service {
    /// Refuses new requests from now on.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Waits until no request is inside and every lane has said so: slots and blocks are free.
    pub async fn idle(&self) {
        self.gate.emptied().await;
        for lane in &self.lanes {
            lane.until(|state| !state.pending && state.stats.slots_used == 0).await;
        }
    }

    /// Closes, waits for the requests inside for at most `budget`, ends those that are left with a
    /// reason, and joins the lanes. Steps that hang in a device are left behind.
    pub async fn drain(&self, budget: Duration) -> Drained {
        self.close();
        let requests = self.gate.inside();
        info!(requests, budget_s = budget.as_secs(), "draining");
        let in_time = tokio::time::timeout(budget, self.gate.emptied()).await.is_ok();
        let cut = if in_time { 0 } else { self.gate.inside() };
        self.stop().await;
        Drained { requests, cut }
    }

    async fn stop(&self) {
        for lane in &self.lanes {
            lane.stop();
        }
        for lane in &self.lanes {
            let Some(thread) = lane.take_thread() else { continue };
            let join = tokio::task::spawn_blocking(move || thread.join().is_ok());
            if !matches!(tokio::time::timeout(STOP_TIME, join).await, Ok(Ok(true))) {
                warn!("a lane did not end in time; its device is left as it is");
            }
        }
        note_place(self.name(), self.place(), 0.0);
    }
}
