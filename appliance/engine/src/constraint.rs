//! What may come next in a continuation, decided by somebody else: a grammar.
//!
//! Masks are made beside the steps. The lane asks before each step; a mask that is late costs its own
//! row only. Next: `grammar.rs`, the one that serves.

use std::sync::Arc;

use gimbal_batch::{TokenId, TokenMask};

/// Tells the lane that a mask which was late is there.
pub type Ready = Arc<dyn Fn() + Send + Sync>;

/// Decides the next token of one continuation.
pub trait Constraint: Send {
    /// Tokens that may come next; `None` while that is being found out. Asked before every step until
    /// it is known, so it never waits. One that allows nothing ends the continuation.
    fn mask(&mut self) -> Option<TokenMask>;

    /// A mask for what follows each of these guesses, as far as that is known at once. No token was
    /// chosen: `mask` is the newest that was told, and stays so. One that allows nothing says that the
    /// guess may not come, or that nothing is known of what follows it: then the next step asks.
    fn ahead(&mut self, mask: &TokenMask, guesses: &[TokenId]) -> Vec<TokenMask>;

    /// A token was chosen; the next mask is for what follows those that were.
    fn accept(&mut self, token: TokenId);
}

/// Begins a constraint for each continuation of a request.
pub trait Constrain: Send + Sync {
    /// One for a continuation that has no token yet. It calls `ready` when a mask is there that it did
    /// not have when it was asked.
    fn begin(&self, ready: Ready) -> Box<dyn Constraint>;
}

impl std::fmt::Debug for dyn Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraint")
    }
}

impl std::fmt::Debug for dyn Constrain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constrain")
    }
}
