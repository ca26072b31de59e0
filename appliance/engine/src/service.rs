//! A model that serves: from a request to a running generation.
//!
//! The first three stations stand here: *parse* ends with a permit, *tokenize*, *admit*. The same
//! path serves HTTP and the command line. Next: `drain.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gimbal_batch::{AdapterSlot, Limits, SampleParams, TokenId};
use gimbal_hal::DeviceError;
use gimbal_scheduler::{Client, Policy, PromptScores, Request, RequestId};
use gimbal_text::{ChatTemplate, StopStrings, Tokenizer};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::clock::{Clock, between};
use crate::constraint::Constrain;
use crate::edge::Edge;
use crate::gate::{Gate, Permit, Shut};
use crate::generation::{self, Choice, Generation, Scores};
use crate::grammar::{ByGrammar, Form, ModelGrammars};
use crate::health::{self, Health};
use crate::lane::{Admission, Lane, LaneSource, LaneState};
use crate::ledger::Claimed;
use crate::meters::{self, Station};
use crate::place::Place;
use crate::record::note_place;
use crate::request::{GenerateRequest, Prompt, Usage, Wanted};
use crate::{QueueNumbers, Refusal, text_pool, validation};

/// Tokens of a prompt that decide which lane has its prefix.
const AFFINITY_TOKENS: usize = 64;
/// Bounds of what a client is told to wait, in milliseconds.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
/// What a client is told before any request has ended.
const RETRY_AFTER_MS_UNKNOWN: u64 = 1000;

/// Everything a model needs to serve.
#[derive(Debug)]
pub struct ServiceConfig {
    /// The name clients use.
    pub name: String,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template, where it has one.
    pub template: Option<Arc<ChatTemplate>>,
    /// Limits and order.
    pub policy: Policy,
    /// Opened devices, one for each replica; at least one, all with equal limits.
    pub lanes: Vec<LaneSource>,
    /// A step that takes longer makes the model unhealthy.
    pub watchdog: Duration,
    /// Continuations of one request, at most.
    pub choices_max: u16,
    /// How requests are taken and answered.
    pub edge: Edge,
    /// On what it runs.
    pub place: Place,
    /// The memory it holds, given back with the model.
    pub claimed: Option<Claimed>,
}

/// A model that serves.
#[derive(Debug)]
pub struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<Arc<ChatTemplate>>,
    policy: Policy,
    pub(crate) gate: Arc<Gate>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) clock: Clock,
    watchdog: Duration,
    choices_max: u16,
    edge: Edge,
    place: Place,
    _claimed: Option<Claimed>,
    next_id: AtomicU64,
    grammars: Arc<ModelGrammars>,
}

impl ServiceConfig {
    /// What every model needs; the rest as a model without settings has it.
    #[must_use]
    pub fn new(
        name: &str,
        tokenizer: Arc<Tokenizer>,
        policy: Policy,
        lanes: Vec<LaneSource>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            tokenizer,
            template: None,
            policy,
            lanes,
            watchdog: Duration::from_secs(30),
            choices_max: 128,
            edge: Edge::default(),
            place: Place::default(),
            claimed: None,
        }
    }
}

impl Service {
    /// Starts the lanes. Install a metrics recorder first.
    ///
    /// # Errors
    /// A thread could not be started.
    ///
    /// # Panics
    /// If there is no lane.
    pub fn start(config: ServiceConfig) -> Result<Arc<Self>, DeviceError> {
        let ServiceConfig {
            name, tokenizer, template, policy, lanes, watchdog, choices_max, ..
        } = config;
        let (edge, place, claimed) = (config.edge, config.place, config.claimed);
        assert!(!lanes.is_empty(), "a model has a lane");
        let clock = Clock::start();
        let rolling = policy.max_rolling_batch_size;
        let running = (0..lanes.len()).fold(0_u32, |sum, _| sum.saturating_add(rolling));
        let places = policy.job_queue_size.saturating_add(running);
        let start = |(number, source): (u16, LaneSource)| {
            Lane::start((&name, number), source, &policy, clock, places)
        };
        let lanes = (0_u16..).zip(lanes).map(start).collect::<Result<Vec<_>, _>>()?;
        note_place(&name, &place, 1.0);
        Ok(Arc::new(Self {
            name: name.into(),
            grammars: Arc::new(ModelGrammars::new(Arc::clone(&tokenizer))),
            tokenizer,
            template,
            policy,
            gate: Gate::new(places),
            lanes,
            clock,
            watchdog,
            choices_max,
            edge,
            place,
            _claimed: claimed,
            next_id: AtomicU64::new(0),
        }))
    }

    /// The name clients use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The model's chat template.
    #[must_use]
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_deref()
    }

    /// What each lane's device can do.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        self.lanes[0].state().limits
    }

    /// Tokens of prompt and output together, at most.
    #[must_use]
    pub fn max_model_len(&self) -> u32 {
        self.lanes[0].state().model_len_max
    }

    /// Limits and order of every lane.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How requests are taken and answered.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// On what it runs.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What every lane said last.
    #[must_use]
    pub fn states(&self) -> Vec<LaneState> {
        self.lanes.iter().map(Lane::state).collect()
    }

    /// Requests inside, from their permit to their end.
    #[must_use]
    pub fn requests_inside(&self) -> u32 {
        self.gate.inside()
    }

    /// Whether it serves now.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.gate.is_closed() {
            return Health::Draining;
        }
        let now = self.clock.now();
        let lanes = self.lanes.iter().map(|l| health::of_lane(&l.state(), now, self.watchdog));
        // One working lane serves, slower; the first failing one is named when none does.
        lanes
            .reduce(|first, next| if next == Health::Serving { next } else { first })
            .unwrap_or(Health::Serving)
    }

    /// Makes what all grammars need, on a thread for texts.
    pub(crate) fn prepare_grammars(&self) {
        let grammars = Arc::clone(&self.grammars);
        text_pool::spawn(Client::default(), move || grammars.prepare());
    }

    /// Takes places for `count` requests, all or none. The end of *parse*: a full house is told
    /// here, before any other work, in microseconds.
    ///
    /// # Errors
    /// The queue is full, or the server is ending.
    pub fn permits(&self, count: u32) -> Result<Vec<Permit>, Refusal> {
        self.gate.enter(count).map_err(|shut| {
            let refusal = match shut {
                Shut::Closed => Refusal::Draining,
                Shut::TooMany { places } => Refusal::Invalid {
                    field: "inputs",
                    what: format!("{count} prompts at once; there are places for {places}"),
                },
                Shut::Full => Refusal::QueueFull(self.queue()),
            };
            self.note(refusal)
        })
    }

    /// Refuses a request for what can be seen before anything is made of it.
    ///
    /// # Errors
    /// Which field has no legal value, or asks for what the device cannot do.
    pub fn check(&self, request: &GenerateRequest) -> Result<(), Refusal> {
        self.validate(request).map_err(|refusal| self.note(refusal))
    }

    fn validate(&self, request: &GenerateRequest) -> Result<(), Refusal> {
        validation::check(request, &self.limits(), self.choices_max)?;
        validation::check_answer(request, self.max_model_len())
    }

    /// Sends a request to a lane. Returns before it has left the queue.
    ///
    /// # Errors
    /// It can be seen without the lane that the request cannot be served.
    pub async fn submit(
        &self,
        permit: Permit,
        request: GenerateRequest,
    ) -> Result<Generation, Refusal> {
        self.try_submit(permit, request).await.map_err(|refusal| self.note(refusal))
    }

    /// Permit, submit, and wait until the request has left the queue.
    ///
    /// # Errors
    /// The request is not served.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Generation, Refusal> {
        let permits = self.permits(1)?;
        let permit = permits.into_iter().next().ok_or(Refusal::Draining)?;
        let mut generation = self.submit(permit, request).await?;
        generation.started().await?;
        Ok(generation)
    }

    async fn try_submit(
        &self,
        permit: Permit,
        mut request: GenerateRequest,
    ) -> Result<Generation, Refusal> {
        let arrived = self.clock.now();
        self.validate(&request)?;
        if let Some(wanted) = request.grammar.take() {
            let by = self.grammar(request.client, wanted, request.ignore_eos).await?;
            request.constrain = Some(by);
        }
        let prompt = std::mem::replace(&mut request.prompt, Prompt::Tokens(Vec::new()));
        let GenerateRequest { truncate, max_new_tokens, .. } = &request;
        let tokenize = self.tokenize(request.client, prompt);
        let mut tokens = tokenize.instrument(Station::Tokenize.span()).await?;
        let admitting = self.clock.now();
        let _span = Station::Admit.span().entered();
        if let Some(keep) = truncate {
            tokens.drain(..tokens.len().saturating_sub(*keep as usize));
        }
        let is_silent = *max_new_tokens == Some(0);
        // Where nothing is to be said, the token that comes of the prompt's last row is left unsaid.
        let max_new_tokens = self.check_len(tokens.len(), max_new_tokens.map(|n| n.max(1)))?;
        let prompt_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        validation::check_scores(&request, prompt_tokens)?;
        let prompt: Arc<[TokenId]> = tokens.into_iter().map(TokenId::new).collect();
        let number = self.route(&prompt);
        let lane = &self.lanes[number];
        let choices = request.choices;
        let scored = request.scores.map_or(0, |_| prompt.len());
        let (sender, events) = mpsc::channel(news_max(max_new_tokens, choices, scored));
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let stops = StopStrings::new(Arc::clone(&request.stop), request.include_stop);
        let mut generation = Generation {
            model: Arc::clone(&self.name),
            lane_number: u16::try_from(number).unwrap_or(u16::MAX),
            tokenizer: Arc::clone(&self.tokenizer),
            events,
            canceller: lane.canceller(id),
            lane: lane.watch(),
            clock: self.clock,
            prompt: Arc::clone(&prompt),
            usage: Usage { prompt_tokens, ..Usage::default() },
            begun: arrived,
            choices: (0..choices)
                .map(|_| Choice::new(stops.clone(), request.min_new_tokens))
                .collect(),
            ready: VecDeque::new(),
            queue: self.queue(),
            scores: request.scores.map(|_| Scores::default()),
            is_silent,
            skip_special_tokens: request.skip_special_tokens,
            kept_tokens: Arc::clone(&request.kept_tokens),
            is_counted: request.is_counted,
            started: false,
            closed: false,
        };
        let is_counted = request.is_counted;
        let constrain = request.constrain.iter();
        let begin = |constrain: &Arc<dyn Constrain>| {
            (0..choices).map(|_| constrain.begin(lane.ready())).collect()
        };
        let constraints = constrain.map(begin).next().unwrap_or_default();
        let request = self.scheduler_request(id, prompt, max_new_tokens, &request);
        let admission =
            Admission { request, is_counted, events: sender, permit, arrived, constraints };
        let sent = lane.admit(Box::new(admission));
        Station::Admit.record(between(admitting, self.clock.now()));
        if sent {
            return Ok(generation);
        }
        generation.closed = true;
        Err(generation::gone(&lane.state().condition))
    }

    /// What a grammar allows. It is compiled on a thread for texts, in this client's turn, or was for
    /// somebody before. With `goes_on` an answer ends only where the grammar leaves nothing else.
    async fn grammar(
        &self,
        client: Client,
        wanted: Wanted,
        goes_on: bool,
    ) -> Result<Arc<dyn Constrain>, Refusal> {
        let (grammars, field, vocab) =
            (Arc::clone(&self.grammars), wanted.field, self.limits().vocab);
        if !self.tokenizer.end_tokens().iter().any(|id| *id < vocab) {
            let what = "the model has no token that ends an answer, so none ends with its grammar";
            return Err(Refusal::Invalid { field, what: what.to_owned() });
        }
        let compiled = text_pool::run(client, move || grammars.compile(&wanted.source)).await?;
        let grammar = compiled.map_err(|error| Refusal::of_grammar(field, &error))?;
        let ends = self.tokenizer.end_tokens().iter().filter(|_| goes_on);
        let words = vocab.div_ceil(32) as usize;
        let form = Form { words, last: ends.copied().collect() };
        Ok(Arc::new(ByGrammar { grammar, client, form }))
    }

    fn scheduler_request(
        &self,
        id: RequestId,
        tokens: Arc<[TokenId]>,
        max_new_tokens: u32,
        request: &GenerateRequest,
    ) -> Request {
        // Where a grammar ends, nothing else can come.
        let ends_count = request.constrain.is_some() || !request.ignore_eos;
        let ends = self.tokenizer.end_tokens().iter().filter(|_| ends_count);
        let ends = ends.chain(request.stop_token_ids.iter());
        let stop_tokens: Arc<[TokenId]> = ends.map(|id| TokenId::new(*id)).collect();
        let min_tokens = request.min_new_tokens;
        let seed = request.seed.unwrap_or_else(gimbal_text::random);
        let logprob_ids = request.logprob_token_ids.iter().map(|id| TokenId::new(*id)).collect();
        Request {
            id,
            tokens,
            spans: Arc::default(),
            scores: request.scores.map(|top| PromptScores { from: 0, top }),
            max_new_tokens,
            params: Arc::new(SampleParams {
                seed,
                min_tokens,
                logprob_ids,
                ends: if min_tokens > 0 { Arc::clone(&stop_tokens) } else { Arc::default() },
                ..request.params.clone()
            }),
            stop_tokens,
            choices: request.choices,
            adapter: AdapterSlot::default(),
            salt: request.salt,
            client: request.client,
            priority: request.priority,
            deadline: request.deadline.map(|d| self.clock.after(d)),
            masked: request.constrain.is_some(),
        }
    }

    /// Tokens to generate at most; refuses what does not fit, with both numbers.
    fn check_len(&self, prompt_tokens: usize, asked: Option<u32>) -> Result<u32, Refusal> {
        let max_model_len = self.max_model_len();
        let prompt_tokens = u32::try_from(prompt_tokens).unwrap_or(u32::MAX);
        if prompt_tokens == 0 {
            let what = "the prompt has no tokens".to_owned();
            return Err(Refusal::Invalid { field: "prompt", what });
        }
        let room = max_model_len.saturating_sub(prompt_tokens);
        let max_new_tokens = asked.unwrap_or(room.max(1));
        if max_new_tokens <= room {
            return Ok(max_new_tokens);
        }
        Err(Refusal::TooLong { prompt_tokens, at_least: false, max_new_tokens, max_model_len })
    }

    /// The lane for a prompt: the one that has its prefix, unless it is much busier than another.
    fn route(&self, tokens: &[TokenId]) -> usize {
        let load = |lane: &Lane| {
            let stats = lane.state().stats;
            stats.running + stats.waiting
        };
        let Some(least) = self.lanes.iter().map(load).min().filter(|_| self.lanes.len() > 1) else {
            return 0;
        };
        let prefix = &tokens[..tokens.len().min(AFFINITY_TOKENS)];
        let fold =
            |sum: u64, id: &TokenId| (sum ^ u64::from(id.get())).wrapping_mul(0x0100_0000_01B3);
        let hash = prefix.iter().fold(0xCBF2_9CE4_8422_2325, fold);
        let preferred = usize::try_from(hash % self.lanes.len() as u64).unwrap_or(0);
        let slack = self.policy.max_rolling_batch_size / 4;
        if load(&self.lanes[preferred]) <= least + slack {
            return preferred;
        }
        self.lanes.iter().position(|lane| load(lane) == least).unwrap_or(preferred)
    }

    /// What a refusal for lack of room or time says.
    fn queue(&self) -> QueueNumbers {
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let running = self.policy.max_rolling_batch_size.saturating_mul(lanes);
        let queue_len = self.gate.inside().saturating_sub(running);
        let intervals = self.lanes.iter().map(|lane| lane.state().request_interval);
        let interval = intervals.filter(|i| !i.is_zero()).min();
        let ms = interval.map(|i| u64::try_from(i.as_millis()).unwrap_or(u64::MAX));
        let retry_after_ms = ms.unwrap_or(RETRY_AFTER_MS_UNKNOWN);
        let retry_after_ms = retry_after_ms.clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end());
        let job_queue_size = self.policy.job_queue_size;
        QueueNumbers { queue_len, job_queue_size, retry_after_ms }
    }

    fn note(&self, refusal: Refusal) -> Refusal {
        meters::note_refusal(&self.name, refusal.reason());
        refusal
    }
}

/// Every token, a start and an end of each choice, and each token of a prompt that is scored: a lane
/// never waits for a client. Never more than the longest channel that tokio makes.
fn news_max(max_new_tokens: u32, choices: u16, scored: usize) -> usize {
    let news = (max_new_tokens as usize + 2).saturating_mul(usize::from(choices)) + 1;
    news.saturating_add(scored).min(tokio::sync::Semaphore::MAX_PERMITS)
}
