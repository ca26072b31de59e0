//! Events. Their times count pieces of work, a microsecond each: they tell an order, not a speed.
//!
//! Next: `capture`.

use super::border::Out;
use super::code::{CAPTURED_EVENT, Code, INVALID_HANDLE, INVALID_VALUE, NOT_READY, NOT_SUPPORTED};
use super::state::{Driver, call};
use super::work::{Event, Mark, Op, Recorded};

/// Flags of an event: waiting blocks (here it always does), no time, for other processes.
const BLOCKING: u32 = 1;
const UNTIMED: u32 = 2;
const INTERPROCESS: u32 = 4;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventCreate(to: Out<usize>, flags: u32) -> Code {
    call("cuEventCreate", |driver| {
        let device = driver.current()?;
        if flags & INTERPROCESS != 0 {
            return Err(NOT_SUPPORTED);
        }
        if flags & !(BLOCKING | UNTIMED) != 0 {
            return Err(INVALID_VALUE);
        }
        let handle = driver.handle();
        to.put(handle)?;
        let is_timed = flags & UNTIMED == 0;
        driver.events.insert(handle, Event { device, is_timed, last: None });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventDestroy_v2(event: usize) -> Code {
    call("cuEventDestroy_v2", |driver| driver.events.remove(&event).map(drop).ok_or(INVALID_HANDLE))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventRecord(event: usize, stream: usize) -> Code {
    call("cuEventRecord", |driver| {
        let key = driver.stream(stream)?;
        let stream = driver.streams.get(&key).ok_or(INVALID_HANDLE)?;
        let of_event = driver.events.get(&event).ok_or(INVALID_HANDLE)?;
        if of_event.device != stream.device {
            return Err(INVALID_HANDLE);
        }
        let last = match stream.capture.clone() {
            Some((id, nodes)) => Some(Recorded::Captured(id, nodes)),
            None => {
                let mark = driver.enqueue(key, Op::Record(event), Vec::new())?;
                mark.map(|mark| Recorded::At(mark, None))
            }
        };
        driver.events.get_mut(&event).ok_or(INVALID_HANDLE)?.last = last;
        Ok(())
    })
}

/// Where an event is waited for; none if it never was recorded.
fn mark(driver: &mut Driver, event: usize) -> Result<Option<Mark>, Code> {
    let event = driver.events.get(&event).ok_or(INVALID_HANDLE)?;
    driver.healthy(event.device)?;
    match &event.last {
        Some(Recorded::Captured(id, _)) => {
            let id = *id;
            driver.invalidate(id);
            Err(CAPTURED_EVENT)
        }
        Some(Recorded::At(mark, _)) => Ok(Some(*mark)),
        None => Ok(None),
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventSynchronize(event: usize) -> Code {
    call("cuEventSynchronize", |driver| {
        let mark = mark(driver, event)?;
        driver.finish(mark.as_slice());
        let device = driver.events.get(&event).ok_or(INVALID_HANDLE)?.device;
        driver.healthy(device)
    })
}

/// Does one piece of work, as `cuStreamQuery`.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventQuery(event: usize) -> Code {
    call("cuEventQuery", |driver| {
        let Some(mark) = mark(driver, event)? else { return Ok(()) };
        if driver.is_done(mark) {
            return Ok(());
        }
        driver.step();
        let device = driver.events.get(&event).ok_or(INVALID_HANDLE)?.device;
        driver.healthy(device)?;
        if driver.is_done(mark) { Ok(()) } else { Err(NOT_READY) }
    })
}

fn elapsed(driver: &Driver, from: usize, to: usize) -> Result<f32, Code> {
    let time = |event: usize| {
        let event = driver.events.get(&event).filter(|event| event.is_timed);
        match &event.ok_or(INVALID_HANDLE)?.last {
            Some(Recorded::At(_, Some(time))) => Ok(*time),
            Some(Recorded::At(_, None)) => Err(NOT_READY),
            _ => Err(INVALID_HANDLE),
        }
    };
    let (from, to) = (time(from)?, time(to)?);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a time")]
    let microseconds = (to as f64 - from as f64) as f32;
    Ok(microseconds / 1000.0)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventElapsedTime(
    milliseconds: Out<f32>,
    from: usize,
    to: usize,
) -> Code {
    call("cuEventElapsedTime", |driver| milliseconds.put(elapsed(driver, from, to)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventElapsedTime_v2(
    milliseconds: Out<f32>,
    from: usize,
    to: usize,
) -> Code {
    call("cuEventElapsedTime_v2", |driver| milliseconds.put(elapsed(driver, from, to)?))
}
