//! What `libnvidia-ml.so.1` tells: the same library under another name.

use std::ffi::{CStr, c_char};

use libloading::Library;

use super::process::{context, library, on};

/// Calls a function that fills a text.
fn text(ask: impl FnOnce(*mut c_char, u32) -> u32) -> String {
    let mut room = [0_u8; 96];
    assert_eq!(ask(room.as_mut_ptr().cast(), 96), 0);
    let text = CStr::from_bytes_until_nul(&room).expect("an end");
    text.to_str().expect("a text").to_owned()
}

/// A function of the library.
macro_rules! function {
    ($library:ident, $name:literal, ($($argument:ty),*)) => {{
        type Function = unsafe extern "C" fn($($argument),*) -> u32;
        // SAFETY: the function has this type.
        *unsafe { $library.get::<Function>($name) }.expect("a function")
    }};
}

#[test]
fn devices_are_monitored() {
    let test = "monitor::devices_are_monitored";
    for (machine, warm) in
        [("devices = 2\nname = \"T\"", (3, 9)), ("celsius = 41\nname = \"T\"", (0, 41))]
    {
        let machine = format!("{machine}\n# {}", warm.1);
        let _told = on(&machine, test, || {
            // SAFETY: loading it runs nothing but what Rust's runtime does.
            let library = unsafe { Library::new(library()) }.expect("it loads");
            let init = function!(library, b"nvmlInit_v2", ());
            let shutdown = function!(library, b"nvmlShutdown", ());
            let count = function!(library, b"nvmlDeviceGetCount_v2", (*mut u32));
            let by_index = function!(library, b"nvmlDeviceGetHandleByIndex_v2", (u32, *mut usize));
            let name = function!(library, b"nvmlDeviceGetName", (usize, *mut c_char, u32));
            let uuid = function!(library, b"nvmlDeviceGetUUID", (usize, *mut c_char, u32));
            let memory = function!(library, b"nvmlDeviceGetMemoryInfo", (usize, *mut [u64; 3]));
            let heat = function!(library, b"nvmlDeviceGetTemperature", (usize, u32, *mut u32));
            let (mut devices, mut handle, mut bytes, mut warm) = (0, 0, [9; 3], 9);
            // SAFETY: there is room for what is asked for, here and below.
            assert_eq!(unsafe { count(&raw mut devices) }, 1, "not begun");
            // SAFETY: it takes nothing.
            assert_eq!(unsafe { init() }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { count(&raw mut devices) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { by_index(devices, &raw mut handle) }, 2, "one too many");
            // SAFETY: as above.
            assert_eq!(unsafe { by_index(0, &raw mut handle) }, 0);
            // SAFETY: as above.
            assert_eq!(text(|to, room| unsafe { name(handle, to, room) }), "EMULATED T");
            // SAFETY: as above.
            let uuid = text(|to, room| unsafe { uuid(handle, to, room) });
            assert_eq!(uuid, "GPU-454d554c-4154-4544-2d43-5544412d3000");

            // What cudarc allocates is seen.
            let context = context();
            let words = context.default_stream().alloc_zeros::<u8>(1000).expect("memory");
            // SAFETY: as above.
            assert_eq!(unsafe { memory(handle, &raw mut bytes) }, 0);
            assert_eq!(bytes, [8 << 30, (8 << 30) - 1000, 1000]);
            drop(words);

            // SAFETY: as above.
            let answer = unsafe { heat(handle, 0, &raw mut warm) };
            let machine = std::env::var("GIMBAL_TEST_CUDA").expect("set");
            let machine = std::fs::read_to_string(machine).expect("a file");
            assert!(machine.ends_with(&format!("# {warm}")), "{machine}");
            assert_eq!(answer, if machine.contains("celsius") { 0 } else { 3 });
            // SAFETY: it takes nothing.
            assert_eq!(unsafe { shutdown() }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { count(&raw mut devices) }, 1, "ended");
        });
    }
}
