//! Sets of tensors: names, and which tensor each is. Next: `models.rs`.

use neuron_sys::{NAME_BYTES, Status};

use crate::border::{Out, Text};
use crate::refusal::refuse;
use crate::state::{Object, Set, When, answer, with};

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_allocate_tensor_set(set: Out<usize>) -> Status {
    answer("nrt_allocate_tensor_set", When::Open, |state| {
        set.check()?;
        set.put(state.keep(Object::Set(Set::new())))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_destroy_tensor_set(set: Out<usize>) {
    with(|state| {
        let destroyed = set.take().and_then(|handle| {
            state.set(handle)?;
            state.objects.remove(&handle);
            set.put(0)
        });
        if let Err(refusal) = destroyed {
            state.misuse("nrt_destroy_tensor_set", &refusal.why);
        }
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_add_tensor_to_tensor_set(
    set: usize,
    name: Text,
    tensor: usize,
) -> Status {
    answer("nrt_add_tensor_to_tensor_set", When::Open, |state| {
        let name = name.read()?;
        if name.is_empty() || name.len() >= NAME_BYTES {
            return refuse(Status::INVALID, format!("a name of {} bytes", name.len()));
        }
        state.tensor(tensor)?;
        state.set(set)?.insert(name, tensor);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_tensor_from_tensor_set(
    set: usize,
    name: Text,
    tensor: Out<usize>,
) -> Status {
    answer("nrt_get_tensor_from_tensor_set", When::Open, |state| {
        let name = name.read()?;
        match state.set(set)?.get(&name).copied() {
            Some(held) => tensor.put(held),
            None => refuse(Status::INVALID, format!("no tensor {name:?} in the set")),
        }
    })
}
