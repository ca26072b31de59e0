//! A bug in a backend costs at most the requests of its lane, never the process.
//!
//! Next: `rig.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::rig::*;
use gimbal_batch::{Batch, Limits, Outcome, StepId};
use gimbal_engine::*;
use gimbal_hal::{Backend, DeviceError};
use gimbal_sim::Script;

/// Fails in its own way at the third step of its life, once.
struct Buggy {
    inner: Box<dyn Backend>,
    steps: Arc<AtomicU32>,
    bug: Bug,
}

#[derive(Clone, Copy)]
enum Bug {
    PanicsInSubmit,
    PanicsInCollect,
    AnswersTooLittle,
}

impl Backend for Buggy {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        let now = self.steps.fetch_add(1, Ordering::SeqCst) == 2;
        assert!(!(now && matches!(self.bug, Bug::PanicsInSubmit)), "a bug in submit");
        self.inner.submit(step, batch)
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let now = self.steps.load(Ordering::SeqCst) == 3;
        assert!(!(now && matches!(self.bug, Bug::PanicsInCollect)), "a bug in collect");
        let (step, mut outcome) = self.inner.collect(timeout)?;
        if now && matches!(self.bug, Bug::AnswersTooLittle) {
            outcome.pop();
        }
        Ok((step, outcome))
    }
}

fn buggy_lane(bug: Bug) -> LaneSource {
    let steps = Arc::new(AtomicU32::new(0));
    let open = move || -> Box<dyn Backend> {
        Box::new(Buggy { inner: sim(1, &Script::default()), steps: Arc::clone(&steps), bug })
    };
    LaneSource { backend: open(), reopen: Box::new(move || Ok(open())) }
}

#[tokio::test]
async fn a_panic_in_a_backend_is_a_lost_device() {
    let expect =
        answer(&service(policy(), sim_lane(1, &Script::default())), request("abc", 9)).await;
    for bug in [Bug::PanicsInSubmit, Bug::PanicsInCollect] {
        let service = service(policy(), buggy_lane(bug));
        assert_eq!(answer(&service, request("abc", 9)).await, expect);
        assert_eq!(service.states()[0].stats.losses, 1);
    }
}

#[tokio::test]
async fn a_wrong_answer_ends_the_lanes_requests_and_the_lane_goes_on() {
    let service = service(policy(), buggy_lane(Bug::AnswersTooLittle));
    let (tokens, finish) = answer(&service, request("abc", 9)).await;
    assert_eq!(tokens.len(), 2);
    assert_eq!(finish, FinishReason::Error("an internal error".into()));
    assert_eq!(answer(&service, request("abc", 9)).await.1, FinishReason::Length);
    assert_eq!(service.health(), Health::Serving);
}
