//! Why a model does not run where it should.
//!
//! Next: `profile.rs`.

/// Why a model cannot run on a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too little memory.
    #[error(
        "the model needs {need_bytes} bytes ({what}) and {have_bytes} are available ({have_why}); \
         use a smaller model or a larger machine, or lower {setting}"
    )]
    Memory {
        /// Bytes needed.
        need_bytes: u64,
        /// Bytes available.
        have_bytes: u64,
        /// What limits them.
        have_why: String,
        /// What they are for.
        what: String,
        /// The setting that lowers the need.
        setting: &'static str,
    },
    /// The model uses something the platform cannot compute.
    #[error("{platform} cannot compute {what}")]
    Op {
        /// The platform.
        platform: &'static str,
        /// The op, type or shape, and where it stands.
        what: String,
    },
    /// What was compiled of the model for these devices is missing, or is for something else.
    #[error("{why}")]
    Compiled {
        /// What is missing or wrong, and which commands mend it.
        why: String,
    },
    /// A setting cannot be met.
    #[error("{setting} = {value}: {why}")]
    Setting {
        /// The setting's key.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Why not, and what would do.
        why: String,
    },
}
