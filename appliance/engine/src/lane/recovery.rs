//! What a lane does when its device is lost or its code fails: open again, go on, and give up
//! after a bounded number of tries.
//!
//! A lost device costs nobody an answer: the scheduler computes again. A bug costs the requests of
//! this lane, never the process. Next: `../record.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use gimbal_hal::{Backend, DeviceError};
use gimbal_scheduler::{Micros, Scheduler};
use tracing::{error, info, warn};

use super::device::{Device, panic_message};
use super::message::Condition;
use super::runner::{Flow, Runner};
use crate::request::FinishReason;

/// Failures without a single step between them after which a lane gives up.
const FAILURES_MAX: u32 = 4;
/// Wait before the second try; doubled for each later one.
const BACKOFF: Duration = Duration::from_millis(250);

impl Runner {
    /// Runs a turn; a bug in it costs the requests of this lane.
    pub(super) fn guarded_turn(&mut self) -> Flow {
        match catch_unwind(AssertUnwindSafe(|| self.turn())) {
            Ok(flow) => flow,
            Err(panic) => self.restart(&panic_message(panic.as_ref())),
        }
    }

    /// The device is lost: forget what was on it, open it again.
    pub(super) fn recover(&mut self, error: &DeviceError) -> Flow {
        warn!(%error, "device lost");
        self.in_flight.clear();
        self.scheduler.lost(self.clock.now(), &mut self.events);
        self.deliver();
        self.try_again(error.to_string())
    }

    /// A bug: nothing of this lane's state can be trusted.
    fn restart(&mut self, why: &str) -> Flow {
        error!(why, "a bug in the engine; its requests end, the lane starts again");
        self.meters.restarts.increment(1);
        self.in_flight.clear();
        self.scheduler = Scheduler::new((*self.limits).clone(), self.policy.clone());
        self.fail_all(&FinishReason::Error("an internal error".to_owned()));
        self.try_again(why.to_owned())
    }

    /// Begins another try, now or after a while, or gives up.
    fn try_again(&mut self, why: String) -> Flow {
        if self.failures >= FAILURES_MAX {
            return self.give_up(why);
        }
        self.condition = Condition::Reopening { why };
        self.failures += 1;
        // The first try begins at once: most losses are over when they are seen.
        if self.failures == 1 {
            return self.begin_opening();
        }
        std::mem::replace(&mut self.device, Device::Closed).close();
        let wait = BACKOFF * (1 << (self.failures - 1));
        self.device = Device::Waiting(self.clock.after(wait));
        Flow::On
    }

    fn begin_opening(&mut self) -> Flow {
        let Some(reopen) = self.reopen.take() else {
            return self.give_up("there is no way to open it".to_owned());
        };
        match self.device.open(reopen) {
            Ok(()) => Flow::On,
            Err(error) => self.give_up(error.to_string()),
        }
    }

    /// Looks how the opening goes. On is said also while it is not over.
    pub(super) fn watch_opening(&mut self, now: Micros) -> Flow {
        if let Device::Waiting(until) = self.device {
            return if now < until { Flow::On } else { self.begin_opening() };
        }
        let Some((reopen, opened)) = self.device.opened() else { return Flow::On };
        self.reopen = Some(reopen);
        match opened {
            Ok(backend) => {
                self.adopt(backend, now);
                Flow::On
            }
            Err(error) => {
                warn!(%error, "device cannot be opened");
                self.try_again(error.to_string())
            }
        }
    }

    /// Goes on with the device that came back; what it cannot hold any more is refused.
    fn adopt(&mut self, backend: Box<dyn Backend>, now: Micros) {
        let limits = backend.limits();
        if *limits == *self.limits {
            info!("device open again");
        } else {
            warn!(
                blocks = limits.kv.blocks,
                was = self.limits.kv.blocks,
                "device came back changed"
            );
            self.limits = Arc::new(limits.clone());
            self.scheduler.relimit(&self.limits, now, &mut self.events);
            self.note_limits();
            self.deliver();
        }
        self.device = Device::Open(backend);
        self.condition = Condition::Running;
        self.progress = now;
    }

    fn give_up(&mut self, why: String) -> Flow {
        error!(why, "lane gives up");
        // Said before the requests end, so that whoever sees one end can ask why.
        self.condition = Condition::Stopped { why: why.clone() };
        self.publish();
        self.fail_all(&FinishReason::Error(why));
        Flow::Stop
    }

    /// Ends every request.
    pub(super) fn fail_all(&mut self, finish: &FinishReason) {
        self.events.clear();
        for (_, live) in self.live.drain() {
            live.fail(finish);
        }
    }
}
