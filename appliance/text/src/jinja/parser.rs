//! Tokens to statements. Expressions are in `expression.rs`.
//!
//! Inheritance and inclusion (`extends`, `block`, `include`, `import`) are refused by name: a chat
//! template is one file.

use std::sync::Arc;

use super::ast::{Args, Body, Expr, For, Kind, Macro, Node, Target, Uses};
use super::lexer::{Lexeme, Token, tokens};
use super::meter::{Fault, Outcome};
use super::text::Text;

/// Levels of brackets and blocks inside each other.
const NESTED_MAX: usize = 60;

/// Reads a template.
///
/// # Errors
/// It is not Jinja, or uses what is not supported; with the line.
pub(crate) fn parse(source: &str) -> Outcome<Body> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0, nested: 0, uses: Vec::new(), loops: 0 };
    let body = parser.body(&[])?;
    Ok(body)
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nested: usize,
    /// What the macros around here use, outermost first.
    uses: Vec<Uses>,
    /// Loops around here, for `break` and `continue`.
    loops: usize,
}

impl Parser {
    pub(super) fn now(&self) -> &Lexeme {
        self.tokens.get(self.at).map_or(&Lexeme::End, |token| &token.kind)
    }

    pub(super) fn after(&self) -> &Lexeme {
        self.tokens.get(self.at + 1).map_or(&Lexeme::End, |token| &token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    pub(super) fn fail<T>(&self, why: impl Into<String>) -> Outcome<T> {
        Err(Fault { why: why.into(), line: Some(self.line()) })
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Outcome<T> {
        let found = match self.now() {
            Lexeme::Name(name) => format!("{name:?}"),
            Lexeme::Op(op) => format!("{op:?}"),
            Lexeme::BlockEnd => "the end of the statement".to_owned(),
            Lexeme::PrintEnd => "the end of the expression".to_owned(),
            Lexeme::End => "the end of the template".to_owned(),
            Lexeme::Text(_) => "a string".to_owned(),
            Lexeme::Int(_) | Lexeme::Float(_) => "a number".to_owned(),
            _ => "text".to_owned(),
        };
        self.fail(format!("{wanted} expected, not {found}"))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.now(), Lexeme::Op(found) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.now(), Lexeme::Name(found) if &**found == name)
    }

    pub(super) fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn op(&mut self, op: &str) -> Outcome<()> {
        if self.take_op(op) { Ok(()) } else { self.unexpected(&format!("{op:?}")) }
    }

    pub(super) fn name(&mut self) -> Outcome<Arc<str>> {
        match self.now() {
            Lexeme::Name(name) => {
                let name = Arc::clone(name);
                self.step();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// Runs a part one level deeper.
    pub(super) fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.nested >= NESTED_MAX {
            return self.fail(format!("more than {NESTED_MAX} levels of brackets and blocks"));
        }
        self.nested += 1;
        let result = part(self);
        self.nested -= 1;
        result
    }

    /// Notes that the macros around here name one of their hidden variables.
    pub(super) fn note(&mut self, name: &str) {
        for uses in &mut self.uses {
            match name {
                "varargs" => uses.varargs = true,
                "kwargs" => uses.kwargs = true,
                "caller" => uses.caller = true,
                _ => {}
            }
        }
    }

    /// Statements up to one of the names, which stays; to the end where there are none.
    fn body(&mut self, ends: &[&str]) -> Outcome<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.now().clone() {
                Lexeme::End if ends.is_empty() => return Ok(body),
                Lexeme::End => return self.unexpected(&format!("{:?}", ends.join(" or "))),
                Lexeme::Data(text) => {
                    self.step();
                    Kind::Data(Text::own(&text))
                }
                Lexeme::PrintBegin => {
                    self.step();
                    let value = self.tuple(&[], true)?;
                    match self.now() {
                        Lexeme::PrintEnd => self.step(),
                        _ => return self.unexpected("the end of the expression"),
                    }
                    Kind::Print(value)
                }
                Lexeme::BlockBegin => {
                    self.step();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let kind = self.deeper(Self::statement)?;
                    self.end()?;
                    kind
                }
                _ => return self.unexpected("a statement"),
            };
            body.push(Node { line, kind });
        }
    }

    fn end(&mut self) -> Outcome<()> {
        match self.now() {
            Lexeme::BlockEnd => {
                self.step();
                Ok(())
            }
            _ => self.unexpected("the end of the statement"),
        }
    }

    /// A block's body after its head, with its end; the end's own mark stays.
    fn block(&mut self, end: &str) -> Outcome<Body> {
        self.end()?;
        let body = self.body(&[end])?;
        self.step();
        Ok(body)
    }

    fn statement(&mut self) -> Outcome<Kind> {
        let line = self.line();
        let name = self.name()?;
        match &*name {
            "for" => self.for_loop(),
            "if" => self.if_else(),
            "set" => self.set(),
            "macro" => {
                let name = self.name()?;
                self.macro_body(name, "endmacro").map(|m| Kind::Macro(Arc::new(m)))
            }
            "call" => self.call(),
            "filter" => {
                let filters = self.filters(true)?;
                Ok(Kind::Filter { filters, body: self.block("endfilter")? })
            }
            "with" => self.with(),
            "print" => {
                let mut values = vec![self.expression()?];
                while self.take_op(",") {
                    values.push(self.expression()?);
                }
                Ok(Kind::Print(Expr::Concat(values)))
            }
            // It marks spans for training and means nothing here but a scope of its own.
            "generation" => {
                Ok(Kind::With { pairs: Vec::new(), body: self.block("endgeneration")? })
            }
            "break" if self.loops > 0 => Ok(Kind::Break),
            "continue" if self.loops > 0 => Ok(Kind::Continue),
            "break" | "continue" => self.fail(format!("{name:?} outside of a loop")),
            other => {
                let why = format!("{other:?} is not a statement that is supported");
                Err(Fault { why, line: Some(line) })
            }
        }
    }

    fn for_loop(&mut self) -> Outcome<Kind> {
        let target = self.target(&["in"], false)?;
        if !self.take_name("in") {
            return self.unexpected("\"in\"");
        }
        let iter = self.tuple(&["recursive"], false)?;
        let test = if self.take_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_name("recursive");
        self.end()?;
        self.loops += 1;
        let body = self.body(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let has_else = self.is_name("else");
        self.step();
        let otherwise = if has_else { self.block("endfor")? } else { Vec::new() };
        Ok(Kind::For(Arc::new(For { target, iter, test, recursive, body, otherwise })))
    }

    fn if_else(&mut self) -> Outcome<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(&[], false)?;
            self.end()?;
            branches.push((condition, self.body(&["elif", "else", "endif"])?));
            if self.take_name("elif") {
                continue;
            }
            let has_else = self.is_name("else");
            self.step();
            let otherwise = if has_else { self.block("endif")? } else { Vec::new() };
            return Ok(Kind::If { branches, otherwise });
        }
    }

    fn set(&mut self) -> Outcome<Kind> {
        let target = self.target(&[], true)?;
        if self.take_op("=") {
            return Ok(Kind::Set { target, value: self.tuple(&[], true)? });
        }
        let filters = self.filters(false)?;
        Ok(Kind::SetBlock { target, filters, body: self.block("endset")? })
    }

    fn call(&mut self) -> Outcome<Kind> {
        let params = if self.is_op("(") { self.params()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call, Expr::Call(..)) {
            return self.fail("a call expected");
        }
        let caller = self.macro_rest("caller".into(), params, "endcall")?;
        Ok(Kind::Call { caller: Arc::new(caller), call })
    }

    fn with(&mut self) -> Outcome<Kind> {
        let mut pairs = Vec::new();
        while !matches!(self.now(), Lexeme::BlockEnd) {
            if !pairs.is_empty() {
                self.op(",")?;
            }
            let target = self.target(&[], false)?;
            self.op("=")?;
            pairs.push((target, self.expression()?));
        }
        Ok(Kind::With { pairs, body: self.block("endwith")? })
    }

    fn macro_body(&mut self, name: Arc<str>, end: &str) -> Outcome<Macro> {
        let params = self.params()?;
        self.macro_rest(name, params, end)
    }

    fn macro_rest(
        &mut self,
        name: Arc<str>,
        params: Vec<(Arc<str>, Option<Expr>)>,
        end: &str,
    ) -> Outcome<Macro> {
        let loops = std::mem::take(&mut self.loops);
        self.uses.push(Uses::default());
        let body = self.block(end);
        self.loops = loops;
        let uses = self.uses.pop().unwrap_or_default();
        Ok(Macro { name, params, body: body?, uses })
    }

    fn params(&mut self) -> Outcome<Vec<(Arc<str>, Option<Expr>)>> {
        let mut params: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.op("(")?;
        while !self.is_op(")") {
            if !params.is_empty() {
                self.op(",")?;
            }
            let name = self.name()?;
            let default = if self.take_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("a parameter without a default follows one with a default");
            }
            params.push((name, default));
        }
        self.op(")")?;
        Ok(params)
    }

    /// `| name(…)`, any number of them; the first without its bar where `begun`.
    fn filters(&mut self, begun: bool) -> Outcome<Vec<(Arc<str>, Args)>> {
        let mut filters = Vec::new();
        while (begun && filters.is_empty()) || self.take_op("|") {
            let name = self.dotted()?;
            let args = if self.is_op("(") { self.args()? } else { Args::default() };
            filters.push((name, args));
        }
        Ok(filters)
    }

    /// What is assigned to: a name, a field of a namespace, or a tuple of them.
    fn target(&mut self, ends: &[&str], fields: bool) -> Outcome<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if ends.iter().any(|end| self.is_name(end)) || self.is_op("=") || self.is_op(")") {
                break;
            }
            targets.push(if self.take_op("(") {
                let inner = self.deeper(|parser| parser.target(&[], fields))?;
                self.op(")")?;
                inner
            } else {
                let name = self.name()?;
                if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
                    return self.fail(format!("{name:?} cannot be assigned to"));
                }
                match fields && self.take_op(".") {
                    true => Target::Field(name, self.name()?),
                    false => Target::Name(name),
                }
            });
            if !self.take_op(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, targets.len()) {
            (_, 0) => self.unexpected("a name"),
            (false, _) => Ok(targets.remove(0)),
            (true, _) => Ok(Target::Tuple(targets)),
        }
    }
}
