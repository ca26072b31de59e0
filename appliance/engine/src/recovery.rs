//! What a lane does when its device is lost or its code fails: open again, go on, and give up
//! after a bounded number of tries.
//!
//! A lost device costs nobody an answer: the scheduler computes again. A bug costs the requests of
//! this lane, never the process. Next: `generation.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gimbal_hal::DeviceError;
use gimbal_scheduler::Scheduler;
use tracing::{error, info, warn};

use crate::lane::Condition;
use crate::request::FinishReason;
use crate::runner::{Flow, Runner};

/// Failures without a single step between them after which a lane gives up.
const FAILURES_MAX: u32 = 4;
/// Wait before the second try; doubled for each later one.
const BACKOFF: Duration = Duration::from_millis(250);

impl Runner {
    /// Runs the lane until it is told to stop or gives up. The backend is dropped on this thread.
    pub(crate) fn run(mut self) {
        loop {
            let flow = match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(flow) => flow,
                Err(panic) => self.restart(&panic_message(panic.as_ref())),
            };
            if flow == Flow::Stop {
                break;
            }
        }
        if self.condition == Condition::Running {
            self.condition = Condition::Stopped { why: "the server is shutting down".into() };
        }
        self.publish();
        self.meters.end();
        self.drop_backend();
    }

    /// The device is lost: forget what was on it, open it again.
    pub(crate) fn recover(&mut self, error: &DeviceError) -> Flow {
        warn!(%error, "device lost");
        self.drop_backend();
        self.in_flight.clear();
        self.scheduler.lost(self.clock.now(), &mut self.events);
        self.deliver();
        self.open_again(&error.to_string())
    }

    /// A bug: nothing of this lane's state can be trusted.
    fn restart(&mut self, why: &str) -> Flow {
        error!(why, "a bug in the engine; its requests end, the lane starts again");
        self.meters.restarts.increment(1);
        self.drop_backend();
        self.in_flight.clear();
        self.scheduler = Scheduler::new(self.limits.clone(), self.policy.clone());
        self.fail_all(&FinishReason::Error("an internal error".to_owned()));
        self.open_again(why)
    }

    fn open_again(&mut self, why: &str) -> Flow {
        self.condition = Condition::Reopening { why: why.to_owned() };
        let mut why = why.to_owned();
        while self.failures < FAILURES_MAX {
            self.publish();
            if self.failures > 0 && self.pause(BACKOFF * (1 << self.failures)) == Flow::Stop {
                self.fail_all(&FinishReason::Drained);
                return Flow::Stop;
            }
            self.failures += 1;
            let opened = guarded(|| (self.reopen)());
            match opened {
                Ok(backend) if *backend.limits() == self.limits => {
                    info!("device open again");
                    self.backend = Some(backend);
                    self.condition = Condition::Running;
                    return Flow::On;
                }
                Ok(_) => why = "the device came back with other limits".to_owned(),
                Err(error) => why = error.to_string(),
            }
            warn!(why, "device cannot be opened");
        }
        error!(why, "lane gives up");
        // Said before the requests end, so that whoever sees one end can ask why.
        self.condition = Condition::Stopped { why: why.clone() };
        self.publish();
        self.fail_all(&FinishReason::Error(why));
        Flow::Stop
    }

    /// Ends every request.
    pub(crate) fn fail_all(&mut self, finish: &FinishReason) {
        self.events.clear();
        for (_, live) in self.live.drain() {
            live.fail(finish);
        }
    }

    fn drop_backend(&mut self) {
        let backend = self.backend.take();
        if catch_unwind(AssertUnwindSafe(|| drop(backend))).is_err() {
            warn!("the backend failed while it was closed");
        }
    }
}

/// Calls a backend; a panic in it is a lost device.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let why = format!("a bug in the backend: {}", panic_message(panic.as_ref()));
        Err(DeviceError::Lost { why })
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
