//! How devices are: every platform with an open lane is asked now and then, and what it says is kept
//! and recorded.
//!
//! The server asks in its own process, also where workers hold the devices: a reading is of a device,
//! not of who computes on it. A platform is asked on a blocking thread and not again before it has
//! answered, so one that hangs costs that thread and nothing else. What is not told any more is
//! forgotten: gauges become NaN, which `/metrics` leaves out. Next: `meters.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gimbal_hal::{DeviceId, Reading};
use metrics::{counter, gauge};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::meters::{
    DEVICE_ERRORS, DEVICE_LOAD, DEVICE_MEMORY, DEVICE_MEMORY_USED, DEVICE_TEMPERATURE,
};
use crate::{Condition, Models};

/// How often devices are asked: a scraper asks every 15 s, a person looks every second.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take until the last one counts no longer: three rounds.
const PATIENCE: Duration = Duration::from_secs(15);
/// Devices of a platform that are ever recorded: the largest instance has 16 of 8 cores each. Each
/// one is a series for good.
const DEVICES_MAX: usize = 256;

/// Asks one platform; may take long, or for ever.
pub type Ask = Arc<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// What the platforms say of their devices.
#[derive(Debug, Default)]
pub struct Readings(Mutex<Vec<Source>>);

/// A platform.
struct Source {
    name: &'static str,
    read: Ask,
    /// Since when it has been asked and has not answered.
    asked: Option<Instant>,
    is_late: bool,
    devices: Vec<Reading>,
    /// Every device that was ever recorded, and the errors it had at last.
    known: BTreeMap<DeviceId, u64>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Source");
        out.field("name", &self.name).field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Readings {
    /// One more platform, which is asked while a lane is open on it.
    pub fn add(&self, name: &'static str, read: Ask) {
        let (devices, known) = (Vec::new(), BTreeMap::new());
        self.sources().push(Source { name, read, asked: None, is_late: false, devices, known });
    }

    /// Asks every 5 seconds, until it is dropped.
    pub async fn watch(self: &Arc<Self>, models: &Models) {
        loop {
            // Not waited for: one that hangs must not hold up the others.
            drop(self.ask(models));
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Begins to ask every platform that has an open lane and is not being asked. Needs a runtime.
    pub fn ask(self: &Arc<Self>, models: &Models) -> Vec<JoinHandle<()>> {
        let in_use = in_use(models);
        let begin = |source: &mut Source| {
            if !in_use.iter().any(|name| name == source.name) {
                source.replace(Vec::new());
                return None;
            }
            if let Some(asked) = source.asked {
                source.wait(asked);
                return None;
            }
            source.asked = Some(Instant::now());
            let (this, name, read) = (Arc::clone(self), source.name, Arc::clone(&source.read));
            // One that panics is as one that hangs: it is not asked again.
            Some(tokio::task::spawn_blocking(move || this.answer(name, read())))
        };
        self.sources().iter_mut().filter_map(begin).collect()
    }

    /// What was said last, by platform; nothing of platforms without an open lane or an answer.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, Reading)> {
        let sources = self.sources();
        let of = |source: &Source| {
            let name = source.name;
            source.devices.iter().cloned().map(move |reading| (name, reading)).collect::<Vec<_>>()
        };
        sources.iter().flat_map(of).collect()
    }

    fn answer(&self, name: &str, told: Vec<Reading>) {
        if let Some(source) = self.sources().iter_mut().find(|source| source.name == name) {
            (source.asked, source.is_late) = (None, false);
            source.replace(told);
        }
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        // Nothing is half done where somebody panicked: answers are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Platforms on which a lane is open, by name.
fn in_use(models: &Models) -> Vec<String> {
    let services = models.services();
    let is_open = |condition: &Condition| !matches!(condition, Condition::Stopped { .. });
    let open = services.iter().filter(|s| s.states().iter().any(|l| is_open(&l.condition)));
    open.map(|service| service.place().platform.clone()).collect()
}

impl Source {
    /// It has not answered yet.
    fn wait(&mut self, asked: Instant) {
        if asked.elapsed() >= PATIENCE && !self.is_late {
            self.is_late = true;
            warn!(platform = self.name, "readings are late; the last ones are forgotten");
            self.replace(Vec::new());
        }
    }

    /// Takes what was told in place of what was told before.
    fn replace(&mut self, told: Vec<Reading>) {
        let mut now: Vec<Reading> = Vec::with_capacity(told.len().min(DEVICES_MAX));
        for reading in told.into_iter().map(sane) {
            let is_room = self.known.len() < DEVICES_MAX;
            let is_twice = now.iter().any(|other| other.device == reading.device);
            if !is_twice && (is_room || self.known.contains_key(&reading.device)) {
                self.count_errors(&reading);
                now.push(reading);
            }
        }
        let before = std::mem::replace(&mut self.devices, now);
        for reading in &self.devices {
            let last = before.iter().find(|last| last.device == reading.device);
            record(self.name, last, Some(reading));
        }
        let is_gone = |last: &&Reading| !self.devices.iter().any(|now| now.device == last.device);
        before.iter().filter(is_gone).for_each(|last| record(self.name, Some(last), None));
    }

    /// A device that was reset counts from 0 again; the counter never falls.
    fn count_errors(&mut self, reading: &Reading) {
        let last = self.known.entry(reading.device.clone()).or_default();
        let Some(errors) = reading.errors else { return };
        let more = errors.checked_sub(*last).unwrap_or(errors);
        *last = errors;
        let device = reading.device.to_string();
        counter!(DEVICE_ERRORS, "platform" => self.name, "device" => device).increment(more);
    }
}

/// Without what is no number or cannot be: that counts as not told.
fn sane(reading: Reading) -> Reading {
    let load = reading.load.filter(|load| load.is_finite()).map(|load| load.clamp(0.0, 1.0));
    let temperature = reading.temperature.filter(|celsius| celsius.is_finite());
    Reading { load, temperature, ..reading }
}

/// Sets the gauges of a device. What was told before and is not any more is NaN; what was never told
/// has no gauge.
fn record(platform: &'static str, last: Option<&Reading>, now: Option<&Reading>) {
    let Some(device) = now.or(last).map(|reading| reading.device.to_string()) else { return };
    type Of = fn(&Reading) -> Option<f64>;
    let gauges: [(&'static str, Of); 4] = [
        (DEVICE_MEMORY, |reading| reading.memory_total_bytes.map(|bytes| bytes as f64)),
        (DEVICE_MEMORY_USED, |reading| reading.memory_used_bytes.map(|bytes| bytes as f64)),
        (DEVICE_LOAD, |reading| reading.load),
        (DEVICE_TEMPERATURE, |reading| reading.temperature),
    ];
    for (name, of) in gauges {
        let value = match (last.and_then(of), now.and_then(of)) {
            (None, None) => continue,
            (_, now) => now.unwrap_or(f64::NAN),
        };
        gauge!(name, "platform" => platform, "device" => device.clone()).set(value);
    }
}
