//! placeholder until the http crate lands in this tree
use crate::failure::Failure;
use gimbal_settings::Settings;
use std::path::Path;
pub(crate) fn run(_: &Settings, _: &Path) -> Result<(), Failure> {
    Err(Failure::usage("x"))
}
