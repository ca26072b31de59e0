//! Bytes of every device that models have claimed: a second model sees what the first one left.
//!
//! A claim is given back when it is dropped, which is when the last lane of its model is gone.
//! Next: `registry.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gimbal_hal::{Claim, DeviceId, DeviceInfo};

/// What is claimed, by device.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<DeviceId, Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    model: Arc<str>,
    bytes: u64,
    is_sole: bool,
    /// What could be taken when the first claim on the device was made.
    had_bytes: u64,
}

/// Bytes held for a model as long as this lives.
#[derive(Debug)]
pub struct Claimed {
    ledger: Arc<Ledger>,
    model: Arc<str>,
}

impl Ledger {
    /// The devices with what is left of their memory. What was claimed may not be touched yet, so
    /// what is free now is no measure of it: the rest of what there was at first is, where it is less.
    #[must_use]
    pub fn left(&self, devices: Vec<DeviceInfo>) -> Vec<DeviceInfo> {
        let entries = self.entries();
        let left = |device: DeviceInfo| {
            let taken = entries.get(&device.id).map_or(&[][..], Vec::as_slice);
            let Some(first) = taken.first() else { return device };
            let bytes = taken.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
            let models: Vec<&str> = taken.iter().map(|entry| &*entry.model).collect();
            let models = models.join(", ");
            let (rest, claimed) = match taken.iter().any(|entry| entry.is_sole) {
                true => (0, format!("it is all of {models}")),
                false => {
                    let claimed =
                        format!("{bytes} bytes of {} are claimed by {models}", first.had_bytes);
                    (first.had_bytes.saturating_sub(bytes), claimed)
                }
            };
            let memory_why = format!("{}; {claimed}", device.memory_why);
            DeviceInfo { memory_bytes: device.memory_bytes.min(rest), memory_why, ..device }
        };
        devices.into_iter().map(left).collect()
    }

    /// Claims bytes for a model. `devices` are as they were found, before `left`.
    #[must_use]
    pub fn claim(
        self: &Arc<Self>,
        model: &str,
        claims: &[Claim],
        devices: &[DeviceInfo],
    ) -> Claimed {
        let model: Arc<str> = model.into();
        let mut entries = self.entries();
        for claim in claims {
            let of_device = entries.entry(claim.device.clone()).or_default();
            let found = devices.iter().find(|device| device.id == claim.device);
            let had_bytes = match of_device.first() {
                Some(first) => first.had_bytes,
                None => found.map_or(claim.bytes, |device| device.memory_bytes),
            };
            let Claim { bytes, is_sole, .. } = *claim;
            of_device.push(Entry { model: Arc::clone(&model), bytes, is_sole, had_bytes });
        }
        drop(entries);
        Claimed { ledger: Arc::clone(self), model }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Vec<Entry>>> {
        // Entries are pushed and removed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries();
        for of_device in entries.values_mut() {
            // By identity: an unloaded model may be loading again under its name.
            of_device.retain(|entry| !Arc::ptr_eq(&entry.model, &self.model));
        }
        entries.retain(|_, of_device| !of_device.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(memory_bytes: u64) -> DeviceInfo {
        DeviceInfo {
            platform: "p".into(),
            id: DeviceId::new("p", "0"),
            ordinal: 0,
            name: "one".into(),
            driver: None,
            memory_total_bytes: 1000,
            memory_bytes,
            memory_why: "free".into(),
            cores: 1,
            numa_node: None,
            features: Vec::new(),
        }
    }

    #[test]
    fn a_second_model_sees_what_the_first_left_and_dropping_gives_back() {
        let ledger = Arc::new(Ledger::default());
        let claims = |bytes| [Claim { device: DeviceId::new("p", "0"), bytes, is_sole: false }];
        let left = |free| ledger.left(vec![device(free)]).remove(0);
        assert_eq!(left(900), device(900));
        let first = ledger.claim("a", &claims(300), &[device(900)]);
        // Whether the first has touched its bytes or not, 600 are left.
        for free in [900, 700, 600] {
            assert_eq!(left(free).memory_bytes, 600, "{free}");
        }
        // Others took more.
        assert_eq!(left(100).memory_bytes, 100);
        let second = ledger.claim("b", &claims(500), &[device(600)]);
        let why = "free; 800 bytes of 900 are claimed by a, b";
        assert_eq!((left(600).memory_bytes, left(600).memory_why.as_str()), (100, why));
        drop(first);
        assert_eq!(left(900).memory_bytes, 400);
        drop(second);
        assert_eq!(left(900), device(900));
    }

    #[test]
    fn a_device_of_one_model_alone_has_nothing_left() {
        let ledger = Arc::new(Ledger::default());
        let claims = [Claim { device: DeviceId::new("p", "0"), bytes: 300, is_sole: true }];
        let first = ledger.claim("a", &claims, &[device(900)]);
        let left = ledger.left(vec![device(900)]).remove(0);
        assert_eq!((left.memory_bytes, left.memory_why.as_str()), (0, "free; it is all of a"));
        drop(first);
        assert_eq!(ledger.left(vec![device(900)]), [device(900)]);
    }

    #[test]
    fn a_model_that_comes_again_before_the_old_one_is_gone_keeps_its_claim() {
        let ledger = Arc::new(Ledger::default());
        let claims = [Claim { device: DeviceId::new("p", "0"), bytes: 300, is_sole: false }];
        let old = ledger.claim("a", &claims, &[device(900)]);
        let _new = ledger.claim("a", &claims, &[device(900)]);
        drop(old);
        assert_eq!(ledger.left(vec![device(900)])[0].memory_bytes, 600);
    }
}
