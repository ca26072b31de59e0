//! What can go wrong with text, by who must act. No HTTP status stands here; the edge chooses it.

/// A failure of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The model's owner: the tokenizer in the model file is broken.
    #[error("broken tokenizer: {why}")]
    Tokenizer {
        /// What is wrong, and where.
        why: String,
    },
    /// The model's owner: this version cannot use the tokenizer.
    #[error("{what} is not supported; supported are: {supported}")]
    Unsupported {
        /// The key and its value.
        what: String,
        /// All that would do.
        supported: String,
    },
    /// The model's owner: the chat template cannot be compiled.
    #[error("broken chat template: {why}")]
    Template {
        /// The parser's words with the line.
        why: String,
    },
    /// The user: the template refuses these messages.
    #[error("the chat template cannot render these messages: {why}")]
    Render {
        /// The template's own words, or the limit that was passed.
        why: String,
    },
    /// The user: the text cannot be cut into words.
    #[error("the text cannot be tokenized: {why}")]
    Text {
        /// What is wrong with it.
        why: String,
    },
}

impl TextError {
    /// A broken tokenizer.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self::Tokenizer { why: why.into() }
    }
}
