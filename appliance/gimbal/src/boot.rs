//! From a path to a warm model: probe → plan → open → warm.
//!
//! The platforms are a static list; the engine joins what they open with the scheduler.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gimbal_batch::Prefill;
use gimbal_engine::{LaneSource, Micros, Policy, Service, ServiceConfig};
use gimbal_hal::{
    Backend, DeviceError, DeviceInfo, Fit, KvDtype, Platform, Probe, Profile, Quantize, Servable,
    Source, Unfit,
};
use gimbal_machine::Instance;
use gimbal_model::{Model, Text};
use gimbal_onnx::OnnxPlatform;
use gimbal_settings::Settings;
use gimbal_sim::{Cost, Reads, Script, SimPlatform, Time};
use tracing::{info, warn};

use crate::bundle::{Bundle, user_folders};
use crate::failure::Failure;
use crate::host::host;
use crate::readiness;
use crate::words::Words;

/// Every platform there is, the preferred first; `sim` only by name.
pub(crate) fn platforms() -> Vec<Arc<dyn Platform>> {
    vec![Arc::new(OnnxPlatform), Arc::new(simulator())]
}

/// A device that answers with hashes, about as fast as a small CPU.
fn simulator() -> SimPlatform {
    let config = gimbal_sim::Config {
        vocab: 0,
        cost: Cost { step_us: 1000.0, row_us: 100.0, ..Cost::NONE },
        time: Time::Real,
        reads: Reads::All,
        script: Script::new(&[]),
    };
    SimPlatform { config, shape: None, prefill: Prefill::Chunked, depth: 2 }
}

/// A model that was fitted and can be opened.
pub(crate) struct Plan {
    platform: Arc<dyn Platform>,
    model: Arc<Model>,
    /// The model's, until it is opened.
    text: Text,
    fit: Fit,
    device: String,
}

/// Reads the model and decides where and how it runs; no weight is read. Devices that are given
/// take the place of this machine's.
pub(crate) fn plan(
    settings: &Settings,
    path: &Path,
    devices: Option<Vec<DeviceInfo>>,
) -> Result<Plan, Failure> {
    let started = Instant::now();
    let mut model = Model::open(path)?;
    let text = model.take_text();
    let model = Arc::new(model);
    info!(
        model = %model.path.display(),
        name = model.name,
        weights_bytes = model.weights.bytes(),
        took_ms = millis(started),
        "model read"
    );
    let (platform, devices) = match devices {
        Some(devices) => (Arc::new(OnnxPlatform) as Arc<dyn Platform>, devices),
        None => choose(settings)?,
    };
    let device = devices.first().map(|d| d.name.clone()).unwrap_or_default();
    info!(platform = platform.name(), device, devices = devices.len(), "device chosen");
    let fit = fit(platform.as_ref(), &devices, &model, settings)?;
    for why in &fit.why {
        info!(why, "planned");
    }
    if platform.name() == "sim" {
        warn!("SIMULATED: tokens come from a hash, not from the model");
    }
    Ok(Plan { platform, model, text, fit, device })
}

impl Plan {
    /// One sentence for each decision.
    pub(crate) fn why(&self) -> Vec<String> {
        let on = format!("on {}: {} bytes in all", self.platform.name(), self.fit.device_bytes);
        std::iter::once(on).chain(self.fit.why.iter().cloned()).collect()
    }

    /// Writes the weights in the kernels' layout, if they are not there: path, bytes, and whether
    /// they were there.
    pub(crate) fn pack(&self, settings: &Settings) -> Result<(PathBuf, u64, bool), Failure> {
        if self.platform.name() != "onnx" {
            let name = self.platform.name();
            return Err(Failure::usage(format!("backend = {name} has no packed weights")));
        }
        let folder = self.fit.profile.packed_cache.as_deref();
        OnnxPlatform.pack(&self.fit, &self.model).map_err(|error| {
            let why = folder.and_then(|folder| {
                let missing = || (!folder.is_dir()).then(|| "it cannot be made".to_owned());
                cache_problem(folder).or_else(missing)
            });
            let Some(why) = why else { return error.into() };
            let entry = settings.entry("packed_cache");
            let what = format!("packed_cache = {} (from {}): {why}", entry.value, entry.source);
            Failure::unavailable(format!("{what}; set --packed-cache to a folder"))
        })
    }

    /// The platform's name.
    pub(crate) fn platform(&self) -> &'static str {
        self.platform.name()
    }

    /// The first device's name.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Opens the model and starts its lanes.
    pub(crate) fn open(mut self, settings: &Settings) -> Result<Arc<Service>, Failure> {
        let started = Instant::now();
        if self.platform.name() == "onnx" {
            self.fit.profile.library = library(settings)?;
            // A folder that is there may hold the file already, writable or not.
            let missing = self.fit.profile.packed_cache.take_if(|folder| !folder.is_dir());
            match missing.as_deref().and_then(cache_problem) {
                None => {
                    self.fit.profile.packed_cache = self.fit.profile.packed_cache.take().or(missing)
                }
                Some(why) => {
                    let from = &settings.entry("packed_cache").source;
                    warn!(why, %from, "packed_cache cannot be: each start packs the weights anew");
                }
            }
        }
        let name = settings.text("served_model_name").map(str::to_owned);
        let name = name.unwrap_or_else(|| self.model.file_name());
        let policy = self.policy(settings);
        let (model, text) = (self.model.clone(), std::mem::take(&mut self.text));
        let open = Opener(Arc::new(self));
        // The tokenizer's tables and the backend take about as long, and neither needs the other.
        let (words, lanes) = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("words".to_owned());
            let words = thread.spawn_scoped(scope, || Words::open(&model, text, settings));
            let words = words.map_err(|error| readiness::no_threads(&error))?;
            let lanes = lanes(&open);
            let words = words.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Failure>((words, lanes))
        })?;
        let Words { tokenizer, template, .. } = words?;
        let lanes = lanes?;
        let service = Service::start(ServiceConfig {
            name,
            tokenizer,
            template,
            policy,
            lanes,
            choices_max: settings
                .integer("max_choices")
                .and_then(|n| u16::try_from(n).ok())
                .unwrap_or(128),
            watchdog: Duration::from_secs(settings.integer("watchdog_timeout_s").unwrap_or(30)),
        })?;
        // What was read and made on the way is not needed again.
        model.weights.release_all();
        gimbal_onnx::process::give_back();
        info!(took_ms = millis(started), "model opened");
        Ok(service)
    }

    fn policy(&self, settings: &Settings) -> Policy {
        let number = |key: &str, default: u32| {
            settings.integer(key).and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
        };
        Policy {
            max_rolling_batch_size: number("max_rolling_batch_size", 32),
            job_queue_size: number("job_queue_size", 1000),
            step_tokens_max: number("max_rolling_batch_prefill_tokens", 256),
            step_time_max: settings.integer("step_time_max_ms").map(|ms| Micros(ms * 1000)),
            prefix_cache: settings.flag("enable_prefix_caching"),
            drafts_max: 0,
            turn_tokens: number("fair_turn_tokens", 128),
            prefix_secret: [random(), random()],
        }
    }
}

/// One backend for each replica.
fn lanes(open: &Opener) -> Result<Vec<LaneSource>, DeviceError> {
    let lane = |_| {
        let open = open.clone();
        let backend = open.open()?;
        Ok(LaneSource { backend, reopen: Box::new(move || open.open()) })
    };
    (0..open.0.fit.replicas).map(lane).collect()
}

/// Opens the planned model, as often as a lane needs it.
#[derive(Clone)]
struct Opener(Arc<Plan>);

impl Opener {
    fn open(&self) -> Result<Box<dyn Backend>, DeviceError> {
        let plan = &self.0;
        match plan.platform.open(&plan.fit, &Source::Graph(plan.model.clone()))? {
            Servable::Generate(backend) => Ok(backend),
            Servable::Infer(_) => {
                Err(DeviceError::Model { why: "the model does not generate text".to_owned() })
            }
        }
    }
}

/// What each platform but the simulator says of a model, by name of platform and device.
pub(crate) fn fits(model: &Model, settings: &Settings) -> Vec<(String, Result<Fit, String>)> {
    let of = |platform: Arc<dyn Platform>| {
        let name = platform.name().to_owned();
        match platform.probe(&host()) {
            Probe::Absent { why } => (name, Err(why)),
            Probe::Found(devices) => {
                let device = devices.first().map(|d| d.name.as_str()).unwrap_or_default();
                let fit = fit(platform.as_ref(), &devices, model, settings);
                (format!("{name} ({device})"), fit.map_err(|e| e.to_string()))
            }
        }
    };
    platforms().into_iter().filter(|platform| platform.name() != "sim").map(of).collect()
}

/// The CPU of an instance type, as far as the catalogue knows it. Accelerators are not planned for:
/// there is no backend of theirs yet.
pub(crate) fn devices_of(instance: &Instance) -> Vec<DeviceInfo> {
    vec![DeviceInfo {
        platform: "onnx",
        ordinal: 0,
        name: format!("{} ({})", instance.name, instance.processor),
        memory_bytes: instance.memory_bytes,
        memory_why: format!("of {}", instance.name),
        cores: instance.vcpus,
        features: Vec::new(),
    }]
}

/// The platform the settings name, or the first one with devices.
fn choose(settings: &Settings) -> Result<(Arc<dyn Platform>, Vec<DeviceInfo>), Failure> {
    let wanted = settings.text("backend").unwrap_or("auto");
    let mut absent = Vec::new();
    for platform in platforms() {
        let is_wanted = match wanted {
            "auto" => platform.name() != "sim",
            name => platform.name() == name,
        };
        if !is_wanted {
            continue;
        }
        match platform.probe(&host()) {
            Probe::Found(devices) => return Ok((platform, devices)),
            Probe::Absent { why } => absent.push(format!("{}: {why}", platform.name())),
        }
    }
    Err(Failure::unavailable(format!("no device for backend = {wanted}: {}", absent.join("; "))))
}

/// Fits the model. What a model's files or another server's names ask for and cannot be is told and
/// left to the platform; what a person says in our own words is refused.
fn fit(
    platform: &dyn Platform,
    devices: &[DeviceInfo],
    model: &Model,
    settings: &Settings,
) -> Result<Fit, Unfit> {
    let mut profile = profile(settings);
    let mut told = Vec::new();
    loop {
        let (setting, value, why) = match platform.fit(devices, model, &profile) {
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

fn profile(settings: &Settings) -> Profile {
    let small = |key: &str| settings.integer(key).and_then(|n| u32::try_from(n).ok());
    Profile {
        sequences_max: small("max_rolling_batch_size").unwrap_or(32),
        rows_max: small("max_rolling_batch_prefill_tokens").unwrap_or(256),
        block_tokens: 16,
        context_tokens_max: small("max_model_len"),
        kv_bytes: settings.integer("kv_cache_bytes"),
        kv_dtype: kv_dtype(settings),
        threads: small("threads"),
        library: None,
        quantize: match settings.text("quantize") {
            Some("q8") => Some(Quantize::Q8),
            Some("q4") => Some(Quantize::Q4),
            _ => None,
        },
        packed_cache: packed_cache(settings),
    }
}

/// What keys and values are kept as.
pub(crate) fn kv_dtype(settings: &Settings) -> KvDtype {
    let set = settings.text("kv_cache_dtype");
    let named = KvDtype::ALL.into_iter().find(|(name, _)| Some(*name) == set);
    named.map(|(_, dtype)| dtype).unwrap_or_default()
}

/// Folder for packed weights; `None` where there is none or none is wanted.
pub(crate) fn packed_cache(settings: &Settings) -> Option<PathBuf> {
    match settings.text("packed_cache") {
        Some("off") => None,
        Some(folder) => Some(folder.into()),
        None => user_folders().next().map(|folder| folder.join("gimbal/packed")),
    }
}

/// Why no file can be kept in that folder, which is made where it is missing; nothing is written.
pub(crate) fn cache_problem(folder: &Path) -> Option<String> {
    use rustix::fs::{Access, access};
    // The nearest step that is there decides: the rest would be made.
    let there = folder.ancestors().find(|p| p.symlink_metadata().is_ok());
    let there = there.unwrap_or_else(|| Path::new("."));
    match there.metadata() {
        Err(error) => Some(format!("{}: {error}", there.display())),
        Ok(about) if !about.is_dir() => {
            Some(format!("{} is a file, not a folder", there.display()))
        }
        Ok(_) => access(there, Access::WRITE_OK | Access::EXEC_OK)
            .err()
            .map(|error| format!("{} cannot be written: {error}", there.display())),
    }
}

/// Where ONNX Runtime is: as set, beside the binary, appended to it; `None` leaves it to the loader.
pub(crate) fn library(settings: &Settings) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = settings.text("onnxruntime") {
        return Ok(Some(path.into()));
    }
    let exe = std::env::current_exe().ok();
    let beside = exe.as_deref().and_then(Path::parent).map(|f| f.join("libonnxruntime.so"));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return Ok(Some(path));
    }
    Bundle::of_this_binary().map_or(Ok(None), |bundle| bundle.library())
}

/// 64 bits that nobody can guess: the keys std takes from the operating system for its maps.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
