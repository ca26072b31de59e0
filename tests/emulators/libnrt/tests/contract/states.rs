//! Before, between and after init and close; counts, versions, cores that others have. Next: `tensors.rs`.

use std::ptr;

use neuron_sys::{Framework, InstanceInfo, MemoryStats, Status};

use crate::nrt::{Nrt, call};
use crate::process::{assert_clean, folder, is_within, on, with};

fn count(nrt: &Nrt) -> [Result<u32, Status>; 2] {
    let (mut all, mut visible) = (0, 0);
    let told = [
        call!(nrt, nrt_get_total_vnc_count(&raw mut all)),
        call!(nrt, nrt_get_visible_vnc_count(&raw mut visible)),
    ];
    let counted = [all, visible];
    std::array::from_fn(|i| match told[i] {
        Status::SUCCESS => Ok(counted[i]),
        status => Err(status),
    })
}

#[test]
fn what_needs_an_open_runtime_says_so() {
    let told = on("", "states::what_needs_an_open_runtime_says_so", || {
        let nrt = Nrt::open();
        assert_eq!(nrt.allocate(0, 4), Err(Status::UNINITIALIZED));
        assert_eq!(nrt.load(b"", 0), Err(Status::UNINITIALIZED));
        assert_eq!(count(&nrt), [Ok(2), Ok(2)], "counts may be asked before");
        assert_eq!(nrt.init(), Status::SUCCESS);
        assert_eq!(nrt.init(), Status::INVALID);
        let tensor = nrt.allocate(0, 4).expect("a tensor");
        nrt.free(tensor);
        nrt.close();
        assert_eq!(nrt.allocate(0, 4), Err(Status::CLOSED));
        assert_eq!(nrt.init(), Status::INVALID, "a process has one runtime");
    });
    assert_clean(told);
}

#[test]
fn the_version_is_marked() {
    let told = on("version = \"2.35.30.1\"", "states::the_version_is_marked", || {
        let nrt = Nrt::start();
        let version = nrt.library.version;
        let numbers =
            [version.rt_major, version.rt_minor, version.rt_patch, version.rt_maintenance];
        assert_eq!(numbers, [2, 35, 30, 1]);
        let detail: Vec<u8> = version.rt_detail.iter().map(|c| c.to_ne_bytes()[0]).collect();
        assert!(detail.starts_with(b"EMULATOR"));
        let mut whole = version;
        let status = call!(nrt, nrt_get_version(&raw mut whole, 8));
        assert_eq!(status, Status::INVALID, "the length is the structure's");
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn another_major_version_is_refused_by_the_bindings() {
    let test = "states::another_major_version_is_refused_by_the_bindings";
    on("version = \"3.0.0.0\"", test, || {
        // SAFETY: it is the emulator that was built beside this test.
        let opened = unsafe { neuron_sys::Library::open(Some(&crate::process::library())) };
        let error = opened.map(|library| library.version).expect_err("version 3");
        assert!(error.to_string().contains("runtime 3, and 2 is needed"), "{error}");
    });
}

#[test]
fn without_a_device_init_answers_as_aws_does() {
    let told = on("absent = true", "states::without_a_device_init_answers_as_aws_does", || {
        let nrt = Nrt::open();
        assert_eq!(nrt.init(), Status::INVALID);
        assert_eq!(count(&nrt), [Err(Status::INVALID); 2]);
        assert_eq!(nrt.allocate(0, 4), Err(Status::UNINITIALIZED));
    });
    if let Some(told) = told {
        assert!(told.stderr.contains("EMULATED libnrt: nrt_init: there is no device"));
        assert_eq!(told.report, "", "it was never open");
    }
}

#[test]
fn a_machine_tells_its_cores_and_memory() {
    let script = "instance = \"trn2.48xlarge\"\nlnc = 2";
    let told = on(script, "states::a_machine_tells_its_cores_and_memory", || {
        let nrt = Nrt::start();
        assert_eq!(count(&nrt), [Ok(64), Ok(64)]);
        let mut info = InstanceInfo {
            family: neuron_sys::Family::UNKNOWN,
            size: neuron_sys::InstanceSize::UNKNOWN,
            arch_name: [7; 16],
            device_revision: [7; 8],
        };
        // As many bytes as older runtimes have.
        assert_eq!(call!(nrt, nrt_get_instance_info?(&raw mut info, 8)), Status::SUCCESS);
        assert_eq!(info.family, neuron_sys::Family::TRN2);
        assert_eq!(info.size, neuron_sys::InstanceSize::XL48);
        assert_eq!((info.arch_name, info.device_revision), ([7; 16], [7; 8]));
        let (mut stats, mut written) = (MemoryStats::default(), 0);
        let bytes = size_of::<MemoryStats>();
        let told =
            call!(nrt, nrt_get_vnc_memory_stats?(63, &raw mut stats, bytes, &raw mut written));
        assert_eq!((told, written), (Status::SUCCESS, bytes));
        assert_eq!(stats, MemoryStats { bytes_used: 0, bytes_limit: 24 << 30 });
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn the_environment_says_which_cores_are_visible() {
    let cases = [
        (vec![("NEURON_RT_VISIBLE_CORES", "2-5")], "4"),
        (vec![("NEURON_RT_VISIBLE_CORES", "7")], "1"),
        (vec![("NEURON_RT_NUM_CORES", "3")], "3"),
        // The list wins.
        (vec![("NEURON_RT_VISIBLE_CORES", "0-1"), ("NEURON_RT_NUM_CORES", "3")], "2"),
        (vec![("NEURON_RT_VISIBLE_CORES", "30-32")], "9"),
        (vec![("NEURON_RT_VISIBLE_CORES", "3-0")], "2 of init"),
    ];
    for (variables, expect) in cases {
        let mut all = variables.clone();
        all.push(("EXPECT", expect));
        let test = "states::the_environment_says_which_cores_are_visible";
        with("instance = \"trn1.32xlarge\"", &all, test, || {
            let nrt = Nrt::open();
            match std::env::var("EXPECT").as_deref() {
                Ok("9") => assert_eq!(nrt.init(), Status::LOAD_NOT_ENOUGH_NC),
                Ok("2 of init") => assert_eq!(nrt.init(), Status::INVALID),
                Ok(cores) => {
                    assert_eq!(nrt.init(), Status::SUCCESS);
                    let cores: u32 = cores.parse().expect("a count");
                    assert_eq!(count(&nrt), [Ok(32), Ok(cores)]);
                    let last = i32::try_from(cores).expect("few");
                    assert!(nrt.allocate(last - 1, 4).is_ok());
                    assert_eq!(nrt.allocate(last, 4), Err(Status::LOAD_NOT_ENOUGH_NC));
                }
                Err(error) => panic!("{error}"),
            }
        });
    }
}

#[test]
fn a_core_is_one_process_s() {
    let test = "states::a_core_is_one_process_s";
    // In the folder that the script will be in.
    let held = (!is_within()).then(|| {
        let locks = folder(test).join("locks");
        std::fs::create_dir(&locks).expect("a folder");
        let held = std::fs::File::create(locks.join("core1.lock")).expect("a file");
        held.lock().expect("nobody else has it");
        held
    });
    let told = on("locks = \"locks\"", test, || {
        let nrt = Nrt::open();
        assert_eq!(nrt.init(), Status::FAILURE);
        assert_eq!(nrt.allocate(0, 4), Err(Status::UNINITIALIZED));
    });
    if let Some(told) = told {
        assert!(told.stderr.contains("core 1 is another process's"), "{}", told.stderr);
    }
    drop(held);
}

#[test]
fn only_a_program_of_its_own_is_taken() {
    on("", "states::only_a_program_of_its_own_is_taken", || {
        let nrt = Nrt::open();
        let empty = c"".as_ptr();
        for (framework, version, layer) in [
            (Framework::PYTORCH, empty, empty),
            (Framework::NO_FRAMEWORK, c"2.1".as_ptr(), empty),
            (Framework::NO_FRAMEWORK, ptr::null(), empty),
        ] {
            let status = call!(nrt, nrt_init(framework, version, layer));
            assert_eq!(status, Status::INVALID);
        }
        assert_eq!(nrt.init(), Status::SUCCESS);
    });
}

#[test]
fn a_script_that_cannot_be_read_stops_everything() {
    let test = "states::a_script_that_cannot_be_read_stops_everything";
    let told = on("memroy = 1", test, || {
        // SAFETY: it is the emulator that was built beside this test.
        let opened = unsafe { neuron_sys::Library::open(Some(&crate::process::library())) };
        assert!(opened.is_err(), "it tells no version");
    });
    if let Some(told) = told {
        assert!(told.stderr.contains("unknown field `memroy`"), "{}", told.stderr);
    }
}
