//! Values of a template, as Python has them.
//!
//! Lists and dicts never change once made (the sandbox that `transformers` uses refuses every
//! method that would), so no value can contain itself. Next: `compare.rs`, `print.rs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use serde_json::Value as Json;

use super::ast::Macro;
use super::compare::{Key, key};
use super::loops::Loop;
use super::meter::{Meter, NESTED_MAX, Outcome, fail};
use super::scope::Scope;
use super::text::Text;

/// A value. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// What is not there, and what an error about it says.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    /// What `safe` and `escape` give.
    Markup(Text),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Range),
    /// What `map`, `select` and others give: it can be read once.
    Lazy(Rc<Lazy>),
    Namespace(Rc<RefCell<Dict>>),
    Loop(Rc<Loop>),
    Macro(Rc<Closure>),
    /// A function by its name.
    Function(&'static str),
    /// A method and what it is of.
    Method(Rc<Self>, Arc<str>),
    Cycler(Rc<Cycler>),
    /// The separator, and whether the first call was.
    Joiner(Rc<(Self, Cell<bool>)>),
}

/// What a dict shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Keys,
    Values,
    Items,
}

/// Items, and how many lists are inside each other.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) shape: Shape,
    /// It is what `groupby` gives: its items have the names `grouper` and `list`.
    pub(crate) is_group: bool,
}

/// A dict that remembers the order of its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dict {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    shape: Shape,
}

/// `range(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i128,
    pub(crate) stop: i128,
    pub(crate) step: i128,
    pub(crate) len: usize,
}

/// An iterator's items, and how many were taken.
#[derive(Debug)]
pub(crate) struct Lazy {
    pub(crate) items: Vec<Value>,
    pub(crate) taken: Cell<usize>,
    shape: Shape,
}

impl Lazy {
    pub(crate) fn next(&self) -> Option<Value> {
        let next = self.items.get(self.taken.get()).cloned();
        self.taken.set(self.taken.get() + usize::from(next.is_some()));
        next
    }
}

/// `cycler(…)`.
#[derive(Debug)]
pub(crate) struct Cycler {
    pub(crate) items: Vec<Value>,
    pub(crate) at: Cell<usize>,
}

/// A macro and the variables around it.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) code: Arc<Macro>,
    pub(crate) scope: Weak<Scope>,
}

/// What is known of a value without walking through it: the same list may be in it many times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// Lists inside each other.
    nested: u32,
    /// Values in it, each counted as often as it is there.
    pub(crate) size: u64,
    /// Something in it can change, or refers to variables.
    pub(crate) has_state: bool,
}

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::List(list) | Value::Tuple(list) => list.shape,
            Value::Dict(dict) | Value::View(_, dict) => dict.shape,
            Value::Lazy(lazy) => lazy.shape,
            Value::Method(of, _) => Self::of(of),
            Value::Namespace(_) | Value::Loop(_) | Value::Cycler(_) | Value::Joiner(_) => {
                Self { nested: 1, size: 1, has_state: true }
            }
            _ => Self { nested: 0, size: 1, has_state: false },
        }
    }

    fn with(self, value: &Value) -> Outcome<Self> {
        let inner = Self::of(value);
        if inner.nested >= NESTED_MAX {
            return fail(format!("lists in lists, more than {NESTED_MAX} levels deep"));
        }
        Ok(Self {
            nested: self.nested.max(inner.nested + 1),
            size: self.size.saturating_add(inner.size),
            has_state: self.has_state || inner.has_state,
        })
    }

    fn of_all(items: &[Value]) -> Outcome<Self> {
        let none = Self { nested: 1, ..Self::default() };
        items.iter().try_fold(none, |shape, item| shape.with(item))
    }
}

impl List {
    pub(crate) fn new(items: Vec<Value>) -> Outcome<Rc<Self>> {
        Ok(Rc::new(Self { shape: Shape::of_all(&items)?, items, is_group: false }))
    }

    /// What `groupby` gives for one group.
    pub(crate) fn group(grouper: Value, list: Value) -> Outcome<Rc<Self>> {
        let items = vec![grouper, list];
        Ok(Rc::new(Self { shape: Shape::of_all(&items)?, items, is_group: true }))
    }
}

impl Dict {
    pub(crate) fn insert(&mut self, name: Value, value: Value) -> Outcome<()> {
        let key = key(&name)?;
        self.shape = self.shape.with(&name)?.with(&value)?;
        match self.index.get(&key) {
            Some(at) => self.entries[*at].1 = value,
            None => {
                self.index.insert(key, self.entries.len());
                self.entries.push((name, value));
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, name: &Value) -> Outcome<Option<&Value>> {
        Ok(self.index.get(&key(name)?).map(|at| &self.entries[*at].1))
    }

    /// The value of a name.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.index.get(&Key::Text(Text::own(name))).map(|at| &self.entries[*at].1)
    }

    pub(crate) fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Range {
    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Value> + ExactSizeIterator {
        (0..self.len).map(move |i| Value::Int(self.start + self.step * i as i128))
    }

    pub(crate) fn contains(self, int: i128) -> bool {
        let inside = match self.step > 0 {
            true => self.start <= int && int < self.stop,
            false => self.stop < int && int <= self.start,
        };
        inside && (int - self.start) % self.step == 0
    }
}

impl Value {
    pub(crate) fn own(text: &str) -> Self {
        Self::Text(Text::own(text))
    }

    pub(crate) fn undefined(why: impl Into<Rc<str>>) -> Self {
        Self::Undefined(why.into())
    }

    pub(crate) fn list(items: Vec<Self>) -> Outcome<Self> {
        List::new(items).map(Self::List)
    }

    pub(crate) fn tuple(items: Vec<Self>) -> Outcome<Self> {
        List::new(items).map(Self::Tuple)
    }

    pub(crate) fn lazy(items: Vec<Self>) -> Outcome<Self> {
        let shape = Shape::of_all(&items)?;
        Ok(Self::Lazy(Rc::new(Lazy { items, taken: Cell::new(0), shape })))
    }

    /// Whether something in it can change, or refers to variables.
    pub(crate) fn has_state(&self) -> bool {
        Shape::of(self).has_state
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// A client's value. The depth of JSON is bounded where it is parsed.
    pub(crate) fn client(json: &Json, meter: &Meter) -> Outcome<Self> {
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Self::Int(int.into()),
                (_, Some(int)) => Self::Int(int.into()),
                _ => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => {
                meter.letters(text.len())?;
                Self::Text(Text::client(text))
            }
            Json::Array(items) => {
                meter.items(items.len())?;
                let items = items.iter().map(|item| Self::client(item, meter));
                Self::list(items.collect::<Outcome<_>>()?)?
            }
            Json::Object(fields) => {
                meter.items(2 * fields.len())?;
                let mut dict = Dict::default();
                for (name, value) in fields {
                    let name = Self::Text(Text::client(name));
                    dict.insert(name, Self::client(value, meter)?)?;
                }
                Self::Dict(Rc::new(dict))
            }
        })
    }

    /// Python's name of its type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Range(_) => "range",
            Self::Lazy(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(..) => "method",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(bool) => *bool,
            Self::Int(int) => *int != 0,
            Self::Float(float) => *float != 0.0,
            Self::Text(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(list) | Self::Tuple(list) => !list.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => dict.len() > 0,
            Self::Range(range) => range.len > 0,
            _ => true,
        }
    }

    /// The count that `length` tells, where there is one.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Undefined(_) => Some(0),
            Self::Text(text) | Self::Markup(text) => Some(text.len()),
            Self::List(list) | Self::Tuple(list) => Some(list.items.len()),
            Self::Dict(dict) | Self::View(_, dict) => Some(dict.len()),
            Self::Range(range) => Some(range.len),
            _ => None,
        }
    }

    /// All items of what can be looped over.
    pub(crate) fn items(&self, meter: &Meter) -> Outcome<Vec<Self>> {
        if let Some(len) = self.len() {
            let letters = matches!(self, Self::Text(_) | Self::Markup(_));
            meter.items(len * (1 + usize::from(letters)))?;
        }
        Ok(match self {
            Self::Undefined(_) => Vec::new(),
            Self::Text(text) | Self::Markup(text) => {
                text.letters().iter().map(|l| Self::Text(Text::from(&[*l][..]))).collect()
            }
            Self::List(list) | Self::Tuple(list) => list.items.clone(),
            Self::Dict(dict) => Self::View(View::Keys, Rc::clone(dict)).items(meter)?,
            Self::View(view, dict) => {
                let item = |(name, value): &(Self, Self)| match view {
                    View::Keys => Ok(name.clone()),
                    View::Values => Ok(value.clone()),
                    View::Items => Self::tuple(vec![name.clone(), value.clone()]),
                };
                dict.entries().iter().map(item).collect::<Outcome<_>>()?
            }
            Self::Range(range) => range.iter().collect(),
            Self::Lazy(lazy) => {
                let from = lazy.taken.replace(lazy.items.len());
                meter.items(lazy.items.len() - from)?;
                lazy.items[from..].to_vec()
            }
            other => return fail(format!("'{}' object is not iterable", other.kind())),
        })
    }
}
