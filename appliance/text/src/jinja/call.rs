//! Calls of whatever can be called. Next: `methods.rs`, `globals.rs`.

use super::arguments::Given;
use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::value::Value;
use super::{globals, methods, sequences};

/// `callee(…)`.
pub(crate) fn call(vm: &Vm<'_>, callee: &Value, given: Given) -> Outcome<Value> {
    vm.meter.enter()?;
    let value = inner(vm, callee, given);
    vm.meter.leave();
    value
}

fn inner(vm: &Vm<'_>, callee: &Value, given: Given) -> Outcome<Value> {
    match callee {
        Value::Undefined(why) => fail(&**why),
        Value::Function(name) => globals::call(vm, name, given),
        Value::Macro(closure) => vm.macro_call(closure, given),
        Value::Joiner(joiner) => {
            given.bind("joiner", [], 0)?;
            let first = !joiner.1.replace(true);
            Ok(if first { Value::own("") } else { joiner.0.clone() })
        }
        Value::Loop(state) => {
            let items = given.bind("loop", ["iterable"], 1)?.get(0);
            if !state.code.recursive {
                return fail("the loop must have the 'recursive' marker to be called");
            }
            let Some(scope) = state.scope.upgrade() else {
                return fail("a loop is called outside of its block");
            };
            let mut letters = Vec::new();
            vm.looped(&state.code, &items, &scope, state.depth0 + 1, &mut letters)?;
            vm.meter.letters(letters.len())?;
            Ok(Value::Text(letters.into()))
        }
        Value::Method(of, name) => match &**of {
            Value::Text(text) => methods::text(vm, text, name, given),
            Value::Dict(dict) => sequences::dict_method(dict, name, given, vm.meter),
            Value::Loop(state) => state.call(vm, name, given),
            Value::Cycler(cycler) => {
                given.bind(name, [], 0)?;
                let at = cycler.at.get();
                let reset = &**name == "reset";
                cycler.at.set(if reset { 0 } else { (at + 1) % cycler.items.len().max(1) });
                if reset {
                    return Ok(Value::None);
                }
                Ok(cycler.items.get(at).cloned().unwrap_or(Value::None))
            }
            other => sequences::list_method(other, name, given, vm.meter),
        },
        other => fail(format!("'{}' object is not callable", other.kind())),
    }
}
