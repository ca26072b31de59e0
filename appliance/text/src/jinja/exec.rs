//! Statements. Expressions are in `eval.rs`.

use std::rc::Rc;
use std::sync::Arc;

use super::arguments::Given;
use super::ast::{Body, Expr, For, Kind, Macro, Node, Target};
use super::eval::Vm;
use super::loops::Loop;
use super::meter::{Outcome, fail};
use super::scope::Scope;
use super::text::{Letter, Text};
use super::value::{Closure, Dict, Value};
use super::{call, filters, print};

/// Where a body's end leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    Break,
    Continue,
}

impl Vm<'_> {
    /// Runs statements in order.
    pub(crate) fn run(
        &self,
        body: &Body,
        scope: &Rc<Scope>,
        out: &mut Vec<Letter>,
    ) -> Outcome<Flow> {
        for node in body {
            self.meter.enter()?;
            let flow = self.node(node, scope, out);
            self.meter.leave();
            let flow = flow.map_err(|mut fault| {
                fault.line = fault.line.or(Some(node.line));
                fault
            })?;
            self.meter.output(out.len())?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&self, node: &Node, scope: &Rc<Scope>, out: &mut Vec<Letter>) -> Outcome<Flow> {
        match &node.kind {
            Kind::Data(text) => {
                self.meter.letters(text.len())?;
                out.extend_from_slice(text.letters());
            }
            Kind::Print(expr) => print::write(out, &self.eval(expr, scope)?, self.meter)?,
            Kind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.eval(condition, scope)?.is_true() {
                        return self.run(body, scope, out);
                    }
                }
                return self.run(otherwise, scope, out);
            }
            Kind::For(code) => {
                let items = self.eval(&code.iter, scope)?;
                self.looped(code, &items, scope, 0, out)?;
            }
            Kind::Set { target, value } => {
                let value = self.eval(value, scope)?;
                self.assign(target, value, scope)?;
            }
            Kind::SetBlock { target, filters, body } => {
                let value = self.captured(filters, body, scope)?;
                self.assign(target, value, scope)?;
            }
            Kind::Macro(code) => {
                scope.set(Arc::clone(&code.name), closure(code, scope));
            }
            Kind::Call { caller, call } => self.call_block(caller, call, scope, out)?,
            Kind::Filter { filters, body } => {
                let value = self.captured(filters, body, scope)?;
                print::write(out, &value, self.meter)?;
            }
            Kind::With { pairs, body } => {
                let inner = Scope::inside(scope);
                for (target, value) in pairs {
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.run(body, &inner, out);
            }
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn captured(
        &self,
        filters: &[(Arc<str>, super::ast::Args)],
        body: &Body,
        scope: &Rc<Scope>,
    ) -> Outcome<Value> {
        let inner = Scope::inside(scope);
        let mut letters = Vec::new();
        if self.run(body, &inner, &mut letters)? != Flow::On {
            return fail("a loop cannot be left from inside of a block that is captured");
        }
        self.meter.letters(letters.len())?;
        let mut value = Value::Text(Text::from(letters));
        for (name, args) in filters {
            value = filters::apply(self, name, value, self.given(args, &inner)?)?;
        }
        Ok(value)
    }

    fn call_block(
        &self,
        caller: &Arc<Macro>,
        call: &Expr,
        scope: &Rc<Scope>,
        out: &mut Vec<Letter>,
    ) -> Outcome<()> {
        let Expr::Call(callee, args) = call else { return fail("a call expected") };
        let callee = self.eval(callee, scope)?;
        let mut given = self.given(args, scope)?;
        given.named.push(("caller".into(), closure(caller, scope)));
        let value = call::call(self, &callee, given)?;
        print::write(out, &value, self.meter)
    }

    /// Assigns to a name, a namespace's field, or several.
    pub(crate) fn assign(&self, target: &Target, value: Value, scope: &Rc<Scope>) -> Outcome<()> {
        match target {
            Target::Name(name) => scope.set(Arc::clone(name), value),
            Target::Field(name, field) => {
                let Some(Value::Namespace(fields)) = scope.get(name) else {
                    return fail("cannot assign attribute on non-namespace object");
                };
                set_field(&mut fields.borrow_mut(), field, value)?;
            }
            Target::Tuple(targets) => {
                let values = value.items(self.meter)?;
                if values.len() != targets.len() {
                    let (wanted, found) = (targets.len(), values.len());
                    return fail(format!("{wanted} values to unpack expected, not {found}"));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value, scope)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a loop over items.
    pub(crate) fn looped(
        &self,
        code: &Arc<For>,
        items: &Value,
        scope: &Rc<Scope>,
        depth0: u32,
        out: &mut Vec<Letter>,
    ) -> Outcome<()> {
        let state = Loop::new(self, code, scope, items, depth0)?;
        let mut is_empty = true;
        while let Some(item) = state.next(self)? {
            self.meter.items(4)?;
            is_empty = false;
            let inner = Scope::inside(scope);
            inner.set("loop".into(), Value::Loop(Rc::clone(&state)));
            self.assign(&code.target, item, &inner)?;
            if self.run(&code.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        if is_empty {
            // `break` is none of the branch's own; the parser counts it to the loop around.
            let inner = Scope::inside(scope);
            if self.run(&code.otherwise, &inner, out)? != Flow::On {
                return fail("break and continue in a loop's else are not supported");
            }
        }
        Ok(())
    }

    /// Calls a macro.
    pub(crate) fn macro_call(&self, closure: &Closure, mut given: Given) -> Outcome<Value> {
        let code = &closure.code;
        let Some(outer) = closure.scope.upgrade() else {
            return fail(format!("the macro {:?} is called outside of its block", code.name));
        };
        let scope = Scope::inside(&outer);
        self.meter.items(4 + code.params.len())?;
        let mut positional = given.positional.into_iter();
        let mut missing = Vec::new();
        for (name, default) in &code.params {
            let named = given.named.iter().position(|(given, _)| given == name);
            let value = match (positional.next(), named) {
                (Some(_), Some(_)) => return fail(format!("got two values for {name:?}")),
                (Some(value), None) => value,
                (None, Some(at)) => given.named.remove(at).1,
                (None, None) => {
                    missing.push((name, default));
                    let why = format!("parameter {name:?} was not provided");
                    Value::undefined(why)
                }
            };
            scope.set(Arc::clone(name), value);
        }
        let (name, rest): (_, Vec<Value>) = (&code.name, positional.collect());
        let is_param = |name: &str| code.params.iter().any(|(param, _)| &**param == name);
        if code.uses.caller && !is_param("caller") {
            let at = given.named.iter().position(|(given, _)| &**given == "caller");
            let caller = at.map(|at| given.named.remove(at).1);
            let none = || Value::undefined("No caller defined");
            scope.set("caller".into(), caller.unwrap_or_else(none));
        }
        if code.uses.kwargs {
            let mut kwargs = Dict::default();
            for (name, value) in given.named {
                kwargs.insert(Value::own(&name), value)?;
            }
            scope.set("kwargs".into(), Value::Dict(Rc::new(kwargs)));
        } else if let Some((extra, _)) = given.named.first() {
            return fail(format!("macro {name:?} takes no keyword argument {extra:?}"));
        }
        if code.uses.varargs {
            scope.set("varargs".into(), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            let most = code.params.len();
            return fail(format!("macro {name:?} takes not more than {most} argument(s)"));
        }
        for (name, default) in missing {
            if let Some(default) = default {
                scope.set(Arc::clone(name), self.eval(default, &scope)?);
            }
        }
        let mut letters = Vec::new();
        self.run(&code.body, &scope, &mut letters)?;
        self.meter.letters(letters.len())?;
        Ok(Value::Text(letters.into()))
    }
}

fn closure(code: &Arc<Macro>, scope: &Rc<Scope>) -> Value {
    let (code, scope) = (Arc::clone(code), Rc::downgrade(scope));
    Value::Macro(Rc::new(Closure { code, scope }))
}

/// Sets a field of a namespace. A namespace in a namespace could contain itself.
pub(crate) fn set_field(fields: &mut Dict, name: &str, value: Value) -> Outcome<()> {
    if name.starts_with('_') {
        return fail(format!("a namespace cannot have a field {name:?}"));
    }
    if value.has_state() {
        return fail(format!("a '{}' in a namespace is not supported", value.kind()));
    }
    fields.insert(Value::own(name), value)
}
