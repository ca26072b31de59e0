//! A lane from outside: one OS thread that owns a scheduler and a backend, and the two channels
//! that lead to it.
//!
//! What happens on the thread stands in `runner.rs`. Next: `runner.rs`.

use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use gimbal_batch::Limits;
use gimbal_hal::{Backend, DeviceError};
use gimbal_scheduler::{Finish, Micros, Policy, Refusal, Request, RequestId, Stats};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::gate::Permit;
use crate::record::LaneMeters;
use crate::request::FinishReason;
use crate::runner::Runner;

/// Opens the device again after it was lost.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Backend>, DeviceError> + Send>;

/// An opened device and the way to open it again.
pub struct LaneSource {
    /// The device, ready.
    pub backend: Box<dyn Backend>,
    /// Called on the lane's thread after a loss, a few times at most. The new device must have the
    /// same limits.
    pub reopen: Reopen,
}

impl std::fmt::Debug for LaneSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneSource").field("limits", self.backend.limits()).finish_non_exhaustive()
    }
}

/// What a lane says about itself after every step and whenever it falls idle.
#[derive(Clone, Debug)]
pub struct LaneState {
    /// The scheduler's books.
    pub stats: Stats,
    /// Whether it can work.
    pub condition: Condition,
    /// There is work, so a step should finish soon.
    pub pending: bool,
    /// When a step finished last, or work began after idleness.
    pub progress: Micros,
    /// Between two requests that end, on average; zero while unknown.
    pub request_interval: Duration,
}

/// Whether a lane can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Yes.
    Running,
    /// The device is being opened again.
    Reopening {
        /// What happened to it.
        why: String,
    },
    /// No, for good.
    Stopped {
        /// What happened.
        why: String,
    },
}

/// What a lane is told. A permit's holder sends at most one of each, so the channel cannot fill.
#[derive(Debug)]
pub(crate) enum Command {
    Admit(Box<Admission>),
    Cancel(RequestId),
    Stop,
}

/// A request on its way in.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) request: Request,
    pub(crate) is_counted: bool,
    pub(crate) events: mpsc::Sender<LaneEvent>,
    pub(crate) permit: Permit,
    pub(crate) arrived: Micros,
}

/// What a lane tells the one who waits for a request.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    Refused(Refusal),
    /// `waited` is the time in the scheduler's queue.
    Started {
        cached_tokens: u32,
        waited: Micros,
    },
    Token {
        choice: u16,
        token: u32,
        logprob: f32,
        top: Vec<(u32, f32)>,
        finish: Option<Finish>,
    },
    Finished {
        choice: u16,
        finish: Finish,
    },
    /// All choices ended for a reason the scheduler does not know.
    Failed(FinishReason),
}

/// A handle; dropping the last one stops the lane.
#[derive(Debug)]
pub(crate) struct Lane {
    commands: SyncSender<Command>,
    state: watch::Receiver<LaneState>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) limits: Limits,
    pub(crate) model_len_max: u32,
}

impl Lane {
    /// Starts the thread. `places` is how many permits there are.
    pub(crate) fn start(
        (model, number): (&str, u16),
        source: LaneSource,
        policy: &Policy,
        clock: Clock,
        places: u32,
    ) -> Result<Self, DeviceError> {
        // An Admit and a Cancel for each permit, and Stop.
        let (commands, receiver) = sync_channel(2 * places as usize + 8);
        let limits = source.backend.limits().clone();
        let meters = LaneMeters::new(model, number);
        let (mut runner, state) = Runner::new(source, policy.clone(), clock, receiver, meters);
        let model_len_max = runner.scheduler.model_len_max();
        runner.meters.note_kv((model, number), &limits, policy, model_len_max);
        let name = format!("lane-{number}");
        let spawned = std::thread::Builder::new().name(name).spawn(move || runner.run());
        let thread = spawned.map_err(|e| DeviceError::Lost { why: format!("no thread: {e}") })?;
        Ok(Self { commands, state, thread: Mutex::new(Some(thread)), limits, model_len_max })
    }

    /// Hands a request over; gives it back if the lane has stopped.
    pub(crate) fn admit(&self, admission: Box<Admission>) -> bool {
        self.commands.try_send(Command::Admit(admission)).is_ok()
    }

    /// A way to cancel that does not keep the lane alive longer than its commands.
    pub(crate) fn canceller(&self, id: RequestId) -> Canceller {
        Canceller { commands: self.commands.clone(), id }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<LaneState> {
        self.state.clone()
    }

    pub(crate) fn state(&self) -> LaneState {
        let state = self.state.borrow().clone();
        let is_gone = self.state.has_changed().is_err();
        if is_gone && state.condition == Condition::Running {
            // It says so itself where it ends as it should.
            let condition = Condition::Stopped { why: "its thread is gone".to_owned() };
            return LaneState { condition, ..state };
        }
        state
    }

    /// Waits until the lane says so.
    pub(crate) async fn until(&self, so: impl FnMut(&LaneState) -> bool) {
        // An error means that the lane has ended: nothing will change any more.
        drop(self.state.clone().wait_for(so).await);
    }

    /// Ends all requests, then the thread.
    pub(crate) fn stop(&self) {
        // A lane that has ended already needs no order.
        drop(self.commands.try_send(Command::Stop));
    }

    /// The thread, for the one who joins it.
    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().ok()?.take()
    }
}

/// Cancels one request.
#[derive(Debug)]
pub(crate) struct Canceller {
    commands: SyncSender<Command>,
    id: RequestId,
}

impl Canceller {
    /// May be called once.
    pub(crate) fn cancel(&self) {
        // A lane that has ended has no request to cancel.
        drop(self.commands.try_send(Command::Cancel(self.id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_no_lane_that_runs() {
        let (commands, _receiver) = sync_channel(1);
        let (sender, state) = watch::channel(LaneState {
            stats: Stats::default(),
            condition: Condition::Running,
            pending: false,
            progress: Micros(0),
            request_interval: Duration::ZERO,
        });
        let limits = crate::validation::tests::limits();
        let lane = Lane { commands, state, thread: Mutex::new(None), limits, model_len_max: 1 };
        assert_eq!(lane.state().condition, Condition::Running);
        drop(sender);
        assert!(matches!(lane.state().condition, Condition::Stopped { .. }));
    }
}
