//! Who writes calls how, and what stands around them.
//!
//! The names are those of vLLM's option `--tool-call-parser`. Which tokens a model has is not known
//! here. Next: `calls.rs`.

use super::named::{DEEPSEEK_CALL, DEEPSEEK_SEPARATOR};
use super::xml::FUNCTION;

pub(super) const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
pub(super) const TOKEN: &str = "<|tool_call|>";
pub(super) const TOKEN_END: &str = "<|/tool_call|>";
const PYTHON_TAG: &str = "<|python_tag|>";
const PYTHON: &str = "<|python_start|>";
const PYTHON_END: &str = "<|python_end|>";
pub(super) const MISTRAL: &str = "[TOOL_CALLS]";
pub(super) const DEEPSEEK: &str = "<｜tool▁calls▁begin｜>";
pub(super) const DEEPSEEK_END: &str = "<｜tool▁calls▁end｜>";
pub(super) const DEEPSEEK_CALL_END: &str = "<｜tool▁call▁end｜>";

/// How a model writes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolFormat {
    /// Bare JSON, in a fence of Markdown or in `<tool_call>`: for templates that know no tools.
    Generic,
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM3.
    Hermes,
    /// `{"name": …, "parameters": …}`, `<|python_tag|>` may stand before it: Llama 3.
    Llama3Json,
    /// `[f(a=1), g(b="x")]`: Llama 4, and Llama 3.2 with such a template.
    Pythonic,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}]` or `[TOOL_CALLS]name[ARGS]{…}`.
    Mistral,
    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`.
    Qwen3Xml,
    /// DeepSeek V3 and R1: arguments in a fence of Markdown.
    DeepSeekV3,
    /// DeepSeek V3.1: a name, a separator, arguments.
    DeepSeekV31,
    /// `<|tool_call|>[…]` or `<tool_call>…`: Granite.
    Granite,
    /// `<|tool_call|>[…]<|/tool_call|>` or `functools[…]`: Phi-4-mini.
    Phi4Mini,
}

/// What stands around calls.
#[derive(Debug)]
pub(super) struct Form {
    /// What a call may begin with.
    pub(super) opens: &'static [&'static str],
    /// What may stand behind a call and says nothing.
    pub(super) ends: &'static [&'static str],
    /// What a call may begin with at the beginning of an answer and behind another call.
    pub(super) bare: &'static [char],
    /// Whether a call needs the name of a tool even behind a marker.
    pub(super) is_weak: bool,
}

/// Names of the setting, and what they choose.
const NAMES: [(&str, ToolFormat); 14] = [
    ("generic", ToolFormat::Generic),
    ("hermes", ToolFormat::Hermes),
    ("llama3_json", ToolFormat::Llama3Json),
    ("llama4_json", ToolFormat::Llama3Json),
    ("pythonic", ToolFormat::Pythonic),
    ("llama4_pythonic", ToolFormat::Pythonic),
    ("mistral", ToolFormat::Mistral),
    ("qwen3_coder", ToolFormat::Qwen3Xml),
    ("qwen3_xml", ToolFormat::Qwen3Xml),
    ("deepseek_v3", ToolFormat::DeepSeekV3),
    ("deepseek_v31", ToolFormat::DeepSeekV31),
    ("granite", ToolFormat::Granite),
    ("granite4", ToolFormat::Granite),
    ("phi4_mini_json", ToolFormat::Phi4Mini),
];

impl ToolFormat {
    /// The format of that name; `auto` and `none` are no formats.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// All names, for an error.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The format that a chat template shows to its model.
    #[must_use]
    pub fn of_template(template: &str) -> Self {
        let has = |mark: &str| template.contains(mark);
        let is_granite = has("<|start_of_role|>");
        if has(DEEPSEEK) || has(DEEPSEEK_CALL) {
            if has("```json") { Self::DeepSeekV3 } else { Self::DeepSeekV31 }
        } else if has(MISTRAL) {
            Self::Mistral
        } else if has(FUNCTION) && has("<parameter=") {
            Self::Qwen3Xml
        } else if has(PYTHON) || has("[func_name1(") {
            Self::Pythonic
        } else if is_granite && (has(TOKEN) || has(CALL)) {
            Self::Granite
        } else if has(TOKEN) || has("functools[") || has("<|tool|>") {
            Self::Phi4Mini
        } else if has(CALL) {
            Self::Hermes
        } else if has(PYTHON_TAG) || has("\"parameters\": dictionary of argument name") {
            Self::Llama3Json
        } else {
            Self::Generic
        }
    }

    /// Texts of control tokens that a parser must see: elsewhere they are left out of an answer.
    #[must_use]
    pub fn keeps(self) -> &'static [&'static str] {
        match self {
            Self::Generic | Self::Hermes | Self::Qwen3Xml => &[CALL, CALL_END],
            Self::Llama3Json => &[PYTHON_TAG],
            Self::Pythonic => &[PYTHON, PYTHON_END, PYTHON_TAG],
            Self::Mistral => &[MISTRAL, "[ARGS]", "[CALL_ID]"],
            Self::DeepSeekV3 | Self::DeepSeekV31 => {
                &[DEEPSEEK, DEEPSEEK_END, DEEPSEEK_CALL, DEEPSEEK_CALL_END, DEEPSEEK_SEPARATOR]
            }
            Self::Granite => &[TOKEN, CALL, CALL_END],
            Self::Phi4Mini => &[TOKEN, TOKEN_END],
        }
    }

    pub(super) fn form(self) -> &'static Form {
        const fn form(
            opens: &'static [&'static str],
            ends: &'static [&'static str],
            bare: &'static [char],
            is_weak: bool,
        ) -> Form {
            Form { opens, ends, bare, is_weak }
        }
        const ANY: &[char] = &['{', '['];
        static GENERIC: Form = form(&[CALL, "```json"], &[CALL_END, "```", ";", ","], ANY, true);
        static HERMES: Form = form(&[CALL], &[CALL_END], &[], false);
        static LLAMA: Form = form(&[PYTHON_TAG], &[";", ","], ANY, true);
        static PYTHONIC: Form = form(&[PYTHON, PYTHON_TAG], &[PYTHON_END, ";", ","], ANY, true);
        static TOOL_CALLS: Form = form(&[MISTRAL], &[], &[], false);
        static QWEN: Form = form(&[CALL, FUNCTION], &[CALL_END], &[], false);
        static SEEK: Form =
            form(&[DEEPSEEK, DEEPSEEK_CALL], &["```", DEEPSEEK_CALL_END, DEEPSEEK_END], &[], false);
        static GRANITE: Form = form(&[TOKEN, CALL], &[CALL_END], &['['], false);
        static PHI: Form = form(&[TOKEN, "functools"], &[TOKEN_END], &[], false);
        match self {
            Self::Generic => &GENERIC,
            Self::Hermes => &HERMES,
            Self::Llama3Json => &LLAMA,
            Self::Pythonic => &PYTHONIC,
            Self::Mistral => &TOOL_CALLS,
            Self::Qwen3Xml => &QWEN,
            Self::DeepSeekV3 | Self::DeepSeekV31 => &SEEK,
            Self::Granite => &GRANITE,
            Self::Phi4Mini => &PHI,
        }
    }
}
