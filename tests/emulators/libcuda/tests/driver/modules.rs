//! Modules: what is taken and what is refused, and how.

use std::ffi::{CString, c_void};
use std::ptr;

use cudarc::driver::sys::{self, CUjit_option_enum as Jit, CUresult};
use cudarc::nvrtc::Ptx;

use super::process::{code, context, on};

fn text(version: &str, target: u32, line: &str) -> String {
    format!(
        ".version {version}\n.target sm_{target}\n.address_size 64\n\
         .visible .entry body(.param .u64 at)\n{{\n.reg .b32 %r<3>;\n{line}\nret;\n}}\n"
    )
}

fn load(text: &str) -> Result<(), CUresult> {
    let loaded = context().load_module(Ptx::from_src(text));
    loaded.map(drop).map_err(|error| error.0)
}

#[test]
fn a_driver_reads_no_ptx_that_is_newer() {
    let test = "modules::a_driver_reads_no_ptx_that_is_newer";
    on("sm = 75\ndriver = 11040", test, || {
        load(gimbal_cuda::ptx(75).expect("a module")).expect("this is for R470");
        assert_eq!(load(&text("7.4", 75, "")), Ok(()));
        // What a newer text has is not even looked at.
        let newer = text("7.5", 75, "wgmma.fence;");
        assert_eq!(load(&newer), Err(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
    });
    on("sm = 75\ndriver = 11030", test, || {
        let ours = load(gimbal_cuda::ptx(75).expect("a module"));
        assert_eq!(ours, Err(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
        assert_eq!(load(&text("7.3", 75, "")), Ok(()));
    });
}

#[test]
fn what_cannot_run_is_refused_when_it_is_loaded() {
    let test = "modules::what_cannot_run_is_refused_when_it_is_loaded";
    let told = on("sm = 75", test, || {
        assert_eq!(load(&text("7.4", 80, "")), Err(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU));
        let unknown = text("7.4", 75, "sin.wrong.f32 %r1, %r2;");
        assert_eq!(load(&unknown), Err(CUresult::CUDA_ERROR_INVALID_PTX));
        let context = context();
        let fatbin = vec![0x50, 0xed, 0x55, 0xba, 1, 0];
        let refused = context.load_module(Ptx::from_binary(fatbin));
        assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_IMAGE);
        let module = context.load_module(Ptx::from_src(text("7.4", 75, ""))).expect("fine");
        let none = module.load_function("nobody");
        assert_eq!(code(none), CUresult::CUDA_ERROR_NOT_FOUND);
    });
    let Some(told) = told else { return };
    assert!(told.contains("sin.wrong.f32"), "{told}");
    assert!(told.contains("sm_80"), "{told}");
}

#[test]
fn the_compilers_words_come_in_the_callers_buffer() {
    let test = "modules::the_compilers_words_come_in_the_callers_buffer";
    on("sm = 75", test, || {
        let _context = context();
        let image = CString::new(text("7.4", 75, "sin.wrong.f32 %r1, %r2;")).expect("a text");
        let load = |room: usize| {
            let mut log = vec![b'?'; 200];
            let mut names = [Jit::CU_JIT_ERROR_LOG_BUFFER, Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
            let mut values: [*mut c_void; 2] =
                [log.as_mut_ptr().cast(), ptr::without_provenance_mut(room)];
            let mut module = ptr::null_mut();
            // SAFETY: the text ends with a zero; there are two names and two values, and the buffer has
            // room for what is said of it.
            let code = unsafe {
                sys::cuModuleLoadDataEx(
                    &raw mut module,
                    image.as_ptr().cast(),
                    2,
                    names.as_mut_ptr(),
                    values.as_mut_ptr(),
                )
            };
            assert_eq!(code, CUresult::CUDA_ERROR_INVALID_PTX);
            let end = log.iter().position(|byte| *byte == 0).expect("an end");
            assert_eq!(values[1].addr(), end);
            assert!(log[end + 1..].iter().all(|byte| *byte == b'?'));
            String::from_utf8(log[..end].to_vec()).expect("a text")
        };
        let whole = load(200);
        assert!(whole.starts_with("line 7: ") && whole.contains("sin.wrong.f32"), "{whole}");
        assert_eq!(load(7), whole[..6]);
    });
}

#[test]
fn functions_tell_what_they_need() {
    on("sm = 86", "modules::functions_tell_what_they_need", || {
        let context = context();
        let ours = Ptx::from_src(gimbal_cuda::ptx(86).expect("a module"));
        let module = context.load_module(ours).expect("fine");
        let gemm = module.load_function("gemm_bf16").expect("a kernel");
        assert_eq!(gemm.shared_size_bytes(), Ok(30720));
        assert_eq!(gemm.ptx_version(), Ok(74));
        assert_eq!(gemm.local_size_bytes(), Ok(0));
        // Only the device's own compiler knows.
        assert_eq!(code(gemm.num_regs()), CUresult::CUDA_ERROR_NOT_SUPPORTED);
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        assert_eq!(gemm.get_attribute(most), Ok(48 * 1024 - 30720));
        assert_eq!(gemm.set_attribute(most, 99 * 1024 - 30720), Ok(()));
        assert_eq!(
            code(gemm.set_attribute(most, 99 * 1024 - 30720 + 1)),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    });
}
