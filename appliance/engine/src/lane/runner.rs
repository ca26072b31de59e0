//! A lane from inside: schedule, submit, collect, commit, until told to stop.
//!
//! The only code that touches a scheduler or a backend. It never waits for a client: event
//! channels hold everything a request can say. What happens when a device or this code fails
//! stands in `recovery.rs`. Next: `recovery.rs`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use gimbal_batch::{Batch, Limits, Outcome, StepId};
use gimbal_hal::DeviceError;
use gimbal_scheduler::{Event, Finish, Micros, Policy, RequestId, SampleEvent, Scheduler};
use tokio::sync::watch;
use tracing::trace;

use super::device::{Device, LaneSource, Reopen, guarded};
use super::live::{Constrained, Live, Progress, Times};
use super::message::{Admission, Command, Condition, LaneEvent, LaneState};
use crate::clock::{Clock, between};
use crate::meters::Station;
use crate::record::LaneMeters;
use crate::request::FinishReason;

/// How long `collect` waits before commands are looked at again: the longest a cancel waits on a
/// device that does not compute in `collect`.
const COLLECT_SLICE: Duration = Duration::from_millis(20);
/// How long to wait for news when nothing can be scheduled; such states end by deadlines.
const PAUSE: Duration = Duration::from_millis(10);

/// Everything a lane owns.
pub(super) struct Runner {
    pub(super) scheduler: Scheduler,
    pub(super) device: Device,
    /// `None` while it is being used.
    pub(super) reopen: Option<Reopen>,
    pub(super) limits: Arc<Limits>,
    pub(super) policy: Policy,
    pub(super) clock: Clock,
    pub(super) commands: Receiver<Command>,
    /// It was told of a mask and has not looked yet.
    is_told: Arc<AtomicBool>,
    pub(super) live: HashMap<RequestId, Live>,
    pub(super) events: Vec<Event>,
    batch: Batch,
    /// Steps submitted and not collected, the oldest first.
    pub(super) in_flight: VecDeque<(StepId, Micros)>,
    pub(super) meters: LaneMeters,
    state: watch::Sender<LaneState>,
    pub(super) condition: Condition,
    pub(super) progress: Micros,
    /// Some request may be constrained.
    is_constrained: bool,
    /// Tokens that the newest step brought.
    step_tokens: u32,
    /// Of all requests, as far as each was told of its own.
    preemptions: u64,
    ended: Ends,
    /// Losses and restarts since a step was last committed.
    pub(super) failures: u32,
}

/// How often requests end.
#[derive(Default)]
struct Ends {
    newest: Option<Micros>,
    interval: Duration,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Stop,
}

impl Runner {
    pub(super) fn new(
        source: LaneSource,
        policy: Policy,
        clock: Clock,
        (commands, is_told): (Receiver<Command>, Arc<AtomicBool>),
        meters: LaneMeters,
    ) -> (Self, watch::Receiver<LaneState>) {
        let limits = Arc::new(source.backend.limits().clone());
        let scheduler = Scheduler::new((*limits).clone(), policy.clone());
        let (state, watcher) = watch::channel(LaneState {
            stats: scheduler.stats(),
            condition: Condition::Running,
            pending: false,
            progress: clock.now(),
            request_interval: Duration::ZERO,
            limits: Arc::clone(&limits),
            model_len_max: scheduler.model_len_max(),
        });
        let mut runner = Self {
            scheduler,
            device: Device::Open(source.backend),
            reopen: Some(source.reopen),
            limits,
            policy,
            clock,
            commands,
            is_told,
            live: HashMap::new(),
            events: Vec::new(),
            batch: Batch::default(),
            in_flight: VecDeque::new(),
            meters,
            state,
            condition: Condition::Running,
            progress: clock.now(),
            is_constrained: false,
            step_tokens: 0,
            preemptions: 0,
            ended: Ends::default(),
            failures: 0,
        };
        runner.note_limits();
        runner.publish();
        (runner, watcher)
    }

    /// Runs the lane until it is told to stop or gives up. The device is dropped on this thread.
    pub(super) fn run(mut self) {
        while self.guarded_turn() == Flow::On {}
        // Whoever is still inside: a lane that gave up has told them already.
        self.fail_all(&FinishReason::Drained);
        if !matches!(self.condition, Condition::Stopped { .. }) {
            self.condition = Condition::Stopped { why: "the server is shutting down".into() };
        }
        self.publish();
        self.meters.end();
        self.device.close();
    }

    /// Says what the device can do.
    pub(super) fn note_limits(&mut self) {
        let model_len_max = self.scheduler.model_len_max();
        self.meters.note_kv(&self.limits, &self.policy, model_len_max);
    }

    /// One round: commands, steps, news.
    pub(super) fn turn(&mut self) -> Flow {
        if self.take_commands() == Flow::Stop {
            return Flow::Stop;
        }
        let now = self.clock.now();
        self.scheduler.expire(now, &mut self.events);
        self.deliver();
        if !matches!(self.device, Device::Open(_)) {
            let flow = self.watch_opening(now);
            self.publish();
            return if flow == Flow::On { self.pause(PAUSE) } else { flow };
        }
        let moved = match self.advance() {
            Ok(moved) => moved,
            Err(error) => return self.recover(&error),
        };
        self.note_preemptions();
        self.deliver();
        let brought = std::mem::take(&mut self.step_tokens);
        if brought > 0 {
            self.meters.step_tokens.record(brought);
        }
        self.publish();
        if !moved && self.scheduler.stats().held > 0 {
            // It is a grammar that is late, not the device.
            self.progress = now;
        }
        if !moved && !self.scheduler.is_idle() {
            return self.pause(PAUSE);
        }
        Flow::On
    }

    /// Takes what has been sent; with nothing to do, waits for it.
    fn take_commands(&mut self) -> Flow {
        if self.scheduler.is_idle() && matches!(self.device, Device::Open(_)) {
            self.publish();
            let Ok(command) = self.commands.recv() else { return Flow::Stop };
            self.progress = self.clock.now();
            if self.handle(command) == Flow::Stop {
                return Flow::Stop;
            }
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if self.handle(command) == Flow::Stop {
                        return Flow::Stop;
                    }
                }
                Err(TryRecvError::Empty) => return Flow::On,
                Err(TryRecvError::Disconnected) => return Flow::Stop,
            }
        }
    }

    /// Waits for a command, for a while.
    pub(super) fn pause(&mut self, at_most: Duration) -> Flow {
        match self.commands.recv_timeout(at_most) {
            Ok(command) => self.handle(command),
            Err(RecvTimeoutError::Timeout) => Flow::On,
            Err(RecvTimeoutError::Disconnected) => Flow::Stop,
        }
    }

    fn handle(&mut self, command: Command) -> Flow {
        match command {
            Command::Admit(admission) => self.admit(*admission),
            Command::Cancel(id) => self.scheduler.cancel(id, &mut self.events),
            // The next round asks for it.
            Command::Masked => self.is_told.store(false, Ordering::Release),
            Command::Stop => return Flow::Stop,
        }
        Flow::On
    }

    fn admit(&mut self, admission: Admission) {
        let Admission { request, is_counted, events, permit, arrived, constraints } = admission;
        let (id, choices) = (request.id, request.choices);
        let prompt_tokens = u32::try_from(request.tokens.len()).unwrap_or(u32::MAX);
        let max_new_tokens = request.max_new_tokens;
        if let Err(refusal) = self.scheduler.admit(request, self.clock.now()) {
            // The client may be gone; then nobody needs the answer.
            drop(events.try_send(LaneEvent::Refused(refusal)));
            return;
        }
        let times = Times {
            arrived,
            admitted: self.clock.now(),
            scheduled: None,
            prompt_tokens,
            max_new_tokens,
            preemptions: 0,
            choices: vec![Progress::default(); usize::from(choices)],
        };
        let constrained = |constraint| Constrained { constraint, mask: None };
        let constrained: Vec<_> = constraints.into_iter().map(constrained).collect();
        self.is_constrained |= !constrained.is_empty();
        let live =
            Live { events, _permit: permit, times, is_counted, unfinished: choices, constrained };
        self.live.insert(id, live);
    }

    /// Fills the pipeline, then takes the oldest step. False if there was nothing to do.
    fn advance(&mut self) -> Result<bool, DeviceError> {
        while self.in_flight.len() < self.limits.depth as usize {
            let now = self.clock.now();
            self.ask_masks();
            let plan = || self.scheduler.schedule(now, &mut self.batch);
            let Some(step) = Station::Schedule.span().in_scope(plan) else { break };
            self.fill_masks();
            let scheduled = self.clock.now();
            let Device::Open(backend) = &mut self.device else { return Err(not_open()) };
            let submit = || guarded(|| backend.submit(step, &self.batch));
            Station::Submit.span().in_scope(submit)?;
            self.in_flight.push_back((step, scheduled));
            self.meters.note_shape(&self.limits.shape, &self.batch.parts);
            self.meters.schedule.record(between(now, scheduled));
            self.meters.submit.record(between(scheduled, self.clock.now()));
            trace!(step = step.0, rows = self.batch.tokens.len(), "step submitted");
        }
        let Some(&(oldest, submitted)) = self.in_flight.front() else { return Ok(false) };
        let from = self.clock.now();
        let Device::Open(backend) = &mut self.device else { return Err(not_open()) };
        let collect = || guarded(|| backend.collect(COLLECT_SLICE));
        match Station::Collect.span().in_scope(collect) {
            Ok((step, outcome)) => {
                assert_eq!(step, oldest, "a backend answers the oldest step");
                self.in_flight.pop_front();
                self.meters.collect.record(between(from, self.clock.now()));
                self.commit(step, submitted, outcome);
            }
            Err(DeviceError::Timeout { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn commit(&mut self, step: StepId, submitted: Micros, outcome: Outcome) {
        let now = self.clock.now();
        let commit = || self.scheduler.commit(step, outcome, now, &mut self.events);
        Station::Commit.span().in_scope(commit);
        self.progress = now;
        self.failures = 0;
        self.meters.step.record(between(submitted, now));
        self.meters.commit.record(between(now, self.clock.now()));
    }

    /// Asks for the masks that are not known yet; who must wait for one is left out of the step.
    fn ask_masks(&mut self) {
        if !self.is_constrained {
            return;
        }
        let mut is_any = false;
        for (id, live) in &mut self.live {
            for (choice, constrained) in (0_u16..).zip(&mut live.constrained) {
                is_any = true;
                if constrained.mask.is_none() {
                    constrained.mask = constrained.constraint.mask();
                }
                // Said each time: a choice that does not exist yet cannot be held.
                match constrained.mask.is_none() {
                    true => self.scheduler.hold(*id, choice),
                    false => self.scheduler.free(*id, choice),
                }
            }
        }
        self.is_constrained = is_any;
    }

    /// Writes masks into the step that was just scheduled.
    fn fill_masks(&mut self) {
        if !self.is_constrained {
            return;
        }
        let Batch { outputs, tokens, .. } = &mut self.batch;
        let of: Vec<_> = self.scheduler.outputs().collect();
        let mut rest = outputs.as_mut_slice();
        for of_one in of.chunk_by(|a, b| a == b) {
            let (samples, others) = rest.split_at_mut(of_one.len());
            rest = others;
            let (id, choice) = of_one[0];
            let constrained = self.live.get_mut(&id).map(|live| &mut live.constrained);
            let constrained = constrained.and_then(|all| all.get_mut(usize::from(choice)));
            if let Some(constrained) = constrained {
                constrained.fill(samples, tokens);
            }
        }
    }

    /// Looks up whose sequences gave up their blocks, where any did.
    fn note_preemptions(&mut self) {
        let all = self.scheduler.stats().preemptions;
        if all == self.preemptions {
            return;
        }
        self.preemptions = all;
        for (id, live) in &mut self.live {
            live.times.preemptions = self.scheduler.preemptions(*id).max(live.times.preemptions);
        }
    }

    /// Hands all events to those who wait. Who no longer does is cancelled.
    pub(super) fn deliver(&mut self) {
        let mut gone = Vec::new();
        while !self.events.is_empty() {
            let mut events = std::mem::take(&mut self.events);
            let mut queue = events.drain(..).peekable();
            while let Some(event) = queue.next() {
                let ends = |next: &Event| ends_choice(&event, next);
                let finish = queue.next_if(ends).and_then(|event| match event {
                    Event::Finished { reason, .. } => Some(reason),
                    _ => None,
                });
                gone.extend(self.tell(event, finish));
            }
            drop(queue);
            self.events = events;
            for id in gone.drain(..) {
                self.scheduler.cancel(id, &mut self.events);
            }
        }
    }

    /// Tells one event, with the end of the choice if it was its last. Returns the request if its
    /// client is gone.
    fn tell(&mut self, event: Event, finish: Option<Finish>) -> Option<RequestId> {
        let now = self.clock.now();
        let (id, choices_ended, news) = match event {
            Event::Started { id, cached_tokens, waited } => {
                (id, 0, LaneEvent::Started { cached_tokens, waited })
            }
            Event::Scores { id, scores, .. } => (id, 0, LaneEvent::Scores(scores)),
            Event::Token(SampleEvent { id, choice, token, logprob, top, drafts }) => {
                let news = LaneEvent::Token { choice, token, logprob, top, drafts, finish };
                (id, u16::from(finish.is_some()), news)
            }
            Event::Finished { id, choice, reason } => {
                (id, 1, LaneEvent::Finished { choice, finish: reason })
            }
        };
        let live = self.live.get_mut(&id)?;
        live.accept(&news);
        if live.is_counted {
            self.step_tokens += self.meters.note(&mut live.times, &news, now);
        }
        live.unfinished = live.unfinished.saturating_sub(choices_ended);
        let ended = live.unfinished == 0;
        let sent = live.events.try_send(news).is_ok();
        if ended {
            if live.is_counted {
                self.meters.note_request(&live.times);
            }
            self.live.remove(&id);
            self.ended.note(now);
        }
        (!sent && !ended).then_some(id)
    }

    /// Says how things stand. Also called before waiting, so that an idle lane shows zeros.
    pub(super) fn publish(&self) {
        let stats = self.scheduler.stats();
        self.meters.publish(&stats);
        let reopening = self.condition != Condition::Running;
        self.state.send_replace(LaneState {
            stats,
            condition: self.condition.clone(),
            pending: reopening || !self.scheduler.is_idle(),
            progress: self.progress,
            request_interval: self.ended.interval,
            limits: Arc::clone(&self.limits),
            model_len_max: self.scheduler.model_len_max(),
        });
    }
}

impl Ends {
    fn note(&mut self, now: Micros) {
        if let Some(newest) = self.newest {
            // An eighth of the newest, as the scheduler's pace.
            let interval = between(newest, now);
            let mean = (7 * self.interval + interval) / 8;
            self.interval = if self.interval.is_zero() { interval } else { mean };
        }
        self.newest = Some(now);
    }
}

fn not_open() -> DeviceError {
    DeviceError::Lost { why: "no device is open".to_owned() }
}

/// True when `next` is the end of the choice that `event` is a token of.
fn ends_choice(event: &Event, next: &Event) -> bool {
    match (event, next) {
        (Event::Token(token), Event::Finished { id, choice, .. }) => {
            token.id == *id && token.choice == *choice
        }
        _ => false,
    }
}
