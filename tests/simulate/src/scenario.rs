//! A seed becomes a device, a policy, a crowd of requests and a run of bad luck.
//!
//! Everything is small on purpose: pools of a few blocks, a vocabulary of a few tokens, so that
//! shortage, sharing and early ends happen in every run. Next: `world.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    AdapterSlot, Bucket, Kv, Limits, Prefill, SampleParams, Sampling, Shape, TokenId, TokenMask,
};
use gimbal_scheduler::{Client, Micros, Policy, Priority, PromptScores, Request, RequestId, Span};
use gimbal_sim::{Cost, Incident};

use crate::desk::image;
use crate::rng::Rng;

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed it was made from.
    pub seed: u64,
    /// The device.
    pub limits: Limits,
    /// The scheduler's policy.
    pub policy: Policy,
    /// Tokens the device knows.
    pub vocab: u32,
    /// What a step costs.
    pub cost: Cost,
    /// Requests by time of arrival.
    pub arrivals: Vec<(Micros, Request)>,
    /// Clients that leave.
    pub cancels: Vec<(Micros, RequestId)>,
    /// What a lost device may be when it comes back; empty where it is what it was.
    pub comes_back: Vec<Limits>,
    /// Masks come late.
    pub late: bool,
    /// Bad luck by step.
    pub incidents: Vec<(u64, Incident)>,
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let limits = limits(&mut rng);
        let policy = policy(&mut rng, &limits);
        let vocab = *rng.choose(&[2, 3, 7, 50]);
        let limits = Limits { vocab, ..limits };
        let mut at = 0;
        let count = rng.within(1, 14);
        let crowd = Crowd::new(&mut rng, vocab, &limits);
        let pause = *rng.choose(&[1, 100, 400]);
        let mut arrivals = Vec::new();
        for id in 0..count {
            at += u64::from(rng.below(pause));
            arrivals.push((Micros(at), crowd.request(&mut rng, u64::from(id), at)));
        }
        let cancels = (0..rng.below(count + 1)).filter_map(|_| {
            let (arrived, request) = rng.choose(&arrivals);
            let (arrived, id) = (arrived.0, request.id);
            rng.once_in(2).then(|| (Micros(arrived + u64::from(rng.below(3000))), id))
        });
        let mut cancels: Vec<_> = cancels.collect();
        cancels.sort_unstable();
        let incidents = incidents(&mut rng);
        let late = rng.once_in(3);
        let count = *rng.choose(&[0, 0, 1, 2]);
        let comes_back = (0..count).map(|_| Limits { vocab, ..self::limits(&mut rng) }).collect();
        let cost =
            Cost { step_us: 100.0, weights_us: 0.0, row_us: 5.0, context_us: 0.0, output_us: 0.0 };
        Self { seed, limits, policy, vocab, cost, arrivals, cancels, comes_back, late, incidents }
    }
}

/// The tokens a grammar allows after `generated` tokens; the first two always leave one.
#[must_use]
pub fn mask(vocab: u32, generated: u32) -> TokenMask {
    let allowed = |token: u32| token < vocab && !(token + generated).is_multiple_of(3);
    let word = |w: u32| (0..32).filter(|bit| allowed(32 * w + bit)).fold(0, |m, bit| m | 1 << bit);
    TokenMask((0..vocab.div_ceil(32)).map(word).collect())
}

fn limits(rng: &mut Rng) -> Limits {
    let sequences_max = rng.within(1, 8);
    let (kv, shape, prefill) = match rng.below(4) {
        0 | 1 => {
            let rows_max = *rng.choose(&[1, 3, 8, 16, 64]);
            (paged(rng), Shape::Varlen { rows_max }, Prefill::Chunked)
        }
        2 => (paged(rng), Shape::Varlen { rows_max: rng.within(24, 64) }, Prefill::Whole),
        _ => {
            let context = *rng.choose(&[24, 40, 64]);
            // One block as long as the context, as a compiled device with slots has it.
            let slots = Kv { blocks: sequences_max, block_tokens: context };
            let kv = if rng.once_in(2) { slots } else { paged(rng) };
            let prefill = if rng.once_in(2) { Prefill::Chunked } else { Prefill::Whole };
            (kv, Shape::Buckets(buckets(rng, context, sequences_max, prefill)), prefill)
        }
    };
    // As programs compiled for Inferentia and Trainium have it.
    let drafts = matches!(shape, Shape::Varlen { .. }) || prefill == Prefill::Whole;
    Limits {
        kv,
        shape,
        prefill,
        sequences_max,
        context_tokens_max: 64,
        vocab: 0,
        adapters_max: 1,
        inject_width: 3,
        depth: *rng.choose(&[1, 2, 2, 3]),
        sampling: Sampling { drafts, ..Sampling::HOST },
        batch_invariant: true,
    }
}

fn paged(rng: &mut Rng) -> Kv {
    let block_tokens = *rng.choose(&[1, 4, 8, 16]);
    Kv { blocks: (rng.within(24, 96) / block_tokens).max(1), block_tokens }
}

fn buckets(rng: &mut Rng, context: u32, sequences_max: u32, prefill: Prefill) -> Vec<Bucket> {
    let bucket = |sequences, rows_each, context| Bucket { sequences, rows_each, context };
    let mut buckets = vec![bucket(1, 1, context), bucket(sequences_max, 1, context)];
    let longest = if prefill == Prefill::Whole { context } else { 8 };
    buckets.extend([bucket(1, 4, context), bucket(1, longest, context)]);
    if rng.once_in(2) {
        buckets.extend([bucket(2, 4, context), bucket(sequences_max, 1, context / 2)]);
    }
    buckets
}

fn policy(rng: &mut Rng, limits: &Limits) -> Policy {
    Policy {
        max_rolling_batch_size: rng.within(1, limits.sequences_max + 1),
        job_queue_size: *rng.choose(&[0, 2, 100]),
        step_tokens_max: *rng.choose(&[1, 4, 16, 1000]),
        step_time_max: rng.once_in(3).then(|| Micros(u64::from(rng.within(100, 300)))),
        prefix_cache: rng.once_in(2),
        turn_tokens: *rng.choose(&[0, 1, 3, 8]),
        drafts_max: if rng.once_in(3) { rng.within(1, 4) } else { 0 },
        prefix_secret: [rng.next_word(), rng.next_word()],
    }
}

/// What the requests of one scenario have in common.
struct Crowd {
    vocab: u32,
    /// Prompts begin with parts of this.
    prefix: Vec<TokenId>,
    stop_tokens: Arc<[TokenId]>,
    prompt_max: u32,
    /// One request in so many has an image.
    images: u32,
}

impl Crowd {
    fn new(rng: &mut Rng, vocab: u32, limits: &Limits) -> Self {
        let stop_tokens = (0..rng.below(3)).map(|_| token(rng, vocab)).collect();
        let capacity = limits.kv.blocks * limits.kv.block_tokens;
        let prompt_max = capacity.min(30);
        let images = *rng.choose(&[2, 9, 1000]);
        Self { vocab, prefix: tokens(rng, vocab, 30), stop_tokens, prompt_max, images }
    }

    fn request(&self, rng: &mut Rng, id: u64, at: u64) -> Request {
        let length = rng.within(1, self.prompt_max);
        let shared = if rng.once_in(2) { rng.below(length + 1) } else { 0 };
        let mut prompt = self.prefix[..shared as usize].to_vec();
        prompt.extend(tokens(rng, self.vocab, length - shared));
        let params = SampleParams {
            temperature: f32::from(u8::from(rng.once_in(3))),
            seed: rng.next_word(),
            logprobs: rng.once_in(4).then_some(2),
            presence_penalty: f32::from(u8::from(rng.once_in(8))),
            ..SampleParams::default()
        };
        let deadline = rng.once_in(6).then(|| Micros(at + u64::from(rng.below(4000))));
        Request {
            id: RequestId(id),
            tokens: prompt.into(),
            spans: self.spans(rng, length),
            max_new_tokens: rng.within(1, 20),
            stop_tokens: Arc::clone(&self.stop_tokens),
            params: Arc::new(params),
            choices: if rng.once_in(4) { *rng.choose(&[2, 3]) } else { 1 },
            adapter: AdapterSlot(*rng.choose(&[0, 0, 0, 1])),
            salt: u64::from(rng.once_in(4)),
            priority: Priority(*rng.choose(&[0, 0, 0, 1, -1])),
            deadline,
            masked: self.vocab > 2 && rng.once_in(6),
            scores: rng.once_in(3).then(|| PromptScores {
                from: if rng.once_in(2) { rng.below(length + 2) } else { 0 },
                top: *rng.choose(&[0, 2]),
            }),
            client: Client { address: u64::from(rng.below(3)), key: u64::from(rng.below(2)) },
        }
    }

    /// One of a few images here and there, among tokens that look like any others.
    fn spans(&self, rng: &mut Rng, length: u32) -> Arc<[Span]> {
        let mut spans = Vec::new();
        let mut start = rng.below(6);
        while rng.once_in(self.images) && start < length {
            let rows = u16::try_from(rng.within(1, (length - start).min(7))).expect("few rows");
            let digest = *rng.choose(&[1, 2]);
            spans.push(image(start, rows, digest));
            start += u32::from(rows) + rng.below(4);
        }
        spans.into()
    }
}

fn tokens(rng: &mut Rng, vocab: u32, count: u32) -> Vec<TokenId> {
    (0..count).map(|_| token(rng, vocab)).collect()
}

fn token(rng: &mut Rng, vocab: u32) -> TokenId {
    TokenId::new(rng.below(vocab))
}

fn incidents(rng: &mut Rng) -> Vec<(u64, Incident)> {
    let (faulty, slow, lossy) = (rng.once_in(3), rng.once_in(3), rng.once_in(3));
    let mut incidents = Vec::new();
    for step in 0..200 {
        if faulty && rng.once_in(12) {
            incidents.push((step, Incident::RowFault { output: rng.below(8) }));
        }
        if slow && rng.once_in(12) {
            incidents.push((step, Incident::Slow(Duration::from_micros(2000))));
        }
        if lossy && rng.once_in(20) {
            incidents.push((step, *rng.choose(&[Incident::Lost, Incident::LostAtSubmit])));
        }
    }
    incidents
}
