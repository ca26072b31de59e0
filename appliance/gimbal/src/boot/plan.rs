//! Where and how a model runs, decided before a weight is read.
//!
//! Each platform is asked in turn: are there devices, and does the model fit them? The first that
//! says yes is taken, and what the others said stays with the plan. Next: `open.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gimbal_engine::{Claimed, Ledger, Readings};
use gimbal_hal::{
    Artifact, Class, DEVICE_SETTINGS, DeviceInfo, Fit, Packed, Platform, Probe, Profile, Tools,
    Unfit,
};
use gimbal_machine::Instance;
use gimbal_model::{Model, Text};
use gimbal_settings::{Settings, Source};
use tracing::{info, warn};

use super::platforms::platforms;
use super::probing::{planned, probe};
use super::{Roofline, fallback, millis};
use crate::cli;
use crate::config::{ModelConfig, Process};
use crate::elsewhere::Elsewhere;
use crate::failure::Failure;
use crate::folder::cache_problem;
use crate::host::host;

/// What a process may compute on, and what its models have claimed of it.
pub(crate) struct Devices {
    process: Process,
    platforms: Vec<Arc<dyn Platform>>,
    /// Another machine that is planned for.
    elsewhere: Option<Elsewhere>,
    ledger: Arc<Ledger>,
}

/// Why a model does not run on a platform.
pub(super) struct NotHere {
    pub(super) why: Failure,
    /// A device is there; it does not work, or the model does not fit it.
    pub(super) is_there: bool,
}

/// A model that was fitted, has claimed its memory and can be opened.
pub(crate) struct Plan {
    pub(super) name: String,
    pub(super) process: Process,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) artifact: Artifact,
    /// The model's, until it is opened.
    pub(super) text: Text,
    pub(super) fit: Fit,
    pub(super) config: ModelConfig,
    /// What `config` was made of: settings as they are on this platform's devices.
    settings: Settings,
    /// Platforms that were asked before, and why each was passed over.
    pub(super) passed: Vec<(String, String)>,
    pub(super) claimed: Option<Claimed>,
}

impl Devices {
    /// Those of this machine.
    ///
    /// # Errors
    /// What the platforms are made of cannot be read.
    pub(crate) fn here(process: &Process) -> Result<Self, Failure> {
        let (process, platforms) = (process.clone(), platforms(process)?);
        Ok(Self { process, platforms, elsewhere: None, ledger: Arc::default() })
    }

    /// Those of another machine.
    ///
    /// # Errors
    /// As `here`.
    pub(crate) fn of(process: &Process, instance: &Instance) -> Result<Self, Failure> {
        Ok(Self { elsewhere: Some(Elsewhere::of(instance)), ..Self::here(process)? })
    }

    /// Hands every platform to those who watch how devices are.
    pub(crate) fn watched_by(&self, readings: &Readings) {
        for platform in &self.platforms {
            let asked = Arc::clone(platform);
            readings.add(platform.name(), Arc::new(move || asked.readings()));
        }
    }

    /// Reads the model and decides where and how it runs; no weight is read. Of two models of a
    /// process the second sees what the first has left.
    pub(crate) fn plan(
        &self,
        name: Option<&str>,
        settings: &Settings,
        path: &Path,
    ) -> Result<Plan, Failure> {
        let started = Instant::now();
        let mut artifact = Artifact::open(path)?;
        let text = take_text(&mut artifact);
        info!(
            model = %artifact.path().display(),
            what = artifact.what(),
            took_ms = millis(started),
            "model read"
        );
        let name = name.map(str::to_owned).or_else(|| ModelConfig::of(settings).name);
        let name = name.unwrap_or_else(|| artifact.file_name());
        let mut passed = self.unused();
        for platform in self.candidates() {
            if platform.class() == Class::Host {
                fallback::check(&self.process, &passed, self.elsewhere.is_some())?;
            }
            // What is known of one platform's devices is never left on for another's.
            let settings = cli::on(platform.name(), settings)?;
            let config = ModelConfig::of(&settings);
            match self.fit(platform.as_ref(), &artifact, &config, &settings) {
                Ok((found, mut fit)) => {
                    fit.why.extend(meaningless(platform.as_ref(), &settings));
                    let claimed = Some(self.ledger.claim(&name, &fit.claims, &found));
                    let told = |(platform, not): (String, NotHere)| {
                        let why = not.why.to_string();
                        // What is not there is nothing to worry about.
                        match not.is_there {
                            true => warn!(platform, why, "passed over"),
                            false => info!(platform, why, "passed over"),
                        }
                        (platform, why)
                    };
                    let passed = passed.into_iter().map(told).collect();
                    let platform = Arc::clone(platform);
                    let process = self.process.clone();
                    let plan = Plan {
                        name,
                        process,
                        platform,
                        artifact,
                        text,
                        fit,
                        config,
                        settings,
                        passed,
                        claimed,
                    };
                    plan.tell();
                    return Ok(plan);
                }
                Err(not) => passed.push((platform.name().to_owned(), not)),
            }
        }
        Err(none_fits(passed, self.process.backend.as_deref()))
    }

    /// What each platform that can be chosen says of the model, by name of platform and device.
    pub(crate) fn fits(
        &self,
        artifact: &Artifact,
        settings: &Settings,
    ) -> Vec<(String, Result<Fit, String>)> {
        let fit = |platform: &Arc<dyn Platform>| {
            let broken = |why| NotHere { why, is_there: false };
            let settings = cli::on(platform.name(), settings).map_err(broken)?;
            self.fit(platform.as_ref(), artifact, &ModelConfig::of(&settings), &settings)
        };
        let of = |platform: &Arc<dyn Platform>| {
            let name = platform.name();
            match fit(platform) {
                Err(not) => (name.to_owned(), Err(not.why.to_string())),
                Ok((found, fit)) => {
                    let device = found.first().map(|d| d.name.as_str()).unwrap_or_default();
                    (format!("{name} ({device})"), Ok(fit))
                }
            }
        };
        self.candidates().map(of).collect()
    }

    /// Another machine's accelerators that no platform computes on.
    fn unused(&self) -> Vec<(String, NotHere)> {
        let unused = self.elsewhere.as_ref().and_then(|other| other.unused.clone());
        let told = unused.filter(|_| self.process.backend.is_none()).map(|(vendor, why)| {
            (vendor.to_owned(), NotHere { why: Failure::unavailable(why), is_there: true })
        });
        told.into_iter().collect()
    }

    /// The platform that was named, or all that are no simulation, the preferred first.
    fn candidates(&self) -> impl Iterator<Item = &Arc<dyn Platform>> {
        self.platforms.iter().filter(|platform| match &self.process.backend {
            Some(name) => platform.name() == name,
            None => match &self.elsewhere {
                Some(other) if platform.class() == Class::Accelerator => {
                    other.devices.iter().any(|device| device.platform == platform.name())
                }
                _ => platform.class() != Class::Simulated,
            },
        })
    }

    /// Probes one platform and fits the model to what is left there.
    fn fit(
        &self,
        platform: &dyn Platform,
        artifact: &Artifact,
        config: &ModelConfig,
        settings: &Settings,
    ) -> Result<(Vec<DeviceInfo>, Fit), NotHere> {
        let found = match &self.elsewhere {
            Some(elsewhere) => planned(platform, elsewhere, &self.process),
            None => probe(platform, &host(), &self.process),
        };
        match found {
            Probe::Absent { why } => {
                Err(NotHere { why: Failure::unavailable(why), is_there: false })
            }
            Probe::Broken { why } => {
                Err(NotHere { why: Failure::unavailable(why), is_there: true })
            }
            Probe::Found(found) => {
                let left = self.ledger.left(found.clone());
                let left = left.into_iter().map(|device| share(device, platform, config)).collect();
                let left: Vec<DeviceInfo> = left;
                let fit = fit(platform, &left, artifact, &config.profile, settings);
                let fit = fit.map_err(|unfit| NotHere { why: unfit.into(), is_there: true })?;
                Ok((found, fit))
            }
        }
    }
}

/// What of a device's memory the model may take: on an accelerator, the share that is set.
pub(super) fn share(
    device: DeviceInfo,
    platform: &dyn Platform,
    config: &ModelConfig,
) -> DeviceInfo {
    if platform.class() != Class::Accelerator {
        return device;
    }
    let share = device.memory_total_bytes as f64 * config.memory_share;
    #[expect(clippy::cast_possible_truncation, reason = "a part of a u64")]
    #[expect(clippy::cast_sign_loss, reason = "the share is above 0")]
    let bytes = share as u64;
    if bytes >= device.memory_bytes {
        return device;
    }
    let memory_why = format!(
        "device_memory_share = {} of {} bytes; {}",
        config.memory_share, device.memory_total_bytes, device.memory_why
    );
    DeviceInfo { memory_bytes: bytes, memory_why, ..device }
}

/// Settings that somebody said and that mean nothing on this platform's devices.
fn meaningless(platform: &dyn Platform, settings: &Settings) -> Vec<String> {
    let understood = platform.settings();
    let said = DEVICE_SETTINGS.iter().filter(|key| !understood.contains(key)).filter_map(|key| {
        let entry = settings.entry(key);
        let is_said = !matches!(entry.source, Source::Default(_));
        is_said.then(|| {
            let name = platform.name();
            format!("{key} = {} (from {}) means nothing on {name}", entry.value, entry.source)
        })
    });
    said.collect()
}

/// The failure of a boot for which there is no device: the last platform's own, which is that of the
/// host, with what the others said before.
fn none_fits(mut passed: Vec<(String, NotHere)>, named: Option<&str>) -> Failure {
    let Some((_, NotHere { why: last, .. })) = passed.pop() else {
        let named = named.unwrap_or("auto");
        return Failure::unavailable(format!("no device for backend = {named}"));
    };
    if passed.is_empty() {
        return last;
    }
    let others: Vec<String> =
        passed.iter().map(|(name, not)| format!("{name}: {}", not.why)).collect();
    last.context(format!("no device fits the model ({})", others.join("; ")))
}

/// Takes the tokenizer's data out of a model, before others hold it.
pub(super) fn take_text(artifact: &mut Artifact) -> Text {
    match artifact {
        Artifact::Decoder(model) => Arc::get_mut(model).map(Model::take_text).unwrap_or_default(),
        Artifact::Onnx(_) => Text::default(),
    }
}

impl Plan {
    /// Says in the log what was decided.
    fn tell(&self) {
        let devices = self.fit.replicas.iter().map(|placed| placed.devices.len()).sum::<usize>();
        let platform = self.platform.name();
        info!(model = self.name, platform, device = self.device(), devices, "device chosen");
        for why in &self.fit.why {
            info!(why, "planned");
        }
        if self.platform.is_simulated() {
            warn!("SIMULATED: tokens come from a hash, not from the model");
        }
    }

    /// The name clients use.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The model's settings, as they are where it runs.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One sentence for each decision.
    pub(crate) fn why(&self) -> Vec<String> {
        let on = format!("on {}: {} bytes in all", self.platform.name(), self.fit.bytes());
        let ranks = self.fit.replicas.first().map_or(1, |placed| placed.devices.len());
        let copies = self.fit.replicas.len();
        let device =
            format!("device = {}, copies = {copies}, ranks of each = {ranks}", self.device());
        let passed = self.passed.iter().map(|(name, why)| format!("not on {name}: {why}"));
        [on, device].into_iter().chain(passed).chain(self.fit.why.iter().cloned()).collect()
    }

    /// How it was fitted.
    pub(crate) fn fit(&self) -> &Fit {
        &self.fit
    }

    /// The platform's name.
    pub(crate) fn platform(&self) -> &'static str {
        self.platform.name()
    }

    /// Platforms that were asked before, and why each was passed over.
    pub(crate) fn passed(&self) -> &[(String, String)] {
        &self.passed
    }

    /// How fast it can be at best on a machine of that type, or why that is not known.
    pub(crate) fn roofline(&self, instance: Option<&Instance>) -> Result<Roofline, String> {
        Roofline::of(&self.fit, self.platform.class(), instance)
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

    /// The first device's name.
    pub(crate) fn device(&self) -> &str {
        let first = self.fit.replicas.first().and_then(|placed| placed.devices.first());
        first.map_or("", |device| &device.name)
    }
}

/// Asks the host's own platform for what only its tools can tell.
///
/// # Errors
/// What the platforms are made of cannot be read.
pub(crate) fn with_tools<T>(
    process: &Process,
    ask: impl FnOnce(&dyn Tools) -> T,
) -> Result<T, Failure> {
    let all = platforms(process)?;
    let tools = all.iter().filter(|p| p.class() == Class::Host).find_map(|p| p.tools());
    let missing = || Failure::unavailable("no platform has tools");
    tools.map(ask).ok_or_else(missing)
}

/// Fits the model. What a model's files or another server's names ask for and cannot be is told and
/// left to the platform; what a person says in our own words is refused.
fn fit(
    platform: &dyn Platform,
    devices: &[DeviceInfo],
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
