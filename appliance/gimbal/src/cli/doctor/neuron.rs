//! What keeps Inferentia and Trainium from being used.
//!
//! Next: `serving.rs`.

use gimbal_hal::Probe;

use super::{Case, Finding, fail, ok};

/// Cores compute, or why not.
pub(super) fn cores(case: &Case) -> Finding {
    match &case.neuron {
        Probe::Found(cores) => {
            let first = cores.first();
            let name = first.map_or("", |core| &core.name);
            let driver = first.and_then(|core| core.driver.as_deref()).unwrap_or("driver unknown");
            ok(format!("{} × a core of {name}, {driver}", cores.len()))
        }
        Probe::Absent { why } => ok(why.clone()),
        // The reason says what to do about it.
        Probe::Broken { why } => {
            fail(why.clone(), "mend that; until then serve with --backend onnx on the CPU")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_reason_fails_and_no_device_does_not() {
        let (_folder, mut case) = Case::of("inf2.xlarge-without-driver", &[]);
        assert_eq!(cores(&case).status, Status::Ok);
        let why = "1 × inf2 on the PCI bus, and no driver: install aws-neuronx-dkms";
        case.neuron = Probe::Broken { why: why.to_owned() };
        let found = cores(&case);
        assert_eq!((found.status, found.finding.as_str()), (Status::Fail, why));
        assert!(found.remedy.is_some_and(|remedy| remedy.contains("--backend onnx")));
        let planned = gimbal_neuron::planned("inf2.xlarge", gimbal_neuron::probe::Chip::Inf2, 1);
        case.neuron = Probe::Found(planned);
        let found = cores(&case);
        assert_eq!(found.finding, "2 × a core of Inferentia2 of inf2.xlarge, driver unknown");
    }
}
