//! Launches of kernels, and functions of the host in a stream.
//!
//! Next: `stream`.

use super::border;
use super::code::{Code, INVALID_HANDLE, INVALID_VALUE};
use super::state::{call, tell};
use super::work::Op;
use crate::{Grid, Kernel};

/// What a grid and a block may extend to.
const BLOCKS_MAX: [u32; 3] = [i32::MAX.cast_unsigned(), 65535, 65535];
const THREADS_MAX: [u32; 3] = [1024, 1024, 64];

/// The names of pairs in `extra`: its end, the parameters' bytes, where their count stands.
const EXTRA_END: usize = 0;
const EXTRA_BUFFER: usize = 1;
const EXTRA_BYTES: usize = 2;

/// The parameters' bytes, as pointers to each of them.
fn params(kernel: &Kernel, pointers: usize) -> Result<Vec<u8>, Code> {
    let mut bytes = vec![0; kernel.param_bytes()];
    if pointers == 0 && !bytes.is_empty() {
        return Err(INVALID_VALUE);
    }
    let pointers = border::words(pointers, kernel.params.len());
    for (param, pointer) in kernel.params.iter().zip(pointers) {
        if pointer == 0 {
            return Err(INVALID_VALUE);
        }
        let value = border::read(pointer, param.size);
        bytes[param.offset..][..param.size].copy_from_slice(&value);
    }
    Ok(bytes)
}

/// The parameters' bytes, as one buffer.
fn extra(kernel: &Kernel, pairs: usize) -> Result<Vec<u8>, Code> {
    let (mut buffer, mut bytes) = (0, 0);
    // Two pairs and the end.
    for index in 0..3 {
        let at = pairs + 2 * index * size_of::<usize>();
        match border::words(at, 1)[0] {
            EXTRA_END => break,
            EXTRA_BUFFER => buffer = border::words(at, 2)[1],
            EXTRA_BYTES => bytes = border::words(border::words(at, 2)[1], 1)[0],
            _ => return Err(INVALID_VALUE),
        }
    }
    if buffer == 0 || bytes != kernel.param_bytes() {
        tell(&format!("{bytes} bytes of parameters, of {}", kernel.param_bytes()));
        return Err(INVALID_VALUE);
    }
    Ok(border::read(buffer, bytes))
}

fn check(kernel: &Kernel, grid: &Grid, shared_max: i32) -> Result<(), String> {
    let fits = |extents: [u32; 3], most: [u32; 3]| {
        extents.iter().zip(most).all(|(extent, most)| (1..=most).contains(extent))
    };
    let threads = grid.threads.iter().map(|count| u64::from(*count)).product::<u64>();
    let most = kernel.threads_max.unwrap_or(1024).min(1024);
    if !fits(grid.blocks, BLOCKS_MAX) || !fits(grid.threads, THREADS_MAX) {
        return Err(format!("{:?} blocks of {:?} threads", grid.blocks, grid.threads));
    }
    if threads > most.into() {
        return Err(format!("{threads} threads in a block, of {most} at most"));
    }
    match usize::try_from(shared_max).is_ok_and(|most| grid.shared <= most) {
        true => Ok(()),
        false => Err(format!("{} bytes of shared memory, of {shared_max}", grid.shared)),
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchKernel(
    function: usize,
    blocks_x: u32,
    blocks_y: u32,
    blocks_z: u32,
    threads_x: u32,
    threads_y: u32,
    threads_z: u32,
    shared: u32,
    stream: usize,
    pointers: usize,
    pairs: usize,
) -> Code {
    call("cuLaunchKernel", |driver| {
        let key = driver.stream(stream)?;
        let function = driver.functions.get(&function).ok_or(INVALID_HANDLE)?.clone();
        let kernel = &function.module.kernels[function.index];
        let device = driver.streams.get(&key).map(|stream| stream.device);
        let home = driver.modules.get(&function.owner).map(|module| module.device);
        if home != device {
            tell(&format!("{} was loaded for {home:?} and is launched on {device:?}", kernel.name));
            return Err(INVALID_HANDLE);
        }
        let grid = Grid {
            blocks: [blocks_x, blocks_y, blocks_z],
            threads: [threads_x, threads_y, threads_z],
            shared: usize::try_from(shared).map_err(|_| INVALID_VALUE)?,
            ..Grid::of(1, 1)
        };
        check(kernel, &grid, function.shared_max).map_err(|what| {
            tell(&format!("{}: {what}", kernel.name));
            INVALID_VALUE
        })?;
        let params = match pairs {
            0 => params(kernel, pointers)?,
            _ if pointers != 0 => return Err(INVALID_VALUE),
            pairs => extra(kernel, pairs)?,
        };
        let (module, index) = (function.module.clone(), function.index);
        driver.enqueue(key, Op::Kernel { module, index, grid, params }, Vec::new()).map(drop)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchHostFunc(stream: usize, function: usize, argument: usize) -> Code {
    call("cuLaunchHostFunc", |driver| {
        let key = driver.stream(stream)?;
        if function == 0 {
            return Err(INVALID_VALUE);
        }
        driver.enqueue(key, Op::Host(function, argument), Vec::new()).map(drop)
    })
}
