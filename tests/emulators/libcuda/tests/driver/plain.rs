//! Functions that cudarc's safe half does not call, by their bare names.

use std::ffi::{CStr, c_char};
use std::ptr;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DevicePtr, result};

use super::kernels::{WORDS, mix, small};
use super::process::{code, context, in_both_orders, on};

/// Calls a function that writes one result of plain data.
fn ask<T: Default>(call: impl FnOnce(*mut T) -> CUresult) -> T {
    let mut value = T::default();
    assert_eq!(call(&raw mut value), CUresult::CUDA_SUCCESS);
    value
}

#[test]
fn copies_of_the_default_stream_come_after_it() {
    in_both_orders("plain::copies_of_the_default_stream_come_after_it", || {
        let context = context();
        let kernel = small(&context, "mix");
        let stream = context.default_stream();
        let words = stream.clone_htod(&[1_u32; WORDS]).expect("a copy");
        let others = stream.alloc_zeros::<u32>(WORDS).expect("memory");
        let [at, there] = [words.device_ptr(&stream).0, others.device_ptr(&stream).0];
        mix(&stream, &kernel, &words, 1);
        let mut found = [0_u32; WORDS];
        // SAFETY: so many words are there, and here.
        unsafe { result::memcpy_dtod_sync(there, at, 4 * WORDS) }.expect("a copy");
        // SAFETY: as before.
        unsafe { result::memcpy_dtoh_sync(&mut found, there) }.expect("a copy");
        assert_eq!(found, [3; WORDS]);
        // SAFETY: as before.
        unsafe { result::memcpy_htod_sync(at, &[7_u32; WORDS]) }.expect("a copy");
        // SAFETY: as before; the first eight words become bytes of 1.
        unsafe { result::memset_d8_sync(at, 1, 32) }.expect("a fill");
        let stream_at = stream.cu_stream();
        // SAFETY: as before; the next eight words become 2.
        let code = unsafe { sys::cuMemsetD32Async(at + 32, 2, 8, stream_at) };
        assert_eq!(code, CUresult::CUDA_SUCCESS);
        // SAFETY: as before; the next four become halves of 3.
        let code = unsafe { sys::cuMemsetD16Async(at + 64, 3, 8, stream_at) };
        assert_eq!(code, CUresult::CUDA_SUCCESS);
        let found = stream.clone_dtoh(&words).expect("a copy");
        assert_eq!(found[..8], [0x0101_0101; 8]);
        assert_eq!(found[8..16], [2; 8]);
        assert_eq!(found[16..20], [0x0003_0003; 4]);
        assert_eq!(found[20..], [7; WORDS - 20]);
        // SAFETY: a place that is not aligned is refused.
        let code = unsafe { sys::cuMemsetD32Async(at + 2, 2, 1, stream_at) };
        assert_eq!(code, CUresult::CUDA_ERROR_INVALID_VALUE);
        // SAFETY: a place that nobody allocated is refused.
        let outside = unsafe { result::memcpy_htod_sync(at + 4, &[0_u32; WORDS]) };
        assert_eq!(super::process::code(outside), CUresult::CUDA_ERROR_INVALID_VALUE);
        stream.synchronize().expect("the context is well");
    });
}

#[test]
fn registered_memory_is_read_late() {
    on("", "plain::registered_memory_is_read_late", || {
        let context = context();
        let stream = context.new_stream().expect("a stream");
        let mut there = stream.alloc_zeros::<u32>(4).expect("memory");
        let mut source = vec![1_u32; 4];
        let at = source.as_mut_ptr().cast();
        // SAFETY: the memory lives until it is unregistered.
        let register = || unsafe { sys::cuMemHostRegister_v2(at, 16, 0) };
        // SAFETY: what is not registered is refused.
        let unregister = || unsafe { sys::cuMemHostUnregister(at) };
        assert_eq!(unregister(), CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        assert_eq!(register(), CUresult::CUDA_SUCCESS);
        assert_eq!(register(), CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        stream.memcpy_htod(&source, &mut there).expect("a copy");
        source.fill(2);
        assert_eq!(unregister(), CUresult::CUDA_SUCCESS);
        // It was read before it went.
        source.fill(3);
        assert_eq!(stream.clone_dtoh(&there).expect("a copy"), [2; 4]);
    });
}

#[test]
fn streams_and_contexts_tell_what_they_are() {
    on("devices = 2", "plain::streams_and_contexts_tell_what_they_are", || {
        let context = context();
        let (mut least, mut greatest) = (9, 9);
        // SAFETY: there is room for both.
        let code = unsafe { sys::cuCtxGetStreamPriorityRange(&raw mut least, &raw mut greatest) };
        assert_eq!((code, least, greatest), (CUresult::CUDA_SUCCESS, 0, -5));
        let stream = context.new_stream_with_priority(-9).expect("a stream");
        let at = stream.cu_stream();
        // SAFETY: there is room for the result, here and below.
        assert_eq!(ask(|to| unsafe { sys::cuStreamGetPriority(at, to) }), -5);
        // SAFETY: as before.
        assert_eq!(ask::<u32>(|to| unsafe { sys::cuStreamGetFlags(at, to) }), 1);
        // SAFETY: as before.
        assert_eq!(ask(|to| unsafe { sys::cuCtxGetDevice(to) }), 0);
        let mut owner = ptr::null_mut();
        // SAFETY: as before.
        let code = unsafe { sys::cuStreamGetCtx(at, &raw mut owner) };
        assert_eq!((code, owner), (CUresult::CUDA_SUCCESS, context.cu_ctx()));
        let mut place = [0; 20];
        // SAFETY: as before.
        let code = unsafe { sys::cuDeviceGetPCIBusId(place.as_mut_ptr(), 20, 1) };
        assert_eq!(code, CUresult::CUDA_SUCCESS);
        // SAFETY: the driver ends its texts with a zero.
        let place = unsafe { CStr::from_ptr(place.as_ptr().cast::<c_char>()) };
        assert_eq!(place, c"0000:11:00.0");
        // SAFETY: the context is retained; its kernels do not reach other devices.
        let code = unsafe { sys::cuCtxEnablePeerAccess(context.cu_ctx(), 0) };
        assert_eq!(code, CUresult::CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
        let words = stream.alloc_zeros::<u32>(4).expect("memory");
        let (address, _) = words.device_ptr(&stream);
        let (mut start, mut bytes) = (0, 0);
        // SAFETY: there is room for both.
        let code =
            unsafe { sys::cuMemGetAddressRange_v2(&raw mut start, &raw mut bytes, address + 5) };
        assert_eq!((code, start, bytes), (CUresult::CUDA_SUCCESS, address, 16));
    });
}

#[test]
fn handles_that_nobody_has_are_refused() {
    on("", "plain::handles_that_nobody_has_are_refused", || {
        // SAFETY: nothing is written: the library is not begun.
        let early = unsafe { sys::cuCtxSynchronize() };
        assert_eq!(early, CUresult::CUDA_ERROR_NOT_INITIALIZED);
        let context = context();
        for handle in [3, 0x1000_0000, 0x7fff_0000] {
            // SAFETY: handles are looked up, not followed.
            let stream =
                unsafe { result::stream::synchronize(ptr::without_provenance_mut(handle)) };
            assert_eq!(code(stream), CUresult::CUDA_ERROR_INVALID_HANDLE);
            // SAFETY: as before.
            let event = unsafe { result::event::query(ptr::without_provenance_mut(handle)) };
            assert_eq!(code(event), CUresult::CUDA_ERROR_INVALID_HANDLE);
            // SAFETY: as before.
            let current = unsafe { result::ctx::set_current(ptr::without_provenance_mut(handle)) };
            assert_eq!(code(current), CUresult::CUDA_ERROR_INVALID_CONTEXT);
        }
        drop(context);
        // The context went with its last owner.
        // SAFETY: nothing is written.
        let late = unsafe { sys::cuCtxSynchronize() };
        assert_eq!(late, CUresult::CUDA_ERROR_INVALID_CONTEXT);
    });
}
