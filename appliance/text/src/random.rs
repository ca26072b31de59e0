//! Bits that nobody can guess, from the operating system.

use std::hash::{BuildHasher, RandomState};

/// 64 of them. Where the system gives none (no `getrandom` and no `/dev/urandom`), what std seeds its
/// maps with stands in.
#[must_use]
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0_u8))
}
