//! What Python's strings know about characters: their classes and cases.
//!
//! Classes are those of the `regex` crate's Unicode tables. Next: `methods.rs`.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::text::{Letter, Text};

/// Digits that are no decimal digits (superscripts, circled ones …).
///
/// **Source**: `str.isdigit` of CPython 3.11 without category Nd.
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];
/// Ideographs that are numbers.
///
/// **Source**: `str.isnumeric` of CPython 3.11 without the categories N*.
const IDEOGRAPHS: [u32; 81] = [
    0x3405, 0x3483, 0x382a, 0x3b4d, 0x4e00, 0x4e03, 0x4e07, 0x4e09, 0x4e5d, 0x4e8c, 0x4e94, 0x4e96,
    0x4ebf, 0x4ec0, 0x4edf, 0x4ee8, 0x4f0d, 0x4f70, 0x5104, 0x5146, 0x5169, 0x516b, 0x516d, 0x5341,
    0x5343, 0x5344, 0x5345, 0x534c, 0x53c1, 0x53c2, 0x53c3, 0x53c4, 0x56db, 0x58f1, 0x58f9, 0x5e7a,
    0x5efe, 0x5eff, 0x5f0c, 0x5f0d, 0x5f0e, 0x5f10, 0x62fe, 0x634c, 0x67d2, 0x6f06, 0x7396, 0x767e,
    0x8086, 0x842c, 0x8cae, 0x8cb3, 0x8d30, 0x9621, 0x9646, 0x964c, 0x9678, 0x96f6, 0xf96b, 0xf973,
    0xf978, 0xf9b2, 0xf9d1, 0xf9d3, 0xf9fd, 0x20001, 0x20064, 0x200e2, 0x20121, 0x2092a, 0x20983,
    0x2098c, 0x2099c, 0x20aea, 0x20afd, 0x20b19, 0x22390, 0x22998, 0x23b1b, 0x2626d, 0x2f890,
];

type Class = LazyLock<Option<Regex>>;

static LETTER: Class = LazyLock::new(|| Regex::new(r"\A\p{L}\z").ok());
static DECIMAL: Class = LazyLock::new(|| Regex::new(r"\A\p{Nd}\z").ok());
static NUMBER: Class = LazyLock::new(|| Regex::new(r"\A\p{N}\z").ok());
static TITLE: Class = LazyLock::new(|| Regex::new(r"\A\p{Lt}\z").ok());
static UNSEEN: Class = LazyLock::new(|| Regex::new(r"\A[\p{C}\p{Z}]\z").ok());
static CASED: Class = LazyLock::new(|| Regex::new(r"\A\p{Cased}\z").ok());
static IGNORABLE: Class = LazyLock::new(|| Regex::new(r"\A\p{Case_Ignorable}\z").ok());
static BEGINS: Class = LazyLock::new(|| Regex::new(r"\A[\p{XID_Start}_]\z").ok());
static CONTINUES: Class = LazyLock::new(|| Regex::new(r"\A\p{XID_Continue}\z").ok());
static WORD: Class = LazyLock::new(|| Regex::new(r"\A[\p{L}\p{N}_]\z").ok());

fn is(class: &Class, letter: char) -> bool {
    let mut bytes = [0; 4];
    let text = letter.encode_utf8(&mut bytes);
    class.as_ref().is_some_and(|class| class.is_match(text).unwrap_or(false))
}

/// A class for texts that are ASCII mostly.
fn quick(class: &Class, letter: char, ascii: fn(&char) -> bool) -> bool {
    if letter.is_ascii() { ascii(&letter) } else { is(class, letter) }
}

pub(crate) fn is_printable(letter: char) -> bool {
    if letter.is_ascii() { matches!(letter, ' '..='~') } else { !is(&UNSEEN, letter) }
}

pub(crate) fn is_alpha(letter: char) -> bool {
    quick(&LETTER, letter, char::is_ascii_alphabetic)
}

pub(crate) fn is_decimal(letter: char) -> bool {
    quick(&DECIMAL, letter, char::is_ascii_digit)
}

pub(crate) fn is_digit(letter: char) -> bool {
    let code = u32::from(letter);
    is_decimal(letter) || DIGITS.iter().any(|(from, to)| (*from..=*to).contains(&code))
}

pub(crate) fn is_numeric(letter: char) -> bool {
    quick(&NUMBER, letter, char::is_ascii_digit)
        || IDEOGRAPHS.binary_search(&u32::from(letter)).is_ok()
}

pub(crate) fn is_word(letter: char) -> bool {
    quick(&WORD, letter, |c| c.is_ascii_alphanumeric() || *c == '_')
}

pub(crate) fn is_title(letter: char) -> bool {
    !letter.is_ascii() && is(&TITLE, letter)
}

pub(crate) fn is_cased(letter: char) -> bool {
    quick(&CASED, letter, char::is_ascii_alphabetic)
}

pub(crate) fn is_identifier(text: &Text) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| is(&BEGINS, c)) && letters.all(|c| is(&CONTINUES, c))
}

/// The ASCII digit that a decimal digit of any script stands for. Their zeros begin runs of ten.
pub(crate) fn digit(letter: char) -> Option<char> {
    if letter.is_ascii() || !is_decimal(letter) {
        return None;
    }
    let code = u32::from(letter);
    // Mathematical digits are five runs without gaps from U+1D7CE.
    let value = match code {
        0x1d7ce..=0x1d7ff => (code - 0x1d7ce) % 10,
        _ => {
            let before = (1..10).take_while(|n| char::from_u32(code - n).is_some_and(is_decimal));
            u32::try_from(before.count()).unwrap_or(0)
        }
    };
    char::from_digit(value, 10)
}

pub(crate) fn upper(letters: &[Letter]) -> Text {
    letters.iter().flat_map(|l| l.char().to_uppercase().map(|c| l.with(c))).collect()
}

pub(crate) fn lower(letters: &[Letter]) -> Text {
    let mut lowered = Vec::with_capacity(letters.len());
    for (at, letter) in letters.iter().enumerate() {
        lower_at(letters, at, *letter, &mut lowered);
    }
    lowered.into()
}

/// A sigma at the end of a word has a form of its own.
fn lower_at(letters: &[Letter], at: usize, letter: Letter, lowered: &mut Vec<Letter>) {
    if letter.char() != 'Σ' {
        lowered.extend(letter.char().to_lowercase().map(|c| letter.with(c)));
        return;
    }
    let cased = |next: Option<char>| next.is_some_and(is_cased);
    // A thousand ignorable marks are no word of any language.
    let skips = |c: &char| is(&IGNORABLE, *c);
    let before = letters[..at].iter().rev().take(1000).map(|l| l.char()).find(|c| !skips(c));
    let after = letters[at + 1..].iter().take(1000).map(|l| l.char()).find(|c| !skips(c));
    let last = cased(before) && !cased(after);
    lowered.push(letter.with(if last { 'ς' } else { 'σ' }));
}

fn push_title(letter: Letter, titled: &mut Vec<Letter>) {
    let char = letter.char();
    let one = match u32::from(char) {
        0x10d0..=0x10fa | 0x10fd..=0x10ff => Some(char),
        code @ 0x1c4..=0x1cc => char::from_u32(0x1c5 + (code - 0x1c4) / 3 * 3),
        0x1f1..=0x1f3 => Some('\u{1f2}'),
        code @ 0x1f80..=0x1faf => char::from_u32(code | 8),
        0x1fb3 | 0x1fbc => Some('\u{1fbc}'),
        0x1fc3 | 0x1fcc => Some('\u{1fcc}'),
        0x1ff3 | 0x1ffc => Some('\u{1ffc}'),
        _ => None,
    };
    if let Some(one) = one {
        titled.push(letter.with(one));
        return;
    }
    let greek = ('\u{1fb2}'..='\u{1ff7}').contains(&char);
    let begins_upper = char.to_uppercase().next().is_some_and(char::is_uppercase);
    for (i, upper) in char.to_uppercase().enumerate() {
        match upper {
            'Ι' if greek && i > 0 => titled.push(letter.with('\u{345}')),
            upper if i == 0 || greek || !begins_upper => titled.push(letter.with(upper)),
            upper => titled.extend(upper.to_lowercase().map(|c| letter.with(c))),
        }
    }
}

/// `str.capitalize`.
pub(crate) fn capitalize(letters: &[Letter]) -> Text {
    let mut made = Vec::with_capacity(letters.len());
    for (at, letter) in letters.iter().enumerate() {
        match at {
            0 => push_title(*letter, &mut made),
            _ => lower_at(letters, at, *letter, &mut made),
        }
    }
    made.into()
}

/// `str.title`.
pub(crate) fn title(letters: &[Letter]) -> Text {
    let (mut made, mut in_word) = (Vec::with_capacity(letters.len()), false);
    for (at, letter) in letters.iter().enumerate() {
        match in_word {
            false => push_title(*letter, &mut made),
            true => lower_at(letters, at, *letter, &mut made),
        }
        in_word = is_cased(letter.char());
    }
    made.into()
}

/// `str.swapcase`.
pub(crate) fn swapcase(letters: &[Letter]) -> Text {
    let mut made = Vec::with_capacity(letters.len());
    for (at, letter) in letters.iter().enumerate() {
        match letter.char() {
            c if c.is_uppercase() => lower_at(letters, at, *letter, &mut made),
            c if c.is_lowercase() => made.extend(c.to_uppercase().map(|c| letter.with(c))),
            _ => made.push(*letter),
        }
    }
    made.into()
}
