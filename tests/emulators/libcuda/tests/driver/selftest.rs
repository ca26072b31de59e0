//! `gimbal selftest --cuda` on emulated machines, as the binary runs it.

use gimbal_cuda::selftest::{CASES, Report, Verdict, run};

use super::process::{library, on};

/// All devices of a machine; every row is emulated.
fn reports() -> Vec<Report> {
    let mut told = 0;
    let reports = run(Some(&library()), false, &mut |_, _| told += 1).expect("devices");
    for report in &reports {
        assert!(report.is_emulated && report.device.starts_with("EMULATED "), "{}", report.device);
        for row in &report.rows {
            assert_eq!(row.verdict, Verdict::Emulated, "{}", row.name);
            assert_eq!(row.time, None, "{}", row.name);
        }
    }
    assert_eq!(told, reports.iter().map(|report| report.rows.len()).sum::<usize>());
    reports
}

#[test]
fn a_t4_with_r470_passes_in_f16() {
    let machine = "name = \"Tesla T4\"\nsm = 75\ndriver = 11040\norder = \"last\"";
    on(machine, "selftest::a_t4_with_r470_passes_in_f16", || {
        let [report] = &reports()[..] else { panic!("one device") };
        assert_eq!([&*report.capability, &*report.driver], ["7.5", "11.4"]);
        assert!(report.rows.iter().all(|row| row.dtype != Some("bf16")), "{report:?}");
        assert!(report.rows.len() > CASES.len() + 10, "kernels, steps, and what would be timed");
    });
}

#[test]
fn later_devices_pass_in_both_types() {
    let machine = "devices = 2\nsm = 90\ndriver = 12020";
    on(machine, "selftest::later_devices_pass_in_both_types", || {
        let reports = reports();
        assert_eq!(reports.len(), 2);
        for dtype in ["bf16", "f16"] {
            let of_type = reports[1].rows.iter().filter(|row| row.dtype == Some(dtype));
            assert!(of_type.count() > CASES.len(), "{dtype}");
        }
    });
}

#[test]
fn a_launch_that_fails_is_a_row_that_failed() {
    let machine = "sm = 80\n[[fail]]\ncall = \"cuLaunchKernel\"\nat = 30\ncode = 719";
    on(machine, "selftest::a_launch_that_fails_is_a_row_that_failed", || {
        let reports = run(Some(&library()), true, &mut |_, _| {}).expect("a device");
        let mut failed = reports[0].failed();
        let Some(Verdict::Failed(why)) = failed.next().map(|row| row.verdict.clone()) else {
            panic!("{:?}", reports[0])
        };
        assert!(why.contains("CUDA_ERROR_LAUNCH_FAILED (719)"), "{why}");
    });
}

#[test]
fn no_device_is_a_reason() {
    on("devices = 0", "selftest::no_device_is_a_reason", || {
        let why = run(Some(&library()), true, &mut |_, _| {}).expect_err("there is none");
        assert!(why.contains("CUDA_ERROR_NO_DEVICE (100)"), "{why}");
        assert!(why.contains("container toolkit"), "{why}");
    });
}
