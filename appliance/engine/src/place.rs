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
    /// Of what the model is made.
    pub made: Made,
}

/// Of what a model is made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Bytes of its files, or of its weights where they lie in several.
    pub bytes: u64,
    /// Numbers in its weights.
    pub parameters: u64,
    /// The format of its files; empty where there are none.
    pub format: &'static str,
    /// The type of most of its bytes, as ggml calls it.
    pub dtype: &'static str,
}
