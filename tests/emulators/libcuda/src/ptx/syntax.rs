//! Statements of PTX: what a module and its kernels declare, and their instructions as words.
//!
//! Names that a block in braces declares are its own: inside they hide those of the same name.

use super::error::{PtxError, error};
use super::lexer::Token;
pub(super) use crate::exec::File;

/// A module as written.
pub(super) struct ModuleText<'a> {
    pub(super) version: (u32, u32),
    pub(super) target: u32,
    /// Variables in shared memory that all kernels see.
    pub(super) shared: Vec<Variable<'a>>,
    pub(super) kernels: Vec<KernelText<'a>>,
}

/// A kernel as written.
pub(super) struct KernelText<'a> {
    pub(super) name: &'a str,
    pub(super) params: Vec<Variable<'a>>,
    pub(super) threads_max: Option<u32>,
    pub(super) statements: Vec<Statement<'a>>,
}

/// A parameter, or a variable in shared memory; without a size its bytes are those that a launch asks for.
#[derive(Clone, Copy)]
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) align: usize,
    pub(super) size: usize,
}

pub(super) enum Statement<'a> {
    /// `{`: names declared from here to `Close` are its own.
    Open,
    Close,
    Registers {
        file: File,
        name: &'a str,
        count: Option<usize>,
    },
    Shared(Variable<'a>),
    Label(&'a str),
    Instruction(Instruction<'a>),
}

pub(super) struct Instruction<'a> {
    pub(super) line: u32,
    /// The predicate before it, and whether it must be false.
    pub(super) guard: Option<(&'a str, bool)>,
    pub(super) opcode: &'a str,
    pub(super) operands: Vec<Operand<'a>>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand<'a> {
    /// A register, a label, a variable.
    Name(&'a str),
    /// The bits of a number; negative ones as 64 bits.
    Bits(u64),
    /// `[base + offset]`.
    Address { base: &'a str, offset: i64 },
    /// `{a, b}`.
    Vector(Vec<Self>),
    /// `a|p`.
    Pair(&'a str, &'a str),
}

struct Parser<'a, 't> {
    tokens: &'t [Token<'a>],
}

pub(super) fn module<'a>(tokens: &[Token<'a>]) -> Result<ModuleText<'a>, PtxError> {
    let mut parser = Parser { tokens };
    let mut module =
        ModuleText { version: (0, 0), target: 0, shared: Vec::new(), kernels: Vec::new() };
    while let Some(token) = parser.next() {
        match token.text {
            ".version" => module.version = version(parser.word()?)?,
            ".target" => module.target = target(parser.word()?)?,
            ".address_size" => parser.expect("64")?,
            ".visible" | ".weak" | ".extern" => {}
            ".entry" => module.kernels.push(parser.kernel()?),
            ".shared" => module.shared.push(parser.variable()?),
            "," => drop(parser.word()?),
            other => return Err(error(token.line, &format!("{other} is not known in a module"))),
        }
    }
    Ok(module)
}

fn version(token: Token<'_>) -> Result<(u32, u32), PtxError> {
    let (major, minor) = token.text.split_once('.').unwrap_or((token.text, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(error(token.line, "no version")),
    }
}

fn target(token: Token<'_>) -> Result<u32, PtxError> {
    let number = token.text.strip_prefix("sm_").and_then(|number| number.parse().ok());
    number.ok_or_else(|| error(token.line, &format!("the target {}", token.text)))
}

impl<'a> Parser<'a, '_> {
    fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(*first)
    }

    fn word(&mut self) -> Result<Token<'a>, PtxError> {
        self.next().ok_or_else(|| error(0, "the text ends too early"))
    }

    fn peek(&self) -> &'a str {
        self.tokens.first().map_or("", |token| token.text)
    }

    fn takes(&mut self, text: &str) -> bool {
        let is_next = self.peek() == text;
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn expect(&mut self, text: &str) -> Result<(), PtxError> {
        let token = self.word()?;
        match token.text == text {
            true => Ok(()),
            false => Err(error(token.line, &format!("{} where {text} belongs", token.text))),
        }
    }

    fn number(&mut self) -> Result<usize, PtxError> {
        let token = self.word()?;
        token.text.parse().map_err(|_| error(token.line, &format!("{} is no number", token.text)))
    }

    fn kernel(&mut self) -> Result<KernelText<'a>, PtxError> {
        let name = self.word()?.text;
        let (mut params, mut threads_max, mut statements) = (Vec::new(), None, Vec::new());
        self.expect("(")?;
        while !self.takes(")") {
            params.push(self.param()?);
            self.takes(",");
        }
        while !self.takes("{") {
            let token = self.word()?;
            match token.text {
                ".maxntid" | ".reqntid" => threads_max = Some(self.product()?),
                ".minnctapersm" => drop(self.number()?),
                other => return Err(error(token.line, &format!("{other} of a kernel"))),
            }
        }
        let mut depth = 1;
        while depth > 0 {
            let statement = self.statement()?;
            match statement {
                Some(Statement::Open) => depth += 1,
                Some(Statement::Close) => depth -= 1,
                _ => {}
            }
            statements.extend(statement);
        }
        Ok(KernelText { name, params, threads_max, statements })
    }

    /// `a, b, c` multiplied.
    fn product(&mut self) -> Result<u32, PtxError> {
        let mut product = self.number()?;
        while self.takes(",") {
            product *= self.number()?;
        }
        u32::try_from(product).map_err(|_| error(0, "more threads than a block has"))
    }

    fn param(&mut self) -> Result<Variable<'a>, PtxError> {
        self.expect(".param")?;
        let (mut align, mut size) = (1, 0);
        loop {
            let token = self.word()?;
            match token.text {
                // What a pointer points at is aligned so; the parameter is the pointer.
                ".ptr" => {
                    while matches!(self.peek(), ".global" | ".shared" | ".align") {
                        if self.word()?.text == ".align" {
                            self.number()?;
                        }
                    }
                }
                ".align" => align = self.number()?,
                text if text.starts_with('.') => {
                    let bytes = bytes_of(text);
                    size = bytes.ok_or_else(|| error(token.line, &format!("a param {text}")))?;
                    align = align.max(size);
                }
                name => {
                    if self.takes("[") {
                        size *= self.number()?;
                        self.expect("]")?;
                    }
                    return Ok(Variable { name, align, size });
                }
            }
        }
    }

    /// After `.shared`.
    fn variable(&mut self) -> Result<Variable<'a>, PtxError> {
        let (mut align, mut size) = (1, 0);
        loop {
            let token = self.word()?;
            match token.text {
                ".align" => align = self.number()?,
                text if text.starts_with('.') => {
                    let bytes = bytes_of(text);
                    size = bytes.ok_or_else(|| error(token.line, &format!("a variable {text}")))?;
                    align = align.max(size);
                }
                name => {
                    if self.takes("[") {
                        size *= if self.peek() == "]" { 0 } else { self.number()? };
                        self.expect("]")?;
                    }
                    self.expect(";")?;
                    return Ok(Variable { name, align, size });
                }
            }
        }
    }

    fn statement(&mut self) -> Result<Option<Statement<'a>>, PtxError> {
        let token = self.word()?;
        Ok(Some(match token.text {
            "{" => Statement::Open,
            "}" => Statement::Close,
            ";" => return Ok(None),
            ".reg" => return self.registers(token.line).map(Some),
            ".shared" => Statement::Shared(self.variable()?),
            ".pragma" => {
                while self.word()?.text != ";" {}
                return Ok(None);
            }
            "@" => {
                let is_not = self.takes("!");
                let guard = self.word()?.text;
                let opcode = self.word()?;
                Statement::Instruction(self.instruction(opcode, Some((guard, is_not)))?)
            }
            text if text.starts_with('.') => {
                return Err(error(token.line, &format!("{text} is not known in a kernel")));
            }
            name if self.takes(":") => Statement::Label(name),
            _ => Statement::Instruction(self.instruction(token, None)?),
        }))
    }

    /// After `.reg`: one declaration; more names of it are left as a further statement.
    fn registers(&mut self, line: u32) -> Result<Statement<'a>, PtxError> {
        let kind = self.word()?.text;
        let file = match (kind, bytes_of(kind)) {
            (".pred", _) => File::Predicate,
            (_, Some(8)) => File::Double,
            (_, Some(_)) => File::Word,
            _ => return Err(error(line, &format!("a register {kind}"))),
        };
        let name = self.word()?.text;
        let mut count = None;
        if self.takes("<") {
            count = Some(self.number()?);
            self.expect(">")?;
        }
        match self.peek() {
            ";" => Ok(Statement::Registers { file, name, count }),
            _ => Err(error(line, "a declaration of several names: one to a statement is known")),
        }
    }

    fn instruction(
        &mut self,
        opcode: Token<'a>,
        guard: Option<(&'a str, bool)>,
    ) -> Result<Instruction<'a>, PtxError> {
        let mut operands = Vec::new();
        while !self.takes(";") {
            operands.push(self.operand()?);
            if !self.takes(",") && self.peek() != ";" {
                let what = format!("{} after an operand of {}", self.peek(), opcode.text);
                return Err(error(opcode.line, &what));
            }
        }
        Ok(Instruction { line: opcode.line, guard, opcode: opcode.text, operands })
    }

    fn operand(&mut self) -> Result<Operand<'a>, PtxError> {
        let token = self.word()?;
        Ok(match token.text {
            "{" => {
                let mut parts = Vec::new();
                while !self.takes("}") {
                    parts.push(self.operand()?);
                    self.takes(",");
                }
                Operand::Vector(parts)
            }
            "[" => {
                let base = self.word()?.text;
                let sign = if self.takes("+") { 1 } else { 0 };
                let mut offset = 0;
                if sign == 1 {
                    let minus = if self.takes("-") { -1 } else { 1 };
                    let number = self.word()?;
                    let value = number_of(number.text).and_then(|bits| i64::try_from(bits).ok());
                    offset = minus * value.ok_or_else(|| error(number.line, "no offset"))?;
                }
                self.expect("]")?;
                Operand::Address { base, offset }
            }
            "-" => {
                let number = self.word()?;
                let bits = number_of(number.text);
                Operand::Bits(bits.ok_or_else(|| error(number.line, "no number"))?.wrapping_neg())
            }
            "}" | "]" | "," | ";" => {
                return Err(error(token.line, &format!("{} where an operand belongs", token.text)));
            }
            text if self.takes("|") => Operand::Pair(text, self.word()?.text),
            text => number_of(text).map_or(Operand::Name(text), Operand::Bits),
        })
    }
}

/// Bytes of a type.
pub(super) fn bytes_of(kind: &str) -> Option<usize> {
    Some(match kind.trim_start_matches('.') {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return None,
    })
}

/// The bits of `12`, `0x1f` or `0f3F800000`.
fn number_of(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0f")) {
        return u64::from_str_radix(hex.trim_end_matches('U'), 16).ok();
    }
    match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => text.trim_end_matches('U').parse().ok(),
        false => None,
    }
}
