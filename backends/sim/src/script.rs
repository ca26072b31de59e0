//! What goes wrong, and when: incidents by the number of the step.
//!
//! Clones of a script share its count, so an incident happens once although the device was opened
//! again after it. Next: `backend.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Something that goes wrong in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The output of this number fails with `NotFinite`, and its KV is spoiled; numbers past the
    /// last output wrap around.
    RowFault {
        /// Which output.
        output: u32,
    },
    /// The step takes this much longer.
    Slow(Duration),
    /// The device is lost before the step is done: `collect` fails.
    Lost,
    /// The device is lost before the step is taken: `submit` fails.
    LostAtSubmit,
}

/// Incidents by step, and a switch that kills the device.
#[derive(Clone, Debug, Default)]
pub struct Script {
    incidents: Arc<[(u64, Incident)]>,
    steps: Arc<AtomicU64>,
    killed: Arc<AtomicBool>,
}

impl Script {
    /// A script from pairs of a step's number, counted from 0 over the life of the script, and
    /// what happens then.
    #[must_use]
    pub fn new(incidents: &[(u64, Incident)]) -> Self {
        Self { incidents: incidents.into(), ..Self::default() }
    }

    /// Loses the device: the next call to it fails. Once opened again it works.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    /// Steps submitted so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.swap(false, Ordering::SeqCst)
    }

    /// What happens in the next step.
    pub(crate) fn next_step(&self) -> impl Iterator<Item = Incident> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let now = self.incidents.iter().filter(move |(at, _)| *at == step);
        now.map(|(_, incident)| *incident)
    }
}
