//! Devices as files describe them: none, one, several.

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, DevicePtr, LaunchConfig, PushKernelArg, result, sys};
use std::path::Path;

use super::kernels::{WORDS, mix, small};
use super::process::{code, context, library, on};

#[test]
fn there_may_be_no_device() {
    on("devices = 0", "devices::there_may_be_no_device", || {
        assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_NO_DEVICE);
    });
}

#[test]
fn a_wrong_file_is_told() {
    let told = on("sm = 61", "devices::a_wrong_file_is_told", || {
        assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_UNKNOWN);
    });
    let Some(told) = told else { return };
    assert!(told.contains("EMULATED CUDA: ") && told.contains("sm = 61"), "{told}");
}

#[test]
fn the_committed_machines_are_what_they_say() {
    let test = "devices::the_committed_machines_are_what_they_say";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a file");
        on(&text, test, || {
            let machine = std::env::var("GIMBAL_TEST_CUDA").expect("set");
            let machine = std::fs::read_to_string(machine).expect("a file");
            let says = |line: String| machine.lines().any(|other| other == line);
            let count = CudaContext::device_count().expect("devices");
            assert!(if count == 1 {
                !machine.contains("devices")
            } else {
                says(format!("devices = {count}"))
            });
            let last = usize::try_from(count).expect("positive") - 1;
            let context = CudaContext::new(last).expect("a device");
            let name = context.name().expect("a name");
            let name = name.strip_prefix("EMULATED ").expect("marked");
            assert!(says(format!("name = \"{name}\"")), "{name}");
            let (major, minor) = context.compute_capability().expect("a capability");
            assert!(says(format!("sm = {major}{minor}")), "{major}.{minor}");
            let total = context.total_mem().expect("memory");
            assert!(says(format!("memory = {total}")), "{total}");
            assert_eq!(context.mem_get_info().expect("memory"), (total, total));
            let many = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
            let many = context.attribute(many).expect("known");
            assert!(says(format!("multiprocessors = {many}")), "{many}");
            let mut version = 0;
            // SAFETY: there is room for the version.
            unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().expect("a version");
            assert!(says(format!("driver = {version}")), "{version}");
        });
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn devices_have_memory_of_their_own_and_copy_between_them() {
    let test = "devices::devices_have_memory_of_their_own_and_copy_between_them";
    for order in ["first", "last"] {
        on(&format!("devices = 2\nmemory = 1048576\norder = \"{order}\""), test, || {
            let (one, two) =
                (CudaContext::new(0).expect("a device"), CudaContext::new(1).expect("a device"));
            assert_ne!(one.uuid().expect("known").bytes, two.uuid().expect("known").bytes);
            let mut can = 9;
            // SAFETY: there is room for the answer.
            unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, 0, 1) }.result().expect("known");
            assert_eq!(can, 0);
            let (stream, other) =
                (one.new_stream().expect("a stream"), two.new_stream().expect("a stream"));
            let words = stream.clone_htod(&[5_u32; WORDS]).expect("a copy");
            mix(&stream, &small(&one, "mix"), &words, 1);
            // cudarc asks for cuMemcpyPeerAsync, after an event of the other device's stream.
            let mut copy = other.alloc_zeros::<u32>(WORDS).expect("memory");
            other.memcpy_dtod(&words, &mut copy).expect("a copy");
            mix(&other, &small(&two, "mix"), &copy, 1);
            assert_eq!(other.clone_dtoh(&copy).expect("a copy"), [23; WORDS]);
            assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [11; WORDS]);
            // Each place must lie where its context says.
            let wrong = [(two.cu_ctx(), two.cu_ctx()), (one.cu_ctx(), one.cu_ctx())];
            for (to, from) in wrong {
                let (at, _) = copy.device_ptr(&other);
                let (source, _) = words.device_ptr(&stream);
                // SAFETY: the contexts and the stream live; the places are checked by the driver.
                let refused = unsafe {
                    result::memcpy_peer_async(to, at, from, source, 4, other.cu_stream())
                };
                assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            // So must a kernel.
            let stranger = small(&one, "mix");
            let mut launch = other.launch_builder(&stranger);
            // SAFETY: these are the kernel's parameters; it is not launched.
            let refused =
                unsafe { launch.arg(&copy).arg(&1_u32).launch(LaunchConfig::for_num_elems(1)) };
            assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_HANDLE);
            let big = other.alloc_zeros::<u8>(1 << 19).expect("memory");
            assert!(two.mem_get_info().expect("known").0 < 1 << 19);
            assert!(one.mem_get_info().expect("known").0 > 1 << 19);
            drop(big);
        });
    }
}

#[test]
fn memory_ends_and_comes_back() {
    on("memory = 1048576", "devices::memory_ends_and_comes_back", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let half = stream.alloc_zeros::<u8>(600_000).expect("memory");
        let more = stream.alloc_zeros::<u8>(600_000);
        assert_eq!(code(more), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        // It goes when the stream gets to it; who asks again waits for that.
        drop(half);
        assert_eq!(context.mem_get_info().expect("known").0, 1_048_576 - 600_000);
        drop(stream.alloc_zeros::<u8>(600_000).expect("memory"));
        stream.synchronize().expect("fine");
        assert_eq!(context.mem_get_info().expect("known").0, 1 << 20);
    });
}

#[test]
fn an_old_driver_allocates_and_frees_at_once() {
    let test = "devices::an_old_driver_allocates_and_frees_at_once";
    let _told = on("memory = 1048576\ndriver = 11010", test, || {
        let context = context();
        assert!(!context.has_async_alloc());
        let stream = context.new_stream().expect("a stream");
        let half = stream.alloc_zeros::<u8>(600_000).expect("memory");
        assert_eq!(code(stream.alloc_zeros::<u8>(600_000)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        drop(half);
        assert_eq!(context.mem_get_info().expect("known").0, 1 << 20);
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        mix(&stream, &small(&context, "mix"), &words, 1);
        let at = words.leak();
        // SAFETY: nobody else has it; the driver waits for the kernel first.
        unsafe { result::free_sync(at) }.expect("fine");
        context.synchronize().expect("the kernel had its memory");
        // SAFETY: the driver knows that it is gone.
        let again = unsafe { result::free_sync(at) };
        assert_eq!(code(again), CUresult::CUDA_ERROR_INVALID_VALUE);
    });
}

#[test]
fn a_library_that_was_loaded_by_its_path_is_found_by_its_name() {
    // SAFETY: loading it runs nothing but what Rust's runtime does.
    let by_path = unsafe { libloading::Library::new(library()) }.expect("it loads");
    // SAFETY: as before; the name is that of what is loaded.
    let by_name = unsafe { libloading::Library::new("libcuda.so.1") }.expect("it is there");
    type Init = unsafe extern "C" fn(u32) -> i32;
    // SAFETY: the function has this type.
    let one = *unsafe { by_path.get::<Init>(b"cuInit") }.expect("a function");
    // SAFETY: as before.
    let other = *unsafe { by_name.get::<Init>(b"cuInit") }.expect("a function");
    assert!(std::ptr::fn_addr_eq(one, other));
}

#[test]
fn functions_are_found_by_name_in_their_newest_version() {
    on("", "devices::functions_are_found_by_name_in_their_newest_version", || {
        // SAFETY: this process has it as libcuda.so.
        let library = unsafe { libloading::Library::new("libcuda.so") }.expect("it loads");
        type Find =
            unsafe extern "C" fn(*const std::ffi::c_char, *mut usize, i32, u64, *mut i32) -> i32;
        // SAFETY: the function has this type.
        let find = *unsafe { library.get::<Find>(b"cuGetProcAddress_v2") }.expect("a function");
        let ask = |name: &std::ffi::CStr, version| {
            let (mut address, mut status) = (9, 9);
            // SAFETY: the name ends with a zero, and there is room for both answers.
            let code =
                unsafe { find(name.as_ptr(), &raw mut address, version, 0, &raw mut status) };
            (code, address, status)
        };
        // SAFETY: only its address is looked at.
        let newest = *unsafe { library.get::<*const ()>(b"cuMemAlloc_v2") }.expect("a function");
        assert_eq!(ask(c"cuMemAlloc", 12000), (0, newest.addr(), 0));
        assert_eq!(ask(c"cuTexRefCreate", 12000), (500, 0, 1));
        assert_eq!(ask(c"cuMemAlloc", 10000), (500, 0, 2));
    });
}

#[test]
fn a_context_is_current_for_its_thread() {
    on("devices = 2", "devices::a_context_is_current_for_its_thread", || {
        let contexts = [0, 1].map(|ordinal| CudaContext::new(ordinal).expect("a device"));
        let current = || result::ctx::get_current().expect("known");
        assert_eq!(current(), Some(contexts[1].cu_ctx()));
        let elsewhere =
            std::thread::spawn(|| result::ctx::get_current().map(|found| found.is_none()));
        assert!(elsewhere.join().expect("no panic").expect("known"));
        // SAFETY: the context is retained.
        let code = unsafe { sys::cuCtxPushCurrent_v2(contexts[0].cu_ctx()) };
        code.result().expect("fine");
        assert_eq!(current(), Some(contexts[0].cu_ctx()));
        let mut popped = std::ptr::null_mut();
        // SAFETY: there is room for the context.
        unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) }.result().expect("fine");
        assert_eq!((popped, current()), (contexts[0].cu_ctx(), Some(contexts[1].cu_ctx())));
    });
}
