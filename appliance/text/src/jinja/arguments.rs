//! Arguments of calls, bound to the names of parameters: what nobody asked for is an error that
//! names it. Next: `call.rs`.

use std::sync::Arc;

use super::meter::{Outcome, fail};
use super::text::Text;
use super::value::Value;

/// Arguments as a call has them.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(Arc<str>, Value)>,
}

impl Given {
    /// Binds to parameters; a name that begins with `/` takes no keyword. The first `required`
    /// must be there.
    pub(crate) fn bind<const N: usize>(
        self,
        what: &str,
        names: [&'static str; N],
        required: usize,
    ) -> Outcome<Bound<N>> {
        if self.positional.len() > N {
            let given = self.positional.len();
            return fail(format!("{what} takes at most {N} arguments, not {given}"));
        }
        let mut values = [const { None }; N];
        for (slot, value) in values.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|known| **known == *name) {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                Some(_) => return fail(format!("{what} got two values for {name:?}")),
                None => return fail(format!("{what} has no argument {name:?}")),
            }
        }
        if let Some(missing) = (0..required).find(|i| values[*i].is_none()) {
            let name = names[missing].trim_start_matches('/');
            return fail(format!("{what} misses its argument {name:?}"));
        }
        Ok(Bound { what: what.into(), names, values })
    }

    /// Takes a keyword out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(given, _)| &**given == name)?;
        Some(self.named.remove(at).1)
    }
}

/// Arguments by parameter.
#[derive(Debug)]
pub(crate) struct Bound<const N: usize> {
    what: String,
    names: [&'static str; N],
    values: [Option<Value>; N],
}

impl<const N: usize> Bound<N> {
    fn wrong<T>(&self, at: usize, wanted: &str, found: &Value) -> Outcome<T> {
        let (what, name) = (&self.what, self.names[at].trim_start_matches('/'));
        let found = match found {
            Value::Undefined(why) => format!("nothing: {why}"),
            other => other.kind().to_owned(),
        };
        fail(format!("{what}: {name} must be {wanted}, not {found}"))
    }

    /// The value, where one was given.
    pub(crate) fn value(&mut self, at: usize) -> Option<Value> {
        self.values[at].take()
    }

    /// The value, where one was given that is not `None`.
    pub(crate) fn some(&mut self, at: usize) -> Option<Value> {
        self.values[at].take().filter(|value| !matches!(value, Value::None))
    }

    /// One that is required.
    pub(crate) fn get(&mut self, at: usize) -> Value {
        self.values[at].take().unwrap_or(Value::None)
    }

    pub(crate) fn is_true(&mut self, at: usize, default: bool) -> bool {
        self.values[at].take().map_or(default, |value| value.is_true())
    }

    /// An integer, where one was given.
    pub(crate) fn int(&mut self, at: usize) -> Outcome<Option<i128>> {
        match self.values[at].take() {
            None => Ok(None),
            Some(Value::Int(int)) => Ok(Some(int)),
            Some(Value::Bool(bool)) => Ok(Some(bool.into())),
            Some(other) => self.wrong(at, "an integer", &other),
        }
    }

    /// An integer, where one was given that is not `None`.
    pub(crate) fn some_int(&mut self, at: usize) -> Outcome<Option<i128>> {
        if matches!(self.values[at], Some(Value::None)) {
            self.values[at] = None;
        }
        self.int(at)
    }

    /// A string, where one was given that is not `None`.
    pub(crate) fn text(&mut self, at: usize) -> Outcome<Option<Text>> {
        match self.values[at].take() {
            None | Some(Value::None) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => self.wrong(at, "a string", &other),
        }
    }

    /// A string that is required.
    pub(crate) fn need_text(&mut self, at: usize) -> Outcome<Text> {
        match self.values[at].take() {
            Some(Value::Text(text)) => Ok(text),
            other => self.wrong(at, "a string", &other.unwrap_or(Value::None)),
        }
    }
}

/// A count of letters or items: what is negative is none, what is beyond memory is refused later.
pub(crate) fn count(int: i128) -> usize {
    usize::try_from(int.clamp(0, i128::from(u32::MAX))).unwrap_or(0)
}
