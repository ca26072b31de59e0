//! Expressions to values. Statements are in `exec.rs`.

use std::rc::Rc;

use super::arguments::Given;
use super::ast::{Args, Comparison, Expr};
use super::compare::{contains, equal, order};
use super::meter::{Meter, Outcome, fail};
use super::scope::Scope;
use super::text::{Letter, Text};
use super::value::{Dict, Value};
use super::{access, call, checks, filters, globals, operators, print};

/// One rendering.
#[derive(Debug)]
pub(crate) struct Vm<'r> {
    pub(crate) meter: &'r Meter,
    /// Seconds since 1970.
    pub(crate) now_unix: i64,
}

impl Vm<'_> {
    /// The value of an expression.
    pub(crate) fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Outcome<Value> {
        self.meter.enter()?;
        let value = self.eval_inner(expr, scope);
        self.meter.leave();
        value
    }

    fn eval_inner(&self, expr: &Expr, scope: &Rc<Scope>) -> Outcome<Value> {
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(bool) => Ok(Value::Bool(*bool)),
            Expr::Int(int) => Ok(Value::Int(*int)),
            Expr::Float(float) => Ok(Value::Float(*float)),
            Expr::Text(text) => Ok(Value::Text(text.clone())),
            Expr::Name(name) => Ok(self.name(name, scope)),
            Expr::List(items) => Value::list(self.all(items, scope)?),
            Expr::Tuple(items) => Value::tuple(self.all(items, scope)?),
            Expr::Dict(pairs) => self.dict(pairs, scope),
            Expr::Attribute(of, name) => access::attribute(self, &self.eval(of, scope)?, name),
            Expr::Item(of, index) => {
                let of = self.eval(of, scope)?;
                access::item(self, &of, &self.eval(index, scope)?)
            }
            Expr::Slice(of, parts) => self.slice(of, parts, scope),
            Expr::Call(callee, args) => {
                let callee = self.eval(callee, scope)?;
                call::call(self, &callee, self.given(args, scope)?)
            }
            Expr::Filter(of, name, args) => {
                let of = self.eval(of, scope)?;
                filters::apply(self, name, of, self.given(args, scope)?)
            }
            Expr::Test(of, name, args) => {
                let of = self.eval(of, scope)?;
                checks::apply(self, name, &of, self.given(args, scope)?).map(Value::Bool)
            }
            Expr::Negative(of) => operators::unary(true, &self.eval(of, scope)?),
            Expr::Positive(of) => operators::unary(false, &self.eval(of, scope)?),
            Expr::Not(of) => Ok(Value::Bool(!self.eval(of, scope)?.is_true())),
            Expr::Binary(operator, left, right) => {
                let left = self.eval(left, scope)?;
                operators::binary(*operator, &left, &self.eval(right, scope)?, self.meter)
            }
            Expr::And(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_true() { self.eval(right, scope) } else { Ok(left) }
            }
            Expr::Or(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_true() { Ok(left) } else { self.eval(right, scope) }
            }
            Expr::Compare(left, links) => self.compare(left, links, scope),
            Expr::Concat(items) => self.concat(items, scope),
            Expr::If(condition, then, otherwise) => {
                let chosen = self.eval(condition, scope)?.is_true();
                match (chosen, otherwise) {
                    (true, _) => self.eval(then, scope),
                    (false, Some(otherwise)) => self.eval(otherwise, scope),
                    (false, None) => Ok(Value::undefined(
                        "the inline if-expression evaluated to false and has no else",
                    )),
                }
            }
        }
    }

    fn name(&self, name: &str, scope: &Rc<Scope>) -> Value {
        scope
            .get(name)
            .or_else(|| globals::find(name).map(Value::Function))
            .unwrap_or_else(|| Value::undefined(format!("{name:?} is undefined")))
    }

    fn all(&self, exprs: &[Expr], scope: &Rc<Scope>) -> Outcome<Vec<Value>> {
        self.meter.items(exprs.len())?;
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn dict(&self, pairs: &[(Expr, Expr)], scope: &Rc<Scope>) -> Outcome<Value> {
        self.meter.items(2 * pairs.len())?;
        let mut dict = Dict::default();
        for (name, value) in pairs {
            let name = self.eval(name, scope)?;
            dict.insert(name, self.eval(value, scope)?)?;
        }
        Ok(Value::Dict(Rc::new(dict)))
    }

    fn slice(
        &self,
        of: &Expr,
        parts: &[Option<Box<Expr>>; 3],
        scope: &Rc<Scope>,
    ) -> Outcome<Value> {
        let of = self.eval(of, scope)?;
        let mut values = [Value::None, Value::None, Value::None];
        for (value, part) in values.iter_mut().zip(parts) {
            if let Some(part) = part {
                *value = self.eval(part, scope)?;
            }
        }
        access::slice(self, &of, &values)
    }

    fn compare(
        &self,
        left: &Expr,
        links: &[(Comparison, Expr)],
        scope: &Rc<Scope>,
    ) -> Outcome<Value> {
        let mut left = self.eval(left, scope)?;
        for (comparison, right) in links {
            let right = self.eval(right, scope)?;
            if !self.holds(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// Whether a comparison is true.
    pub(crate) fn holds(
        &self,
        comparison: Comparison,
        left: &Value,
        right: &Value,
    ) -> Outcome<bool> {
        let meter = self.meter;
        let ordered = || order(left, right, meter);
        Ok(match comparison {
            Comparison::Eq => equal(left, right, meter)?,
            Comparison::Ne => !equal(left, right, meter)?,
            Comparison::Lt => ordered()?.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::Le => ordered()?.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Gt => ordered()?.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::Ge => ordered()?.is_some_and(std::cmp::Ordering::is_ge),
            Comparison::In => contains(right, left, meter)?,
            Comparison::NotIn => !contains(right, left, meter)?,
        })
    }

    fn concat(&self, items: &[Expr], scope: &Rc<Scope>) -> Outcome<Value> {
        let mut letters: Vec<Letter> = Vec::new();
        for item in items {
            print::write(&mut letters, &self.eval(item, scope)?, self.meter)?;
        }
        self.meter.letters(letters.len())?;
        Ok(Value::Text(Text::from(letters)))
    }

    /// The values of arguments.
    pub(crate) fn given(&self, args: &Args, scope: &Rc<Scope>) -> Outcome<Given> {
        let mut given = Given::default();
        for arg in &args.positional {
            given.positional.push(self.eval(arg, scope)?);
        }
        for (name, arg) in &args.named {
            given.named.push((name.clone(), self.eval(arg, scope)?));
        }
        if let Some(rest) = &args.rest {
            given.positional.extend(self.eval(rest, scope)?.items(self.meter)?);
        }
        if let Some(rest) = &args.named_rest {
            let Value::Dict(dict) = self.eval(rest, scope)? else {
                return fail("the argument after ** must be a mapping");
            };
            self.meter.items(dict.len())?;
            for (name, value) in dict.entries() {
                let Value::Text(name) = name else { return fail("keywords must be strings") };
                let name = name.to_string();
                if given.named.iter().any(|(known, _)| **known == *name) {
                    return fail(format!("got two values for keyword argument {name:?}"));
                }
                given.named.push((name.into(), value.clone()));
            }
        }
        Ok(given)
    }
}
