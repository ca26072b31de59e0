//! A model on this interpreter: its programs, and the tensors that they share.
//!
//! What a backend would do with a device's tensors, without one: nothing is scheduled here. Next: `lib.rs`.

use std::collections::HashMap;
use std::thread;

use gimbal_model::{Model, Shards, shard};
use gimbal_neuron::hlo::Named;
use gimbal_neuron::lower::{Inputs, Parameter, Part, Pick, Program, Wants, inputs, lower};

use crate::{Argument, Buffer, Data, Exchange, Module};

/// A model's ranks, each with its tensors.
#[derive(Debug)]
pub struct Rig {
    shards: Shards,
    devices: Vec<Device>,
}

/// What one rank holds.
#[derive(Debug, Default)]
struct Device {
    /// Tables, weights, keys and values.
    tensors: HashMap<Parameter, Buffer>,
}

/// A program that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What goes in.
    pub program: Program,
    /// Read again from its bytes.
    pub module: Module,
}

/// What a step leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// One for each pick.
    pub ids: Vec<i32>,
    /// One row for each pick; none where a program has none.
    pub logits: Vec<Vec<f32>>,
}

impl Rig {
    /// Cuts a model and fills the tensors of every program that wants the same type, cache and context.
    ///
    /// # Errors
    /// The model cannot be cut or lowered so, or a weight is missing.
    pub fn new(model: &Model, ranks: usize, wants: &Wants) -> Result<Self, String> {
        let shards = shard(&model.graph, &|name| model.weights.block(name), ranks)?;
        let program = lower(&shards, wants)?;
        let mut devices = Vec::new();
        for rank in 0..ranks {
            let mut device = Device::default();
            for (parameter, named) in program.parameters.iter().zip(program.module.parameters()) {
                let positions = wants.context_tokens_max;
                let buffer = match parameter.constant(&shards, &model.weights, rank, positions)? {
                    Some(values) => filled(values, named)?,
                    None => Buffer::zeros(named.shape),
                };
                device.tensors.insert(*parameter, buffer);
            }
            devices.push(device);
        }
        Ok(Self { shards, devices })
    }

    /// Lowers a bucket, and reads its bytes.
    ///
    /// # Errors
    /// It cannot be lowered, or what was written cannot be read.
    pub fn load(&self, wants: &Wants) -> Result<Loaded, String> {
        let program = lower(&self.shards, wants)?;
        let module = Module::read(&program.module.write()).map_err(|error| error.to_string())?;
        Ok(Loaded { program, module })
    }

    /// Runs a step on all ranks, which must agree.
    ///
    /// # Errors
    /// Parts do not fit, or the program fails.
    pub fn step(
        &mut self,
        loaded: &Loaded,
        parts: &[Part<'_>],
        picks: &[Pick],
    ) -> Result<Step, String> {
        let inputs = inputs(&loaded.program.wants, parts, picks)?;
        let exchange = Exchange::new(self.devices.len());
        let exchange = (self.devices.len() > 1).then_some(&exchange);
        let results: Vec<_> = thread::scope(|scope| {
            let run =
                |(rank, device): (usize, &mut Device)| device.run(loaded, &inputs, exchange, rank);
            let threads: Vec<_> = self
                .devices
                .iter_mut()
                .enumerate()
                .map(|rank| scope.spawn(move || run(rank)))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Result<Step, String>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Result<_, String>>()
        })?;
        let mut ranks = results.into_iter();
        let mut first = ranks.next().ok_or("no ranks")?;
        if ranks.any(|other| other != first) {
            return Err("ranks end with different results".to_owned());
        }
        first.ids = inputs.results.iter().map(|place| first.ids[*place]).collect();
        if !first.logits.is_empty() {
            first.logits = inputs.results.iter().map(|i| first.logits[*i].clone()).collect();
        }
        Ok(first)
    }

    /// What a rank's program would be given for a step, by number.
    ///
    /// # Errors
    /// Parts do not fit.
    pub fn arguments(
        &self,
        loaded: &Loaded,
        parts: &[Part<'_>],
        picks: &[Pick],
        rank: usize,
    ) -> Result<Vec<Buffer>, String> {
        let inputs = inputs(&loaded.program.wants, parts, picks)?;
        let program = &loaded.program;
        program
            .parameters
            .iter()
            .zip(loaded.module.parameters())
            .map(|(parameter, named)| match input(*parameter, &inputs, rank) {
                Some(values) => whole(values, named),
                None => Ok(self.devices[rank].tensors[parameter].clone()),
            })
            .collect()
    }

    /// Writes a number into every place of the cache.
    pub fn soil(&mut self, number: f32) {
        for device in &mut self.devices {
            for (parameter, buffer) in &mut device.tensors {
                if matches!(parameter, Parameter::Keys(_) | Parameter::Values(_)) {
                    let floats = vec![number; buffer.shape.elements()];
                    if let Some(data) = Data::of_f32(buffer.shape.dtype, floats) {
                        buffer.data = data;
                    }
                }
            }
        }
    }

    /// Keys and values of a rank, by their names in the program.
    #[must_use]
    pub fn cache(&self, rank: usize) -> Vec<(Parameter, &Buffer)> {
        let is_cache = |p: &Parameter| matches!(p, Parameter::Keys(_) | Parameter::Values(_));
        let tensors = self.devices[rank].tensors.iter().filter(|(p, _)| is_cache(p));
        let mut found: Vec<_> = tensors.map(|(p, buffer)| (*p, buffer)).collect();
        found.sort_by_key(|(p, _)| p.name(&self.shards.graph));
        found
    }
}

impl Device {
    fn run(
        &mut self,
        loaded: &Loaded,
        inputs: &Inputs,
        exchange: Option<&Exchange>,
        rank: usize,
    ) -> Result<Step, String> {
        let Loaded { program, module } = loaded;
        let given: Vec<Option<Buffer>> = program
            .parameters
            .iter()
            .zip(module.parameters())
            .map(|(p, named)| {
                input(*p, inputs, rank).map(|values| whole(values, named)).transpose()
            })
            .collect::<Result<_, _>>()?;
        // Those that are changed are taken out for the step.
        let is_changed = |number: usize| module.aliases().iter().any(|a| a.parameter == number);
        let mut changed: Vec<Option<Buffer>> = program
            .parameters
            .iter()
            .enumerate()
            .map(|(number, p)| if is_changed(number) { self.tensors.remove(p) } else { None })
            .collect();
        let arguments = changed.iter_mut().zip(&given).zip(&program.parameters).map(
            |((changed, given), parameter)| match (changed, given) {
                (Some(changed), _) => Argument::Donated(changed),
                (None, Some(given)) => Argument::Shared(given),
                (None, None) => Argument::Shared(&self.tensors[parameter]),
            },
        );
        let arguments: Vec<Argument<'_>> = arguments.collect();
        let results = match exchange {
            Some(exchange) => module.run_rank(arguments, exchange, rank),
            None => module.run(arguments),
        };
        for (changed, parameter) in changed.into_iter().zip(&program.parameters) {
            if let Some(changed) = changed {
                self.tensors.insert(*parameter, changed);
            }
        }
        let results = results.map_err(|error| error.to_string())?;
        let mut step = Step { ids: Vec::new(), logits: Vec::new() };
        for (result, named) in results.into_iter().zip(module.results()) {
            match (named.name, result.as_ref().map(Buffer::data)) {
                ("ids", Some(Data::S32(ids))) => step.ids.clone_from(ids),
                ("logits", Some(Data::F32(logits))) => {
                    let rows = logits.chunks_exact(named.shape.dims[1]);
                    step.logits = rows.map(<[f32]>::to_vec).collect();
                }
                _ => {}
            }
        }
        Ok(step)
    }
}

/// An input of a step; `None` for what stays on the device.
fn input(parameter: Parameter, inputs: &Inputs, rank: usize) -> Option<Data> {
    if let Some(draw) = Parameter::DRAWS.iter().position(|draw| *draw == parameter) {
        return Some(Data::F32(inputs.draws[draw].clone()));
    }
    let integers = match parameter {
        Parameter::Tokens => inputs.tokens.clone(),
        Parameter::Positions => inputs.positions.clone(),
        Parameter::Slots => inputs.slots.clone(),
        Parameter::Tables => inputs.tables.clone(),
        Parameter::Picks => inputs.picks.clone(),
        Parameter::Rank => vec![i32::try_from(rank).unwrap_or(i32::MAX)],
        _ => return None,
    };
    Some(Data::S32(integers))
}

fn whole(data: Data, named: Named<'_>) -> Result<Buffer, String> {
    let count = data.elements();
    let fail = || format!("{}: {count} values for {}", named.name, named.shape);
    Buffer::new(named.shape, data).ok_or_else(fail)
}

fn filled(values: Vec<f32>, named: Named<'_>) -> Result<Buffer, String> {
    let count = values.len();
    let data = Data::of_f32(named.shape.dtype, values);
    let buffer = data.and_then(|data| Buffer::new(named.shape, data));
    buffer.ok_or_else(|| format!("{}: {count} values for {}", named.name, named.shape))
}
