//! What an answer in LMI's schema shows, and what of the request it repeats.
//!
//! Next: `response.rs`.

use crate::copies;
use crate::fault::Fault;

/// What the parameters ask of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) details: bool,
    pub(crate) prefill: bool,
    pub(crate) full_text: bool,
    /// Alternatives to each token.
    pub(crate) top: u8,
    /// As TGI shows it.
    pub(crate) tgi: bool,
}

impl Shown {
    /// Refuses answers that are little else than many copies of a long input.
    pub(crate) fn check_copies(self, texts: &[String], choices: u16) -> Result<(), Fault> {
        if !self.full_text {
            return Ok(());
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        copies::check("parameters.return_full_text", bytes, choices)
    }
}

/// One input, as answers repeat it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) text: String,
    /// Its tokens.
    pub(crate) prompt: Vec<u32>,
    /// What decided all randomness, also where nobody chose it.
    pub(crate) seed: i64,
}
