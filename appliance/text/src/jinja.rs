//! Chat templates as `transformers` runs them: Jinja 2 with `trim_blocks`, `lstrip_blocks`, loop
//! controls, the sandbox that changes no list or dict, and Python's own strings, numbers and
//! `json.dumps`.
//!
//! A general Jinja of Rust has Rust's values: it prints `true` and `none`, knows no `'%s' % x`, no
//! unary `+`, no integers beyond 128 bits and half of Python's methods, reads past arguments it
//! does not know, and charges nothing for what an operator makes. A prompt that is a little
//! different is a silent wrong answer, so this is Python's, or an error that names what is missing.
//! It also carries who wrote each letter (`text.rs`), which no string type does.
//!
//! Reading order: `lexer`, `ast`, `parser`, `expression` (a template as a tree); `text`, `value`,
//! `compare`, `operators`, `print`, `number`, `letters` (Python's values); `meter` (what it may
//! cost), `scope`, `eval`, `exec`, `loops`, `call`, `access`, `arguments` (running it); `filters`,
//! `checks` (Jinja's tests), `methods`, `sequences`, `globals`, `spec`, `percent`, `fields`,
//! `dumps`, `loads`, `clock` (what a template can call).
//!
//! # Invariants
//! - What is made is paid for before it is made: steps, bytes, levels.
//! - No value contains itself, no rendering outlives its values: nothing leaks, nothing recurses
//!   deeper than the limits of `meter` and `parser`.
//! - A letter keeps its mark through whatever a template does with it.

mod access;
mod arguments;
mod ast;
mod call;
mod checks;
mod clock;
mod compare;
mod dumps;
mod eval;
mod exec;
mod expression;
mod fields;
mod filters;
mod globals;
mod letters;
mod lexer;
mod loads;
mod loops;
mod meter;
mod methods;
mod number;
mod operators;
mod parser;
mod percent;
mod print;
mod scope;
mod sequences;
mod spec;
mod text;
mod value;

use std::rc::Rc;

pub use self::clock::utc;
pub(crate) use self::compare::find;
pub(crate) use self::loads::object;
pub(crate) use self::meter::{Fault, Meter, Outcome, fail};
pub(crate) use self::text::{Letter, Text, is_space};
pub(crate) use self::value::{Dict, Value};

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    body: ast::Body,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is not Jinja, or uses what is not supported; with the line.
    pub(crate) fn new(source: &str) -> Outcome<Self> {
        Ok(Self { body: parser::parse(source)? })
    }

    /// Renders it with variables, within what `meter` has left.
    ///
    /// # Errors
    /// The template refuses, fails, or passes a limit.
    pub(crate) fn render(
        &self,
        variables: Vec<(&str, Value)>,
        now_unix: i64,
        meter: &Meter,
    ) -> Outcome<Vec<Letter>> {
        let scope = Rc::new(scope::Scope::default());
        for (name, value) in variables {
            scope.set(name.into(), value);
        }
        let mut out = Vec::new();
        eval::Vm { meter, now_unix }.run(&self.body, &scope, &mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
