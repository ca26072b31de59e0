//! How much text one token can stand for at most: refuses the hopeless before encoding.
//!
//! Only what is known not to drop text has a bound. Next: `written.rs`.

use serde_json::Value;

/// NFC makes text shorter by this factor at most: NFD of a text has at least a third of its bytes
/// (U+212A is `K`), and at most three times those of its NFC.
///
/// **Source**: UAX #15, table of worst-case expansion factors (NFD, UTF-8).
const NFC_SHRINKS: usize = 9;

/// By which factor a normaliser and a pre-tokenizer make text shorter at most; `None` if unknown.
pub(super) fn shrinks(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Option<usize> {
    let keeps = |step: &Value| match kind(step)? {
        "ByteLevel" | "Digits" | "Metaspace" => Some(()),
        "Split" => (step["behavior"] != "Removed").then_some(()),
        _ => None,
    };
    steps(pre_tokenizer, "pretokenizers").try_for_each(keeps)?;
    let factor = |step: &Value| match kind(step)? {
        "NFC" => Some(NFC_SHRINKS),
        "Prepend" => Some(1),
        "Replace" => {
            let (from, to) = (step["pattern"]["String"].as_str()?, step["content"].as_str()?);
            (!to.is_empty()).then(|| from.len().div_ceil(to.len()).max(1))
        }
        _ => None,
    };
    let mut factors = steps(normalizer, "normalizers").map(factor);
    factors.try_fold(1_usize, |product, factor| product.checked_mul(factor?))
}

/// Whether words become bytes, each a character of the byte alphabet.
pub(super) fn is_byte_level(pre_tokenizer: Option<&Value>) -> bool {
    steps(pre_tokenizer, "pretokenizers").any(|step| kind(step) == Some("ByteLevel"))
}

fn kind(step: &Value) -> Option<&str> {
    step["type"].as_str()
}

/// The steps of a sequence, or the one step there is. A sequence in a sequence is a step.
fn steps<'v>(value: Option<&'v Value>, field: &str) -> impl Iterator<Item = &'v Value> {
    let many = value.and_then(|v| v[field].as_array());
    let one = value.filter(|v| many.is_none() && !v.is_null());
    many.into_iter().flatten().chain(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_may_drop_text_has_no_bound() {
        let byte_level = json!({"type": "ByteLevel"});
        let removed = json!({"type": "Split", "behavior": "Removed"});
        let words = json!({"type": "Sequence", "pretokenizers": [byte_level, removed]});
        assert_eq!(shrinks(None, None), Some(1));
        assert_eq!(shrinks(None, Some(&byte_level)), Some(1));
        assert_eq!(shrinks(None, Some(&words)), None);
        assert_eq!(shrinks(Some(&json!({"type": "Strip"})), None), None);
        let replace = |from: &str, to: &str| {
            let pattern = json!({"String": from});
            json!({"type": "Replace", "pattern": pattern, "content": to})
        };
        let both = json!({"type": "Sequence", "normalizers": [
            {"type": "NFC"}, replace(" ", "▁"), replace("aaa", "bb")]});
        assert_eq!(shrinks(Some(&both), None), Some(NFC_SHRINKS * 2));
        assert_eq!(shrinks(Some(&replace("a", "")), None), None);
    }
}
