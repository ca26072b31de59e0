//! Tokens drawn on the device: of the same candidates as the host sampler's, as often as they are
//! probable, and the same ones again.

use std::collections::BTreeMap;

use gimbal_batch::SampleParams;
use gimbal_hlo::DType;
use gimbal_hlo::golden::{self, DECODE, Golden, folder, wants};
use gimbal_hlo::rig::{Loaded, Rig};
use gimbal_model::Model;
use gimbal_neuron::hlo::{Target, lint};
use gimbal_neuron::lower::{Draw, Pick, Wants};

/// Parameters of each kind, alone and together.
const PARAMS: [(f32, u32, f32, f32); 9] = [
    (1.0, 0, 1.0, 0.0),
    (0.7, 0, 1.0, 0.0),
    (1.0, 1, 1.0, 0.0),
    (1.0, 5, 1.0, 0.0),
    (1.5, 0, 0.6, 0.0),
    (0.5, 0, 1.0, 0.2),
    (1.3, 12, 0.8, 0.05),
    (1.0, 3, 0.01, 0.0),
    (2.5, 40, 0.95, 0.3),
];

fn opened() -> (Rig, Loaded, Vec<u32>) {
    let golden = Golden::read().expect("golden files are there");
    let model = Model::open(&folder().join("qwen3")).expect("a golden model");
    let wants = Wants { has_draws: true, ..wants(DECODE, DType::F32) };
    let rig = Rig::new(&model, 1, &wants).expect("it is lowered");
    let loaded = rig.load(&wants).expect("it is lowered");
    for target in Target::ALL {
        assert_eq!(lint(&loaded.program.module.proto(), target), []);
    }
    (rig, loaded, golden.prompts[1].clone())
}

/// Weights of all tokens by the definition of the host sampler: temperature, top-k, top-p, min-p.
fn weights(logits: &[f32], draw: Draw) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let scaled: Vec<f64> =
        logits.iter().map(|l| f64::from(l - most) / f64::from(draw.temperature)).collect();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| scaled[*b].total_cmp(&scaled[*a]).then(a.cmp(b)));
    if draw.top_k > 0 {
        order.truncate(draw.top_k as usize);
    }
    let total: f64 = order.iter().map(|i| scaled[*i].exp()).sum();
    if draw.top_p < 1.0 {
        let mut sum = 0.0;
        let reached = order.iter().position(|i| {
            sum += scaled[*i].exp();
            sum >= f64::from(draw.top_p) * total
        });
        order.truncate(reached.map_or(order.len(), |last| last + 1));
    }
    let mut weights = vec![0.0; logits.len()];
    for i in order {
        if scaled[i].exp() >= f64::from(draw.min_p) {
            weights[i] = scaled[i].exp();
        }
    }
    weights
}

/// The first token whose sum is above `uniform` of all; and how far from another one that is.
fn expected(weights: &[f64], uniform: f32) -> (usize, f64) {
    let total: f64 = weights.iter().sum();
    let (target, mut sum) = (f64::from(uniform) * total, 0.0);
    let mut nearest = f64::MAX;
    let mut found = None;
    for (i, weight) in weights.iter().enumerate() {
        sum += weight;
        nearest = nearest.min((sum - target).abs() / total);
        if found.is_none() && sum > target {
            found = Some(i);
        }
    }
    (found.expect("numbers are below 1"), nearest)
}

#[test]
fn tokens_are_drawn_as_they_are_defined() {
    let (mut rig, loaded, prompt) = opened();
    let prompts = [prompt.as_slice(), &prompt[..3]];
    let parts = golden::last(prompts);
    for (which, (temperature, top_k, top_p, min_p)) in (0..).zip(PARAMS) {
        let mut seen = BTreeMap::new();
        for seed in 0..300 {
            // One row of each way, and the most probable token beside it.
            let params =
                SampleParams { temperature, top_k, top_p, min_p, seed, ..Default::default() };
            let draw = Draw::new(&params, which);
            let picks =
                [Pick { part: 1, row: 0, draw }, Pick { part: 0, row: 0, ..Pick::default() }];
            let step = rig.step(&loaded, &parts, &picks).expect("it runs");
            assert_eq!(rig.step(&loaded, &parts, &picks).expect("it runs"), step);
            let [logits, greedy] = [&step.logits[0], &step.logits[1]];
            let best = (0..greedy.len()).max_by(|a, b| greedy[*a].total_cmp(&greedy[*b]));
            assert_eq!(usize::try_from(step.ids[1]).ok(), best, "beside one that is drawn");
            let weights = weights(logits, draw);
            let (expect, distance) = expected(&weights, draw.uniform);
            let found = usize::try_from(step.ids[0]).expect("a token");
            assert!(weights[found] > 0.0, "{draw:?}: {found} is no candidate");
            // Sums in f32 may differ from those in f64 at an edge.
            assert!(found == expect || distance < 1e-5, "{draw:?}: {found}, not {expect}");
            *seen.entry(found).or_insert(0_u32) += 1;
        }
        let logits = rig.step(&loaded, &parts, &golden::picks(&parts)).expect("it runs").logits;
        let draw = Draw { temperature, top_k, top_p, min_p, uniform: 0.5 };
        let weights = weights(&logits[1], draw);
        let total: f64 = weights.iter().sum();
        for (token, weight) in weights.iter().enumerate() {
            let (share, count) = (weight / total, seen.get(&token).copied().unwrap_or(0));
            // Of 300 draws, give or take five standard deviations.
            let away = (f64::from(count) - 300.0 * share).abs();
            let deviation = (300.0 * share * (1.0 - share)).sqrt();
            assert!(away <= 5.0 * deviation + 1.0, "{draw:?}: token {token}: {count}, {share:.3}");
        }
    }
}

/// The edges: all of one token, a number next to 0 and next to 1.
#[test]
fn edges_are_tokens() {
    let (mut rig, loaded, prompt) = opened();
    let parts = golden::last([&prompt, &prompt[..3]]);
    let logits = rig.step(&loaded, &parts, &golden::picks(&parts)).expect("it runs").logits;
    for (temperature, uniform) in
        [(1e-3, 0.5), (1.0, 6e-8), (1.0, 1.0 - 6e-8), (100.0, 1.0 - 6e-8), (1e30, 0.25)]
    {
        let draw = Draw { temperature, uniform, ..Draw::default() };
        let pick = Pick { part: 0, row: 0, draw };
        let step = rig.step(&loaded, &parts, &[pick]).expect("it runs");
        let (expect, distance) = expected(&weights(&logits[0], draw), uniform);
        let found = usize::try_from(step.ids[0]).expect("a token");
        assert!(
            found < logits[0].len() && (found == expect || distance < 1e-5),
            "{draw:?}: {found}"
        );
    }
}
