//! What is told of machines by their files alone, each a tree of `machines/`.

#[path = "../../../appliance/machine/tests/fixture/mod.rs"]
#[expect(dead_code, reason = "trees of other machines are another crate's")]
mod fixture;

use std::path::Path;

use fixture::Folder;
use gimbal_neuron::probe::{Chip, Environment, Facts, Reason, probe};
use gimbal_neuron::sysfs::{self, Memory, Power, Readings};

/// This process, of which the trees know.
const PID: u32 = 77;

fn machine(names: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in names {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/machines/{name}.tree"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        folder.expand(&text);
    }
    folder
}

/// `NEURON_LOGICAL_NC_CONFIG`, `NEURON_RT_VISIBLE_CORES` and `NEURON_RT_NUM_CORES`.
fn environment(lnc: &str, visible: &str, count: &str) -> Environment {
    let [lnc, visible_cores, core_count] =
        [lnc, visible, count].map(|value| Some(value.to_owned()).filter(|v| !v.is_empty()));
    Environment { lnc, visible_cores, core_count, pid: PID }
}

fn told(names: &[&str], environment: &Environment) -> Result<Facts, Reason> {
    probe(&machine(names).0, environment)
}

/// What a row of a table compares.
fn summary(facts: &Facts) -> String {
    let read = facts.devices.iter().filter(|device| device.is_read).count();
    let physical: u32 = facts.devices.iter().map(|device| device.cores).sum();
    let gib: u64 = facts.devices.iter().map(|device| device.memory_bytes >> 30).sum();
    format!(
        "{}: {} of {} devices read, {physical} cores, {gib} GiB, lnc {}, {} logical, {:?}",
        facts.chip,
        read,
        facts.devices.len(),
        facts.lnc,
        facts.cores,
        facts.visible
    )
}

#[test]
fn machines_are_told_by_their_files() {
    let cases = [
        ("inf2.xlarge", "", "inf2: 1 of 1 devices read, 2 cores, 32 GiB, lnc 1, 2 logical, 0..2"),
        (
            "inf2.48xlarge",
            "1",
            "inf2: 12 of 12 devices read, 24 cores, 384 GiB, lnc 1, 24 logical, 0..24",
        ),
        (
            "trn1.32xlarge",
            "",
            "trn1: 0 of 16 devices read, 32 cores, 512 GiB, lnc 1, 32 logical, 0..32",
        ),
        (
            "trn2.48xlarge",
            "",
            "trn2: 16 of 16 devices read, 128 cores, 1536 GiB, lnc 2, 64 logical, 0..64",
        ),
        (
            "trn2.48xlarge",
            "1",
            "trn2: 16 of 16 devices read, 128 cores, 1536 GiB, lnc 1, 128 logical, 0..128",
        ),
    ];
    for (name, lnc, expect) in cases {
        let facts = told(&[name], &environment(lnc, "", "")).expect(name);
        assert_eq!(summary(&facts), expect);
        assert_eq!(facts.product.as_deref(), Some(name));
    }
}

#[test]
fn what_a_person_should_know_is_noted() {
    let facts = told(&["inf2.xlarge"], &environment("", "", "")).expect("a device");
    assert_eq!(facts.notes, Vec::<String>::new());
    assert_eq!(facts.driver.as_deref(), Some("2.31.7.0"));
    assert_eq!(facts.devices[0].connected, Some(vec![]));

    let facts = told(&["trn1.32xlarge"], &environment("", "", "")).expect("devices");
    assert_eq!(facts.notes, ["cores of a device by what is known of trn1: 2"]);
    assert_eq!(facts.devices[3].connected, None);

    let facts = told(&["trn2.48xlarge"], &environment("", "", "")).expect("devices");
    assert_eq!(facts.devices[3].connected, Some(vec![12, 3, 4, 1]));

    let folder = machine(&["inf2.48xlarge"]);
    for number in [3, 11] {
        std::fs::remove_file(folder.0.join(format!("dev/neuron{number}"))).expect("it was there");
    }
    std::fs::remove_dir_all(folder.0.join("sys/devices/virtual/neuron_device/neuron5"))
        .expect("there");
    let facts = probe(&folder.0, &environment("", "", "")).expect("the others");
    assert_eq!(facts.cores, 18);
    let expect =
        ["no node in /dev for devices 3, 11", "12 devices on the PCI bus, and the driver has 11"];
    assert_eq!(facts.notes, expect);
}

#[test]
fn who_else_has_a_device_open_is_told_and_stops_nothing() {
    let facts = told(&["inf2.xlarge", "busy"], &environment("", "", "")).expect("a device");
    assert_eq!(facts.devices[0].holders, [4242]);
    assert_eq!(facts.notes.len(), 1);
    let note = &facts.notes[0];
    assert!(note.starts_with("process 4242 (python3) has /dev/neuron0 open: "), "{note}");
    assert!(note.contains("NEURON_RT_VISIBLE_CORES"), "{note}");
}

#[test]
fn where_nothing_can_be_used_the_reason_says_what_to_do() {
    let cases: [(&[&str], Environment, &[&str]); 10] = [
        (&[], environment("", "", ""), &["no Neuron device on the PCI bus"]),
        (&["driverless"], environment("", "", ""), &["1 × inf2", "aws-neuronx-dkms", "modprobe"]),
        (&["container"], environment("", "", ""), &["6 × inf2", "/dev/neuron5", "--device"]),
        (&["inf1.6xlarge"], environment("", "", ""), &["4 × inf1", "neuron-cc", "processor"]),
        (
            &["inf2.xlarge", "trn2.48xlarge"],
            environment("", "", ""),
            &["inf2 and trn2", "no instance has both"],
        ),
        (
            &["inf2.xlarge"],
            environment("2", "", ""),
            &["NEURON_LOGICAL_NC_CONFIG = \"2\"", "must be 1 on inf2"],
        ),
        (&["trn2.48xlarge"], environment("3", "", ""), &["must be 1 or 2 on trn2"]),
        (
            &["inf2.xlarge"],
            environment("", "1-2", ""),
            &["NEURON_RT_VISIBLE_CORES = \"1-2\"", "cores 0 to 1"],
        ),
        (&["inf2.xlarge"], environment("", "all", ""), &["no range such as 0-3"]),
        (
            &["inf2.xlarge"],
            environment("", "", "0"),
            &["NEURON_RT_NUM_CORES = \"0\"", "must be 1 to 2"],
        ),
    ];
    for (names, environment, expect) in cases {
        let error = told(names, &environment).expect_err(&format!("{names:?}")).to_string();
        for part in expect {
            assert!(error.contains(part), "{names:?}: {error}: {part}");
        }
    }
}

#[test]
fn the_environment_says_which_cores_are_this_process_s() {
    let cases = [("4-11", "", 4..12), ("7", "", 7..8), ("", "6", 0..6), ("0-1", "6", 0..2)];
    for (visible, count, expect) in cases {
        let facts = told(&["trn2.48xlarge"], &environment("", visible, count)).expect("devices");
        assert_eq!(facts.visible, expect);
    }
}

#[test]
fn every_chip_is_known_by_its_id() {
    let ids = [0x7064, 0x7067, 0x7164, 0x7264, 0x7364, 0x7564, 0x7565, 0xEC20];
    let chips = ids.map(|id| Chip::of_pci(id).map(Chip::name));
    let expect = ["inf1", "inf1", "trn1", "inf2", "trn2", "trn3", "trn3"].map(Some);
    assert_eq!(chips[..7], expect);
    assert_eq!(chips[7], None);
    let folder = Folder::new();
    folder.expand("== sys/bus/pci/devices/0000:00:1f.0/vendor\n0x1d0f\n== sys/bus/pci/devices/0000:00:1f.0/device\n0x7564");
    let error = probe(&folder.0, &Environment::default()).expect_err("it is too new");
    assert!(error.to_string().contains("1 × trn3: its sizes"), "{error}");
}

#[test]
fn readings_are_what_the_files_say() {
    let folder = machine(&["inf2.xlarge"]);
    let readings = sysfs::readings(&folder.0, 0);
    assert_eq!(readings.power, Some(Power { min: 11.5, max: 34.25, avg: 20.0 }));
    let ecc: Vec<_> = readings.ecc.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(ecc, [("mem_ecc_uncorrected", 3), ("sram_ecc_uncorrected", 0)]);
    assert_eq!(readings.host_memory["dma_buffers"], Memory { present: 4096, peak: 8192 });
    assert_eq!(readings.cores.len(), 2);
    let core = &readings.cores[&1];
    let status: Vec<_> = core.status.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(status, [("execute_completed_with_error", 1), ("success", 110)]);
    assert_eq!(core.memory["tensors"], Memory { present: 1 << 30, peak: 2 << 30 });
    assert_eq!(core.other["flop_count"], 123_456_789_012);
    assert_eq!(sysfs::readings(&folder.0, 1), Readings::default(), "there is no such device");
}

#[test]
fn files_that_hold_anything_else_are_no_readings() {
    let file = "sys/devices/virtual/neuron_device/neuron0/stats/power/utilization";
    let long = "9".repeat(10_000);
    for text in ["", "POWER_STATUS_INVALID,0,0,0,0", "POWER_STATUS_VALID,0,a,b,c", "1,2,3", &long] {
        let folder = Folder::new();
        folder.expand(&format!("== {file}\n{text}"));
        assert_eq!(sysfs::readings(&folder.0, 0), Readings::default(), "{text}");
    }
    let folder = Folder::new();
    let path = folder.0.join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, [0xFF, 0xFE]).expect("a file");
    assert_eq!(sysfs::readings(&folder.0, 0), Readings::default());
}
