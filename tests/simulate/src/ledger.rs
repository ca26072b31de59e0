//! What every client was told, and whether it is the truth.
//!
//! The truth of a request is computed without any scheduler: its tokens alone, one after the
//! other. Next: `world.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gimbal_batch::{Answer, SampleParams, TokenId};
use gimbal_scheduler::{Event, Finish, Micros, Refusal, Request, RequestId, TokenScore};
use gimbal_sim::{Chain, Row, injected};

use crate::scenario::mask;

/// All clients of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    clients: BTreeMap<RequestId, Client>,
}

#[derive(Debug)]
struct Client {
    request: Request,
    /// What its adapter's slot held when it came in.
    adapter: u64,
    started: bool,
    cancelled: bool,
    choices: Vec<Choice>,
    /// What is to be told of the prompt.
    scores: Vec<TokenScore>,
    /// How much of it was told.
    scored: usize,
}

#[derive(Debug)]
struct Choice {
    /// What it gets alone.
    truth: Vec<TokenId>,
    tokens: Vec<TokenId>,
    end: Option<Finish>,
}

/// What has happened so far that explains an end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// The time.
    pub now: Micros,
    /// Devices lost.
    pub losses: u32,
    /// The script has row faults.
    pub faulty: bool,
    /// Tokens of a sequence on the device that came back, where it may be another one.
    pub model_len_max: Option<u32>,
}

impl Ledger {
    /// Notes an admitted request, and the generation of its adapter.
    pub fn admitted(&mut self, request: &Request, adapter: u64, vocab: u32) {
        let truth = |n| truth(request, adapter, n, vocab);
        let choice = |n| Choice { truth: truth(n), tokens: Vec::new(), end: None };
        let choices = (0..request.choices).map(choice).collect();
        let scores = scores(request, adapter, vocab);
        let request = request.clone();
        let (started, cancelled, scored) = (false, false, 0);
        let client = Client { adapter, started, cancelled, choices, scores, scored, request };
        let id = client.request.id;
        assert!(self.clients.insert(id, client).is_none(), "a request is admitted once");
    }

    /// Notes that a client left.
    pub fn cancelled(&mut self, id: RequestId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.cancelled = true;
        }
    }

    /// Checks and notes what the scheduler says.
    ///
    /// # Panics
    /// If it is not true.
    pub fn take(&mut self, events: &mut Vec<Event>, past: Past) {
        for event in events.drain(..) {
            match event {
                Event::Started { id, cached_tokens, .. } => {
                    let client = self.client(id);
                    assert!(!client.started, "{id:?} starts once");
                    client.started = true;
                    let computed = client.request.tokens.len() > cached_tokens as usize;
                    assert!(computed, "{id:?} computes at least its last prompt token");
                }
                Event::Scores { id, first, scores } => self.client(id).take_scores(first, &scores),
                Event::Token(sample) => {
                    let client = self.client(sample.id);
                    assert!(client.started, "{:?} starts before its first token", sample.id);
                    client.check_scored(sample.choice);
                    let logprobs = client.request.params.logprobs;
                    assert_eq!(sample.top.len(), logprobs.map_or(0, usize::from), "logprobs");
                    let choice = client.alive(sample.choice);
                    choice.tokens.push(sample.token);
                    let so_far = choice.truth.get(..choice.tokens.len());
                    let whom = (sample.id, sample.choice);
                    assert_eq!(so_far, Some(&*choice.tokens), "{whom:?} gets its own tokens");
                }
                Event::Finished { id, choice, reason } => {
                    let client = self.client(id);
                    let stop_tokens = Arc::clone(&client.request.stop_tokens);
                    let length = length(&client.request);
                    let (cancelled, deadline) = (client.cancelled, client.request.deadline);
                    let choice = client.alive(choice);
                    choice.end = Some(reason);
                    let complete = choice.tokens == choice.truth;
                    let stopped = choice.truth.last().is_some_and(|t| stop_tokens.contains(t));
                    let right = match reason {
                        Finish::Length => complete && !stopped,
                        Finish::StopToken => complete && stopped,
                        Finish::Cancelled => cancelled,
                        Finish::Deadline => deadline.is_some_and(|at| at <= past.now),
                        Finish::Fault(_) => past.faulty && !complete,
                        Finish::Lost => past.losses >= 2 && !complete,
                        Finish::Refused(Refusal::TooLong { max_model_len, .. }) => {
                            past.model_len_max == Some(max_model_len) && length > max_model_len
                        }
                        Finish::Refused(Refusal::TooManyRows { rows, rows_max }) => {
                            let mut spans = client.request.spans.iter();
                            let is_one = spans.any(|span| span.end() - span.start == rows);
                            is_one && rows > rows_max && past.model_len_max.is_some()
                        }
                        Finish::Refused(_) => false,
                    };
                    assert!(right, "{id:?} ends with a reason that holds, not {reason:?}");
                }
            }
        }
    }

    /// Tokens a choice has got.
    #[must_use]
    pub fn tokens_of(&self, id: RequestId, choice: u16) -> &[TokenId] {
        &self.clients[&id].choices[usize::from(choice)].tokens
    }

    /// True when a request that has not ended uses an adapter.
    #[must_use]
    pub fn uses_adapters(&self) -> bool {
        let mut adapted = self.clients.iter().filter(|(_, client)| client.adapter > 0);
        adapted.any(|(id, _)| self.is_open(*id))
    }

    /// True when an admitted request has not ended.
    #[must_use]
    pub fn is_open(&self, id: RequestId) -> bool {
        self.clients.get(&id).is_some_and(|c| c.choices.iter().any(|c| c.end.is_none()))
    }

    /// Checks that everybody who has not ended fits the device.
    ///
    /// # Panics
    /// If somebody does not.
    pub fn check_lengths(&self, model_len_max: u32) {
        for (id, client) in self.clients.iter().filter(|(id, _)| self.is_open(**id)) {
            assert!(length(&client.request) <= model_len_max, "{id:?} fits");
        }
    }

    /// Checks that everybody's story has an end.
    ///
    /// # Panics
    /// If somebody still waits.
    pub fn close(&self) {
        for (id, client) in &self.clients {
            for (n, choice) in client.choices.iter().enumerate() {
                assert!(choice.end.is_some(), "choice {n} of {id:?} ends");
            }
        }
    }

    fn client(&mut self, id: RequestId) -> &mut Client {
        self.clients.get_mut(&id).expect("only admitted requests have events")
    }
}

impl Client {
    fn take_scores(&mut self, first: u32, scores: &[TokenScore]) {
        let id = self.request.id;
        assert!(self.started, "{id:?} starts before its first score");
        assert!(!scores.is_empty(), "{id:?} is not told nothing");
        assert!(self.alive(0).tokens.is_empty(), "scores of {id:?} come before its tokens");
        let from = self.request.scores.map_or(0, |scores| scores.from as usize);
        assert_eq!(first as usize, from + 1 + self.scored, "{id:?} is told in order, and once");
        let truth = self.scores.get(self.scored..self.scored + scores.len());
        assert_eq!(truth, Some(scores), "{id:?} is told what holds for it alone");
        self.scored += scores.len();
    }

    /// Who has a token knows all about the prompt, unless the choice that computed it failed.
    fn check_scored(&self, choice: u16) {
        let failed = matches!(self.choices[0].end, Some(Finish::Fault(_)));
        let knows = self.scored == self.scores.len() || choice > 0 && failed;
        assert!(knows, "all scores of {:?} come before its tokens", self.request.id);
    }

    fn alive(&mut self, choice: u16) -> &mut Choice {
        let choice = &mut self.choices[usize::from(choice)];
        assert_eq!(choice.end, None, "nothing comes after the end");
        choice
    }
}

/// Prompt and output together.
fn length(request: &Request) -> u32 {
    u32::try_from(request.tokens.len()).expect("a short prompt") + request.max_new_tokens
}

/// What is known after each token of the prompt.
fn prompt(request: &Request, adapter: u64) -> impl Iterator<Item = Chain> {
    let row = move |(at, token): (u32, &TokenId)| {
        let span = request.spans.iter().find(|span| (span.start..span.end()).contains(&at));
        let numbers = span.map(|span| injected(&span.rows[(at - span.start) as usize]));
        Row { token: *token, adapter, injected: numbers.unwrap_or(0) }
    };
    (0..).zip(&*request.tokens).map(row).scan(Chain::default(), |chain, row| {
        *chain = chain.then(row);
        Some(*chain)
    })
}

/// What is told of the prompt.
fn scores(request: &Request, adapter: u64, vocab: u32) -> Vec<TokenScore> {
    let Some(asked) = request.scores else { return Vec::new() };
    let nexts = request.tokens.iter().skip(1);
    let scored = prompt(request, adapter).zip(nexts).skip(asked.from as usize);
    let score = |(chain, next): (Chain, &TokenId)| match chain.score(vocab, &[*next], asked.top) {
        Answer::Score { scores, top } => TokenScore { score: scores[0], top },
        other => panic!("{other:?} is no score"),
    };
    scored.map(score).collect()
}

/// The tokens of one choice, alone.
fn truth(request: &Request, adapter: u64, choice: u16, vocab: u32) -> Vec<TokenId> {
    let seed = request.params.seed.wrapping_add(u64::from(choice));
    let params = SampleParams { seed, ..(*request.params).clone() };
    let mut chain = prompt(request, adapter).last().expect("a prompt has a token");
    let mut tokens = Vec::new();
    for generated in 0..request.max_new_tokens {
        let mask = request.masked.then(|| mask(vocab, generated));
        let answer = chain.sample(vocab, &params, mask.as_ref());
        let Ok(Answer::Sample { token, .. }) = answer else { break };
        tokens.push(token);
        chain = chain.then(Row { adapter, ..Row::of(token) });
        if request.stop_tokens.contains(&token) {
            break;
        }
    }
    tokens
}
