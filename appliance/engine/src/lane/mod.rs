//! A lane from outside: one OS thread that owns a scheduler and a backend, and the two channels
//! that lead to it.
//!
//! Reading order: `message` (what crosses the channels), `live` (a request inside), `device` (the
//! backend, and how it is opened again), `runner` (the thread's loop), `recovery` (losses and bugs).

mod device;
mod live;
mod message;
mod recovery;
mod runner;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use gimbal_hal::DeviceError;
use gimbal_scheduler::{Policy, RequestId};
use tokio::sync::watch;

pub use self::device::{LaneSource, Reopen};
pub(crate) use self::live::Times;
pub(crate) use self::message::{Admission, Command, LaneEvent};
pub use self::message::{Condition, LaneState};
use self::runner::Runner;
use crate::clock::Clock;
use crate::constraint::Ready;
use crate::record::LaneMeters;

/// A handle; dropping the last one stops the lane.
#[derive(Debug)]
pub(crate) struct Lane {
    commands: SyncSender<Command>,
    state: watch::Receiver<LaneState>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// It was told of a mask and has not looked yet.
    is_told: Arc<AtomicBool>,
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
        // An Admit and a Cancel for each permit, one Masked, and Stop.
        let (commands, receiver) = sync_channel(2 * places as usize + 8);
        let meters = LaneMeters::new(model, number);
        let is_told = Arc::default();
        let commands_of = (receiver, Arc::clone(&is_told));
        let (runner, state) = Runner::new(source, policy.clone(), clock, commands_of, meters);
        let name = format!("lane-{number}");
        let spawned = std::thread::Builder::new().name(name).spawn(move || runner.run());
        let thread = spawned.map_err(|e| DeviceError::Lost { why: format!("no thread: {e}") })?;
        Ok(Self { commands, state, thread: Mutex::new(Some(thread)), is_told })
    }

    /// Hands a request over; gives it back if the lane has stopped.
    pub(crate) fn admit(&self, admission: Box<Admission>) -> bool {
        self.commands.try_send(Command::Admit(admission)).is_ok()
    }

    /// A way to cancel that does not keep the lane alive longer than its commands.
    pub(crate) fn canceller(&self, id: RequestId) -> Canceller {
        Canceller { commands: self.commands.clone(), id }
    }

    /// Tells it that a mask is there which it could not have.
    pub(crate) fn ready(&self) -> Ready {
        let (commands, is_told) = (self.commands.clone(), Arc::clone(&self.is_told));
        Arc::new(move || {
            if !is_told.swap(true, Ordering::AcqRel) {
                // A lane that has ended needs no mask.
                drop(commands.try_send(Command::Masked));
            }
        })
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
    use gimbal_scheduler::{Micros, Stats};

    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_no_lane_that_runs() {
        let (commands, _receiver) = sync_channel(1);
        let (sender, state) = watch::channel(LaneState {
            stats: Stats::default(),
            condition: Condition::Running,
            pending: false,
            progress: Micros(0),
            request_interval: std::time::Duration::ZERO,
            limits: crate::validation::tests::limits().into(),
            model_len_max: 1,
        });
        let (thread, is_told) = (Mutex::new(None), Arc::default());
        let lane = Lane { commands, state, thread, is_told };
        assert_eq!(lane.state().condition, Condition::Running);
        drop(sender);
        assert!(matches!(lane.state().condition, Condition::Stopped { .. }));
    }
}
