//! Our kernels under `cudarc`, and two small ones for tests of order.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, sys,
};
use cudarc::nvrtc::Ptx;
use gimbal_cuda::launch::{self, Launch, Output, Type, Weights};
use half::bf16;

use super::process::{context, on};

/// `mix` makes of each of 32 words twice it, plus its argument: what two of them leave tells their order.
/// `stray` reads the word that many bytes behind the address.
const SMALL: &str = "
.version 7.0
.target sm_75
.address_size 64
.visible .entry mix(.param .u64 at, .param .u32 plus)
{
.reg .b32 %r<6>;
.reg .b64 %q<4>;
ld.param.u64 %q1, [at];
ld.param.u32 %r1, [plus];
mov.u32 %r2, %tid.x;
mul.wide.u32 %q2, %r2, 4;
add.s64 %q3, %q1, %q2;
ld.global.u32 %r3, [%q3];
add.s32 %r4, %r3, %r3;
add.s32 %r5, %r4, %r1;
st.global.u32 [%q3], %r5;
ret;
}
.visible .entry stray(.param .u64 at, .param .u64 behind)
{
.reg .b32 %r<2>;
.reg .b64 %q<4>;
ld.param.u64 %q1, [at];
ld.param.u64 %q2, [behind];
add.s64 %q3, %q1, %q2;
ld.global.u32 %r1, [%q3];
st.global.u32 [%q1], %r1;
ret;
}
";

/// Words that `mix` works on.
pub(crate) const WORDS: usize = 32;

pub(crate) fn small(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    let module = context.load_module(Ptx::from_src(SMALL)).expect("a module");
    module.load_function(name).expect("a kernel")
}

pub(crate) fn mix(stream: &CudaStream, kernel: &CudaFunction, at: &CudaSlice<u32>, plus: u32) {
    let block = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
    let mut launch = stream.launch_builder(kernel);
    // SAFETY: the kernel has these parameters, and so many words are there.
    unsafe { launch.arg(at).arg(&plus).launch(block) }.expect("a launch");
}

pub(crate) fn stray(stream: &CudaStream, kernel: &CudaFunction, at: &CudaSlice<u32>, behind: u64) {
    let block = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    let mut launch = stream.launch_builder(kernel);
    // SAFETY: the kernel has these parameters; that it reads astray is told by the emulated device.
    unsafe { launch.arg(at).arg(&behind).launch(block) }.expect("a launch");
}

/// Launches plain data: its parameters as one buffer.
pub(crate) fn run(stream: &CudaStream, kernels: &Arc<cudarc::driver::CudaModule>, work: &Launch) {
    let kernel = kernels.load_function(&work.kernel).expect("a kernel");
    let mut bytes = work.params.len();
    let mut extra: [*mut c_void; 5] = [
        ptr::without_provenance_mut(1),
        work.params.as_ptr().cast_mut().cast(),
        ptr::without_provenance_mut(2),
        (&raw mut bytes).cast(),
        ptr::null_mut(),
    ];
    let [x, y, z] = work.blocks;
    // SAFETY: the kernel and the stream are of this context; `extra` has the parameters' bytes, their
    // count and an end, which are read before the call returns.
    let code = unsafe {
        sys::cuLaunchKernel(
            kernel.cu_function(),
            x,
            y,
            z,
            work.threads,
            1,
            1,
            0,
            stream.cu_stream(),
            ptr::null_mut(),
            extra.as_mut_ptr(),
        )
    };
    code.result().expect("a launch");
}

/// Small numbers, each the same in bf16.
fn numbers(count: usize, step: usize) -> Vec<bf16> {
    (0..count).map(|i| bf16::from_f32((i * step % 17) as f32 / 8.0 - 1.0)).collect()
}

#[test]
fn our_kernels_run_under_cudarc() {
    let test = "kernels::our_kernels_run_under_cudarc";
    for machine in ["", "sm = 90\nwarps = \"last\"\norder = \"last\"\nworkers = 1"] {
        on(machine, test, || {
            let context = context();
            let stream = context.new_stream().expect("a stream");
            let text = gimbal_cuda::ptx(80).expect("a module");
            let kernels = context.load_module(Ptx::from_src(text)).expect("every form is known");

            // Rows of a table, times two, by parameters one by one.
            let (rows, hidden) = (3_usize, 64_usize);
            let table = numbers(5 * hidden, 5);
            // The second is the newest of slot 1.
            let (ids, words) = ([4_u32, 0, 3], [4, launch::of_slot(1), 3]);
            let out = stream.alloc_zeros::<f32>(rows * hidden).expect("memory");
            let (on_device, list) = (
                stream.clone_htod(&table).expect("a copy"),
                stream.clone_htod(&words).expect("a copy"),
            );
            let newest = stream.clone_htod(&[2_u32, 0]).expect("a copy");
            let embed = kernels.load_function("embed_bf16").expect("a kernel");
            let block =
                LaunchConfig { grid_dim: (3, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
            let mut launch = stream.launch_builder(&embed);
            launch.arg(&out).arg(&on_device).arg(&list).arg(&newest).arg(&2.0_f32).arg(&64_u32);
            // SAFETY: these are the kernel's parameters, in its order.
            unsafe { launch.launch(block) }.expect("a launch");
            let found = stream.clone_dtoh(&out).expect("a copy");
            for (row, id) in ids.iter().enumerate() {
                for column in 0..hidden {
                    let expect = 2.0 * table[*id as usize * hidden + column].to_f32();
                    assert_eq!(found[row * hidden + column], expect, "{row} {column}");
                }
            }

            // A product of few rows, by plain data.
            let (rows, n, k) = (2_usize, 6_usize, 64_usize);
            let (x, w) = (numbers(rows * k, 3), numbers(n * k, 7));
            let out = stream.alloc_zeros::<f32>(rows * n).expect("memory");
            let (x_there, w_there) =
                (stream.clone_htod(&x).expect("a copy"), stream.clone_htod(&w).expect("a copy"));
            let [out_at, x_at, w_at] = [
                out.device_ptr(&stream).0,
                x_there.device_ptr(&stream).0,
                w_there.device_ptr(&stream).0,
            ];
            let work = launch::linear(
                Type::Bf16,
                Weights::Same,
                Output::Float,
                [out_at, x_at, w_at],
                [2, 6, 64],
                6,
            );
            assert_eq!(work.kernel, "skinny2_f32_bf16");
            run(&stream, &kernels, &work);
            let found = stream.clone_dtoh(&out).expect("a copy");
            for row in 0..rows {
                for column in 0..n {
                    let terms = (0..k).map(|i| {
                        f64::from(x[row * k + i].to_f32()) * f64::from(w[column * k + i].to_f32())
                    });
                    let (expect, found) = (terms.sum::<f64>(), f64::from(found[row * n + column]));
                    // Products of multiples of 1/8 and their sums are exact in f32.
                    assert_eq!(found, expect, "{row} {column}");
                }
            }
        });
    }
}
