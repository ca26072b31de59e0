//! Why a call is refused: a status, and words for people on stderr. Next: `neff.rs`.

use neuron_sys::Status;

/// How every line on stderr begins.
pub(crate) const PREFIX: &str = "EMULATED libnrt";

/// A status that is not success, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the call answers.
    pub(crate) status: Status,
    /// Why.
    pub(crate) why: String,
}

/// What a function comes to.
pub(crate) type Answer<T = ()> = Result<T, Refusal>;

/// Refuses.
pub(crate) fn refuse<T>(status: Status, why: impl Into<String>) -> Answer<T> {
    Err(Refusal { status, why: why.into() })
}

/// Says something about a call on stderr.
pub(crate) fn tell(call: &str, why: &str) {
    eprintln!("{PREFIX}: {call}: {why}");
}
