//! llama.cpp's grammars (GBNF), rewritten in the form that `llguidance` reads.
//!
//! **Source**: llama.cpp `grammars/README.md` and `src/llama-grammar.cpp`. As others do, a rule may go
//! on after a line's end. Next: `matching.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::json;

use super::GrammarError;

/// How deep groups may be nested.
const DEPTH_MAX: usize = 200;
/// Repetitions that may be asked for; as llama.cpp.
const REPEATS_MAX: u32 = 2000;

/// A word of a grammar, ready to be written again.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    Name(String),
    /// `::=`
    Is,
    /// A literal, a class of characters or a control token, in the new form.
    Atom(String),
    /// `*`, `+`, `?` or a range, in the new form.
    Repeat(String),
    Open,
    Close,
    Or,
}

/// The same grammar in Lark's form.
pub(super) fn to_lark(text: &str) -> Result<String, GrammarError> {
    let words = words(text)?;
    let is_rule = |at: usize| {
        matches!(words.get(at), Some(Word::Name(_))) && words.get(at + 1) == Some(&Word::Is)
    };
    let mut names = HashMap::new();
    for (at, word) in words.iter().enumerate() {
        if let Word::Name(name) = word
            && is_rule(at)
            && names.insert(name.clone(), lark_name(name, names.len())).is_some()
        {
            return Err(wrong(&format!("the rule {name} stands there twice")));
        }
    }
    if !names.contains_key("root") {
        return Err(wrong("there is no rule root"));
    }
    let (mut lark, mut at, mut used) = (String::new(), 0, HashSet::new());
    while at < words.len() {
        let Some(Word::Name(name)) = words.get(at).filter(|_| is_rule(at)) else {
            return Err(wrong("it must begin with a rule: name ::= …"));
        };
        let body = at + 2;
        let end = (body..words.len()).find(|at| is_rule(*at)).unwrap_or(words.len());
        let expression = expression(name, &words[body..end], &names, &mut used)?;
        writeln!(lark, "{}: {expression}", names[name]).map_err(|e| wrong(&e.to_string()))?;
        at = end;
    }
    Ok(lark)
}

/// A rule's right side.
fn expression(
    rule: &str,
    words: &[Word],
    names: &HashMap<String, String>,
    used: &mut HashSet<String>,
) -> Result<String, GrammarError> {
    let (mut out, mut depth) = (String::new(), 0_usize);
    // Something that can be repeated stands before.
    let (mut is_after_atom, mut is_empty) = (false, true);
    let in_rule = |what: String| wrong(&format!("rule {rule}: {what}"));
    for word in words {
        match word {
            Word::Name(name) => {
                let known = names.get(name);
                out += known.ok_or_else(|| in_rule(format!("there is no rule {name}")))?;
                used.insert(name.clone());
            }
            Word::Atom(atom) => out += atom,
            Word::Repeat(repeat) if is_after_atom => {
                // Stands at once behind what is repeated.
                out.truncate(out.trim_end().len());
                out += repeat;
            }
            Word::Repeat(repeat) => {
                return Err(in_rule(format!("nothing stands before {repeat}")));
            }
            Word::Open if depth == DEPTH_MAX => {
                return Err(in_rule(format!("groups are nested deeper than {DEPTH_MAX}")));
            }
            Word::Open => {
                depth += 1;
                out.push('(');
            }
            Word::Close => {
                depth = depth.checked_sub(1).ok_or_else(|| in_rule("a ) too many".into()))?;
                out += if is_empty { "\"\")" } else { ")" };
            }
            Word::Or => out += if is_empty { "\"\" |" } else { "|" },
            Word::Is => return Err(in_rule("::= without a name before it".into())),
        }
        out.push(' ');
        is_empty = matches!(word, Word::Or | Word::Open);
        is_after_atom = matches!(word, Word::Name(_) | Word::Atom(_) | Word::Close);
    }
    if depth > 0 {
        return Err(in_rule("a ( without its )".into()));
    }
    if is_empty {
        out += "\"\"";
    }
    Ok(out)
}

/// A name that Lark allows: it tells rules from terminals by their letters.
fn lark_name(name: &str, number: usize) -> String {
    match name {
        "root" => "start".to_owned(),
        _ => {
            let plain =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            format!("r{number}_{}", name.chars().map(plain).collect::<String>())
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, GrammarError> {
    let (mut words, mut rest) = (Vec::new(), text.chars().peekable());
    while let Some(first) = rest.next() {
        let word = match first {
            c if c.is_whitespace() => continue,
            '#' => {
                rest.by_ref().find(|c| *c == '\n');
                continue;
            }
            ':' => {
                let is = rest.next() == Some(':') && rest.next() == Some('=');
                is.then_some(Word::Is).ok_or_else(|| wrong("a : that is not part of ::="))?
            }
            '"' => Word::Atom(json!(literal(&mut rest)?).to_string()),
            '[' => Word::Atom(class(&mut rest)?),
            '.' => Word::Atom(r"/[\s\S]/".to_owned()),
            '<' => Word::Atom(control(&mut rest)?),
            '(' => Word::Open,
            ')' => Word::Close,
            '|' => Word::Or,
            '*' | '+' | '?' => Word::Repeat(first.to_string()),
            '{' => repeat(&mut rest)?,
            c if is_of_name(c) => {
                let mut name = c.to_string();
                while let Some(c) = rest.next_if(|c| is_of_name(*c)) {
                    name.push(c);
                }
                Word::Name(name)
            }
            '!' => return Err(wrong("tokens that may not come (!<…>) are not supported")),
            other => return Err(wrong(&format!("what {other:?} means is not known"))),
        };
        words.push(word);
    }
    Ok(words)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// A literal's text, up to its last quote.
fn literal(rest: &mut Peekable<Chars<'_>>) -> Result<String, GrammarError> {
    let mut text = String::new();
    loop {
        match rest.next().ok_or_else(|| wrong("a \" without its end"))? {
            '"' => return Ok(text),
            '\\' => text.push(escaped(rest)?),
            c => text.push(c),
        }
    }
}

/// A class of characters as an expression.
fn class(rest: &mut Peekable<Chars<'_>>) -> Result<String, GrammarError> {
    let end = || wrong("a [ without its ]");
    let mut out = "/[".to_owned();
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let bare = out.len();
    loop {
        let c = match rest.next().ok_or_else(end)? {
            ']' if out.len() == bare => return Err(wrong("a class without characters: []")),
            ']' => break,
            // A range, unless it stands first or last.
            '-' if out.len() > bare && rest.peek().is_some_and(|c| *c != ']') => {
                out.push('-');
                continue;
            }
            '\\' => escaped(rest)?,
            c => c,
        };
        write!(out, "\\u{{{:X}}}", u32::from(c)).map_err(|e| wrong(&e.to_string()))?;
    }
    Ok(out + "]/")
}

/// What stands behind a backslash.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<char, GrammarError> {
    let digits = match rest.next() {
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^' | '/' | '\'' | '.')) => return Ok(c),
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(c) => return Err(wrong(&format!("what \\{c} means is not known"))),
        None => return Err(wrong("a \\ at the end")),
    };
    let code: String = rest.by_ref().take(digits).collect();
    let known = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits);
    let known = known.and_then(char::from_u32);
    known.ok_or_else(|| wrong(&format!("{code:?} is no code of a character")))
}

/// A control token, by its text or as `<[id]>`.
fn control(rest: &mut Peekable<Chars<'_>>) -> Result<String, GrammarError> {
    const LETTERS_MAX: usize = 100;
    let mut token = "<".to_owned();
    for c in rest.by_ref().take(LETTERS_MAX) {
        token.push(c);
        if c == '>' {
            return Ok(token);
        }
    }
    Err(wrong("a < without its >"))
}

/// `{m}`, `{m,}` or `{m,n}`.
fn repeat(rest: &mut Peekable<Chars<'_>>) -> Result<Word, GrammarError> {
    let text: String = rest.by_ref().take_while(|c| *c != '}').collect();
    let number = |text: &str| -> Result<u32, GrammarError> {
        let number = text.trim().parse().ok().filter(|n| *n <= REPEATS_MAX);
        let what = || format!("{{{text}}} is no count from 0 to {REPEATS_MAX}");
        number.ok_or_else(|| wrong(&what()))
    };
    let (least, most) = match text.split_once(',') {
        None => (number(&text)?, Some(number(&text)?)),
        Some((least, most)) if most.trim().is_empty() => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Ok(Word::Repeat(match most {
        Some(most) if most < least || most == 0 => {
            return Err(wrong(&format!("{{{text}}} repeats nothing")));
        }
        Some(most) => format!("{{{least},{most}}}"),
        None => format!("{{{least},}}"),
    }))
}

fn wrong(what: &str) -> GrammarError {
    GrammarError(what.to_owned())
}
