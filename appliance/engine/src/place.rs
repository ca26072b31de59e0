//! On what a model runs, for people: the engine reads none of it.
//!
//! Next: `registry.rs`.

/// Where a model is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Version of the binary.
    pub version: String,
    /// The platform's name.
    pub platform: String,
    /// The first device by the vendor's name.
    pub device: String,
    /// It answers from hashes, not from a model.
    pub is_simulated: bool,
    /// Stable ids of each lane's devices.
    pub lanes: Vec<Vec<String>>,
    /// Platforms that were asked before, and why each was passed over.
    pub passed: Vec<(String, String)>,
}
