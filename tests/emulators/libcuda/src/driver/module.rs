//! Modules: PTX becomes kernels, as a driver's JIT compiler has it; of cubins see `cubin`.
//!
//! Next: `launch`.

use std::sync::Arc;

use super::border::{self, Out, Text};
use super::code::{
    Code, INVALID_HANDLE, INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, NO_BINARY_FOR_GPU, NOT_FOUND,
    NOT_SUPPORTED, UNSUPPORTED_PTX_VERSION,
};
use super::cubin;
use super::machine::limits;
use super::state::{Driver, Function, Loaded, call, tell};
use crate::Module;

/// How a fatbin begins.
const FATBIN: [u8; 4] = [0x50, 0xed, 0x55, 0xba];
/// Shared memory that every launch may ask for.
const SHARED_PLAIN: i32 = 48 << 10;

/// Reads a module, and for which architecture its code is; what is wrong with it in words beside the
/// error's code.
fn read(driver: &Driver, image: usize) -> Result<(Module, u32), (Code, String)> {
    if image == 0 {
        return Err((INVALID_VALUE, String::new()));
    }
    match border::opening(image) {
        cubin::OPENING => cubin::read(&driver.machine, image),
        FATBIN => Err((INVALID_IMAGE, "fatbins are not read here".to_owned())),
        _ => compile(driver, image).map(|module| (module, driver.machine.sm)),
    }
}

/// What the driver's own compiler takes.
fn compile(driver: &Driver, image: usize) -> Result<Module, (Code, String)> {
    let text = border::text(image).map_err(|_| (INVALID_IMAGE, "no text".to_owned()))?;
    // Before the rest is read: a newer text may have what is not known.
    let version = text.split(".version").nth(1).and_then(|rest| rest.split_whitespace().next());
    let version = version.and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let newest = driver.machine.ptx_newest();
    if version.is_some_and(|version| version > newest) {
        let what = format!("PTX of {version:?} for a driver that reads {newest:?}");
        return Err((UNSUPPORTED_PTX_VERSION, what));
    }
    let module = Module::parse(&text).map_err(|error| (INVALID_PTX, error.to_string()))?;
    let sm = driver.machine.sm;
    if module.target > sm {
        let what = format!("a module for sm_{} on a device of sm_{sm}", module.target);
        return Err((NO_BINARY_FOR_GPU, what));
    }
    Ok(module)
}

fn load(driver: &mut Driver, to: &Out<usize>, image: usize) -> Result<(), (Code, String)> {
    let plain = |code| (code, String::new());
    let device = driver.current().map_err(plain)?;
    driver.refuse_in_capture().map_err(plain)?;
    let (module, architecture) = read(driver, image)?;
    let module = Arc::new(module);
    let handle = driver.handle();
    to.put(handle).map_err(plain)?;
    driver.modules.insert(handle, Loaded { device, module, architecture });
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoadData(to: Out<usize>, image: usize) -> Code {
    call("cuModuleLoadData", |driver| {
        load(driver, &to, image).map_err(|(code, what)| {
            tell(&what);
            code
        })
    })
}

/// Where the caller wants the JIT compiler's words: address and bytes.
#[derive(Default)]
struct Log {
    buffer: usize,
    bytes: usize,
}

/// The option that tells the size of the log of errors.
const LOG_BYTES: i32 = 6;

/// Options that only say how to compile, or where to tell what nothing is said of here.
fn is_idle(option: i32) -> bool {
    // Registers, threads, level, target from the context, debugging, lines, verbosity.
    matches!(option, 0 | 1 | 7 | 8 | 11 | 12 | 13)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoadDataEx(
    to: Out<usize>,
    image: usize,
    count: u32,
    options: usize,
    values: usize,
) -> Code {
    call("cuModuleLoadDataEx", |driver| {
        let count = usize::try_from(count).map_err(|_| INVALID_VALUE)?;
        let names = border::ints(options, count);
        let mut log = Log::default();
        for (index, (name, value)) in names.iter().zip(border::words(values, count)).enumerate() {
            match *name {
                // Of information there is none: its buffer becomes an empty text.
                3 if value != 0 => border::write(value, &[0]),
                4 => border::write(values + index * size_of::<usize>(), &[0; 8]),
                5 => log.buffer = value,
                LOG_BYTES => log.bytes = value & 0xffff_ffff,
                option if is_idle(option) => {}
                option => {
                    tell(&format!("the option {option} of a module is not known here"));
                    return Err(INVALID_VALUE);
                }
            }
        }
        load(driver, &to, image).map_err(|(code, what)| {
            tell(&what);
            let cut = what.len().min(log.bytes.saturating_sub(1));
            if log.buffer != 0 && log.bytes > 0 {
                border::write(log.buffer, &[&what.as_bytes()[..cut], &[0]].concat());
            }
            // How much of the log is filled stands where its size stood.
            if let Some(index) = names.iter().position(|name| *name == LOG_BYTES) {
                border::write(values + index * size_of::<usize>(), &cut.to_ne_bytes());
            }
            code
        })
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleUnload(module: usize) -> Code {
    call("cuModuleUnload", |driver| {
        driver.current()?;
        driver.modules.remove(&module).ok_or(INVALID_HANDLE)?;
        driver.functions.retain(|_, function| function.owner != module);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleGetFunction(to: Out<usize>, module: usize, name: Text) -> Code {
    call("cuModuleGetFunction", |driver| {
        driver.current()?;
        let name = name.read()?;
        let loaded = driver.modules.get(&module).ok_or(INVALID_HANDLE)?;
        let (loaded, architecture) = (loaded.module.clone(), loaded.architecture);
        let index = loaded.kernels.iter().position(|kernel| kernel.name == name);
        let index = index.ok_or(NOT_FOUND)?;
        let mut functions = driver.functions.iter();
        let known = functions.find(|(_, f)| f.owner == module && f.index == index);
        if let Some((handle, _)) = known {
            return to.put(*handle);
        }
        let shared_max = SHARED_PLAIN - i32::try_from(loaded.kernels[index].shared).unwrap_or(0);
        let handle = driver.handle();
        let function = Function { owner: module, module: loaded, index, architecture, shared_max };
        driver.functions.insert(handle, function);
        to.put(handle)
    })
}

/// The attribute of a function that says how much shared memory launches may ask for.
const SHARED_MAX: i32 = 8;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncGetAttribute(
    value: Out<i32>,
    attribute: i32,
    function: usize,
) -> Code {
    call("cuFuncGetAttribute", |driver| {
        driver.current()?;
        let function = driver.functions.get(&function).ok_or(INVALID_HANDLE)?;
        let kernel = &function.module.kernels[function.index];
        let int = |value: usize| i32::try_from(value).map_err(|_| INVALID_VALUE);
        let version = |(major, minor): (u32, u32)| int((major * 10 + minor) as usize);
        value.put(match attribute {
            0 => int(kernel.threads_max.unwrap_or(1024).min(1024) as usize)?,
            1 => int(kernel.shared)?,
            // Kernels with constant or local memory are refused when they are loaded.
            2 | 3 => 0,
            5 => version(function.module.version)?,
            6 => int(function.architecture as usize)?,
            SHARED_MAX => function.shared_max,
            other => {
                tell(&format!("attribute {other} of a function is not known here"));
                return Err(if other == 4 { NOT_SUPPORTED } else { INVALID_VALUE });
            }
        })
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncSetAttribute(function: usize, attribute: i32, value: i32) -> Code {
    call("cuFuncSetAttribute", |driver| {
        driver.current()?;
        let most = limits(driver.machine.sm).map_or(0, |limits| limits.shared_block);
        let function = driver.functions.get_mut(&function).ok_or(INVALID_HANDLE)?;
        let own = function.module.kernels[function.index].shared;
        let own = i32::try_from(own).map_err(|_| INVALID_VALUE)?;
        match attribute {
            SHARED_MAX if (0..=most - own).contains(&value) => function.shared_max = value,
            // How much of the first cache becomes shared memory: a wish.
            9 if (-1..=100).contains(&value) => {}
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    })
}
