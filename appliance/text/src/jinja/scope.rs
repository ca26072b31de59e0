//! Variables: a chain of scopes, inner to outer.
//!
//! Assignments stay in their scope, as in Jinja; macros and loops see the scopes around them.
//! Next: `eval.rs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::value::Value;

/// Variables of one level.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    variables: RefCell<HashMap<Arc<str>, Value>>,
    outer: Option<Rc<Self>>,
}

impl Scope {
    /// A scope inside another.
    pub(crate) fn inside(outer: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), outer: Some(Rc::clone(outer)) })
    }

    pub(crate) fn set(&self, name: Arc<str>, value: Value) {
        self.variables.borrow_mut().insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(value) = here.variables.borrow().get(name) {
                return Some(value.clone());
            }
            scope = here.outer.as_deref();
        }
        None
    }
}
