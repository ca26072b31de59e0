//! What a selftest tells.
//!
//! Next: `../driver/mod.rs`.

use serde::Serialize;

/// What became of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "why")]
pub enum Verdict {
    /// Computed on this device, and equal to f64 within what is allowed.
    Verified,
    /// The same on an emulated device, which says nothing of a real one.
    Emulated,
    /// Timed on this device; nothing was compared.
    #[default]
    Measured,
    /// It differs, or the device refused.
    Failed(String),
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The kernel, or what was measured.
    pub name: String,
    /// The type of weights and activations, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<&'static str>,
    /// Its shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The largest error, in units of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<f64>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// A duration, beside what the device can do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    /// Seconds of one launch, or of a step: the median.
    pub seconds: f64,
    /// Bytes that must be read or written.
    pub bytes: u64,
    /// Operations of floating point that must be done.
    pub flops: u64,
    /// Bytes a second beside those of the device's own copy.
    pub share_of_copy: f64,
    /// Operations a second, in 10^12.
    pub tflops: f64,
}

/// A device's rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub device: String,
    /// Its compute capability.
    pub capability: String,
    /// CUDA version of its driver.
    pub driver: String,
    /// Which of our modules ran.
    pub image: String,
    /// True if no device was there: its name says so, too.
    pub is_emulated: bool,
    /// In the order in which they ran.
    pub rows: Vec<Row>,
}

impl Report {
    /// Rows that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed(_)))
    }
}
