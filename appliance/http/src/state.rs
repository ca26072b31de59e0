//! What all routes share: the models, which phase the process is in, and the edge's limits.
//!
//! A server listens before a model is loaded. Next: `serve.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use gimbal_engine::{Entry, Health, ModelState, Models, ModelsError, Readings, Service};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::boot::{About, Boot, Timeline};
use crate::budget::Budget;
use crate::exposition::Exposition;
use crate::fault::{Door, Fault, Kind, Schema};
use crate::journal::Journal;
use crate::repeats::{Alike, Repeats};
use crate::responses::Kept;
use crate::settings::HttpSettings;
use crate::work::Work;

/// How long a client is told to wait for a model that loads.
const LOADING_RETRY_MS: u64 = 1000;

/// Letters of a client's word that an error repeats.
pub(crate) const SHOWN_MAX: usize = 100;

/// What all routes share. Clones are the same state.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: HttpSettings,
    phase: RwLock<Phase>,
    about: RwLock<About>,
    models: Arc<Models>,
    readings: Arc<Readings>,
    timeline: Mutex<Timeline>,
    journal: Journal,
    repeats: Mutex<Repeats<Alike>>,
    exposition: Option<Exposition>,
    bodies: Arc<Budget>,
    answers: Arc<Budget>,
    kept: Kept,
    work: Work,
    started_unix_ms: u64,
}

/// What the process does; what each model does is the registry's.
#[derive(Clone, Debug)]
enum Phase {
    Booting { phase: String, progress: Option<f32> },
    Failed { why: String },
    Serving,
    Draining,
}

/// Why not all is well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct Unwell {
    /// `loading`, `failed`, `draining` or `failing`.
    pub(crate) state: &'static str,
    /// The model it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Phase of the boot, while loading: listen, unpack (an archive), plan, open, warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    /// Of the phase, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f32>)]
    pub(crate) progress: Option<Option<f32>>,
    /// Why it does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Unwell {
    fn new(state: &'static str, model: Option<&str>) -> Self {
        let model = model.map(str::to_owned);
        Self { state, model, phase: None, progress: None, reason: None }
    }
}

/// What a server does before it says anything else.
const FIRST_PHASE: &str = "listen";

impl AppState {
    /// A server without a model, in phase `listen`.
    #[must_use]
    pub fn new(settings: HttpSettings, exposition: Option<Exposition>) -> Self {
        let phase = Phase::Booting { phase: FIRST_PHASE.into(), progress: None };
        // One body of the largest legal size finds room, whoever else is there.
        let bytes = settings.bodies_bytes_max.max(4 * settings.body_bytes_max);
        let bodies = Budget::new("large bodies", bytes);
        let answers = Budget::new("large answers that nobody reads", settings.answers_bytes_max);
        let kept = Kept::new(settings.responses_kept);
        Self(Arc::new(Inner {
            settings,
            phase: RwLock::new(phase),
            about: RwLock::default(),
            models: Arc::default(),
            readings: Arc::default(),
            timeline: Mutex::new(Timeline::start(FIRST_PHASE)),
            journal: Journal::default(),
            repeats: Mutex::default(),
            exposition,
            bodies,
            answers,
            kept,
            work: Work::start(),
            started_unix_ms: unix_ms(),
        }))
    }

    /// Says what the process is, as soon as it is known.
    pub fn set_about(&self, about: About) {
        *self.0.about.write().unwrap_or_else(PoisonError::into_inner) = about;
    }

    /// Says where the boot is: `unpack`, `plan`, `open`, `warm`. `progress` is from 0 to 1.
    pub fn set_phase(&self, phase: &str, progress: Option<f32>) {
        let mut now = self.0.phase.write().unwrap_or_else(PoisonError::into_inner);
        // A model that is loaded later changes nothing for those that serve.
        if matches!(*now, Phase::Booting { .. }) {
            self.timeline(|timeline| timeline.enter(phase));
            *now = Phase::Booting { phase: phase.to_owned(), progress };
        }
    }

    /// The boot is over: `/ping` speaks for the models from now on.
    pub fn set_serving(&self) {
        self.timeline(Timeline::end);
        self.set(Phase::Serving);
    }

    /// A model is warm: it serves from now on, beside those that do already, and the boot is over.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn add_model(&self, service: Arc<Service>) -> Result<(), ModelsError> {
        self.0.models.begin(service.name())?.serve(service);
        self.set_serving();
        Ok(())
    }

    /// The boot failed, and the process lives on to say so.
    pub fn set_failed(&self, why: &str) {
        self.set(Phase::Failed { why: why.to_owned() });
    }

    /// The process ends: `/ping` is 503, new requests are refused. The models are closed by the
    /// caller, who drains them.
    pub fn set_draining(&self) {
        self.set(Phase::Draining);
    }

    fn set(&self, phase: Phase) {
        // A poisoned lock holds a whole value all the same: values are swapped, never changed.
        *self.0.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> Phase {
        self.0.phase.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All models, whatever they do.
    #[must_use]
    pub fn models(&self) -> &Arc<Models> {
        &self.0.models
    }

    /// How devices are; asked while the edge is open.
    #[must_use]
    pub fn readings(&self) -> &Arc<Readings> {
        &self.0.readings
    }

    /// The models that can be asked.
    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.0.models.services()
    }

    /// In which schema errors of LMI's bodies are told, where no model is known: the first one's.
    pub(crate) fn lmi_schema(&self) -> Schema {
        let is_tgi = self.services().first().is_some_and(|model| model.edge().tgi_compat);
        if is_tgi { Schema::Tgi } else { Schema::Lmi }
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    pub(crate) fn exposition(&self) -> Option<&Exposition> {
        self.0.exposition.as_ref()
    }

    pub(crate) fn bodies(&self) -> &Arc<Budget> {
        &self.0.bodies
    }

    pub(crate) fn answers(&self) -> &Arc<Budget> {
        &self.0.answers
    }

    /// Responses that later requests may refer to.
    pub(crate) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    /// Threads for what is not waiting for a socket.
    pub(crate) fn work(&self) -> &Work {
        &self.0.work
    }

    pub(crate) fn started_unix(&self) -> u64 {
        self.0.started_unix_ms / 1000
    }

    pub(crate) fn started_unix_ms(&self) -> u64 {
        self.0.started_unix_ms
    }

    pub(crate) fn about(&self) -> About {
        self.0.about.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names what answers: equal binaries, models and settings have equal ones.
    pub(crate) fn fingerprint(&self, model: &Service) -> String {
        let About { version, settings_hash } = self.about();
        let platform = &model.place().platform;
        let parts = [env!("CARGO_PKG_VERSION"), &version, &settings_hash, platform, model.name()];
        let digest = Sha256::digest(parts.join("\0"));
        let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        format!("fp_{hex}")
    }

    /// The boot's phases with their milliseconds.
    pub(crate) fn boot(&self) -> Boot {
        self.timeline(|timeline| timeline.told())
    }

    fn timeline<T>(&self, with: impl FnOnce(&mut Timeline) -> T) -> T {
        with(&mut self.0.timeline.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the log has told lately.
    pub(crate) fn repeats(&self) -> MutexGuard<'_, Repeats<Alike>> {
        self.0.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// What `/ping` says unless all is well.
    pub(crate) fn unwell(&self) -> Option<Unwell> {
        match self.phase() {
            Phase::Booting { phase, progress } => Some(Unwell {
                phase: Some(phase),
                progress: Some(progress),
                ..Unwell::new("loading", None)
            }),
            Phase::Failed { why } => {
                Some(Unwell { reason: Some(why), ..Unwell::new("failed", None) })
            }
            Phase::Draining => Some(Unwell::new("draining", None)),
            Phase::Serving => unwell(&self.0.models.list()),
        }
    }

    /// The model that a request names. Where there is one only, `/invocations` takes any name (the
    /// cloud's endpoints have names that a container cannot know), `/v1` an empty one, and any unless
    /// names are strict.
    pub(crate) fn model(&self, name: Option<&str>, door: Door) -> Result<Arc<Service>, Fault> {
        let models = self.0.models.list();
        let is_lenient = door == Door::Invocations || !self.settings().is_name_strict;
        match (name, &models[..]) {
            (None | Some(""), [_, ..]) => {
                let first = models.iter().find(|entry| entry.service().is_some());
                self.asked(first.or(models.first()))
            }
            (Some(_), [only]) if is_lenient => self.asked(Some(only)),
            (name, _) => self.named(&models, name.unwrap_or_default()),
        }
    }

    /// The model of exactly this name.
    pub(crate) fn model_named(&self, name: &str) -> Result<Arc<Service>, Fault> {
        self.named(&self.0.models.list(), name)
    }

    fn named(&self, models: &[Entry], name: &str) -> Result<Arc<Service>, Fault> {
        let found = models.iter().find(|entry| &*entry.name == name);
        if found.is_some() || models.is_empty() {
            return self.asked(found);
        }
        let names: Vec<&str> = models.iter().map(|entry| &*entry.name).collect();
        let asked: String = name.chars().take(SHOWN_MAX).collect();
        let message = format!("no model {asked:?}; there is {}", names.join(", "));
        Err(Fault { field: Some("model".into()), ..Fault::new(Kind::UnknownModel, message) })
    }

    /// What that model says to a request; without one, what the boot says.
    fn asked(&self, entry: Option<&Entry>) -> Result<Arc<Service>, Fault> {
        let loading = |what: String| {
            let fault = Fault::new(Kind::Loading, what);
            Err(Fault { retry_after_ms: Some(LOADING_RETRY_MS), ..fault })
        };
        let unavailable = |what: String| Err(Fault::new(Kind::Unavailable, what));
        match entry.map(|entry| (&entry.name, &entry.state)) {
            Some((_, ModelState::Serving(service) | ModelState::Draining(service))) => {
                Ok(Arc::clone(service))
            }
            Some((_, ModelState::Loading { phase })) => {
                loading(format!("the model loads (phase {phase})"))
            }
            Some((name, ModelState::Failed { why })) => {
                unavailable(format!("model {name} could not be loaded: {why}"))
            }
            None => match self.phase() {
                Phase::Booting { phase, .. } => loading(format!("the model loads (phase {phase})")),
                Phase::Failed { why } => unavailable(format!("no model is loaded: {why}")),
                Phase::Serving | Phase::Draining => unavailable("no model is loaded".to_owned()),
            },
        }
    }
}

/// What `/ping` says of the models, unless all is well. One that could not be loaded is its own error
/// as long as another one serves.
fn unwell(models: &[Entry]) -> Option<Unwell> {
    let services = models.iter().filter_map(Entry::service);
    let mut of_services = services.map(|model| match model.health() {
        Health::Serving => None,
        Health::Draining => Some(Unwell::new("draining", Some(model.name()))),
        Health::Failing { why } => {
            Some(Unwell { reason: Some(why), ..Unwell::new("failing", Some(model.name())) })
        }
    });
    if models.iter().any(|entry| matches!(entry.state, ModelState::Serving(_))) {
        return of_services.find_map(|why| why);
    }
    models.iter().find_map(|entry| match &entry.state {
        ModelState::Failed { why } => Some(Unwell {
            reason: Some(why.to_string()),
            ..Unwell::new("failed", Some(&entry.name))
        }),
        ModelState::Loading { phase } => Some(Unwell {
            phase: Some(phase.to_string()),
            ..Unwell::new("loading", Some(&entry.name))
        }),
        ModelState::Draining(_) => Some(Unwell::new("draining", Some(&entry.name))),
        ModelState::Serving(_) => None,
    })
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
