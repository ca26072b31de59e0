//! `gimbal selftest --neuron` on emulated machines, as the binary runs it.

#[path = "contract/process.rs"]
#[expect(dead_code, reason = "what only the emulator's own tests need")]
mod process;

use std::fs;
use std::path::Path;

use gimbal_neuron::probe::Environment;
use gimbal_neuron::selftest::{Asked, Report, Verdict, run};
use process::{assert_clean, folder, library, on};

/// The rows of a machine; each is heard of as it comes.
fn report(name: &str, libnrt: &Path, compiler: &Path) -> Result<Report, String> {
    let folder = folder(&format!("selftest-{name}"));
    let cache = folder.join("cache");
    fs::create_dir_all(&cache).expect("a folder");
    let environment = Environment::of_process();
    let asked = Asked {
        libnrt: Some(libnrt),
        neuronx_cc: Some(compiler),
        search: None,
        // No machine's files: what there is the runtime tells.
        root: &folder,
        environment: &environment,
        cache: &cache,
        bundle: &folder.join("bundle"),
        is_quick: false,
    };
    let mut told = Vec::new();
    let found = run(asked, &mut |_, row| told.push(row.clone()));
    if let Ok(report) = &found {
        assert_eq!(told, report.rows);
        assert!(!folder.join("bundle").exists(), "nothing is left of the model");
    }
    fs::remove_dir_all(folder).expect("ours");
    found
}

fn emulated(name: &str) -> Report {
    let compiler = Path::new(env!("CARGO_BIN_EXE_neuronx-cc"));
    let report = report(name, &library(), compiler).expect("a report");
    assert!(report.is_emulated && report.device.starts_with("EMULATED "), "{report:?}");
    assert!(report.runtime.contains("EMULATOR") && report.compiler.contains("FAKE"), "{report:?}");
    // A machine that is none has nothing to time.
    assert!(report.rows.iter().all(|row| row.time.is_none()), "{report:?}");
    report
}

fn passes(name: &str, device: &str, rows: usize) {
    let report = emulated(name);
    assert_eq!(report.device, device);
    assert_eq!(report.rows.len(), rows, "{report:?}");
    let compared = report.rows.iter().filter(|row| row.worst.is_some()).count();
    assert_eq!(compared, 3 + report.cores.min(2) as usize, "{report:?}");
    for row in &report.rows {
        assert_eq!(row.verdict, Verdict::Emulated, "{}", row.name);
        assert!(row.worst.is_none_or(|worst| worst < 0.9), "{row:?}");
    }
}

#[test]
fn two_cores_pass_alone_and_together() {
    assert_clean(on("", "two_cores_pass_alone_and_together", || {
        passes("inf2", "EMULATED Inferentia2", 10);
    }));
}

#[test]
fn logical_cores_of_two_pass() {
    let script = "instance = \"trn2.3xlarge\"\nlnc = 2\ncores = 1";
    assert_clean(on(script, "logical_cores_of_two_pass", || {
        passes("trn2", "EMULATED Trainium2", 8);
    }));
}

/// The row of this name failed, with these words; how many failed in all.
fn fails(name: &str, row: &str, words: &str) -> usize {
    let report = emulated(name);
    let found = report.failed().find(|failed| failed.name.contains(row));
    let Some(Verdict::Failed(why)) = found.map(|row| row.verdict.clone()) else {
        panic!("{report:?}")
    };
    assert!(why.contains(words), "{why}");
    report.failed().count()
}

/// The first execution computes nothing and says that it did.
#[test]
fn a_result_that_was_not_computed_is_a_row_that_failed() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 1, status = 0 }]";
    on(script, "a_result_that_was_not_computed_is_a_row_that_failed", || {
        assert_eq!(fails("wrong", "product of bf16", "y[0] is NaN, not "), 1);
    });
}

/// The cache's second execution is left out: what it should have written is not there.
#[test]
fn a_cache_that_was_not_written_is_a_row_that_failed() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 4, status = 0 }]";
    on(script, "a_cache_that_was_not_written_is_a_row_that_failed", || {
        assert_eq!(fails("cache", "a cache that lies", "cache[16] is "), 1);
    });
}

/// A step of the model in which nothing happens: the token is none, or not the best.
#[test]
fn a_step_that_was_not_computed_is_a_row_that_failed() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 5, status = 0 }]";
    on(script, "a_step_that_was_not_computed_is_a_row_that_failed", || {
        assert_eq!(fails("step", "model made in memory", ""), 1);
    });
}

#[test]
fn what_the_runtime_refuses_is_told_in_its_row() {
    let script = "fail = [{ call = \"nrt_load\", nth = 2, status = 10 }]";
    on(script, "what_the_runtime_refuses_is_told_in_its_row", || {
        let words = "compile with the compiler of the installed Neuron SDK";
        assert_eq!(fails("load", "exponentials", words), 1);
    });
}

#[test]
fn what_is_missing_is_told() {
    let compiler = Path::new(env!("CARGO_BIN_EXE_neuronx-cc"));
    let nothing = Path::new("/nothing");
    let why = report("nothing", nothing, compiler).expect_err("no library and no chip");
    assert!(why.starts_with("no Neuron device on the PCI bus"), "{why}");
    on("", "what_is_missing_is_told", || {
        let why = report("compiler", &library(), Path::new("/bin/false"));
        let why = why.expect_err("no compiler");
        assert!(why.starts_with("the selftest compiles small programs of its own, and "), "{why}");
    });
}
