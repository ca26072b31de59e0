//! Tokens to expressions, with Jinja's precedence (which is not Python's: `~` binds tighter than
//! `+`, `**` looser than `-`, filters tighter than all but calls). Next: `eval.rs`.

use std::sync::Arc;

use super::ast::{Args, Comparison, Expr, Operator};
use super::lexer::Lexeme;
use super::meter::Outcome;
use super::parser::Parser;
use super::text::Text;

/// Operators, filters or calls in one chain: each is a level of the tree.
const CHAIN_MAX: usize = 100;

impl Parser {
    /// One expression, or a tuple without its brackets.
    pub(super) fn tuple(&mut self, ends: &[&str], conditional: bool) -> Outcome<Expr> {
        self.tuple_in(ends, conditional, false)
    }

    fn tuple_in(&mut self, ends: &[&str], conditional: bool, in_brackets: bool) -> Outcome<Expr> {
        let (mut items, mut is_tuple) = (Vec::new(), false);
        loop {
            let at_end = matches!(self.now(), Lexeme::PrintEnd | Lexeme::BlockEnd)
                || self.is_op(")")
                || ends.iter().any(|end| self.is_name(end));
            if at_end {
                break;
            }
            items.push(if conditional { self.expression()? } else { self.or()? });
            if !self.take_op(",") {
                break;
            }
            is_tuple = true;
        }
        match items.len() {
            0 if !in_brackets => self.unexpected("an expression"),
            1 if !is_tuple => Ok(items.remove(0)),
            _ => Ok(Expr::Tuple(items)),
        }
    }

    pub(super) fn expression(&mut self) -> Outcome<Expr> {
        self.deeper(Self::conditional)
    }

    fn chain(&self, links: &mut usize) -> Outcome<()> {
        *links += 1;
        if *links > CHAIN_MAX {
            return self.fail(format!("more than {CHAIN_MAX} operators in one chain"));
        }
        Ok(())
    }

    fn conditional(&mut self) -> Outcome<Expr> {
        let (mut value, mut links) = (self.or()?, 0);
        while self.take_name("if") {
            self.chain(&mut links)?;
            let condition = self.or()?;
            let otherwise = match self.take_name("else") {
                true => Some(Box::new(self.expression()?)),
                false => None,
            };
            value = Expr::If(Box::new(condition), Box::new(value), otherwise);
        }
        Ok(value)
    }

    fn or(&mut self) -> Outcome<Expr> {
        let (mut left, mut links) = (self.and()?, 0);
        while self.take_name("or") {
            self.chain(&mut links)?;
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Outcome<Expr> {
        let (mut left, mut links) = (self.not()?, 0);
        while self.take_name("and") {
            self.chain(&mut links)?;
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Outcome<Expr> {
        if self.take_name("not") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.not()?))));
        }
        self.compare()
    }

    fn compare(&mut self) -> Outcome<Expr> {
        let left = self.sum()?;
        let mut links = Vec::new();
        loop {
            let comparison = match self.now() {
                Lexeme::Op("==") => Comparison::Eq,
                Lexeme::Op("!=") => Comparison::Ne,
                Lexeme::Op("<") => Comparison::Lt,
                Lexeme::Op("<=") => Comparison::Le,
                Lexeme::Op(">") => Comparison::Gt,
                Lexeme::Op(">=") => Comparison::Ge,
                Lexeme::Name(name) if &**name == "in" => Comparison::In,
                Lexeme::Name(name) if &**name == "not" => match self.after() {
                    Lexeme::Name(name) if &**name == "in" => {
                        self.step();
                        Comparison::NotIn
                    }
                    _ => break,
                },
                _ => break,
            };
            self.step();
            links.push((comparison, self.sum()?));
        }
        Ok(if links.is_empty() { left } else { Expr::Compare(Box::new(left), links) })
    }

    fn sum(&mut self) -> Outcome<Expr> {
        let (mut left, mut links) = (self.concat()?, 0);
        loop {
            let operator = match self.now() {
                Lexeme::Op("+") => Operator::Add,
                Lexeme::Op("-") => Operator::Sub,
                _ => return Ok(left),
            };
            self.chain(&mut links)?;
            self.step();
            left = Expr::Binary(operator, Box::new(left), Box::new(self.concat()?));
        }
    }

    fn concat(&mut self) -> Outcome<Expr> {
        let mut items = vec![self.product()?];
        while self.take_op("~") {
            items.push(self.product()?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Expr::Concat(items) })
    }

    fn product(&mut self) -> Outcome<Expr> {
        let (mut left, mut links) = (self.power()?, 0);
        loop {
            let operator = match self.now() {
                Lexeme::Op("*") => Operator::Mul,
                Lexeme::Op("/") => Operator::Div,
                Lexeme::Op("//") => Operator::FloorDiv,
                Lexeme::Op("%") => Operator::Mod,
                _ => return Ok(left),
            };
            self.chain(&mut links)?;
            self.step();
            left = Expr::Binary(operator, Box::new(left), Box::new(self.power()?));
        }
    }

    fn power(&mut self) -> Outcome<Expr> {
        let (mut left, mut links) = (self.unary(true)?, 0);
        while self.take_op("**") {
            self.chain(&mut links)?;
            left = Expr::Binary(Operator::Pow, Box::new(left), Box::new(self.unary(true)?));
        }
        Ok(left)
    }

    fn unary(&mut self, filters: bool) -> Outcome<Expr> {
        let value = if self.take_op("-") {
            Expr::Negative(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else if self.take_op("+") {
            Expr::Positive(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        if filters { self.filtered(value) } else { Ok(value) }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let lexeme = self.now().clone();
        match lexeme {
            Lexeme::Name(name) => {
                self.step();
                self.note(&name);
                Ok(match &*name {
                    "true" | "True" => Expr::Bool(true),
                    "false" | "False" => Expr::Bool(false),
                    "none" | "None" => Expr::None,
                    _ => Expr::Name(name),
                })
            }
            Lexeme::Text(mut text) => {
                self.step();
                while let Lexeme::Text(more) = self.now() {
                    text.push_str(more);
                    self.step();
                }
                Ok(Expr::Text(Text::own(&text)))
            }
            Lexeme::Int(int) => {
                self.step();
                Ok(Expr::Int(int))
            }
            Lexeme::Float(float) => {
                self.step();
                Ok(Expr::Float(float))
            }
            Lexeme::Op("(") => {
                self.step();
                let inner = self.tuple_in(&[], true, true)?;
                self.op(")")?;
                Ok(inner)
            }
            Lexeme::Op("[") => {
                self.step();
                let items = self.listed("]", Self::expression)?;
                Ok(Expr::List(items))
            }
            Lexeme::Op("{") => {
                self.step();
                let pair = |parser: &mut Self| {
                    let key = parser.expression()?;
                    parser.op(":")?;
                    Ok((key, parser.expression()?))
                };
                Ok(Expr::Dict(self.listed("}", pair)?))
            }
            _ => self.unexpected("an expression"),
        }
    }

    /// Parts between commas, up to a bracket; the last may have a comma.
    fn listed<T>(
        &mut self,
        end: &str,
        mut part: impl FnMut(&mut Self) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        let mut parts = Vec::new();
        while !self.is_op(end) {
            if !parts.is_empty() {
                self.op(",")?;
            }
            if self.is_op(end) {
                break;
            }
            parts.push(part(self)?);
        }
        self.op(end)?;
        Ok(parts)
    }

    fn postfix(&mut self, mut value: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            if self.is_op(".") || self.is_op("[") {
                value = self.subscript(value)?;
            } else if self.is_op("(") {
                value = Expr::Call(Box::new(value), self.args()?);
            } else {
                return Ok(value);
            }
            self.chain(&mut links)?;
        }
    }

    fn subscript(&mut self, value: Expr) -> Outcome<Expr> {
        let value = Box::new(value);
        if self.take_op(".") {
            let index = match self.now() {
                Lexeme::Int(index) => *index,
                _ => return Ok(Expr::Attribute(value, self.name()?)),
            };
            self.step();
            return Ok(Expr::Item(value, Box::new(Expr::Int(index))));
        }
        self.op("[")?;
        let at_end = |parser: &Self| parser.is_op(":") || parser.is_op("]");
        let first = if at_end(self) { None } else { Some(Box::new(self.expression()?)) };
        if !self.is_op(":") {
            let Some(index) = first else { return self.unexpected("an index") };
            if self.take_op(",") {
                let mut items = vec![*index];
                items.extend(self.listed("]", Self::expression)?);
                return Ok(Expr::Item(value, Box::new(Expr::Tuple(items))));
            }
            self.op("]")?;
            return Ok(Expr::Item(value, index));
        }
        let mut parts = [first, None, None];
        for part in &mut parts[1..] {
            if !self.take_op(":") {
                break;
            }
            *part = if at_end(self) { None } else { Some(Box::new(self.expression()?)) };
        }
        self.op("]")?;
        Ok(Expr::Slice(value, parts))
    }

    fn filtered(&mut self, mut value: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            if self.take_op("|") {
                let name = self.dotted()?;
                let args = if self.is_op("(") { self.args()? } else { Args::default() };
                value = Expr::Filter(Box::new(value), name, args);
            } else if self.take_name("is") {
                value = self.test(value)?;
            } else if self.is_op("(") {
                value = Expr::Call(Box::new(value), self.args()?);
            } else {
                return Ok(value);
            }
            self.chain(&mut links)?;
        }
    }

    fn test(&mut self, value: Expr) -> Outcome<Expr> {
        let negated = self.take_name("not");
        let name = self.dotted()?;
        let mut args = Args::default();
        let takes_one = match self.now() {
            Lexeme::Name(name) => !["else", "or", "and"].contains(&&**name),
            Lexeme::Text(_) | Lexeme::Int(_) | Lexeme::Float(_) => true,
            Lexeme::Op(op) => ["[", "{"].contains(op),
            _ => false,
        };
        if self.is_op("(") {
            args = self.args()?;
        } else if self.is_name("is") {
            return self.fail("tests cannot be chained with \"is\"");
        } else if takes_one {
            let argument = self.deeper(|parser| {
                let argument = parser.primary()?;
                parser.postfix(argument)
            })?;
            args.positional.push(argument);
        }
        let test = Expr::Test(Box::new(value), name, args);
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }

    pub(super) fn dotted(&mut self) -> Outcome<Arc<str>> {
        let mut name = self.name()?;
        while self.take_op(".") {
            name = format!("{name}.{}", self.name()?).into();
        }
        Ok(name)
    }

    /// Arguments in brackets.
    pub(super) fn args(&mut self) -> Outcome<Args> {
        let mut args = Args::default();
        self.op("(")?;
        let mut begun = false;
        while !self.is_op(")") {
            if begun {
                self.op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            begun = true;
            let is_last = args.named_rest.is_some();
            let late = is_last || args.rest.is_some();
            let is_named = matches!(
                (self.now(), self.after()), (Lexeme::Name(_), Lexeme::Op(op)) if *op == "="
            );
            if self.is_op("*") && !late {
                self.step();
                args.rest = Some(Box::new(self.expression()?));
            } else if self.is_op("**") && !is_last {
                self.step();
                args.named_rest = Some(Box::new(self.expression()?));
            } else if is_named && !is_last {
                let name = self.name()?;
                self.op("=")?;
                args.named.push((name, self.expression()?));
            } else if !late && args.named.is_empty() {
                args.positional.push(self.expression()?);
            } else {
                return self.fail("arguments in a wrong order");
            }
        }
        self.op(")")?;
        Ok(args)
    }
}
