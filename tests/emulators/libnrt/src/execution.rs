//! Executes a model: checks what it was given, computes, and writes what came of it.
//!
//! The last of the functions. Next: `compiler.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use gimbal_hlo::{Argument, Buffer, Exchange};
use neuron_sys::{Class, Status};

use crate::program::{Port, has_nan};
use crate::ranks;
use crate::refusal::{Answer, refuse};
use crate::state::{Model, Set, State, Tensor, When, answer_unlocked, with};
use crate::storage::{Held, Storage, buffer};

/// An execution whose tensors are what its model takes.
struct Bound {
    model: Arc<Model>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    turn: Arc<Mutex<()>>,
    latency: Duration,
    timeout: Duration,
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nrt_execute(model: usize, inputs: usize, outputs: usize) -> Status {
    let status = answer_unlocked("nrt_execute", When::Open, || {
        let bound = with(|state| bind(state, model, inputs, outputs))?;
        run(&bound)
    });
    // What the hardware loses by script stays lost, as on a chip.
    if status.class() == Class::Poisoned {
        with(|state| {
            if let Ok(model) = state.model(model)
                && let Ok(core) = state.core(model.core)
            {
                core.poisoned = Some(status);
            }
        });
    }
    status
}

/// Checks all that can be checked before anything is computed.
fn bind(state: &mut State, model: usize, inputs: usize, outputs: usize) -> Answer<Bound> {
    let model = state.model(model)?;
    let (inputs, outputs) = (state.set(inputs)?.clone(), state.set(outputs)?.clone());
    let core = state.core(model.core)?;
    if let Some(status) = core.poisoned {
        let why = format!("core {} is lost since it answered {status}", model.core);
        return refuse(Status::EXEC_UNIT_UNRECOVERABLE, why);
    }
    let turn = core.turn.clone();
    let machine = state.machine()?;
    let (latency, timeout) = (machine.latency, machine.timeout);
    let inputs = take(state, &inputs, &model.program.inputs, "input", model.core)?;
    let outputs = take(state, &outputs, &model.program.outputs, "output", model.core)?;
    let bound = Bound { model, inputs, outputs, turn, latency, timeout };
    bound.check_places()?;
    Ok(bound)
}

/// The tensors of a set in the order of the model's: exactly its names and sizes, all within reach.
fn take(state: &State, set: &Set, ports: &[Port], side: &str, core: u32) -> Answer<Vec<Tensor>> {
    let surplus = set.keys().find(|name| ports.iter().all(|port| port.name != **name));
    if let Some(name) = surplus {
        return refuse(Status::EXEC_BAD_INPUT, format!("the model has no {side} {name:?}"));
    }
    let take = |port: &Port| {
        let Some(handle) = set.get(&port.name) else {
            return refuse(Status::EXEC_BAD_INPUT, format!("{side} {:?} is missing", port.name));
        };
        let tensor = state.tensor(*handle)?;
        if tensor.size != port.bytes() {
            return refuse(
                Status::EXEC_BAD_INPUT,
                format!("{side} {:?} has {} bytes, not {}", port.name, tensor.size, port.bytes()),
            );
        }
        match tensor.storage.core {
            Some(other) if other != core => refuse(
                Status::EXEC_BAD_INPUT,
                format!("{side} {:?} is on core {other}, and the model on {core}", port.name),
            ),
            _ => Ok(tensor.clone()),
        }
    };
    ports.iter().map(take).collect()
}

impl Bound {
    /// An aliased output is its input's memory; every other one is memory of its own.
    fn check_places(&self) -> Answer {
        let program = &self.model.program;
        for (i, output) in self.outputs.iter().enumerate() {
            let name = &program.outputs[i].name;
            let alias = program.aliases.iter().find(|alias| alias.output == i);
            if let Some(alias) = alias {
                let input = &self.inputs[alias.input];
                let is_same =
                    Arc::ptr_eq(&input.storage, &output.storage) && input.offset == output.offset;
                if !is_same {
                    let of = &program.inputs[alias.input].name;
                    return refuse(
                        Status::EXEC_BAD_INPUT,
                        format!(
                            "output {name:?} is aliased to input {of:?}, and is another tensor"
                        ),
                    );
                }
            }
            let own = alias.map(|alias| alias.input);
            let others = self.inputs.iter().enumerate().filter(|(j, _)| Some(*j) != own);
            let others = others.map(|(_, input)| input).chain(&self.outputs[..i]);
            if others.into_iter().any(|other| overlap(output, other)) {
                return refuse(
                    Status::EXEC_BAD_INPUT,
                    format!("output {name:?} shares memory with another tensor"),
                );
            }
        }
        Ok(())
    }

    fn is_changed(&self, input: usize) -> bool {
        self.model.program.aliases.iter().any(|alias| alias.input == input)
    }

    /// Computes. Whole tensors are used where they are, and nobody else can touch them meanwhile; parts of
    /// tensors are copied.
    fn compute(&self, ranks: Option<(&Exchange, usize)>) -> Answer<Vec<Option<Buffer>>> {
        let ports = &self.model.program.inputs;
        let mut wholes = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (i, (input, port)) in self.inputs.iter().zip(ports).enumerate() {
            if input.size == input.storage.size {
                input.storage.write().shape(&port.shape);
                // In the order of addresses: executions that share tensors do not wait in a circle.
                let of = wholes.entry(Arc::as_ptr(&input.storage)).or_insert((input, false));
                of.1 |= self.is_changed(i);
            } else {
                let held = input.storage.read();
                let range = input.offset..input.offset + input.size;
                copies.insert(i, buffer(&port.shape, &held.bytes()[range]));
            }
        }
        let mut guards: BTreeMap<*const Storage, Guard<'_>> = BTreeMap::new();
        for (at, (input, is_changed)) in wholes {
            let guard = match is_changed {
                true => Guard::Changed(input.storage.write()),
                false => Guard::Shared(input.storage.read()),
            };
            guards.insert(at, guard);
        }
        let made = {
            let mut places: BTreeMap<*const Storage, Place<'_>> =
                guards.iter_mut().map(|(at, guard)| (*at, guard.place())).collect();
            let mut copied: BTreeMap<usize, &mut Buffer> =
                copies.iter_mut().map(|(i, copy)| (*i, copy)).collect();
            let arguments = self.inputs.iter().enumerate().map(|(i, input)| {
                let at = Arc::as_ptr(&input.storage);
                match (copied.remove(&i), self.is_changed(i)) {
                    (Some(copy), true) => Some(Argument::Donated(copy)),
                    (Some(copy), false) => Some(Argument::Shared(copy)),
                    (None, _) => places.get_mut(&at).and_then(Place::argument),
                }
            });
            match arguments.collect::<Option<Vec<Argument<'_>>>>() {
                Some(arguments) => self.model.program.run(arguments, ranks)?,
                None => {
                    return refuse(Status::EXEC_NC_BUSY, "others use its tensors as another type");
                }
            }
        };
        drop(guards);
        for (i, copy) in copies.iter().filter(|(i, _)| self.is_changed(**i)) {
            let input = &self.inputs[*i];
            let range = input.offset..input.offset + input.size;
            input.storage.write().bytes_mut()[range].copy_from_slice(copy.bytes());
        }
        Ok(made)
    }

    /// Puts what came out where it belongs.
    fn finish(&self, made: &[Option<Buffer>]) -> Answer {
        let mut nan = None;
        for (i, (output, made)) in self.outputs.iter().zip(made).enumerate() {
            // What lies in an input is there already; and it holds what nobody has written yet, too.
            let Some(made) = made else { continue };
            if nan.is_none() && has_nan(made) {
                nan = Some(&self.model.program.outputs[i].name);
            }
            let range = output.offset..output.offset + output.size;
            output.storage.write().bytes_mut()[range].copy_from_slice(made.bytes());
        }
        match nan {
            Some(name) => refuse(
                Status::EXEC_COMPLETED_WITH_NUM_ERR,
                format!("output {name:?} has elements that are not numbers"),
            ),
            None => Ok(()),
        }
    }
}

/// A whole tensor's memory while a program uses it.
enum Guard<'a> {
    Shared(RwLockReadGuard<'a, Held>),
    Changed(RwLockWriteGuard<'a, Held>),
}

/// The numbers in it.
enum Place<'a> {
    Shared(&'a Buffer),
    /// Given to the one input that is changed.
    Changed(Option<&'a mut Buffer>),
    /// Another execution has made something else of it.
    Lost,
}

impl Guard<'_> {
    fn place(&mut self) -> Place<'_> {
        match self {
            Guard::Shared(held) => match &**held {
                Held::Typed(buffer) => Place::Shared(buffer),
                Held::Raw(_) => Place::Lost,
            },
            Guard::Changed(held) => match &mut **held {
                Held::Typed(buffer) => Place::Changed(Some(buffer)),
                Held::Raw(_) => Place::Lost,
            },
        }
    }
}

impl<'a> Place<'a> {
    fn argument(&mut self) -> Option<Argument<'a>> {
        match self {
            Place::Shared(buffer) => Some(Argument::Shared(buffer)),
            Place::Changed(buffer) => buffer.take().map(Argument::Donated),
            Place::Lost => None,
        }
    }
}

fn overlap(one: &Tensor, other: &Tensor) -> bool {
    Arc::ptr_eq(&one.storage, &other.storage)
        && one.offset < other.offset + other.size
        && other.offset < one.offset + one.size
}

fn run(bound: &Bound) -> Answer {
    let _turn = bound.turn.lock().unwrap_or_else(PoisonError::into_inner);
    thread::sleep(bound.latency);
    let (rank, count) = bound.model.rank;
    let made = match count {
        1 => bound.compute(None)?,
        _ => {
            let exchange = ranks::meet(&bound.model, bound.timeout)?;
            let made = bound.compute(Some((exchange.as_ref(), rank as usize)));
            if made.is_err() {
                exchange.lose(&format!("rank {rank} ended early"));
            }
            made?
        }
    };
    bound.finish(&made)
}
