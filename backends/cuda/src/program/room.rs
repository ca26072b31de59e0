//! Addresses, one after the other.
//!
//! Next: `nodes.rs`.

use crate::launch::Address;

/// What everything begins at a multiple of: vectors of 16 bytes need less, transfers like it.
const ALIGN: u64 = 256;

/// Memory from an address on.
#[derive(Debug)]
pub(super) struct Room {
    next: Address,
}

impl Room {
    pub(super) const fn new(base: Address) -> Self {
        Self { next: base.next_multiple_of(ALIGN) }
    }

    /// Where so many bytes may lie.
    pub(super) const fn take(&mut self, bytes: u64) -> Address {
        let at = self.next;
        self.next = at.saturating_add(bytes).next_multiple_of(ALIGN);
        at
    }

    /// Where the next ones would.
    pub(super) const fn next(&self) -> Address {
        self.next
    }
}
