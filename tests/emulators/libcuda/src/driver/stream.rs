//! Streams. Next: `event`.

use super::border::Out;
use super::code::{Code, INVALID_HANDLE, INVALID_VALUE, NOT_READY};
use super::context::PRIORITIES;
use super::state::{Driver, call, context_handle};
use super::work::{Op, Recorded, Stream};

/// It does not wait for the default stream.
const NON_BLOCKING: u32 = 1;

fn create(driver: &mut Driver, to: &Out<usize>, flags: u32, priority: i32) -> Result<(), Code> {
    let device = driver.current()?;
    if flags & !NON_BLOCKING != 0 {
        return Err(INVALID_VALUE);
    }
    let handle = driver.handle();
    to.put(handle)?;
    let [least, greatest] = PRIORITIES;
    let priority = priority.clamp(greatest, least);
    let is_blocking = flags & NON_BLOCKING == 0;
    driver.streams.insert(handle, Stream { is_blocking, priority, ..Stream::of(device) });
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamCreate(to: Out<usize>, flags: u32) -> Code {
    call("cuStreamCreate", |driver| create(driver, &to, flags, 0))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamCreateWithPriority(
    to: Out<usize>,
    flags: u32,
    priority: i32,
) -> Code {
    call("cuStreamCreateWithPriority", |driver| create(driver, &to, flags, priority))
}

/// Its work still gets done.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamDestroy_v2(stream: usize) -> Code {
    call("cuStreamDestroy_v2", |driver| {
        let key = driver.stream(stream)?;
        if key != stream {
            return Err(INVALID_HANDLE);
        }
        if let Some((id, _)) = driver.streams.get(&key).and_then(|stream| stream.capture.clone()) {
            driver.invalidate(id);
        }
        let stream = driver.streams.get_mut(&key).ok_or(INVALID_HANDLE)?;
        stream.is_destroyed = true;
        if stream.queue.is_empty() {
            driver.remove_stream(key);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamSynchronize(stream: usize) -> Code {
    call("cuStreamSynchronize", |driver| {
        let key = driver.stream(stream)?;
        driver.refuse_captured(key)?;
        let device = driver.streams.get(&key).ok_or(INVALID_HANDLE)?.device;
        let mark = driver.last(key);
        driver.finish(mark.as_slice());
        driver.healthy(device)
    })
}

/// Does one piece of work of any stream, so that whoever asks often enough sees an end.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamQuery(stream: usize) -> Code {
    call("cuStreamQuery", |driver| {
        let key = driver.stream(stream)?;
        driver.refuse_captured(key)?;
        let device = driver.streams.get(&key).ok_or(INVALID_HANDLE)?.device;
        if driver.last(key).is_none() {
            return Ok(());
        }
        driver.step();
        driver.healthy(device)?;
        if driver.last(key).is_none() { Ok(()) } else { Err(NOT_READY) }
    })
}

/// Waits for what the event was recorded after when this is called; one that never was is not waited
/// for.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamWaitEvent(stream: usize, event: usize, flags: u32) -> Code {
    call("cuStreamWaitEvent", |driver| {
        let key = driver.stream(stream)?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        let last = driver.events.get(&event).ok_or(INVALID_HANDLE)?.last.clone();
        if driver.joins(key, last.as_ref())? {
            return Ok(());
        }
        match last {
            Some(Recorded::At(mark, _)) if !driver.is_done(mark) => {
                driver.enqueue(key, Op::Wait, vec![mark]).map(drop)
            }
            _ => Ok(()),
        }
    })
}

fn tell(
    driver: &mut Driver,
    stream: usize,
    what: impl FnOnce(&Stream) -> Result<(), Code>,
) -> Result<(), Code> {
    let key = driver.stream(stream)?;
    driver.streams.get(&key).map_or(Err(INVALID_HANDLE), what)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetPriority(stream: usize, priority: Out<i32>) -> Code {
    call("cuStreamGetPriority", |driver| tell(driver, stream, |s| priority.put(s.priority)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetFlags(stream: usize, flags: Out<u32>) -> Code {
    let of = |stream: &Stream| flags.put(if stream.is_blocking { 0 } else { NON_BLOCKING });
    call("cuStreamGetFlags", |driver| tell(driver, stream, of))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetCtx(stream: usize, context: Out<usize>) -> Code {
    let of = |stream: &Stream| context.put(context_handle(stream.device));
    call("cuStreamGetCtx", |driver| tell(driver, stream, of))
}
