//! Tensors: memory of a core or of the host, and parts of it.
//!
//! Next: `sets.rs`.

use std::ffi::c_int;
use std::ops::Range;
use std::sync::Arc;

use neuron_sys::{Placement, Status, TensorBatch};

use crate::border::{Array, HostBytes, HostRoom, Out, Part, Text, parts};
use crate::refusal::{Answer, refuse};
use crate::state::{Object, Tensor, When, answer, answer_unlocked, with};
use crate::storage::Storage;

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_allocate(
    placement: Placement,
    core: c_int,
    size: usize,
    name: Text,
    tensor: Out<usize>,
) -> Status {
    answer("nrt_tensor_allocate", When::Open, |state| {
        tensor.check()?;
        if size == 0 {
            return refuse(Status::INVALID, "a tensor of 0 bytes");
        }
        let core = match (placement, u32::try_from(core)) {
            (Placement::DEVICE, Ok(core)) => {
                state.core(core)?;
                state.take_room(core, size as u64)?;
                Some(core)
            }
            (Placement::HOST, Err(_)) if core == -1 => None,
            _ => {
                return refuse(
                    Status::INVALID,
                    format!(
                        "{placement:?} on core {core}: a device's memory is of a core, the host's of -1"
                    ),
                );
            }
        };
        let Some(storage) = Storage::new(core, size) else {
            return refuse(Status::FAIL_HOST_MEM_ALLOC, format!("{size} bytes of this machine"));
        };
        let storage = Arc::new(storage);
        let name = name.read_if_any()?.unwrap_or_default();
        tensor.put(state.keep(Object::Tensor(Tensor { name, storage, offset: 0, size })))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_allocate_slice(
    source: usize,
    offset: usize,
    size: usize,
    name: Text,
    tensor: Out<usize>,
) -> Status {
    answer("nrt_tensor_allocate_slice", When::Open, |state| {
        tensor.check()?;
        let whole = state.tensor(source)?;
        let range = range(whole, offset as u64, size as u64)?;
        if size == 0 {
            return refuse(Status::INVALID, "a tensor of 0 bytes");
        }
        let name = name.read_if_any()?.unwrap_or_default();
        let part = Tensor { name, storage: whole.storage.clone(), offset: range.start, size };
        tensor.put(state.keep(Object::Tensor(part)))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_free(tensor: Out<usize>) {
    let call = "nrt_tensor_free";
    with(|state| {
        let freed = tensor.take().and_then(|handle| {
            state.tensor(handle)?;
            let holds = |object: &Object| match object {
                Object::Set(set) => set.values().any(|held| *held == handle),
                _ => false,
            };
            if state.objects.values().any(holds) {
                state.misuse(call, &format!("{handle:#x} is still in a set of tensors"));
            }
            state.objects.remove(&handle);
            tensor.put(0)
        });
        if let Err(refusal) = freed {
            state.misuse(call, &refusal.why);
        }
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_get_size(tensor: usize) -> usize {
    with(|state| match state.tensor(tensor) {
        Ok(tensor) => tensor.size,
        Err(refusal) => {
            state.misuse("nrt_tensor_get_size", &refusal.why);
            0
        }
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_read(
    tensor: usize,
    to: HostRoom,
    offset: usize,
    size: usize,
) -> Status {
    answer_unlocked("nrt_tensor_read", When::Open, || {
        copy_out(&find(tensor)?, &to, offset as u64, size as u64)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_write(
    tensor: usize,
    from: HostBytes,
    offset: usize,
    size: usize,
) -> Status {
    answer_unlocked("nrt_tensor_write", When::Open, || {
        copy_in(&find(tensor)?, &from, offset as u64, size as u64)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_read_batch(
    batches: Array<TensorBatch>,
    count: u64,
    is_unblocked: bool,
) -> Status {
    answer_unlocked("nrt_tensor_read_batch", When::Open, || {
        let copy =
            |tensor: &Tensor, part: &Part| copy_out(tensor, &part.target(), part.offset, part.size);
        batch(&batches, count, is_unblocked, copy)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_write_batch(
    batches: Array<TensorBatch>,
    count: u64,
    is_unblocked: bool,
) -> Status {
    answer_unlocked("nrt_tensor_write_batch", When::Open, || {
        let copy =
            |tensor: &Tensor, part: &Part| copy_in(tensor, &part.source(), part.offset, part.size);
        batch(&batches, count, is_unblocked, copy)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_memset(
    tensor: usize,
    offset: u64,
    value: c_int,
    size: usize,
) -> Status {
    answer_unlocked("nrt_tensor_memset", When::Open, || {
        let tensor = find(tensor)?;
        let range = range(&tensor, offset, size as u64)?;
        let Ok(byte) = u8::try_from(value) else {
            return refuse(Status::INVALID, format!("{value} is not a byte"));
        };
        tensor.storage.write().bytes_mut()[range].fill(byte);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_tensor_copy(
    source: usize,
    source_offset: usize,
    target: usize,
    target_offset: usize,
    size: usize,
) -> Status {
    answer_unlocked("nrt_tensor_copy", When::Open, || {
        let (source, target) = (find(source)?, find(target)?);
        if let (Some(from), Some(to)) = (source.storage.core, target.storage.core)
            && from != to
        {
            return refuse(Status::INVALID, format!("from core {from} to core {to}"));
        }
        let from = range(&source, source_offset as u64, size as u64)?;
        let to = range(&target, target_offset as u64, size as u64)?;
        let bytes = source.storage.read().bytes()[from].to_vec();
        target.storage.write().bytes_mut()[to].copy_from_slice(&bytes);
        Ok(())
    })
}

/// Its memory is used without the runtime's lock: an execution may have to be waited for.
fn find(tensor: usize) -> Answer<Tensor> {
    with(|state| state.tensor(tensor).cloned())
}

fn copy_out(tensor: &Tensor, to: &HostRoom, offset: u64, size: u64) -> Answer {
    let range = range(tensor, offset, size)?;
    to.write(&tensor.storage.read().bytes()[range])
}

fn copy_in(tensor: &Tensor, from: &HostBytes, offset: u64, size: u64) -> Answer {
    let range = range(tensor, offset, size)?;
    let bytes = from.read(range.len())?;
    tensor.storage.write().bytes_mut()[range].copy_from_slice(bytes);
    Ok(())
}

fn batch(
    batches: &Array<TensorBatch>,
    count: u64,
    is_unblocked: bool,
    copy: impl Fn(&Tensor, &Part) -> Answer,
) -> Answer {
    if is_unblocked {
        return refuse(Status::INVALID, "unsafe: the emulator always waits");
    }
    for batch in batches.read(count)? {
        let tensor = find(batch.tensor.addr())?;
        for part in parts(batch.ops, batch.num_ops)? {
            copy(&tensor, &part)?;
        }
    }
    Ok(())
}

/// Where a part of a tensor is in its memory.
fn range(tensor: &Tensor, offset: u64, size: u64) -> Answer<Range<usize>> {
    let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
    match (end, usize::try_from(offset)) {
        (Some(end), Ok(start)) if end <= tensor.size => {
            Ok(tensor.offset + start..tensor.offset + end)
        }
        _ => refuse(
            Status::INVALID,
            format!(
                "{size} bytes from {offset} on of tensor {:?}, which has {}",
                tensor.name, tensor.size
            ),
        ),
    }
}
