//! Faults: of kernels, and by script.

use std::sync::atomic::{AtomicU32, Ordering};

use cudarc::driver::{CudaContext, CudaStream, sys};

use super::kernels::{WORDS, mix, small, stray};
use super::process::{code, context, in_both_orders, on};

const ILLEGAL: sys::CUresult = sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;

#[test]
fn a_kernel_that_reads_astray_ends_its_context() {
    let told = on("", "faults::a_kernel_that_reads_astray_ends_its_context", || {
        {
            let context = context();
            let stream = context.new_stream().expect("a stream");
            let (stray_kernel, mix_kernel) = (small(&context, "stray"), small(&context, "mix"));
            let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
            stray(&stream, &stray_kernel, &words, 0);
            stream.synchronize().expect("that is there");
            // The launch itself is fine; who waits is told, and so is everybody after.
            stray(&stream, &stray_kernel, &words, 128);
            mix(&stream, &mix_kernel, &words, 1);
            assert_eq!(code(stream.synchronize()), ILLEGAL);
            assert_eq!(code(stream.synchronize()), ILLEGAL);
            assert_eq!(code(stream.clone_dtoh(&words)), ILLEGAL);
            assert_eq!(code(context.new_event(None)), ILLEGAL);
        }
        // A new context has nothing of it.
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        mix(&stream, &small(&context, "mix"), &words, 1);
        assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [3; WORDS]);
    });
    let Some(told) = told else { return };
    assert!(told.contains("EMULATED CUDA: device 0: stray, line 27, block [0, 0, 0]"), "{told}");
}

#[test]
fn nothing_runs_after_a_fault() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_argument: *mut std::ffi::c_void) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    in_both_orders("faults::nothing_runs_after_a_fault", || {
        let other = CudaContext::new(1).expect("a device").new_stream().expect("a stream");
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let kernel = small(&context, "stray");
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        stray(&stream, &kernel, &words, 128);
        let note = |stream: &CudaStream| {
            // SAFETY: the function takes any argument, and lives as long as the process.
            unsafe { sys::cuLaunchHostFunc(stream.cu_stream(), Some(count), std::ptr::null_mut()) }
        };
        note(&stream).result().expect("fine");
        assert_eq!(code(stream.synchronize()), ILLEGAL);
        // The other device has a context of its own, which is well.
        note(&other).result().expect("fine");
        other.synchronize().expect("fine");
        assert_eq!(COUNT.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn what_nobody_wrote_is_no_result() {
    let told = on("", "faults::what_nobody_wrote_is_no_result", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        // SAFETY: that it is read before it is written is what is tested; the emulated device tells.
        let words = unsafe { stream.alloc::<u32>(WORDS) }.expect("memory");
        assert_eq!(code(stream.clone_dtoh(&words)), ILLEGAL);
    });
    let Some(told) = told else { return };
    assert!(told.contains("nobody wrote"), "{told}");
}

#[test]
fn launches_that_no_device_takes_are_refused() {
    let told = on("", "faults::launches_that_no_device_takes_are_refused", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let kernel = small(&context, "mix");
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        let cases = [
            ((0, 1, 1), (32, 1, 1), 0),
            ((1, 65536, 1), (32, 1, 1), 0),
            ((1, 1, 1), (1025, 1, 1), 0),
            ((1, 1, 1), (1, 1, 65), 0),
            ((1, 1, 1), (64, 32, 1), 0),
            ((1, 1, 1), (32, 1, 1), 49153),
        ];
        for (grid_dim, block_dim, shared_mem_bytes) in cases {
            use cudarc::driver::{LaunchConfig, PushKernelArg};
            let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes };
            let mut launch = stream.launch_builder(&kernel);
            // SAFETY: these are the kernel's parameters; it is not launched.
            let refused = unsafe { launch.arg(&words).arg(&1_u32).launch(config) };
            assert_eq!(code(refused), sys::CUresult::CUDA_ERROR_INVALID_VALUE, "{config:?}");
        }
        assert_eq!(stream.clone_dtoh(&words).expect("a copy"), [1; WORDS]);
    });
    let Some(told) = told else { return };
    assert!(told.contains("49153 bytes of shared memory, of 49152"), "{told}");
}

#[test]
fn a_call_fails_as_the_script_says() {
    let machine = "
        fail = [
            { call = \"cuMemAllocAsync\", at = 3, code = 2 },
            { call = \"cuLaunchKernel\", at = 2, code = 719 },
        ]";
    on(machine, "faults::a_call_fails_as_the_script_says", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let kernel = small(&context, "mix");
        let words = stream.alloc_zeros::<u32>(WORDS).expect("the first");
        let _second = stream.alloc_zeros::<u32>(1).expect("the second");
        let third = stream.alloc_zeros::<u32>(1);
        assert_eq!(code(third), sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        let _fourth = stream.alloc_zeros::<u32>(1).expect("the fourth");
        mix(&stream, &kernel, &words, 1);
        stream.synchronize().expect("fine");
        let config = cudarc::driver::LaunchConfig::for_num_elems(1);
        // SAFETY: it is not launched.
        let failed = unsafe { stream.launch_builder(&kernel).launch(config) };
        assert_eq!(code(failed), sys::CUresult::CUDA_ERROR_LAUNCH_FAILED);
        // A code that ends a context does.
        assert_eq!(code(stream.synchronize()), sys::CUresult::CUDA_ERROR_LAUNCH_FAILED);
    });
    on(
        "fail = [{ call = \"cuInit\", at = 1, code = 803 }]",
        "faults::a_call_fails_as_the_script_says",
        || {
            let code = code(CudaContext::new(0));
            assert_eq!(code, sys::CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
        },
    );
}

#[test]
fn a_copy_of_what_nobody_wrote_is_not_written() {
    let told = on("", "faults::a_copy_of_what_nobody_wrote_is_not_written", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        // SAFETY: only its first half is read, which is written before.
        let mut half = unsafe { stream.alloc::<u32>(WORDS) }.expect("memory");
        let mut first = half.slice_mut(..WORDS / 2);
        stream.memset_zeros(&mut first).expect("fine");
        let mut copy = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        stream.memcpy_dtod(&half, &mut copy).expect("fine");
        let found = stream.clone_dtoh(&copy.slice(..WORDS / 2)).expect("that was written");
        assert_eq!(found, [0; WORDS / 2]);
        assert_eq!(code(stream.clone_dtoh(&copy.slice(WORDS / 2..))), ILLEGAL);
    });
    let Some(told) = told else { return };
    assert!(told.contains("nobody wrote"), "{told}");
}
