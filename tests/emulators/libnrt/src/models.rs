//! Models: NEFFs on cores, and what they say of their tensors.
//!
//! Next: `ranks.rs`.

use std::sync::Arc;

use neuron_sys::{NAME_BYTES, Status, TensorInfo, Usage};

use crate::border::{HostBytes, Out};
use crate::neff::Neff;
use crate::program::{Port, Program};
use crate::refusal::{Answer, refuse};
use crate::state::{Infos, Model, Object, State, When, answer};

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_load(
    neff: HostBytes,
    bytes: usize,
    core: i32,
    core_count: i32,
    model: Out<usize>,
) -> Status {
    answer("nrt_load", When::Open, |state| {
        model.check()?;
        let (at, neff) = place(state, neff.read(bytes)?, core, core_count)?;
        let program = program(&neff)?;
        if program.ranks != 1 {
            return refuse(
                Status::INVALID,
                format!("a model of {} ranks: nrt_load_collectives loads it", program.ranks),
            );
        }
        let bytes = bytes as u64;
        model
            .put(keep(state, Model { program, core: at, rank: (0, 1), bytes, digest: neff.digest }))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_load_collectives(
    neff: HostBytes,
    bytes: usize,
    core: i32,
    core_count: i32,
    rank: u32,
    rank_count: u32,
    model: Out<usize>,
) -> Status {
    answer("nrt_load_collectives", When::Open, |state| {
        model.check()?;
        let (at, neff) = place(state, neff.read(bytes)?, core, core_count)?;
        let program = program(&neff)?;
        if program.ranks != rank_count || rank >= rank_count {
            return refuse(
                Status::INVALID,
                format!("rank {rank} of {rank_count}: the model has {}", program.ranks),
            );
        }
        let (bytes, rank) = (bytes as u64, (rank, rank_count));
        model.put(keep(state, Model { program, core: at, rank, bytes, digest: neff.digest }))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_unload(model: usize) -> Status {
    answer("nrt_unload", When::Open, |state| {
        state.model(model)?;
        state.objects.remove(&model);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_model_instance_count(model: usize, count: Out<u32>) -> Status {
    answer("nrt_get_model_instance_count", When::Open, |state| {
        state.model(model)?;
        count.put(1)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_get_model_tensor_info(model: usize, array: Out<usize>) -> Status {
    answer("nrt_get_model_tensor_info", When::Open, |state| {
        let model = state.model(model)?;
        array.check()?;
        let infos = infos(&model.program);
        let address = infos.words.as_ptr().expose_provenance();
        state.infos.insert(address, infos);
        array.put(address)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_free_model_tensor_info(array: usize) -> Status {
    answer("nrt_free_model_tensor_info", When::Open, |state| match state.infos.remove(&array) {
        Some(_) => Ok(()),
        None => refuse(Status::INVALID_HANDLE, format!("{array:#x} is no such array")),
    })
}

/// Where a NEFF goes, and what it holds.
fn place(state: &mut State, bytes: &[u8], core: i32, core_count: i32) -> Answer<(u32, Neff)> {
    if core_count != -1 {
        return refuse(Status::INVALID, format!("a count of {core_count} cores: it must be -1"));
    }
    let neff = Neff::read(bytes)?;
    let lnc = state.machine()?.lnc;
    if neff.lnc != lnc {
        return refuse(
            Status::INVALID,
            format!("compiled for logical cores of {}, and they are of {lnc}", neff.lnc),
        );
    }
    if neff.cores != 1 {
        return refuse(
            Status::INVALID,
            format!("a model on {} logical cores is not emulated", neff.cores),
        );
    }
    let at = match u32::try_from(core) {
        Ok(core) => core,
        Err(_) if core == -1 => first_free(state)?,
        Err(_) => return refuse(Status::INVALID, format!("core {core}")),
    };
    state.core(at)?;
    state.take_room(at, bytes.len() as u64)?;
    Ok((at, neff))
}

fn first_free(state: &State) -> Answer<u32> {
    let has_model = |core: u32| {
        let on = |object: &Object| matches!(object, Object::Model(model) if model.core == core);
        state.objects.values().any(on)
    };
    let count = u32::try_from(state.cores.len()).unwrap_or(u32::MAX);
    match (0..count).find(|core| !has_model(*core)) {
        Some(core) => Ok(core),
        None => refuse(Status::LOAD_NOT_ENOUGH_NC, format!("each of {count} cores has a model")),
    }
}

fn program(neff: &Neff) -> Answer<Program> {
    match Program::read(&neff.module) {
        Ok(program) => Ok(program),
        Err(why) => refuse(Status::INVALID, format!("the NEFF's module: {why}")),
    }
}

fn keep(state: &mut State, model: Model) -> usize {
    state.keep(Object::Model(Arc::new(model)))
}

/// The array of C: a count, then a structure of 296 bytes for each tensor.
fn infos(program: &Program) -> Infos {
    let inputs = program.inputs.iter().map(|port| (Usage::INPUT, port));
    let outputs = program.outputs.iter().map(|port| (Usage::OUTPUT, port));
    let all: Vec<(Usage, &Port)> = inputs.chain(outputs).collect();
    let shapes: Vec<Box<[u32]>> = all.iter().map(|(_, port)| dims(port)).collect();
    let mut bytes = (all.len() as u64).to_ne_bytes().to_vec();
    for ((usage, port), shape) in all.iter().zip(&shapes) {
        let start = bytes.len();
        bytes.extend(port.name.bytes().take(NAME_BYTES - 1));
        bytes.resize(start + NAME_BYTES, 0);
        bytes.extend(usage.0.to_ne_bytes());
        pad(&mut bytes);
        bytes.extend(port.bytes().to_ne_bytes());
        bytes.extend(port.dtype().0.to_ne_bytes());
        pad(&mut bytes);
        bytes.extend(shape.as_ptr().expose_provenance().to_ne_bytes());
        bytes.extend(u32::try_from(shape.len()).unwrap_or(0).to_ne_bytes());
        pad(&mut bytes);
        debug_assert_eq!(bytes.len() - start, size_of::<TensorInfo>());
    }
    let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    Infos { words, shapes }
}

fn dims(port: &Port) -> Box<[u32]> {
    port.shape.dims.iter().map(|size| u32::try_from(*size).unwrap_or(u32::MAX)).collect()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}
