//! Whether the host's processor may take the place of an accelerator that cannot be used.
//!
//! Somebody who pays for an accelerator wants to know that it stands idle: under SageMaker the boot ends
//! with the reason, elsewhere it goes on and says so.

use gimbal_machine::{Imds, Machine};

use super::plan::NotHere;
use crate::config::{Fallback, Process};
use crate::failure::Failure;

/// Asked before the host's own platform is tried.
///
/// # Errors
/// There is an accelerator, and the CPU shall not take its place.
pub(super) fn check(
    process: &Process,
    passed: &[(String, NotHere)],
    is_elsewhere: bool,
) -> Result<(), Failure> {
    // Whoever named the CPU, or plans for another machine, has decided.
    if process.backend.is_some() || is_elsewhere || process.fallback == Fallback::Allow {
        return Ok(());
    }
    let machine = Machine::here(Imds::Never);
    let sagemaker = machine.identity.sagemaker.as_deref();
    let why = match (process.fallback, sagemaker) {
        (Fallback::Refuse, _) => "devices_fallback = refuse".to_owned(),
        (_, Some(why)) => format!("under SageMaker ({why}) the CPU takes no accelerator's place"),
        _ => return Ok(()),
    };
    let on_bus = machine.accelerators.iter().map(ToString::to_string);
    let tried = passed.iter().filter(|(_, not)| not.is_there);
    let tried = tried.map(|(name, not)| format!("{name}: {}", not.why));
    let there: Vec<String> = on_bus.chain(tried).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(Failure::unavailable(format!(
        "an accelerator is there and cannot be used, and {why}: {}; mend it, or set \
         --devices-fallback allow (or --backend onnx) to compute on the CPU",
        there.join("; ")
    )))
}
