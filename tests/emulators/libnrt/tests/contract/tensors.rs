//! Memory: how much there is, where it is, who may touch which bytes; and sets. Next: `models.rs`.

use std::ffi::c_void;
use std::ptr;

use neuron_sys::{BatchOperation, MemoryStats, Placement, Status, TensorBatch};

use crate::nrt::{Nrt, call};
use crate::process::{assert_clean, on};

fn used(nrt: &Nrt, core: u32) -> usize {
    let (mut stats, mut written) = (MemoryStats::default(), 0);
    let bytes = size_of::<MemoryStats>();
    let told = call!(nrt, nrt_get_vnc_memory_stats?(core, &raw mut stats, bytes, &raw mut written));
    assert_eq!(told, Status::SUCCESS);
    stats.bytes_used
}

#[test]
fn a_core_has_as_much_memory_as_the_script_says() {
    let test = "tensors::a_core_has_as_much_memory_as_the_script_says";
    let told = on("memory = 100", test, || {
        let nrt = Nrt::start();
        let first = nrt.allocate(0, 60).expect("room");
        assert_eq!(nrt.allocate(0, 41), Err(Status::RESOURCE));
        let other = nrt.allocate(1, 100).expect("another core has its own");
        let host = nrt.allocate(-1, 1000).expect("the host has enough");
        let part = nrt.slice(first, 10, 20).expect("a part");
        assert_eq!((used(&nrt, 0), used(&nrt, 1)), (60, 100), "a part takes nothing");
        nrt.free(first);
        assert_eq!(used(&nrt, 0), 60, "the part keeps it");
        nrt.free(part);
        assert_eq!(used(&nrt, 0), 0);
        let again = nrt.allocate(0, 100).expect("room again");
        [other, host, again].into_iter().for_each(|tensor| nrt.free(tensor));
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn bytes_are_read_as_they_were_written_and_never_beyond() {
    let test = "tensors::bytes_are_read_as_they_were_written_and_never_beyond";
    let told = on("", test, || {
        let nrt = Nrt::start();
        let tensor = nrt.allocate(0, 8).expect("room");
        assert_eq!(nrt.read(tensor, 0, 8), Ok(vec![0xFF; 8]), "nobody wrote it");
        assert_eq!(nrt.write(tensor, 2, &[1, 2, 3]), Status::SUCCESS);
        assert_eq!(nrt.read(tensor, 1, 5), Ok(vec![0xFF, 1, 2, 3, 0xFF]));
        assert_eq!(call!(nrt, nrt_tensor_get_size(tensor)), 8);
        for (offset, bytes) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 2)] {
            assert_eq!(nrt.read(tensor, offset, bytes.min(16)), Err(Status::INVALID));
            assert_eq!(nrt.write(tensor, offset, &vec![0; bytes]), Status::INVALID);
        }
        assert_eq!(call!(nrt, nrt_tensor_memset?(tensor, 6, 7, 2)), Status::SUCCESS);
        assert_eq!(call!(nrt, nrt_tensor_memset?(tensor, 7, 7, 2)), Status::INVALID);
        assert_eq!(nrt.read(tensor, 5, 3), Ok(vec![0xFF, 7, 7]));
        let part = nrt.slice(tensor, 2, 3).expect("a part");
        assert_eq!(nrt.read(part, 0, 3), Ok(vec![1, 2, 3]));
        assert_eq!(nrt.read(part, 0, 4), Err(Status::INVALID), "the whole has more, the part not");
        assert_eq!(nrt.write(part, 0, &[9]), Status::SUCCESS);
        assert_eq!(nrt.read(tensor, 2, 1), Ok(vec![9]), "they share their memory");
        assert_eq!(nrt.slice(tensor, 6, 3), Err(Status::INVALID));
        [part, tensor].into_iter().for_each(|tensor| nrt.free(tensor));
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn many_ranges_go_in_one_call() {
    let told = on("", "tensors::many_ranges_go_in_one_call", || {
        let nrt = Nrt::start();
        let tensor = nrt.allocate(0, 8).expect("room");
        let (mut one, mut two) = ([1_u8, 2], [3_u8]);
        let operation = |offset, bytes: &mut [u8]| BatchOperation {
            offset,
            size: bytes.len() as u64,
            buffer: bytes.as_mut_ptr().cast::<c_void>(),
        };
        let operations = [operation(0, &mut one), operation(5, &mut two)];
        let batch = TensorBatch { tensor, ops: operations.as_ptr(), num_ops: 2 };
        let written = call!(nrt, nrt_tensor_write_batch?(&raw const batch, 1, false));
        assert_eq!(written, Status::SUCCESS);
        assert_eq!(nrt.read(tensor, 0, 6), Ok(vec![1, 2, 0xFF, 0xFF, 0xFF, 3]));
        assert_eq!(nrt.write(tensor, 0, &[8, 9]), Status::SUCCESS);
        let read = call!(nrt, nrt_tensor_read_batch?(&raw const batch, 1, false));
        assert_eq!((read, one, two), (Status::SUCCESS, [8, 9], [3]));
        let none = call!(nrt, nrt_tensor_read_batch?(ptr::null(), 1, false));
        assert_eq!(none, Status::INVALID);
        nrt.free(tensor);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn devices_copy_within_a_core_only() {
    let told = on("", "tensors::devices_copy_within_a_core_only", || {
        let nrt = Nrt::start();
        let tensors = [0, 0, 1, -1].map(|core| nrt.allocate(core, 4).expect("room"));
        let [one, same, other, host] = tensors;
        assert_eq!(nrt.write(one, 0, &[1, 2, 3, 4]), Status::SUCCESS);
        let copy = |from, to| call!(nrt, nrt_tensor_copy(from, 1, to, 2, 2));
        assert_eq!(copy(one, same), Status::SUCCESS);
        assert_eq!(nrt.read(same, 0, 4), Ok(vec![0xFF, 0xFF, 2, 3]));
        assert_eq!(copy(one, other), Status::INVALID);
        assert_eq!(copy(one, host), Status::SUCCESS);
        assert_eq!(copy(host, other), Status::SUCCESS);
        assert_eq!(call!(nrt, nrt_tensor_copy(one, 0, same, 2, 3)), Status::INVALID);
        tensors.into_iter().for_each(|tensor| nrt.free(tensor));
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_tensor_is_a_device_s_or_the_host_s() {
    on("", "tensors::a_tensor_is_a_device_s_or_the_host_s", || {
        let nrt = Nrt::start();
        let mut tensor = ptr::null_mut();
        for (place, core, bytes, expect) in [
            (Placement::DEVICE, -1, 4, Status::INVALID),
            (Placement::HOST, 0, 4, Status::INVALID),
            (Placement::VIRTUAL, 0, 4, Status::INVALID),
            (Placement(9), 0, 4, Status::INVALID),
            (Placement::DEVICE, 0, 0, Status::INVALID),
            (Placement::DEVICE, 2, 4, Status::LOAD_NOT_ENOUGH_NC),
            (Placement::DEVICE, 0, 1 << 40, Status::RESOURCE),
            (Placement::DEVICE, 0, usize::MAX, Status::RESOURCE),
        ] {
            let place_and_size =
                call!(nrt, nrt_tensor_allocate(place, core, bytes, ptr::null(), &raw mut tensor));
            assert_eq!(place_and_size, expect, "{place:?} {core} {bytes}");
        }
        let nowhere =
            call!(nrt, nrt_tensor_allocate(Placement::HOST, -1, 4, ptr::null(), ptr::null_mut()));
        assert_eq!(nowhere, Status::INVALID);
    });
}

#[test]
fn sets_hold_names_and_only_live_tensors() {
    let told = on("", "tensors::sets_hold_names_and_only_live_tensors", || {
        let nrt = Nrt::start();
        let (set, tensor, other) =
            (nrt.set(), nrt.allocate(0, 4).expect("room"), nrt.allocate(0, 4).expect("room"));
        let find = |name: &std::ffi::CStr| {
            let mut found = ptr::null_mut();
            let status =
                call!(nrt, nrt_get_tensor_from_tensor_set?(set, name.as_ptr(), &raw mut found));
            (status, found)
        };
        assert_eq!(nrt.add(set, "a", tensor), Status::SUCCESS);
        assert_eq!(find(c"a"), (Status::SUCCESS, tensor));
        assert_eq!(nrt.add(set, "a", other), Status::SUCCESS, "it takes the other's place");
        assert_eq!(find(c"a"), (Status::SUCCESS, other));
        assert_eq!(find(c"b").0, Status::INVALID);
        assert_eq!(nrt.add(set, "", tensor), Status::INVALID);
        assert_eq!(nrt.add(set, &"n".repeat(256), tensor), Status::INVALID);
        assert_eq!(nrt.add(set, &"n".repeat(255), tensor), Status::SUCCESS);
        nrt.destroy(set);
        assert_eq!(nrt.add(set, "a", tensor), Status::INVALID_HANDLE, "the set is gone");
        // A handle of one kind is none of another.
        assert_eq!(nrt.add(tensor.cast(), "a", tensor), Status::INVALID_HANDLE);
        nrt.free(tensor);
        let set = nrt.set();
        assert_eq!(nrt.add(set, "a", tensor), Status::INVALID_HANDLE, "the tensor is gone");
        assert_eq!(nrt.read(tensor, 0, 1), Err(Status::INVALID_HANDLE));
        nrt.free(other);
        nrt.destroy(set);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn what_is_left_over_or_misused_is_told_at_the_end() {
    let test = "tensors::what_is_left_over_or_misused_is_told_at_the_end";
    let told = on("", test, || {
        let nrt = Nrt::start();
        let (set, kept) = (nrt.set(), nrt.allocate(0, 48).expect("room"));
        let early = nrt.allocate(0, 4).expect("room");
        assert_eq!(nrt.add(set, "early", early), Status::SUCCESS);
        nrt.free(early);
        let mut twice = early;
        call!(nrt, nrt_tensor_free(&raw mut twice));
        assert_eq!(call!(nrt, nrt_tensor_get_size(early)), 0);
        assert_eq!(call!(nrt, nrt_tensor_get_size(kept)), 48);
        nrt.close();
        nrt.close();
    });
    let Some(told) = told else { return };
    let lines: Vec<&str> = told.report.lines().collect();
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert!(lines[0].contains("nrt_tensor_free") && lines[0].contains("still in a set"));
    assert!(lines[1].contains("nrt_tensor_free") && lines[1].contains("nothing that lives"));
    assert!(lines[2].contains("nrt_tensor_get_size"), "{}", lines[2]);
    assert!(lines[3].starts_with("leak: set") && lines[3].ends_with("of 1 tensors"));
    assert!(lines[4].starts_with("leak: tensor") && lines[4].ends_with("of 48 bytes"));
    assert_eq!(lines[5], "closed: 2 leaks, 3 misuses");
    assert_eq!(lines[6], "peak of core 0: 52 bytes");
    assert!(told.stderr.contains("nrt_close: the runtime is not open"), "{}", told.stderr);
}
