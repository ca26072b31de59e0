//! What a selftest tells.
//!
//! Next: `../runtime/mod.rs`.

use serde::Serialize;

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "why")]
pub enum Verdict {
    /// Computed on this device, and equal to the processor's within what is allowed.
    Verified,
    /// The same by an emulated runtime, which says nothing of a chip.
    Emulated,
    /// Timed on this device; nothing was compared.
    Measured,
    /// It differs, or something refused.
    Failed(String),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was computed.
    pub name: String,
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

/// How long something takes, and how many bytes it moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    /// The median, in seconds.
    pub seconds: f64,
    /// Bytes that are written or read; 0 where they do not matter.
    pub bytes: u64,
}

/// A device's rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What AWS calls the chip; `EMULATED` stands before it where there is none.
    pub device: String,
    /// What the firmware calls the machine.
    pub instance: Option<String>,
    /// Version of its driver.
    pub driver: Option<String>,
    /// Version of libnrt, and what it says of its build.
    pub runtime: String,
    /// Version of neuronx-cc.
    pub compiler: String,
    /// Logical cores of this process.
    pub cores: u32,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// True if no chip was there.
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

impl Row {
    /// Of the largest error, or of what went wrong.
    pub(super) fn judged(name: &str, is_emulated: bool, outcome: Result<f64, String>) -> Self {
        let (verdict, worst) = match outcome {
            Ok(worst) if is_emulated => (Verdict::Emulated, Some(worst)),
            Ok(worst) => (Verdict::Verified, Some(worst)),
            Err(why) => (Verdict::Failed(why), None),
        };
        Self { name: name.to_owned(), verdict, worst, time: None }
    }

    /// Of a time, which on an emulated runtime is none.
    pub(super) fn timed(name: &str, is_emulated: bool, time: Time) -> Self {
        let (verdict, time) = match is_emulated {
            true => (Verdict::Emulated, None),
            false => (Verdict::Measured, Some(time)),
        };
        Self { name: name.to_owned(), verdict, worst: None, time }
    }
}
