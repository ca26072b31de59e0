//! Tools that a model may call: how it writes a call, how it is made to write one, what it thinks first.
//!
//! Nothing is called here, and no message is rendered: templates do that. Text comes in pieces, and
//! how it is cut never matters. Reading order: `spec` (what a client says of its tools), `format` (who
//! writes calls how), `parser` (text to calls) with its readers `object` (JSON), `named` (a name, then
//! JSON), `pythonic` with `literal`, `xml` with `typed`; all of them hand to `calls`, and `scan` knows
//! where a piece of JSON ends; then `force` (the grammar of a call), `either` (of a call or a form) and
//! `reasoning`. Next: `tools/spec.rs`.

mod calls;
mod either;
mod force;
mod format;
mod literal;
mod named;
mod object;
mod parser;
mod pythonic;
mod reasoning;
mod scan;
mod spec;
mod typed;
mod xml;

#[cfg(test)]
mod tests;

pub use calls::Piece;
pub use either::grammar_or;
pub use force::{ToolChoice, grammar};
pub use format::ToolFormat;
pub use parser::ToolParser;
pub use reasoning::{ReasoningFormat, ReasoningSplitter, Thought};
pub use spec::{ToolError, ToolSpec};
