//! Cubins: which a device takes, and that the PTX runs that they were made of.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaModule, CudaStream, DevicePtr};
use cudarc::nvrtc::Ptx;
use gimbal_cuda::{Image, launch};

use super::kernels::run;
use super::process::{code, context, on};

/// Where the cubins are that the product ships.
const MANIFEST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../backends/cuda/ptx/MANIFEST.toml");

/// A machine that knows of which PTX they were made.
fn machine(sm: u32, driver: u32) -> String {
    format!("sm = {sm}\ndriver = {driver}\ncubins = \"{MANIFEST}\"")
}

/// An architecture's own cubin.
fn cubin(sm: u32) -> Image {
    let mut images = gimbal_cuda::images([sm / 10, sm % 10], [12, 0]).expect("images");
    assert_eq!(images[0].name, format!("sm{sm}.cubin"));
    images.swap_remove(0)
}

fn load(image: &Image) -> Result<Arc<CudaModule>, CUresult> {
    context().load_module(Ptx::from_binary(image.bytes.clone())).map_err(|error| error.0)
}

/// The columns of the largest of seven, by our kernel.
fn choose(stream: &Arc<CudaStream>, module: &Arc<CudaModule>) -> Vec<u32> {
    let logits = stream.clone_htod(&[0.5_f32, 3.0, 2.0, 3.0, -1.0, 0.0, 1.0]).expect("a copy");
    let token = stream.alloc_zeros::<u32>(1).expect("memory");
    let (to, from) = (token.device_ptr(stream).0, logits.device_ptr(stream).0);
    run(stream, module, &launch::argmax([to, from], [1, 7]));
    stream.clone_dtoh(&token).expect("a copy")
}

/// The device's capability and the driver's version, as the product asks for them.
fn asked() -> ([u32; 2], [u32; 2]) {
    let positive = |number: i32| u32::try_from(number).expect("positive");
    let (major, minor) = context().compute_capability().expect("a capability");
    let mut driver = 0;
    // SAFETY: there is room for the version.
    let answer = unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut driver) };
    answer.result().expect("a version");
    let driver = positive(driver);
    ([positive(major), positive(minor)], [driver / 1000, driver % 1000 / 10])
}

#[test]
fn every_image_that_a_device_is_given_loads_and_runs() {
    let test = "cubins::every_image_that_a_device_is_given_loads_and_runs";
    let machines = [
        (75, 11000),
        (75, 11040),
        (80, 11040),
        (86, 11040),
        (89, 12020),
        (90, 11080),
        (100, 12080),
        (103, 12090),
        (120, 13000),
    ];
    for (sm, driver) in machines {
        on(&machine(sm, driver), test, || {
            let (capability, driver) = asked();
            let stream = context().new_stream().expect("a stream");
            for image in gimbal_cuda::images(capability, driver).expect("images") {
                let module = load(&image).unwrap_or_else(|code| panic!("{}: {code:?}", image.name));
                assert_eq!(choose(&stream, &module), [1], "{}", image.name);
                let kernel = module.load_function("argmax").expect("a kernel");
                let number = image.name.trim_start_matches("sm").trim_end_matches(".cubin");
                // PTX becomes the device's own code.
                let own = i32::try_from(capability[0] * 10 + capability[1]).expect("small");
                assert_eq!(kernel.binary_version(), Ok(number.parse().unwrap_or(own)));
                // Only devices of 8.0 and later have these.
                let is_new = module.load_function("embed_bf16").is_ok();
                assert_eq!(is_new, capability >= [8, 0], "{}", image.name);
            }
        });
    }
}

#[test]
fn a_cubin_needs_no_driver_that_reads_its_ptx() {
    on(&machine(80, 11000), "cubins::a_cubin_needs_no_driver_that_reads_its_ptx", || {
        let ptx = Ptx::from_src(gimbal_cuda::ptx(80).expect("a module"));
        let refused = code(context().load_module(ptx));
        assert_eq!(refused, CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        load(&cubin(80)).expect("machine code");
    });
}

#[test]
fn a_device_takes_no_cubin_of_another_architecture() {
    let test = "cubins::a_device_takes_no_cubin_of_another_architecture";
    for sm in [75, 80, 86, 90, 103] {
        let told = on(&machine(sm, 12090), test, || {
            let ([major, minor], _) = asked();
            for sm in [75, 80, 86, 89, 90, 100, 120] {
                let fits = sm / 10 == major && sm % 10 <= minor;
                let expect = if fits { None } else { Some(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU) };
                assert_eq!(load(&cubin(sm)).err(), expect, "sm_{sm} on {major}.{minor}");
            }
        });
        let Some(told) = told else { continue };
        assert!(told.contains(&format!("a cubin for sm_120 on a device of sm_{sm}")), "{told}");
    }
}

#[test]
fn a_cubin_whose_ptx_is_not_known_is_refused() {
    let test = "cubins::a_cubin_whose_ptx_is_not_known_is_refused";
    let none = "sm = 80\ncubins = \"/nowhere/MANIFEST.toml\"";
    for machine in ["sm = 80", none, &machine(80, 12090)] {
        let told = on(machine, test, || {
            let mut image = cubin(80);
            // Machine code, somewhere.
            let middle = image.bytes.len() / 2;
            image.bytes[middle] ^= 1;
            let refused = load(&image).err();
            assert_eq!(refused, Some(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU));
        });
        let Some(told) = told else { continue };
        let expect = match machine {
            "sm = 80" => "the machine's file has no `cubins`",
            _ if machine == none => "/nowhere/MANIFEST.toml: No such file",
            _ => "none has the SHA-256",
        };
        assert!(told.contains("EMULATED CUDA: a cubin") && told.contains(expect), "{told}");
    }
}

#[test]
fn ptx_that_was_changed_is_not_taken_for_the_cubins() {
    let test = "cubins::ptx_that_was_changed_is_not_taken_for_the_cubins";
    let told = on("sm = 80\ncubins = \"changed/MANIFEST.toml\"", test, || {
        // Beside the machine's file, as its path says; the test's folder goes with the test.
        let machine = std::env::var("GIMBAL_TEST_CUDA").expect("set");
        let folder = Path::new(&machine).with_file_name("changed");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(MANIFEST, folder.join("MANIFEST.toml")).expect("a copy");
        let text = gimbal_cuda::ptx(80).expect("a module");
        std::fs::write(folder.join("sm80.ptx"), text).expect("a file");
        load(&cubin(80)).expect("all is as it was made");
        std::fs::write(folder.join("sm80.ptx"), format!("{text}// more\n")).expect("a file");
        assert_eq!(load(&cubin(80)).err(), Some(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU));
    });
    let Some(told) = told else { return };
    assert!(told.contains("sm80.ptx is not the one"), "{told}");
}

#[test]
fn what_is_no_cubin_is_an_invalid_image() {
    let told = on(&machine(80, 12090), "cubins::what_is_no_cubin_is_an_invalid_image", || {
        // Of 32 bits, of x86-64, of an ABI that nobody knows, with a table beyond all bounds; a fatbin.
        for (at, byte) in [(4, 1), (18, 62), (8, 99), (46, 1), (0, 0x50)] {
            let mut image = cubin(80);
            image.bytes[at] = byte;
            if at == 0 {
                image.bytes[..4].copy_from_slice(&[0x50, 0xed, 0x55, 0xba]);
            }
            assert_eq!(load(&image).err(), Some(CUresult::CUDA_ERROR_INVALID_IMAGE), "{at}");
        }
    });
    let Some(told) = told else { return };
    for expect in ["64 bits", "machine 62", "ABI version 99", "more than", "fatbins"] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
}

#[test]
fn the_committed_machines_take_the_shipped_cubins() {
    let test = "cubins::the_committed_machines_take_the_shipped_cubins";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices");
    for file in std::fs::read_dir(&folder).expect("a folder") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a file");
        // The test's file lies elsewhere.
        let (before, path) = text.split_once("cubins = \"").expect("a manifest");
        let text = format!("{before}cubins = \"{}/{path}", folder.display());
        on(&text, test, || {
            let (capability, driver) = asked();
            let images = gimbal_cuda::images(capability, driver).expect("images");
            assert!(images[0].name.ends_with(".cubin"), "{}", images[0].name);
            load(&images[0]).expect("it fits");
        });
    }
}
