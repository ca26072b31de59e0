//! A server on the simulated device, and a device whose steps wait for the test.
//!
//! Next: `client.rs`.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use gimbal_batch::{Batch, Kv, Limits, Outcome, Prefill, Sampling, Shape, StepId};
use gimbal_engine::{Edge, LaneSource, Made, Place, Policy, Service, ServiceConfig};
use gimbal_hal::{Backend, DeviceError};
use gimbal_http::{AppState, Exposition, HttpSettings, serve};
use gimbal_sim::{Config, Cost, Reads, Script, SimBackend, Time};
use gimbal_text::{ChatTemplate, Tokenizer, TokenizerData};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{self, Response};

/// Writes each message's content and nothing else, so that a chat and a plain prompt are equal.
const TEMPLATE: &str = "{% for m in messages %}\
    {% if m.role == 'forbidden' %}{{ raise_exception('no such role') }}{% endif %}\
    {{ m.content }}{% endfor %}{% if enable_thinking or reasoning_effort %}{% endif %}";

/// One recorder a process; models have names of their own.
static EXPOSITION: LazyLock<Exposition> =
    LazyLock::new(|| Exposition::install().expect("no other recorder"));

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: AppState,
    pub(crate) service: Option<Arc<Service>>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// A server that listens and has no model.
    pub(crate) async fn listen(settings: HttpSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = AppState::new(settings, Some(EXPOSITION.clone()));
        let (shutdown, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, app.clone(), async { drop(ended.await) }));
        Self { address, app, service: None, shutdown, task }
    }

    /// A server with a model on a lane.
    pub(crate) async fn start(name: &str, policy: Policy, lane: LaneSource) -> Self {
        Self::start_with(HttpSettings::default(), name, policy, lane).await
    }

    pub(crate) async fn start_with(
        settings: HttpSettings,
        name: &str,
        policy: Policy,
        lane: LaneSource,
    ) -> Self {
        let mut server = Self::listen(settings).await;
        server.add(service(name, policy, lane, Edge::default()));
        server
    }

    /// A server whose model says how its requests are taken.
    pub(crate) async fn start_as(edge: Edge, name: &str, policy: Policy, lane: LaneSource) -> Self {
        let mut server = Self::listen(HttpSettings::default()).await;
        server.add(service(name, policy, lane, edge));
        server
    }

    /// One more model, which `service` is from now on.
    pub(crate) fn add(&mut self, service: Arc<Service>) {
        self.app.add_model(Arc::clone(&service)).expect("a name of its own");
        self.service = Some(service);
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        self.service.as_ref().expect("this server has a model")
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        client::exchange(self.address, &client::request("GET", path, &[], "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.post_with(path, &[], &body.to_string()).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        client::exchange(self.address, &client::request("POST", path, headers, body)).await
    }

    /// Completes `shutdown` and waits for the end.
    pub(crate) async fn stop(self) {
        drop(self.shutdown);
        self.task.await.expect("no panic").expect("a clean end");
    }
}

pub(crate) fn service(name: &str, policy: Policy, lane: LaneSource, edge: Edge) -> Arc<Service> {
    let tokenizer = Tokenizer::new(&TokenizerData::byte_level()).expect("own data");
    let template = ChatTemplate::new(TEMPLATE, String::new(), String::new()).expect("a template");
    let config = ServiceConfig::new(name, Arc::new(tokenizer), policy, vec![lane]);
    let place = Place {
        device: "a device".to_owned(),
        platform: "sim".to_owned(),
        lanes: vec![vec!["sim:0".to_owned()]],
        made: Made { bytes: 7_000, parameters: 1_234_567_890, format: "gguf", dtype: "Q4_1" },
        ..Place::default()
    };
    Service::start(ServiceConfig { template: Some(Arc::new(template)), edge, place, ..config })
        .expect("a thread")
}

pub(crate) fn policy() -> Policy {
    Policy {
        max_rolling_batch_size: 4,
        job_queue_size: 60,
        step_tokens_max: 64,
        step_time_max: None,
        prefix_cache: true,
        drafts_max: 0,
        turn_tokens: 128,
        prefix_secret: [1, 2],
    }
}

/// A context of 128 tokens.
pub(crate) fn limits() -> Limits {
    Limits {
        kv: Kv { blocks: 256, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 64 },
        prefill: Prefill::Chunked,
        sequences_max: 8,
        context_tokens_max: 128,
        vocab: 256,
        adapters_max: 0,
        inject_width: 0,
        depth: 1,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

fn sim(limits: Limits, script: &Script) -> Box<dyn Backend> {
    let config = Config {
        vocab: 256,
        cost: Cost::NONE,
        time: Time::Virtual,
        reads: Reads::Newest,
        script: script.clone(),
    };
    Box::new(SimBackend::new(limits, config))
}

/// A lane on the simulated device.
pub(crate) fn lane(limits: &Limits, script: &Script) -> LaneSource {
    let (limits, script) = (limits.clone(), script.clone());
    let backend = sim(limits.clone(), &script);
    LaneSource { backend, reopen: Box::new(move || Ok(sim(limits.clone(), &script))) }
}

/// A lane on the simulated device whose steps take real time.
pub(crate) fn real_lane(cost: Cost, script: &Script) -> LaneSource {
    let script = script.clone();
    let open = move || -> Result<Box<dyn Backend>, DeviceError> {
        let (time, reads, script) = (Time::Real, Reads::All, script.clone());
        let config = Config { vocab: 256, cost, time, reads, script };
        Ok(Box::new(SimBackend::new(limits(), config)))
    };
    LaneSource { backend: open().expect("always"), reopen: Box::new(open) }
}

/// The simulated device, whose steps are finished only when the test says so.
struct Held {
    inner: Box<dyn Backend>,
    steps: Arc<Mutex<Receiver<()>>>,
}

/// A lane on a held device. Each message lets one step finish; without its sender all do.
pub(crate) fn held_lane() -> (LaneSource, SyncSender<()>) {
    let (sender, steps) = sync_channel(1024);
    let steps = Arc::new(Mutex::new(steps));
    let open = move || -> Result<Box<dyn Backend>, DeviceError> {
        let inner = sim(limits(), &Script::default());
        Ok(Box::new(Held { inner, steps: Arc::clone(&steps) }))
    };
    (LaneSource { backend: open().expect("always"), reopen: Box::new(open) }, sender)
}

impl Backend for Held {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        self.inner.submit(step, batch)
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let may = self.steps.lock().expect("no test panics in here").recv_timeout(timeout);
        if may == Err(RecvTimeoutError::Timeout) {
            return Err(DeviceError::Timeout { step: StepId(0), waited: timeout });
        }
        self.inner.collect(timeout)
    }
}
