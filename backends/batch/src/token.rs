//! The name of a token.
//!
//! What it says is known to tokenizers alone; they and model files count in bare `u32`. The engine
//! turns one into the other where a request comes in and where its text goes out. Next: `params.rs`.

use std::fmt;

/// A token of the model's vocabulary: no row, position, block or count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TokenId(u32);

impl TokenId {
    /// The token of that number.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Its row in the embedding table, its column among logits.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The bare number.
impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_as_its_number_and_orders_by_it() {
        assert_eq!(format!("{:?}", [TokenId::new(7), TokenId::new(u32::MAX)]), "[7, 4294967295]");
        assert!(TokenId::new(9) < TokenId::new(10));
        assert_eq!((TokenId::new(9).get(), TokenId::new(9).index()), (9, 9));
    }
}
