//! Which adapters the device holds: loaded and unloaded with the next step.
//!
//! A slot keeps its weights while a living request uses them, and its generation is in the names of
//! all blocks that were computed with them. Next: `plan.rs`.

use std::sync::Arc;

use gimbal_batch::{Adapter, AdapterSlot, Batch};

use crate::count;
use crate::scheduler::Scheduler;

/// Why an adapter is not loaded or unloaded. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterRefusal {
    /// There is no such slot; 0 is the base model's.
    NoSlot {
        /// Slots are `1..=adapters_max`.
        adapters_max: u32,
    },
    /// Requests that live use what the slot holds.
    InUse {
        /// How many.
        requests: u32,
    },
}

/// What each slot holds, and which slots the device was not yet told of.
#[derive(Clone, Debug)]
pub(crate) struct Adapters {
    /// By slot; the base model's is empty.
    slots: Vec<Option<Arc<Adapter>>>,
    /// In order.
    untold: Vec<AdapterSlot>,
}

impl Adapters {
    pub(crate) fn new(adapters_max: u32) -> Self {
        Self { slots: vec![None; adapters_max as usize + 1], untold: Vec::new() }
    }

    /// The generation of what a slot holds; the base model's is 0.
    pub(crate) fn generation(&self, slot: AdapterSlot) -> Option<u64> {
        match slot {
            AdapterSlot(0) => Some(0),
            slot => Some(self.slots.get(usize::from(slot.0))?.as_ref()?.generation),
        }
    }

    /// The device forgot everything.
    pub(crate) fn reset(&mut self) {
        let slots = (0..).zip(&self.slots);
        let loaded = slots.filter_map(|(slot, adapter)| adapter.as_ref().and(Some(slot)));
        self.untold.clear();
        self.untold.extend(loaded.map(AdapterSlot));
    }

    /// Another device has so many slots; what they hold goes on.
    pub(crate) fn resize(&mut self, adapters_max: u32) {
        self.slots.resize(adapters_max as usize + 1, None);
        self.reset();
    }

    /// Tells the device with this batch.
    pub(crate) fn write(&mut self, batch: &mut Batch) {
        let news = self.untold.drain(..);
        batch.adapters.extend(news.map(|slot| (slot, self.slots[usize::from(slot.0)].clone())));
    }
}

impl Scheduler {
    /// Loads an adapter into a slot, or empties it, with the next step.
    ///
    /// # Errors
    /// There is no such slot, or a living request uses it.
    ///
    /// # Panics
    /// If the adapter's generation is 0, which is the base model's.
    pub fn load_adapter(
        &mut self,
        slot: AdapterSlot,
        adapter: Option<Arc<Adapter>>,
    ) -> Result<(), AdapterRefusal> {
        assert!(adapter.as_ref().is_none_or(|a| a.generation > 0), "an adapter has a generation");
        let adapters_max = self.limits.adapters_max;
        if !(1..=adapters_max).contains(&u32::from(slot.0)) {
            return Err(AdapterRefusal::NoSlot { adapters_max });
        }
        let users = self.jobs.iter().filter(|(_, job)| job.request.adapter == slot);
        match count(users.count()) {
            0 => {}
            requests => return Err(AdapterRefusal::InUse { requests }),
        }
        self.adapters.slots[usize::from(slot.0)] = adapter;
        if let Err(at) = self.adapters.untold.binary_search(&slot) {
            self.adapters.untold.insert(at, slot);
        }
        Ok(())
    }
}
