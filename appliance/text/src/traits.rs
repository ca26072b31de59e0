//! Traits of tokens that no key of a file holds and that are known by a token's text or a model's
//! name: what ends generation, what is a control token, what takes the blanks beside it along.
//!
//! Nothing is encoded here. **Source**: llama.cpp `llama-vocab.cpp`, `impl::load`: "auto-detect
//! special tokens by text", "tokens that cause end-of-generation", "per token attributes". Next:
//! `data.rs`.

use crate::data::kind;

/// Tokens that end a turn or a text in the families we know, whatever a file says of them.
const ENDS: &[&str] = &[
    "<|endoftext|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "</s>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens that end what is filled in (padding, the next file of a repository): of GGUF files alone.
const FILL_ENDS: &[&str] = &[
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Tokens around what is filled in, which are control tokens and end nothing.
const FILLS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];

/// Tokens of gpt-oss that are always part of the text.
const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// What is done with blanks beside a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strips {
    pub(crate) left: bool,
    pub(crate) right: bool,
}

/// The GGUF type that a token's text alone decides.
pub(crate) fn kind_by_text(text: &str) -> Option<i32> {
    // Of most tokens the first letter is enough.
    if !text.starts_with(['<', '[', '_', '▁']) {
        return None;
    }
    if SHOWN.contains(&text) {
        return Some(kind::USER_DEFINED);
    }
    let is_control = [ENDS, FILL_ENDS, FILLS].iter().any(|list| list.contains(&text));
    is_control.then_some(kind::CONTROL)
}

/// Whether a merge, `left right`, has or makes a token that its text makes a control token.
pub(crate) fn makes_control(merge: &str) -> bool {
    if !merge.starts_with(['<', '[', '_', '▁']) {
        return false;
    }
    let Some((left, right)) = merge.split_once(' ') else { return false };
    [left, right, &format!("{left}{right}")].into_iter().any(|text| kind_by_text(text).is_some())
}

/// Tokens that end generation by their text, in order; of GGUF files also those that end what is
/// filled in.
pub(crate) fn ends_by_text<'t>(
    tokens: impl Iterator<Item = (u32, &'t str)>,
    is_gguf: bool,
) -> Vec<u32> {
    let is_end = |text: &str| ENDS.contains(&text) || (is_gguf && FILL_ENDS.contains(&text));
    let mut found: Vec<(u32, &str)> = tokens.filter(|(_, text)| is_end(text)).collect();
    let has = |text: &str| found.iter().any(|(_, other)| *other == text);
    // Where a turn has several parts, this one ends a part.
    let parts = has("<|return|>") && has("<|call|>");
    let parts = parts || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
    // There the end of the text is another token.
    let other_end = has("<|tool_response>");
    found.retain(|(_, text)| match *text {
        "<|end|>" => !parts,
        "</s>" => !other_end,
        _ => true,
    });
    found.into_iter().map(|(id, _)| id).collect()
}

/// What a token does with the blanks beside it, by the model's name.
pub(crate) fn strips(model: &str, text: &str, kind: i32) -> Strips {
    let model = model.to_lowercase();
    let none = Strips::default();
    if model.contains("phi-3") || model.contains("phi3") {
        let is_special = [kind::CONTROL, kind::USER_DEFINED, kind::UNKNOWN].contains(&kind);
        let keeps = ["<unk>", "<s>", "<|endoftext|>"].contains(&text);
        return Strips { right: (is_special || text == "</s>") && !keeps, ..none };
    }
    // The others of that list read no text of ours: their vocabularies are of kinds that only
    // embed. Those that could come along take the blanks before a mask.
    let masks = model.contains("modern-bert") && text == "[MASK]";
    Strips { left: masks, ..none }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_decides_a_kind() {
        let check = |text: &str, expect: Option<i32>| assert_eq!(kind_by_text(text), expect);
        for end in ENDS.iter().chain(FILL_ENDS).chain(FILLS) {
            check(end, Some(kind::CONTROL));
        }
        check("<|message|>", Some(kind::USER_DEFINED));
        check("<think>", None);
        check("hello", None);
        check("", None);
    }

    #[test]
    fn what_ends_depends_on_the_others() {
        let check = |tokens: &[&str], is_gguf: bool, expect: &[u32]| {
            let tokens = (0_u32..).zip(tokens.iter().copied());
            assert_eq!(ends_by_text(tokens, is_gguf), expect);
        };
        check(&["a", "<|end|>", "</s>"], true, &[1, 2]);
        check(&["<|end|>", "<|return|>", "<|call|>"], true, &[1, 2]);
        check(&["<|end|>", "<|return|>"], true, &[0, 1]);
        check(&["<|end|>", "<|flush|>", "<|calls|>"], true, &[1, 2]);
        check(&["</s>", "<|tool_response>", "<turn|>"], true, &[1, 2]);
        check(&["<|fim_pad|>", "<|file_sep|>", "<|im_end|>"], true, &[0, 1, 2]);
        check(&["<|fim_pad|>", "<|file_sep|>", "<|im_end|>"], false, &[2]);
    }

    #[test]
    fn a_name_decides_about_blanks() {
        let check = |model: &str, text: &str, kind: i32, left: bool, right: bool| {
            assert_eq!(strips(model, text, kind), Strips { left, right }, "{model} {text}");
        };
        for model in ["Phi-3-mini-4k-instruct", "my PHI3 mix", "phi-3.5"] {
            check(model, "<|user|>", kind::CONTROL, false, true);
            check(model, "<tool>", kind::USER_DEFINED, false, true);
            check(model, "</s>", kind::NORMAL, false, true);
            check(model, "<|endoftext|>", kind::CONTROL, false, false);
            check(model, "<s>", kind::CONTROL, false, false);
            check(model, "<unk>", kind::UNKNOWN, false, false);
            check(model, "a", kind::NORMAL, false, false);
        }
        check("Phi-4", "<|user|>", kind::CONTROL, false, false);
        check("modern-bert-base", "[MASK]", kind::CONTROL, true, false);
        check("bert", "[MASK]", kind::CONTROL, false, false);
    }
}
