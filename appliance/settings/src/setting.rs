//! What a setting is: whom it concerns, what its value may be, and what it is called.
//!
//! All of them stand in `table.rs`.

use crate::Facts;

/// A secret that is none.
const NONE: &str = "none";

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number in a range.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// Text that is shown nowhere; `none` is none.
    Secret,
}

/// Text that is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for whoever needs it; empty is none.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { NONE } else { "(set)" })
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A resolved value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The program decides later, by facts it does not have yet.
    Auto,
    /// Text or a choice.
    Text(String),
    /// A whole number.
    Integer(u64),
    /// A number.
    Number(f64),
    /// A flag.
    Flag(bool),
    /// A secret, or none.
    Secret(Secret),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Text(text) => f.write_str(text),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Number(n) => write!(f, "{n}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Secret(secret) => write!(f, "{secret}"),
        }
    }
}

/// Whom a setting concerns, and what a value of it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process: only who started it may say it, never the folder of a model.
    Process(Names),
    /// One model: its own files may say it, as far as it names nothing outside their folder.
    Model(Names),
}

/// What a value names. What comes with somebody's model must not choose such a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing: it is a number, a switch or a word of ours.
    Nothing,
    /// A file or folder.
    Path,
    /// A library, which is loaded and run.
    Library,
    /// An address or port of this machine.
    Address,
    /// Who may ask: origins, hosts, names, pages.
    Access,
    /// What is logged.
    Log,
}

impl Names {
    /// Why a model's folder has no say in it.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Nothing => "it concerns the whole process, not one model",
            Self::Path => "it names a file or folder of this machine",
            Self::Library => "it names a library that would be run",
            Self::Address => "it names where this machine listens",
            Self::Access => "it says who may ask",
            Self::Log => "it says what is logged",
        }
    }
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name; the flag is `--` and the name, with `-` or `_`.
    pub key: &'static str,
    /// Whom it concerns.
    pub scope: Scope,
    /// What it does, one sentence.
    pub doc: &'static str,
    /// Unit of the value; empty for none.
    pub unit: &'static str,
    /// What a value may be.
    pub kind: Kind,
    /// Names in the environment besides `GIMBAL_` and the key in capitals, first wins: of LMI
    /// (`OPTION_`, `SERVING_`), vLLM on SageMaker (`SM_VLLM_`), SageMaker and TGI.
    pub environment: &'static [&'static str],
    /// The value where nobody says anything, and why.
    pub default: fn(&Facts) -> (Value, &'static str),
}

/// Ways of writing calls, by vLLM's names.
pub(crate) const TOOL_CALLS: [&str; 16] = [
    "auto",
    "none",
    "generic",
    "hermes",
    "llama3_json",
    "llama4_json",
    "pythonic",
    "llama4_pythonic",
    "mistral",
    "qwen3_coder",
    "qwen3_xml",
    "deepseek_v3",
    "deepseek_v31",
    "granite",
    "granite4",
    "phi4_mini_json",
];

impl Setting {
    /// The path of a vendor's library.
    pub(crate) const fn library(key: &'static str, doc: &'static str) -> Self {
        Self {
            key,
            scope: Scope::Process(Names::Library),
            doc,
            unit: "",
            kind: Kind::Text,
            environment: &[],
            default: |_| (Value::Auto, "the vendor's folder, else the loader's search path"),
        }
    }

    /// The path of AWS's program.
    pub(crate) const fn program(key: &'static str, doc: &'static str) -> Self {
        let default: fn(&Facts) -> _ =
            |_| (Value::Auto, "the PATH, else where AWS's images have it");
        Self { default, ..Self::library(key, doc) }
    }

    /// How an answer's text is read.
    pub(crate) const fn parser(
        key: &'static str,
        doc: &'static str,
        names: &'static [&'static str],
        environment: &'static [&'static str],
    ) -> Self {
        let (scope, unit, kind) = (Scope::Model(Names::Nothing), "", Kind::Choice(names));
        let default: fn(&Facts) -> _ =
            |_| (Value::Text("auto".to_owned()), "by what stands in the chat template");
        Self { key, scope, doc, unit, kind, environment, default }
    }

    /// How a model is computed: one of several ways.
    pub(crate) const fn choice(
        key: &'static str,
        doc: &'static str,
        choices: &'static [&'static str],
        default: fn(&Facts) -> (Value, &'static str),
    ) -> Self {
        let (scope, unit, kind) = (Scope::Model(Names::Nothing), "", Kind::Choice(choices));
        Self { key, scope, doc, unit, kind, environment: &[], default }
    }

    /// What is logged.
    pub(crate) const fn log(
        key: &'static str,
        doc: &'static str,
        choices: &'static [&'static str],
        default: fn(&Facts) -> (Value, &'static str),
    ) -> Self {
        let (scope, unit, kind) = (Scope::Process(Names::Log), "", Kind::Choice(choices));
        Self { key, scope, doc, unit, kind, environment: &[], default }
    }

    /// A bound of the whole process.
    pub(crate) const fn limit(
        key: &'static str,
        doc: &'static str,
        unit: &'static str,
        kind: Kind,
        default: fn(&Facts) -> (Value, &'static str),
    ) -> Self {
        let (scope, environment) = (Scope::Process(Names::Nothing), &[]);
        Self { key, scope, doc, unit, kind, environment, default }
    }

    /// How the process is run: one of several ways.
    pub(crate) const fn mode(
        key: &'static str,
        doc: &'static str,
        words: &'static [&'static str],
        default: fn(&Facts) -> (Value, &'static str),
    ) -> Self {
        Self::limit(key, doc, "", Kind::Choice(words), default)
    }

    /// Who may ask.
    pub(crate) const fn access(
        key: &'static str,
        kind: Kind,
        doc: &'static str,
        default: fn(&Facts) -> (Value, &'static str),
    ) -> Self {
        let (scope, unit, environment) = (Scope::Process(Names::Access), "", &[]);
        Self { key, scope, doc, unit, kind, environment, default }
    }

    /// A value as messages repeat it.
    pub(crate) fn shown(&self, text: &str) -> String {
        if self.kind == Kind::Secret { "(a secret)".to_owned() } else { text.to_owned() }
    }

    /// True where a value may be left for the program to decide.
    #[must_use]
    pub fn allows_auto(&self) -> bool {
        (self.default)(&Facts::default()).0 == Value::Auto
    }

    /// What a value names.
    #[must_use]
    pub const fn names(&self) -> Names {
        let (Scope::Process(names) | Scope::Model(names)) = self.scope;
        names
    }

    /// Its variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("GIMBAL_{}", self.key.to_uppercase())
    }

    /// The value that a text means; blanks around numbers and words say nothing.
    ///
    /// # Errors
    /// What would be legal.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        let word = text.trim();
        // LMI's word for as many as there are.
        let is_max = word == "max" && matches!(self.kind, Kind::Integer { .. });
        if (word == "auto" || is_max) && self.allows_auto() {
            return Ok(Value::Auto);
        }
        match self.kind {
            Kind::Text if word.is_empty() => Err("it must not be empty".to_owned()),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Secret if word == NONE => Ok(Value::Secret(Secret::default())),
            // Commas alone would be no key, and an open door.
            Kind::Secret if word.chars().all(|c| c == ',' || c.is_whitespace()) => {
                Err(format!("it must hold a key, or be {NONE}"))
            }
            Kind::Secret => Ok(Value::Secret(Secret(word.to_owned()))),
            Kind::Choice(words) if words.contains(&word) => Ok(Value::Text(word.to_owned())),
            Kind::Choice(words) => Err(format!("it must be one of {}", words.join(", "))),
            Kind::Flag => match word.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Value::Flag(true)),
                "false" | "0" => Ok(Value::Flag(false)),
                _ => Err("it must be true or false".to_owned()),
            },
            Kind::Number { min, max } => match word.parse() {
                Ok(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
                _ => Err(format!("it must be a number from {min} to {max}")),
            },
            Kind::Integer { min, max } => match word.parse() {
                Ok(n) if (min..=max).contains(&n) => Ok(Value::Integer(n)),
                _ => Err(format!("it must be a whole number from {min} to {max}")),
            },
        }
    }

    /// True for what `serving.properties` calls it: LMI writes `OPTION_X` as `option.x` and
    /// `SERVING_X` as `x`; our own keys are taken as they are.
    pub(crate) fn is_property(&self, key: &str) -> bool {
        let is_lmi = |name: &&str| match name.strip_prefix("OPTION_") {
            Some(rest) => key.strip_prefix("option.") == Some(rest.to_lowercase().as_str()),
            None => name.strip_prefix("SERVING_").is_some_and(|rest| key == rest.to_lowercase()),
        };
        key == self.key || self.environment.iter().any(is_lmi)
    }
}
