//! How text is cut into words before BPE: a table from a GGUF `tokenizer.ggml.pre` name to the
//! regular expressions of that model family.
//!
//! No merging happens here. Next: `bpe.rs`.
//!
//! The expressions are those of the families' own `tokenizer.json` files, as llama.cpp's
//! `llm_tokenizer_bpe` lists them; several are applied one after the other, each cutting the pieces
//! of the one before. What an expression does not match stays a piece of its own.

use fancy_regex::{Regex, RegexBuilder};

use crate::TextError;

/// Backtracking steps one match may take. A run of a million blanks reaches it; the text is then
/// refused instead of being cut differently.
const BACKTRACK_MAX: usize = 1_000_000;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const SEED_CODER: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}",
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
    r##"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"##,
    r##"|\s+(?!\S)|\s+"##,
);

/// One row of the table.
struct Family {
    names: &'static [&'static str],
    regexes: &'static [&'static str],
    /// A whole word that is a token is taken as it is, without merging.
    ignore_merges: bool,
}

const fn family(
    names: &'static [&'static str],
    regexes: &'static [&'static str],
    ignore_merges: bool,
) -> Family {
    Family { names, regexes, ignore_merges }
}

const FAMILIES: &[Family] = &[
    family(
        &["default", ""],
        &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        false,
    ),
    family(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[r"\p{N}", GPT2],
        false,
    ),
    family(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "gigachat",
            "exaone4",
            "mellum",
            "modern-bert",
            "a.x-4.0",
            "trillion",
            "granite-docling",
        ],
        &[GPT2],
        false,
    ),
    family(
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        &[LLAMA3],
        true,
    ),
    family(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3], false),
    family(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "megrez",
            "hunyuan",
            "stablelm2",
            "grok-2",
            "solar-open",
        ],
        &[QWEN2],
        false,
    ),
    family(&["qwen35"], &[QWEN35], false),
    family(&["seed-coder"], &[SEED_CODER], false),
    family(&["tekken"], &[TEKKEN], true),
    family(&["gpt-4o", "llama4", "kanana2", "minimax-m2"], &[GPT4O], false),
    family(&["falcon"], &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"], false),
    family(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
        false,
    ),
];

/// All `pre` names that are known.
pub fn pre_names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|f| f.names.iter().copied()).filter(|n| !n.is_empty())
}

/// Cuts text into words.
#[derive(Debug)]
pub(crate) struct Splitter {
    regexes: Vec<Regex>,
    pub(crate) ignore_merges: bool,
}

impl Splitter {
    /// The splitter of a family.
    ///
    /// # Errors
    /// The name is unknown; the message lists all names.
    pub(crate) fn new(pre: &str) -> Result<Self, TextError> {
        let Some(family) = FAMILIES.iter().find(|f| f.names.contains(&pre)) else {
            let supported = pre_names().collect::<Vec<_>>().join(", ");
            let what = format!("tokenizer.ggml.pre = {pre:?}");
            return Err(TextError::Unsupported { what, supported });
        };
        let compile = |r: &&str| RegexBuilder::new(r).backtrack_limit(BACKTRACK_MAX).build();
        let regexes = family.regexes.iter().map(compile).collect::<Result<_, _>>();
        let regexes = regexes.map_err(|e| TextError::Tokenizer { why: e.to_string() })?;
        Ok(Self { regexes, ignore_merges: family.ignore_merges })
    }

    /// Calls `word` with each word of `text`, in order; together they are the text.
    pub(crate) fn split(&self, text: &str, word: &mut dyn FnMut(&str)) -> Result<(), TextError> {
        split_by(&self.regexes, text, word)
    }
}

/// Recursion is as deep as the list of expressions, at most 4.
fn split_by(regexes: &[Regex], text: &str, word: &mut dyn FnMut(&str)) -> Result<(), TextError> {
    let Some((regex, rest)) = regexes.split_first() else {
        if !text.is_empty() {
            word(text);
        }
        return Ok(());
    };
    let mut done = 0;
    for found in regex.find_iter(text) {
        let found = found.map_err(|e| TextError::Text { why: e.to_string() })?;
        split_by(rest, &text[done..found.start()], word)?;
        split_by(rest, found.as_str(), word)?;
        done = found.end();
    }
    split_by(rest, &text[done..], word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pre: &str, text: &str, expect: &[&str]) {
        let mut words = Vec::new();
        let splitter = Splitter::new(pre).expect("a known name");
        splitter.split(text, &mut |w| words.push(w.to_owned())).expect("short text");
        assert_eq!(words, expect, "{pre}: {text:?}");
    }

    #[test]
    fn families_cut_as_their_models_were_trained() {
        check("gpt-2", "I've 1234  apples", &["I", "'ve", " 1234", " ", " apples"]);
        check(
            "smollm",
            "I've 1234  apples",
            &["I", "'ve", " ", "1", "2", "3", "4", " ", " apples"],
        );
        check(
            "llama-bpe",
            "I'VE 1234  apples\n\n",
            &["I", "'VE", " ", "123", "4", " ", " apples", "\n\n"],
        );
        check("qwen2", "a12\n b", &["a", "1", "2", "\n", " b"]);
        check("deepseek-v3", "日本123 go", &["日本", "123", " go"]);
        check("gpt-2", "trailing  ", &["trailing", "  "]);
        check("gpt-2", "", &[]);
    }

    #[test]
    fn every_family_compiles_and_keeps_the_text() {
        let text = "Ünï\u{AD}code  ½ 日本語\r\n\t🦀🦀 don't 3.1415e-9 <|x|> _\u{300}a  ";
        for name in pre_names() {
            let mut joined = String::new();
            let splitter = Splitter::new(name).expect("a known name");
            splitter.split(text, &mut |w| joined.push_str(w)).expect("short text");
            assert_eq!(joined, text, "{name}");
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_list() {
        let error = Splitter::new("nope").expect_err("unknown").to_string();
        assert!(error.contains("\"nope\""), "{error}");
        assert!(error.contains("smollm"), "{error}");
    }
}
