//! Where and how a model runs, decided before a weight is read.
//!
//! Each platform is asked in turn: are there devices, and does the model fit them? The first that
//! says yes is taken, and what the others said stays with the plan. Next: `open.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gimbal_hal::{
    Artifact, Class, DeviceError, Fit, Host, Packed, Platform, Probe, Profile, Tools, Unfit,
};
use gimbal_model::{Model, Text};
use gimbal_settings::Settings;
use tracing::{info, warn};

use super::millis;
use super::platforms::platforms;
use crate::config::{ModelConfig, Process};
use crate::failure::Failure;
use crate::folder::cache_problem;
use crate::host::host;

/// A model that was fitted and can be opened.
pub(crate) struct Plan {
    pub(super) platform: Arc<dyn Platform>,
    pub(super) artifact: Artifact,
    /// The model's, until it is opened.
    pub(super) text: Text,
    pub(super) fit: Fit,
    pub(super) config: ModelConfig,
}

/// Reads the model and decides where and how it runs; no weight is read. A host that is given takes
/// the place of this machine.
pub(crate) fn plan(settings: &Settings, path: &Path, other: Option<Host>) -> Result<Plan, Failure> {
    let started = Instant::now();
    let mut artifact = Artifact::open(path)?;
    let text = take_text(&mut artifact);
    info!(
        model = %artifact.path().display(),
        what = artifact.what(),
        took_ms = millis(started),
        "model read"
    );
    let config = ModelConfig::of(settings);
    let is_elsewhere = other.is_some();
    let host = other.unwrap_or_else(host);
    let process = Process::of(settings);
    let mut passed = Vec::new();
    for platform in platforms(&process) {
        if !is_candidate(platform.as_ref(), process.backend.as_deref()) {
            continue;
        }
        // Of another machine nothing but its processor is known.
        if is_elsewhere && platform.class() != Class::Host {
            continue;
        }
        let found = match platform.probe(&host) {
            Probe::Found(devices) => devices,
            Probe::Absent { why } => {
                passed.push((platform.name(), Failure::unavailable(why)));
                continue;
            }
        };
        match fit(platform.as_ref(), &found, &artifact, &config.profile, settings) {
            Ok(fit) => {
                for (name, why) in passed {
                    info!(platform = name, %why, "passed over");
                }
                let device = found.first().map(|d| d.name.clone()).unwrap_or_default();
                info!(platform = platform.name(), device, devices = found.len(), "device chosen");
                for why in &fit.why {
                    info!(why, "planned");
                }
                if platform.class() == Class::Simulated {
                    warn!("SIMULATED: tokens come from a hash, not from the model");
                }
                return Ok(Plan { platform, artifact, text, fit, config });
            }
            Err(unfit) => passed.push((platform.name(), unfit.into())),
        }
    }
    Err(none_fits(passed, process.backend.as_deref()))
}

/// Whether a platform is asked: the one that was named, or any that is no simulation.
fn is_candidate(platform: &dyn Platform, named: Option<&str>) -> bool {
    match named {
        Some(name) => platform.name() == name,
        None => platform.class() != Class::Simulated,
    }
}

/// The failure of a boot for which there is no device: the last platform's own, which is that of the
/// host, with what the others said before.
fn none_fits(mut passed: Vec<(&str, Failure)>, named: Option<&str>) -> Failure {
    let Some((_, last)) = passed.pop() else {
        let named = named.unwrap_or("auto");
        return Failure::unavailable(format!("no device for backend = {named}"));
    };
    if passed.is_empty() {
        return last;
    }
    let others: Vec<String> = passed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    last.context(format!("no device fits the model ({})", others.join("; ")))
}

/// Takes the tokenizer's data out of a model, before others hold it.
fn take_text(artifact: &mut Artifact) -> Text {
    match artifact {
        Artifact::Decoder(model) => Arc::get_mut(model).map(Model::take_text).unwrap_or_default(),
        Artifact::Onnx(_) | Artifact::Bundle(_) => Text::default(),
    }
}

impl Plan {
    /// One sentence for each decision.
    pub(crate) fn why(&self) -> Vec<String> {
        let on = format!("on {}: {} bytes in all", self.platform.name(), self.fit.bytes());
        std::iter::once(on).chain(self.fit.why.iter().cloned()).collect()
    }

    /// Writes the weights in the device's layout, if they are not there.
    pub(crate) fn pack(&self, settings: &Settings) -> Result<Packed, Failure> {
        let Some(tools) = self.platform.tools() else {
            let name = self.platform.name();
            return Err(Failure::usage(format!("backend = {name} has no packed weights")));
        };
        let process = Process::of(settings);
        tools.pack(&self.fit, &self.artifact).map_err(|error| {
            let why = process.packed_cache.as_deref().and_then(|folder| {
                let missing = || (!folder.is_dir()).then(|| "it cannot be made".to_owned());
                cache_problem(folder).or_else(missing)
            });
            let Some(why) = why else { return error.into() };
            let entry = settings.entry("packed_cache");
            let what = format!("packed_cache = {} (from {}): {why}", entry.value, entry.source);
            Failure::unavailable(format!("{what}; set --packed-cache to a folder"))
        })
    }

    /// The platform it runs on.
    pub(crate) fn platform(&self) -> &dyn Platform {
        self.platform.as_ref()
    }

    /// The first device's name.
    pub(crate) fn device(&self) -> &str {
        let first = self.fit.replicas.first().and_then(|placed| placed.devices.first());
        first.map_or("", |device| &device.name)
    }
}

/// What each platform but simulations says of the model, by name of platform and device.
pub(crate) fn fits(artifact: &Artifact, settings: &Settings) -> Vec<(String, Result<Fit, String>)> {
    let profile = ModelConfig::of(settings).profile;
    let of = |platform: Arc<dyn Platform>| {
        let name = platform.name().to_owned();
        match platform.probe(&host()) {
            Probe::Absent { why } => (name, Err(why)),
            Probe::Found(devices) => {
                let device = devices.first().map(|d| d.name.as_str()).unwrap_or_default();
                let fit = fit(platform.as_ref(), &devices, artifact, &profile, settings);
                (format!("{name} ({device})"), fit.map_err(|e| e.to_string()))
            }
        }
    };
    let all = platforms(&Process::of(settings)).into_iter();
    all.filter(|platform| platform.class() != Class::Simulated).map(of).collect()
}

/// Asks the host's own platform for what only its tools can tell.
///
/// # Errors
/// No platform of the host has tools: a bug of the list.
pub(crate) fn with_tools<T>(
    process: &Process,
    ask: impl FnOnce(&dyn Tools) -> T,
) -> Result<T, DeviceError> {
    let all = platforms(process);
    let tools = all.iter().filter(|p| p.class() == Class::Host).find_map(|p| p.tools());
    let missing = || DeviceError::Model { why: "no platform has tools".to_owned() };
    tools.map(ask).ok_or_else(missing)
}

/// Fits the model. What a model's files or another server's names ask for and cannot be is told and
/// left to the platform; what a person says in our own words is refused.
fn fit(
    platform: &dyn Platform,
    devices: &[gimbal_hal::DeviceInfo],
    artifact: &Artifact,
    profile: &Profile,
    settings: &Settings,
) -> Result<Fit, Unfit> {
    let mut profile = profile.clone();
    let mut told = Vec::new();
    loop {
        let (setting, value, why) = match platform.fit(devices, artifact, &profile) {
            Err(Unfit::Setting { setting, value, why }) => (setting, value, why),
            other => {
                return other.map(|mut fit| {
                    fit.why.splice(..0, told);
                    fit
                });
            }
        };
        let entry = settings.entry(setting);
        let asked = match setting {
            "max_model_len" => profile.context_tokens_max.take().is_some(),
            "kv_cache_bytes" => profile.kv_bytes.take().is_some(),
            _ => false,
        };
        if !asked || !entry.is_foreign {
            return Err(Unfit::Setting { setting, value, why });
        }
        warn!(setting, value, source = %entry.source, why, "not taken");
        told.push(format!("{setting} = {value} ({}) is not taken: {why}", entry.source));
    }
}
