//! What a key may: the scopes, and the table of keys.
//!
//! Which route asks for which scope stands in `routes.rs`. Next: `keys.rs`.

use std::collections::HashMap;

/// The SHA-256 of a key.
pub(crate) type Digest = [u8; 32];
/// What each key may.
pub(crate) type Table = HashMap<Digest, KeyScopes>;

/// What a route asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyScope {
    /// Runs a model, or tells about models.
    Infer,
    /// Tells figures of the whole process.
    Metrics,
    /// Tells or changes what the operator alone should: it includes `metrics`.
    Admin,
}

/// What a key may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyScopes {
    pub(crate) infer: bool,
    pub(crate) metrics: bool,
    pub(crate) admin: bool,
}

impl KeyScope {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("infer", Self::Infer), ("metrics", Self::Metrics), ("admin", Self::Admin)];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl KeyScopes {
    pub(crate) const EVERY: Self = Self { infer: true, metrics: true, admin: true };

    pub(crate) fn may(self, scope: KeyScope) -> bool {
        match scope {
            KeyScope::Infer => self.infer,
            KeyScope::Metrics => self.metrics || self.admin,
            KeyScope::Admin => self.admin,
        }
    }

    pub(crate) fn add(&mut self, scope: KeyScope) {
        match scope {
            KeyScope::Infer => self.infer = true,
            KeyScope::Metrics => self.metrics = true,
            KeyScope::Admin => self.admin = true,
        }
    }
}
