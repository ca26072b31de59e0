//! Answers that repeat their prompt: how much of it they may hold.
//!
//! Next: `stream.rs`.

use crate::fault::Fault;

/// Bytes of all copies of prompts in one answer; one copy is always allowed.
const COPIES_BYTES_MAX: usize = 4 << 20;

/// Refuses `field` where an answer would be little else than copies of its prompts.
pub(crate) fn check(field: &str, prompt_bytes: usize, choices: u16) -> Result<(), Fault> {
    let bytes = prompt_bytes.saturating_mul(usize::from(choices));
    if choices <= 1 || bytes <= COPIES_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::field(
        field,
        format!(
            "{choices} copies of {prompt_bytes} bytes of prompt would be more than \
             {COPIES_BYTES_MAX}; ask for fewer choices, or leave it out"
        ),
    ))
}
