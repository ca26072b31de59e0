//! The tokenizer of a model file.

use gimbal_model::TextData;
use gimbal_text::TokenizerData;

/// What a GGUF file says, as `gimbal-text` takes it.
#[must_use]
pub fn data(text: TextData) -> TokenizerData {
    TokenizerData {
        kind: text.kind,
        pre: text.pre,
        name: text.name,
        tokens: text.tokens,
        token_types: text.token_types,
        merges: text.merges,
        scores: text.scores,
        bos: text.bos,
        eos: text.eos,
        unk: text.unknown,
        pad: text.padding,
        add_bos: text.add_bos,
        add_eos: text.add_eos,
        eog: text.end_tokens,
        add_space_prefix: text.add_space_prefix,
        remove_extra_whitespaces: text.remove_extra_whitespaces,
        charsmap: text.charsmap,
    }
}
