//! Copies and fills.
//!
//! When the host's memory is read or written: pageable memory is read when a copy is asked for and
//! written before the call returns, pinned memory when the copy is made, as late as the stream allows; in
//! a graph it is whenever the graph runs. **Source**: CUDA Driver API, API synchronization behavior.
//! Next: `module`.

use super::border;
use super::code::{Code, INVALID_VALUE};
use super::state::{Driver, call};
use super::work::{Mark, Op, Source};

/// Waits for work, unless it went into a graph.
fn wait(driver: &mut Driver, key: usize, mark: Option<Mark>) -> Result<(), Code> {
    let device = driver.streams.get(&key).map(|stream| stream.device);
    driver.finish(mark.as_slice());
    device.map_or(Ok(()), |device| driver.healthy(device))
}

fn to_device(
    driver: &mut Driver,
    key: usize,
    to: u64,
    host: [usize; 2],
) -> Result<Option<Mark>, Code> {
    let [from, bytes] = host;
    driver.owner(to, bytes)?;
    let is_late = driver.is_pinned(from, bytes) || driver.is_capturing(key);
    let from = match is_late {
        true => Source::Host(from, bytes),
        false => Source::Held(border::read(from, bytes).into()),
    };
    driver.enqueue(key, Op::ToDevice { to, from }, Vec::new())
}

fn to_host(
    driver: &mut Driver,
    key: usize,
    host: [usize; 2],
    from: u64,
) -> Result<Option<Mark>, Code> {
    let [to, bytes] = host;
    driver.owner(from, bytes)?;
    let mark = driver.enqueue(key, Op::ToHost { to, from, bytes }, Vec::new())?;
    if !driver.is_pinned(to, bytes) {
        wait(driver, key, mark)?;
    }
    Ok(mark)
}

/// A copy that may block, in the default stream.
fn default_stream(driver: &mut Driver) -> Result<usize, Code> {
    let key = driver.stream(0)?;
    driver.refuse_in_capture()?;
    Ok(key)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyHtoD_v2(to: u64, from: usize, bytes: usize) -> Code {
    call("cuMemcpyHtoD_v2", |driver| {
        let key = default_stream(driver)?;
        if bytes == 0 {
            return Ok(());
        }
        let mark = to_device(driver, key, to, [from, bytes])?;
        wait(driver, key, mark)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: usize,
    bytes: usize,
    stream: usize,
) -> Code {
    call("cuMemcpyHtoDAsync_v2", |driver| {
        let key = driver.stream(stream)?;
        if bytes == 0 {
            return Ok(());
        }
        to_device(driver, key, to, [from, bytes]).map(drop)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoH_v2(to: usize, from: u64, bytes: usize) -> Code {
    call("cuMemcpyDtoH_v2", |driver| {
        let key = default_stream(driver)?;
        if bytes == 0 {
            return Ok(());
        }
        let mark = to_host(driver, key, [to, bytes], from)?;
        wait(driver, key, mark)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoHAsync_v2(
    to: usize,
    from: u64,
    bytes: usize,
    stream: usize,
) -> Code {
    call("cuMemcpyDtoHAsync_v2", |driver| {
        let key = driver.stream(stream)?;
        if bytes == 0 {
            return Ok(());
        }
        to_host(driver, key, [to, bytes], from).map(drop)
    })
}

/// Between devices, or within one; the host does not wait.
fn between(driver: &mut Driver, key: usize, to: u64, from: u64, bytes: usize) -> Result<(), Code> {
    if bytes == 0 {
        return Ok(());
    }
    driver.owner(to, bytes)?;
    driver.owner(from, bytes)?;
    driver.enqueue(key, Op::Copy { to, from, bytes }, Vec::new()).map(drop)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    call("cuMemcpyDtoD_v2", |driver| {
        let key = default_stream(driver)?;
        between(driver, key, to, from, bytes)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoDAsync_v2(
    to: u64,
    from: u64,
    bytes: usize,
    stream: usize,
) -> Code {
    call("cuMemcpyDtoDAsync_v2", |driver| {
        let key = driver.stream(stream)?;
        between(driver, key, to, from, bytes)
    })
}

/// The two places lie where their contexts say.
fn peers(driver: &Driver, places: [(u64, usize); 2], bytes: usize) -> Result<(), Code> {
    for (address, context) in places {
        let device = driver.context(context)?;
        if bytes > 0 && driver.owner(address, bytes)? != device {
            return Err(INVALID_VALUE);
        }
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyPeer(
    to: u64,
    to_at: usize,
    from: u64,
    from_at: usize,
    bytes: usize,
) -> Code {
    call("cuMemcpyPeer", |driver| {
        let key = default_stream(driver)?;
        peers(driver, [(to, to_at), (from, from_at)], bytes)?;
        between(driver, key, to, from, bytes)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    to_at: usize,
    from: u64,
    from_at: usize,
    bytes: usize,
    stream: usize,
) -> Code {
    call("cuMemcpyPeerAsync", |driver| {
        let key = driver.stream(stream)?;
        peers(driver, [(to, to_at), (from, from_at)], bytes)?;
        between(driver, key, to, from, bytes)
    })
}

fn fill(
    driver: &mut Driver,
    key: usize,
    to: u64,
    pattern: &[u8],
    count: usize,
) -> Result<(), Code> {
    let bytes = pattern.len().checked_mul(count).ok_or(INVALID_VALUE)?;
    if bytes == 0 {
        return Ok(());
    }
    if !to.is_multiple_of(pattern.len() as u64) {
        return Err(INVALID_VALUE);
    }
    driver.owner(to, bytes)?;
    let pattern = pattern.to_vec();
    driver.enqueue(key, Op::Fill { to, pattern, count }, Vec::new()).map(drop)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> Code {
    call("cuMemsetD8_v2", |driver| {
        let key = default_stream(driver)?;
        fill(driver, key, to, &[value], count)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) -> Code {
    call("cuMemsetD8Async", |driver| {
        let key = driver.stream(stream)?;
        fill(driver, key, to, &[value], count)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD16Async(
    to: u64,
    value: u16,
    count: usize,
    stream: usize,
) -> Code {
    call("cuMemsetD16Async", |driver| {
        let key = driver.stream(stream)?;
        fill(driver, key, to, &value.to_le_bytes(), count)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD32Async(
    to: u64,
    value: u32,
    count: usize,
    stream: usize,
) -> Code {
    call("cuMemsetD32Async", |driver| {
        let key = driver.stream(stream)?;
        fill(driver, key, to, &value.to_le_bytes(), count)
    })
}
