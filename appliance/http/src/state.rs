//! What all routes share: which model serves, which phase the boot is in, and the edge's limits.
//!
//! A server listens before a model is loaded. Next: `serve.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use gimbal_engine::{Health, SampleParams, Service, meters};
use metrics::gauge;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::access::Seen;
use crate::boot::{About, Timeline};
use crate::budget::Budget;
use crate::exposition::Exposition;
use crate::fault::{Door, Fault, Kind, Schema};
use crate::journal::Journal;
use crate::repeats::Repeats;
use crate::web::WebRules;
use crate::work::Work;

/// How long a client is told to wait for a model that loads.
const LOADING_RETRY_MS: u64 = 1000;

/// Letters of a client's word that an error repeats.
pub(crate) const SHOWN_MAX: usize = 100;

/// Limits of the edge.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that are being read or answered.
    pub bodies_bytes_max: usize,
    /// Bytes of all whole answers that their clients have not read yet.
    pub answers_bytes_max: usize,
    /// Time to read a body.
    pub body_timeout: Duration,
    /// Time to read a request's head, and the longest an idle connection is kept.
    pub head_timeout: Duration,
    /// Time without progress after which a client that does not read is given up.
    pub write_timeout: Duration,
    /// Open connections; more are closed at once.
    pub connections_max: usize,
    /// Time to answer on `/invocations`, or to begin a stream there.
    pub invocations_deadline: Duration,
    /// Time of a whole stream on `/invocations`.
    pub invocations_stream_deadline: Duration,
    /// Time for open connections to end after `shutdown`.
    pub close_timeout: Duration,
    /// What `/invocations` answers in unless a request says otherwise.
    pub output_formatter: OutputFormatter,
    /// LMI's schema answers as TGI does: lists, `special`, 422, server-sent events.
    pub tgi_compat: bool,
    /// What requests that sample get where they say nothing.
    pub sampling: SampleParams,
    /// Tell metrics by vLLM's names as well.
    pub vllm_metrics: bool,
    /// Serve the dashboard at `/` and `/status`.
    pub dashboard: bool,
    /// Which web pages may use the API.
    pub web: WebRules,
    /// On `/v1`, a name must be that of a model, also where there is only one.
    pub is_name_strict: bool,
}

impl HttpSettings {
    /// In which schema errors of LMI's bodies are told.
    pub(crate) fn lmi_schema(&self) -> Schema {
        if self.tgi_compat { Schema::Tgi } else { Schema::Lmi }
    }
}

/// What LMI's schema answers in; JSON lines are also what chat streams on `/invocations` become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormatter {
    /// As the request says: `stream: true` gives JSON lines, `Accept` may ask for SSE.
    #[default]
    Auto,
    /// One JSON value, whatever `Accept` says; what asks to be streamed is JSON lines.
    Json,
    /// JSON lines, also without `stream`.
    JsonLines,
    /// Server-sent events, also without `stream`.
    Sse,
}

impl Default for HttpSettings {
    /// The cloud's limits: 25 MB bodies, 60 s to answer, 8 min of stream.
    fn default() -> Self {
        Self {
            body_bytes_max: 25 << 20,
            bodies_bytes_max: 100 << 20,
            answers_bytes_max: 320 << 20,
            body_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            connections_max: 4096,
            invocations_deadline: Duration::from_secs(60),
            invocations_stream_deadline: Duration::from_secs(480),
            close_timeout: Duration::from_secs(2),
            output_formatter: OutputFormatter::Auto,
            tgi_compat: false,
            sampling: SampleParams { temperature: 1.0, ..SampleParams::default() },
            vllm_metrics: false,
            dashboard: true,
            web: WebRules::default(),
            is_name_strict: true,
        }
    }
}

/// What all routes share. Clones are the same state.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: HttpSettings,
    phase: RwLock<Phase>,
    about: RwLock<About>,
    timeline: Mutex<Timeline>,
    journal: Journal,
    repeats: Mutex<Repeats<Seen>>,
    exposition: Option<Exposition>,
    bodies: Arc<Budget>,
    answers: Arc<Budget>,
    work: Work,
    started_unix_ms: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Loading { phase: String, progress: Option<f32> },
    Failed { why: String },
    Serving(Vec<Arc<Service>>),
    Draining(Vec<Arc<Service>>),
}

/// What a server does before it says anything else.
const FIRST_PHASE: &str = "listen";

impl AppState {
    /// A server without a model, in phase `listen`.
    #[must_use]
    pub fn new(settings: HttpSettings, exposition: Option<Exposition>) -> Self {
        let phase = Phase::Loading { phase: FIRST_PHASE.into(), progress: None };
        // One body of the largest legal size finds room, whoever else is there.
        let bytes = settings.bodies_bytes_max.max(4 * settings.body_bytes_max);
        let bodies = Budget::new("large bodies", bytes);
        let answers = Budget::new("large answers that nobody reads", settings.answers_bytes_max);
        Self(Arc::new(Inner {
            settings,
            phase: RwLock::new(phase),
            about: RwLock::default(),
            timeline: Mutex::new(Timeline::start(FIRST_PHASE)),
            journal: Journal::default(),
            repeats: Mutex::default(),
            exposition,
            bodies,
            answers,
            work: Work::start(),
            started_unix_ms: unix_ms(),
        }))
    }

    /// Says what the process is and on what it computes, as soon as it is known.
    pub fn set_about(&self, about: About) {
        *self.0.about.write().unwrap_or_else(PoisonError::into_inner) = about;
    }

    /// Says where the boot is: `probe`, `plan`, `open`, `warm`. `progress` is from 0 to 1.
    pub fn set_phase(&self, phase: &str, progress: Option<f32>) {
        self.timeline(|timeline| timeline.enter(phase));
        self.set(Phase::Loading { phase: phase.to_owned(), progress });
    }

    /// A model is warm: from now on it serves, besides those that do already.
    pub fn add_model(&self, service: Arc<Service>) {
        self.timeline(Timeline::end);
        let About { version, platform, .. } = self.about();
        let labels =
            [("version", version), ("model", service.name().to_owned()), ("backend", platform)];
        gauge!(meters::INFO, &labels).set(1.0);
        let mut models = self.models();
        models.push(service);
        self.set(Phase::Serving(models));
    }

    /// The boot failed, and the process lives on to say so.
    pub fn set_failed(&self, why: &str) {
        self.set(Phase::Failed { why: why.to_owned() });
    }

    /// The process ends: `/ping` is 503, new requests are refused. The models are closed by the
    /// caller, who drains them.
    pub fn set_draining(&self) {
        self.set(Phase::Draining(self.models()));
    }

    fn set(&self, phase: Phase) {
        // A poisoned lock holds a whole value all the same: values are swapped, never changed.
        *self.0.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> Phase {
        self.0.phase.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All models that serve.
    #[must_use]
    pub fn models(&self) -> Vec<Arc<Service>> {
        match self.phase() {
            Phase::Serving(models) | Phase::Draining(models) => models,
            _ => Vec::new(),
        }
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
    pub(crate) fn fingerprint(&self, model: &str) -> String {
        let About { version, settings_hash, platform, .. } = self.about();
        let parts = [env!("CARGO_PKG_VERSION"), &version, &settings_hash, &platform, model];
        let digest = Sha256::digest(parts.join("\0"));
        let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        format!("fp_{hex}")
    }

    /// The boot's phases with their milliseconds.
    pub(crate) fn boot(&self) -> Value {
        self.timeline(|timeline| timeline.json())
    }

    fn timeline<T>(&self, with: impl FnOnce(&mut Timeline) -> T) -> T {
        with(&mut self.0.timeline.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the log has told lately.
    pub(crate) fn repeats(&self) -> MutexGuard<'_, Repeats<Seen>> {
        self.0.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// What `/ping` says unless all is well.
    pub(crate) fn unwell(&self) -> Option<Value> {
        match self.phase() {
            Phase::Loading { phase, progress } => {
                Some(json!({"state": "loading", "phase": phase, "progress": progress}))
            }
            Phase::Failed { why } => Some(json!({"state": "failed", "reason": why})),
            Phase::Draining(_) => Some(json!({"state": "draining"})),
            Phase::Serving(models) => models.iter().find_map(|model| match model.health() {
                Health::Serving => None,
                Health::Draining => Some(json!({"state": "draining", "model": model.name()})),
                Health::Failing { why } => {
                    Some(json!({"state": "failing", "model": model.name(), "reason": why}))
                }
            }),
        }
    }

    /// The model that a request names. Where there is one only, `/invocations` takes any name (the
    /// cloud's endpoints have names that a container cannot know), `/v1` an empty one, and any unless
    /// names are strict.
    pub(crate) fn model(&self, name: Option<&str>, door: Door) -> Result<Arc<Service>, Fault> {
        let models = self.serving()?;
        let is_lenient = door == Door::Invocations || !self.settings().is_name_strict;
        match (name, &models[..]) {
            (None | Some(""), [first, ..]) => Ok(Arc::clone(first)),
            (Some(_), [only]) if is_lenient => Ok(Arc::clone(only)),
            (name, _) => find(&models, name.unwrap_or_default()),
        }
    }

    /// The model of exactly this name.
    pub(crate) fn model_named(&self, name: &str) -> Result<Arc<Service>, Fault> {
        find(&self.serving()?, name)
    }

    fn serving(&self) -> Result<Vec<Arc<Service>>, Fault> {
        match self.phase() {
            Phase::Serving(models) | Phase::Draining(models) => Ok(models),
            Phase::Loading { phase, .. } => {
                let fault = Fault::new(Kind::Loading, format!("the model loads (phase {phase})"));
                Err(Fault { retry_after_ms: Some(LOADING_RETRY_MS), ..fault })
            }
            Phase::Failed { why } => {
                Err(Fault::new(Kind::Unavailable, format!("no model is loaded: {why}")))
            }
        }
    }
}

fn find(models: &[Arc<Service>], name: &str) -> Result<Arc<Service>, Fault> {
    let found = models.iter().find(|model| model.name() == name);
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = models.iter().map(|m| m.name()).collect();
        let asked: String = name.chars().take(SHOWN_MAX).collect();
        let message = format!("no model {asked:?}; there is {}", names.join(", "));
        Fault { field: Some("model".into()), ..Fault::new(Kind::UnknownModel, message) }
    })
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
