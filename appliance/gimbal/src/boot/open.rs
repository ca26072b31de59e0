//! From a plan to lanes that serve: tokenizer, devices, engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gimbal_engine::{LaneSource, Made, Place, Service, ServiceConfig};
use gimbal_hal::{
    Artifact, Backend, Class, DeviceError, DeviceInfo, Fit, Group, Placement, Probe, Profile, Seat,
    Servable,
};
use gimbal_model::Model;
use tracing::info;

use super::plan::{Plan, share};
use super::probing::probe;
use super::{millis, worker};
use crate::failure::Failure;
use crate::host::host;
use crate::readiness;
use crate::words::Words;

impl Plan {
    /// Opens the model and starts its lanes.
    pub(crate) fn open(mut self) -> Result<Arc<Service>, Failure> {
        let started = Instant::now();
        let Artifact::Decoder(model) = &self.artifact else {
            return Err(does_not_generate().into());
        };
        let model: Arc<Model> = Arc::clone(model);
        let text = std::mem::take(&mut self.text);
        let (config, name, place) = (self.config.clone(), self.name.clone(), self.place());
        let claimed = self.claimed.take();
        let open = Opener(Arc::new(self));
        let chat_template = config.chat_template.as_deref();
        // The tokenizer's tables and the backend take about as long, and neither needs the other.
        let (words, lanes) = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("words".to_owned());
            let words = thread.spawn_scoped(scope, || Words::open(&model, text, chat_template));
            let words = words.map_err(|error| readiness::no_threads(&error))?;
            let lanes = lanes(&open);
            let words = words.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Failure>((words, lanes))
        })?;
        let Words { tokenizer, template, .. } = words?;
        let base = ServiceConfig::new(&name, tokenizer, config.policy, lanes?);
        let service = Service::start(ServiceConfig {
            template,
            choices_max: config.choices_max,
            watchdog: config.watchdog,
            edge: config.edge,
            place,
            claimed,
            ..base
        })?;
        // What was read and made on the way is not needed again.
        model.weights.release_all();
        gimbal_onnx::process::give_back();
        info!(took_ms = millis(started), "model opened");
        Ok(service)
    }
}

impl Plan {
    /// On what it runs, for people.
    fn place(&self) -> Place {
        let ids = |placed: &Placement| placed.devices.iter().map(|d| d.id.to_string()).collect();
        Place {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: self.platform.name().to_owned(),
            device: self.device().to_owned(),
            is_simulated: self.platform.is_simulated(),
            lanes: self.fit.replicas.iter().map(ids).collect(),
            passed: self.passed.clone(),
            made: match &self.artifact {
                Artifact::Decoder(model) => made(model),
                Artifact::Onnx(_) => Made::default(),
            },
        }
    }
}

/// Of what a model is made.
fn made(model: &Model) -> Made {
    let file = model.path.metadata().ok().filter(std::fs::Metadata::is_file);
    let mut bytes_of = BTreeMap::<&'static str, usize>::new();
    let mut parameters = 0;
    for (_, entry) in model.weights.entries() {
        *bytes_of.entry(entry.dtype.name()).or_default() += entry.bytes.len();
        parameters += entry.rows as u64 * entry.cols as u64;
    }
    let most = bytes_of.into_iter().max_by_key(|(_, bytes)| *bytes);
    Made {
        bytes: file.as_ref().map_or_else(|| model.weights.bytes(), std::fs::Metadata::len),
        parameters,
        format: if file.is_some() { "gguf" } else { "safetensors" },
        dtype: most.map_or("", |(name, _)| name),
    }
}

/// One backend for each replica, which a loss opens again in its own place.
fn lanes(open: &Opener) -> Result<Vec<LaneSource>, DeviceError> {
    let lane = |replica| {
        let open = open.clone();
        let backend = open.open(replica)?;
        Ok(LaneSource { backend, reopen: Box::new(move || open.reopen(replica)) })
    };
    (0..open.0.fit.replicas.len()).map(lane).collect()
}

/// Opens the planned model, as often as a lane needs it.
#[derive(Clone)]
struct Opener(Arc<Plan>);

impl Opener {
    /// One copy, where it was planned.
    fn open(&self, replica: usize) -> Result<Box<dyn Backend>, DeviceError> {
        self.open_in(&self.0.fit, replica)
    }

    /// A device, or a group of them.
    fn open_in(&self, fit: &Fit, replica: usize) -> Result<Box<dyn Backend>, DeviceError> {
        let ranks = match self.0.platform.holds_all_ranks() {
            true => 1,
            false => fit.replicas[replica].devices.len(),
        };
        let rank = |rank| self.open_seat(fit, Seat { replica, rank });
        match ranks {
            1 => rank(0),
            ranks => Ok(Box::new(Group::new((0..ranks).map(rank).collect::<Result<_, _>>()?)?)),
        }
    }

    /// The same after a loss: the devices are looked for again, and may have less memory.
    fn reopen(&self, replica: usize) -> Result<Box<dyn Backend>, DeviceError> {
        let plan = &self.0;
        if plan.platform.class() == Class::Host {
            return self.open(replica);
        }
        let placed = &plan.fit.replicas[replica].devices;
        let found = match probe(plan.platform.as_ref(), &host(), &plan.process) {
            Probe::Found(found) => found,
            Probe::Absent { why } | Probe::Broken { why } => return Err(DeviceError::Lost { why }),
        };
        let again = |was: &DeviceInfo| {
            let now = found.iter().find(|now| now.id == was.id).cloned();
            let now = now.map(|now| share(now, plan.platform.as_ref(), &plan.config));
            now.ok_or_else(|| DeviceError::Lost {
                why: format!("{} is not there any more", was.id),
            })
        };
        let devices = placed.iter().map(again).collect::<Result<Vec<_>, _>>()?;
        // Other models' claims are not looked at: what is smaller than it was is what matters here.
        let less = |(was, now): (&DeviceInfo, &DeviceInfo)| now.memory_bytes < was.memory_bytes;
        if !placed.iter().zip(&devices).any(less) {
            return self.open(replica);
        }
        let ranks = u16::try_from(devices.len()).ok();
        let profile = Profile { replicas: Some(1), ranks, ..plan.fit.profile.clone() };
        let fit = plan.platform.fit(&devices, &plan.artifact, &profile);
        let fit = fit.map_err(|unfit| DeviceError::Lost { why: unfit.to_string() })?;
        self.open_in(&fit, 0)
    }

    fn open_seat(&self, fit: &Fit, seat: Seat) -> Result<Box<dyn Backend>, DeviceError> {
        let Plan { process, platform, artifact, config, .. } = &*self.0;
        if worker::is_wanted(process, platform.as_ref()) {
            let patience = config.watchdog;
            return worker::open(process, patience, platform.as_ref(), fit, seat, artifact);
        }
        match platform.open(fit, seat, artifact)? {
            Servable::Generate(backend) => Ok(backend),
            Servable::Infer(_) => Err(does_not_generate()),
        }
    }
}

fn does_not_generate() -> DeviceError {
    DeviceError::Model { why: "the model does not generate text".to_owned() }
}
