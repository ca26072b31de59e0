//! What a GGUF file says about its tokenizer, and whether it makes sense.
//!
//! Nothing is encoded here. What is known by names alone is in `traits.rs`. Next: `tokenizer.rs`.

use crate::TextError;
use crate::alphabet::byte_alphabet;
use crate::traits;

/// GGUF `tokenizer.ggml.token_type` values; 2 (unknown) is treated as control.
pub(crate) mod kind {
    pub(crate) const NORMAL: i32 = 1;
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const CONTROL: i32 = 3;
    pub(crate) const USER_DEFINED: i32 = 4;
    pub(crate) const UNUSED: i32 = 5;
    pub(crate) const BYTE: i32 = 6;
}

/// What a model file says about its tokenizer, as plain data.
#[derive(Clone, Debug, Default)]
pub struct TokenizerData {
    /// GGUF `tokenizer.ggml.model`; `gpt2`, `llama` or `t5`.
    pub kind: String,
    /// GGUF `tokenizer.ggml.pre`: how text is cut into words.
    pub pre: String,
    /// GGUF `general.name`: some models' tokens have traits that no key holds.
    pub name: String,
    /// Tokens as the vocabulary writes them; the index is the id.
    pub tokens: Vec<String>,
    /// GGUF token types, one for each token; empty means that all are normal.
    pub token_types: Vec<i32>,
    /// Merges in order of rank, each `left right`.
    pub merges: Vec<String>,
    /// Scores, one for each token; `gpt2` has none.
    pub scores: Vec<f32>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Stands for what cannot be written.
    pub unk: Option<u32>,
    /// Fills rows.
    pub pad: Option<u32>,
    /// Whether an encoded text begins with `bos`.
    pub add_bos: bool,
    /// Whether an encoded text ends with `eos`.
    pub add_eos: bool,
    /// More tokens that end generation (`eot`, `eom`).
    pub eog: Vec<u32>,
    /// GGUF `tokenizer.ggml.add_space_prefix`; not for `gpt2`.
    pub add_space_prefix: bool,
    /// GGUF `tokenizer.ggml.remove_extra_whitespaces`; for `t5`.
    pub remove_extra_whitespaces: bool,
    /// GGUF `tokenizer.ggml.precompiled_charsmap`; for `t5`, empty where there is none.
    pub charsmap: Vec<u8>,
}

impl TokenizerData {
    /// A vocabulary of the 256 bytes, then `<|im_start|>` (256) and `<|im_end|>` (257): for models
    /// without a vocabulary, such as the simulator.
    #[must_use]
    pub fn byte_level() -> Self {
        let mut written = byte_alphabet();
        written.sort_by_key(|(byte, _)| *byte);
        let mut tokens: Vec<String> = written.iter().map(|(_, c)| c.to_string()).collect();
        tokens.extend(["<|im_start|>".to_owned(), "<|im_end|>".to_owned()]);
        let mut token_types = vec![kind::NORMAL; 256];
        token_types.extend([kind::CONTROL; 2]);
        Self {
            kind: "gpt2".into(),
            pre: "gpt-2".into(),
            tokens,
            token_types,
            bos: Some(256),
            eos: Some(257),
            ..Self::default()
        }
    }

    /// GGUF type of a token; the text of some says more than their file.
    pub(crate) fn kind_of(&self, id: u32) -> i32 {
        let said = self.token_types.get(id as usize).copied().unwrap_or(kind::NORMAL);
        let text = self.tokens.get(id as usize).map_or("", String::as_str);
        traits::kind_by_text(text).unwrap_or(said)
    }

    /// Normal and user-defined tokens with their scores: what text may become, and never a control
    /// token.
    pub(crate) fn scored(&self) -> impl Iterator<Item = (u32, &str, f32)> {
        let tokens = (0_u32..).zip(self.tokens.iter().zip(&self.scores));
        let tokens = tokens.map(|(id, (token, score))| (id, token.as_str(), *score));
        tokens.filter(|(id, token, _)| {
            matches!(self.kind_of(*id), kind::NORMAL | kind::USER_DEFINED) && !token.is_empty()
        })
    }

    /// Tokens that end generation, in ascending order.
    pub(crate) fn end_tokens(&self) -> Vec<u32> {
        let named = (0_u32..).zip(&self.tokens).map(|(id, text)| (id, text.as_str()));
        let mut ids = traits::ends_by_text(named, true);
        ids.extend(self.eos.iter().chain(&self.eog));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// # Errors
    /// The data contradicts itself.
    pub(crate) fn check(&self) -> Result<(), TextError> {
        let tokens = self.tokens.len();
        if tokens == 0 {
            return Err(TextError::broken("tokenizer.ggml.tokens is empty"));
        }
        let types = self.token_types.len();
        if types != 0 && types != tokens {
            return Err(TextError::broken(format!("{types} token types for {tokens} tokens")));
        }
        let scores = self.scores.len();
        if self.kind != "gpt2" && scores != tokens {
            return Err(TextError::broken(format!("{scores} scores for {tokens} tokens")));
        }
        let named =
            [("bos", self.bos), ("eos", self.eos), ("unknown", self.unk), ("padding", self.pad)];
        let named = named.into_iter().filter_map(|(name, id)| Some((name, id?)));
        for (name, id) in named.chain(self.eog.iter().map(|id| ("end of generation", *id))) {
            if id as usize >= tokens {
                let why = format!("{name} token {id} is not one of {tokens} tokens");
                return Err(TextError::broken(why));
            }
        }
        Ok(())
    }
}

/// `<0x0A>` to its byte.
pub(crate) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}
