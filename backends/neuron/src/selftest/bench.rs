//! With what a selftest compiles and runs.
//!
//! Next: `noise.rs`.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use crate::compile::NeuronxCc;
use crate::probe::{Chip, Environment};
use crate::runtime::Runtime;

/// Where a selftest finds what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The setting `libnrt`.
    pub libnrt: Option<&'a Path>,
    /// The setting `neuronx_cc`.
    pub neuronx_cc: Option<&'a Path>,
    /// PATH.
    pub search: Option<&'a OsStr>,
    /// `/`.
    pub root: &'a Path,
    /// What the environment says of cores.
    pub environment: &'a Environment,
    /// Where compiled programs are kept.
    pub cache: &'a Path,
    /// A folder that is not there, for a bundle that is gone afterwards.
    pub bundle: &'a Path,
    /// Times nothing.
    pub is_quick: bool,
}

/// What programs are compiled and run with.
pub(super) struct Bench<'a> {
    pub(super) runtime: Arc<Runtime>,
    pub(super) compiler: NeuronxCc,
    pub(super) chip: Chip,
    pub(super) lnc: u32,
    pub(super) asked: Asked<'a>,
}
