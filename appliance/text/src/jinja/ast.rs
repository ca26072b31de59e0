//! A template as a tree. Nothing is computed here. Next: `lexer.rs`.

use std::sync::Arc;

use super::text::Text;

/// Statements in order.
pub(crate) type Body = Vec<Node>;

/// A statement and its line.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) kind: Kind,
}

/// What a statement does.
#[derive(Debug)]
pub(crate) enum Kind {
    Data(Text),
    Print(Expr),
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    For(Arc<For>),
    Set {
        target: Target,
        value: Expr,
    },
    SetBlock {
        target: Target,
        filters: Vec<(Arc<str>, Args)>,
        body: Body,
    },
    Macro(Arc<Macro>),
    /// A macro that gets a block as its `caller`.
    Call {
        caller: Arc<Macro>,
        call: Expr,
    },
    Filter {
        filters: Vec<(Arc<str>, Args)>,
        body: Body,
    },
    With {
        pairs: Vec<(Target, Expr)>,
        body: Body,
    },
    Break,
    Continue,
}

/// A loop.
#[derive(Debug)]
pub(crate) struct For {
    pub(crate) target: Target,
    pub(crate) iter: Expr,
    pub(crate) test: Option<Expr>,
    pub(crate) recursive: bool,
    pub(crate) body: Body,
    pub(crate) otherwise: Body,
}

/// What is assigned to.
#[derive(Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    Field(Arc<str>, Arc<str>),
    Tuple(Vec<Self>),
}

/// A macro, or a block that is a caller.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: Arc<str>,
    pub(crate) params: Vec<(Arc<str>, Option<Expr>)>,
    pub(crate) body: Body,
    pub(crate) uses: Uses,
}

/// Which of a macro's hidden variables its body names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) varargs: bool,
    pub(crate) kwargs: bool,
    pub(crate) caller: bool,
}

/// Arguments as they are written.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) rest: Option<Box<Expr>>,
    pub(crate) named_rest: Option<Box<Expr>>,
}

/// An expression.
#[derive(Debug)]
pub(crate) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    Name(Arc<str>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    Attribute(Box<Self>, Arc<str>),
    Item(Box<Self>, Box<Self>),
    Slice(Box<Self>, [Option<Box<Self>>; 3]),
    Call(Box<Self>, Args),
    Filter(Box<Self>, Arc<str>, Args),
    Test(Box<Self>, Arc<str>, Args),
    Negative(Box<Self>),
    Positive(Box<Self>),
    Not(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Box<Self>, Vec<(Comparison, Self)>),
    Concat(Vec<Self>),
    If(Box<Self>, Box<Self>, Option<Box<Self>>),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

/// Comparisons, which may stand in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
