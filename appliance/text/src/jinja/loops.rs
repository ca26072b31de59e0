//! The state of a `for` loop, which the template sees as `loop`.
//!
//! Items are taken one by one, and a loop's own condition is asked only then, as in Jinja.
//! Next: `exec.rs`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::arguments::Given;
use super::ast::For;
use super::compare::equal;
use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::scope::Scope;
use super::value::{Lazy, Value};

/// A running loop.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) code: Arc<For>,
    /// The variables around the loop.
    pub(crate) scope: Weak<Scope>,
    pub(crate) depth0: u32,
    /// What is still to come, before the loop's condition.
    rest: RefCell<VecDeque<Value>>,
    /// Where it comes from a generator.
    lazy: Option<Rc<Lazy>>,
    /// What has passed the condition and was only looked at.
    ready: RefCell<VecDeque<Value>>,
    index: Cell<i128>,
    current: RefCell<Option<Value>>,
    before: RefCell<Option<Value>>,
    changed: RefCell<Option<Vec<Value>>>,
}

impl Loop {
    pub(crate) fn new(
        vm: &Vm<'_>,
        code: &Arc<For>,
        scope: &Rc<Scope>,
        items: &Value,
        depth0: u32,
    ) -> Outcome<Rc<Self>> {
        let (rest, lazy) = match items {
            Value::Lazy(lazy) => (VecDeque::new(), Some(Rc::clone(lazy))),
            other => (other.items(vm.meter)?.into(), None),
        };
        Ok(Rc::new(Self {
            code: Arc::clone(code),
            scope: Rc::downgrade(scope),
            depth0,
            rest: RefCell::new(rest),
            lazy,
            ready: RefCell::default(),
            index: Cell::new(0),
            current: RefCell::default(),
            before: RefCell::default(),
            changed: RefCell::default(),
        }))
    }

    /// The next item that passes the loop's condition.
    fn pull(&self, vm: &Vm<'_>) -> Outcome<Option<Value>> {
        loop {
            vm.meter.work(2)?;
            let next = match &self.lazy {
                Some(lazy) => lazy.next(),
                None => self.rest.borrow_mut().pop_front(),
            };
            let Some(item) = next else { return Ok(None) };
            let Some(test) = &self.code.test else { return Ok(Some(item)) };
            let Some(scope) = self.scope.upgrade() else { return Ok(None) };
            let inner = Scope::inside(&scope);
            vm.assign(&self.code.target, item.clone(), &inner)?;
            if vm.eval(test, &inner)?.is_true() {
                return Ok(Some(item));
            }
        }
    }

    /// Goes one item on.
    pub(crate) fn next(&self, vm: &Vm<'_>) -> Outcome<Option<Value>> {
        let ready = self.ready.borrow_mut().pop_front();
        let next = match ready {
            Some(ready) => Some(ready),
            None => self.pull(vm)?,
        };
        if let Some(item) = &next {
            self.index.set(self.index.get() + 1);
            *self.before.borrow_mut() = self.current.replace(Some(item.clone()));
        }
        Ok(next)
    }

    fn peek(&self, vm: &Vm<'_>) -> Outcome<Option<Value>> {
        if self.ready.borrow().is_empty() {
            let next = self.pull(vm)?;
            self.ready.borrow_mut().extend(next);
        }
        Ok(self.ready.borrow().front().cloned())
    }

    fn length(&self, vm: &Vm<'_>) -> Outcome<i128> {
        while let Some(next) = self.pull(vm)? {
            self.ready.borrow_mut().push_back(next);
        }
        Ok(self.index.get() + self.ready.borrow().len() as i128)
    }

    pub(crate) fn attribute(&self, vm: &Vm<'_>, own: &Value, name: &str) -> Outcome<Option<Value>> {
        let index = self.index.get();
        Ok(Some(match name {
            "index" => Value::Int(index),
            "index0" => Value::Int(index - 1),
            "first" => Value::Bool(index == 1),
            "last" => Value::Bool(self.peek(vm)?.is_none()),
            "length" => Value::Int(self.length(vm)?),
            "revindex" => Value::Int(self.length(vm)? - index + 1),
            "revindex0" => Value::Int(self.length(vm)? - index),
            "depth" => Value::Int(i128::from(self.depth0) + 1),
            "depth0" => Value::Int(self.depth0.into()),
            "previtem" => match &*self.before.borrow() {
                Some(item) if index > 1 => item.clone(),
                _ => Value::undefined("there is no previous item"),
            },
            "nextitem" => {
                self.peek(vm)?.unwrap_or_else(|| Value::undefined("there is no next item"))
            }
            "cycle" | "changed" => Value::Method(Rc::new(own.clone()), name.into()),
            _ => return Ok(None),
        }))
    }

    pub(crate) fn call(&self, vm: &Vm<'_>, name: &str, given: Given) -> Outcome<Value> {
        if let Some((name, _)) = given.named.first() {
            return fail(format!("loop methods have no argument {name:?}"));
        }
        let values = given.positional;
        if name == "cycle" {
            let at = usize::try_from(self.index.get() - 1).unwrap_or(0);
            let Some(at) = at.checked_rem(values.len()) else {
                return fail("no items for cycling given");
            };
            return Ok(values[at].clone());
        }
        let same = match &*self.changed.borrow() {
            Some(last) if last.len() == values.len() => {
                let mut same = true;
                for (a, b) in last.iter().zip(&values) {
                    same = same && equal(a, b, vm.meter)?;
                }
                same
            }
            _ => false,
        };
        *self.changed.borrow_mut() = Some(values);
        Ok(Value::Bool(!same))
    }
}
