//! The simulated platform: what it promises, and that it keeps it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{AdapterSlot, Answer, Shape, StepId, Token, TokenId, Want};
use gimbal_batch::{Batch, BlockId, Kv, Open, Output, Part, SampleParams, SeqSlot};
use gimbal_hal::{
    Artifact, Host, KvDtype, Placement, Platform, Probe, Profile, Seat, Servable, Unfit,
};
use gimbal_model::graph::Act;
use gimbal_model::weights::{Mapping, Weights};
use gimbal_model::{Decoder, Layer, Model, OnnxFile, Text, decoder};
use gimbal_sim::{Chain, Config, Cost, Reads, Script, SimPlatform, Time};

const VOCAB: usize = 77;

fn platform() -> SimPlatform {
    let (cost, time, reads, script) = (Cost::NONE, Time::Virtual, Reads::All, Script::default());
    let config = Config { vocab: 1, cost, time, reads, script };
    SimPlatform::new(config)
}

/// A model without a single weight: the simulated device reads none.
fn model() -> Artifact {
    let config = Decoder {
        vocab: VOCAB,
        hidden: 8,
        feed_forward: 8,
        layers: vec![Layer::default()],
        heads: 1,
        kv_heads: 1,
        head_dim: 8,
        ropes: Vec::new(),
        qkv_bias: false,
        head_norms: None,
        pre_norms: true,
        post_norms: false,
        act: Act::Silu,
        embed_scale: None,
        attention_scale: None,
        eps: 1e-5,
        tied: true,
    };
    let mapping = Mapping::from_bytes(&[0]).expect("memory");
    Artifact::Decoder(Arc::new(Model {
        path: PathBuf::from("none"),
        name: "none".to_owned(),
        licence: None,
        context_tokens: 100,
        graph: decoder(&config),
        decoder: config,
        weights: Weights::new(Arc::new(mapping), HashMap::new()),
        text: Text::Data(Box::default()),
    }))
}

fn profile() -> Profile {
    Profile {
        sequences_max: 4,
        rows_max: 32,
        context_tokens_max: None,
        kv_bytes: None,
        kv_dtype: KvDtype::F16,
        dtype: None,
        quantize: None,
        replicas: None,
        ranks: None,
    }
}

/// The simulated device has memory of its own.
fn host() -> Host {
    Host {
        cpu: String::new(),
        features: Vec::new(),
        cores: 1,
        memory_total_bytes: 0,
        memory_bytes: 0,
        memory_why: "none is needed".to_owned(),
    }
}

#[test]
fn the_device_says_that_it_is_simulated() {
    let Probe::Found(devices) = platform().probe(&host()) else { panic!("there is always one") };
    assert_eq!(platform().name(), "sim");
    assert!(devices[0].name.starts_with("SIMULATED"));
}

#[test]
fn the_profile_decides_the_limits() {
    let (platform, model) = (platform(), model());
    let Probe::Found(devices) = platform.probe(&host()) else { panic!("there is always one") };
    let fit = platform.fit(&devices, &model, &profile()).expect("it fits");
    let limits = fit.limits().expect("it generates");
    assert_eq!(limits.kv, Kv { blocks: 28, block_tokens: 16 }, "four times one context");
    assert_eq!(limits.shape, Shape::Varlen { rows_max: 32 });
    assert_eq!((limits.context_tokens_max, limits.depth), (100, 2));
    let small = Profile { kv_bytes: Some(5 * 16 * 1024), ..profile() };
    let fit = platform.fit(&devices, &model, &small).expect("it fits");
    assert_eq!(fit.limits().expect("it generates").kv.blocks, 5);
    for bytes in [0, 1 << 40] {
        let wrong = Profile { kv_bytes: Some(bytes), ..profile() };
        let unfit = platform.fit(&devices, &model, &wrong);
        assert!(matches!(unfit, Err(Unfit::Memory { setting: "kv_cache_bytes", .. })), "{unfit:?}");
    }
}

#[test]
fn an_opened_model_uses_its_own_vocabulary() {
    let (platform, model) = (platform(), model());
    let Probe::Found(devices) = platform.probe(&host()) else { panic!("there is always one") };
    let fit = platform.fit(&devices, &model, &profile()).expect("it fits");
    let opened = platform.open(&fit, Seat::default(), &model).expect("it opens");
    let Servable::Generate(mut backend) = opened else { panic!("it generates") };
    let (slot, adapter, nine) = (SeqSlot(0), AdapterSlot(0), TokenId::new(9));
    let params = Arc::new(SampleParams::default());
    let batch = Batch {
        tokens: vec![Token::Id(nine)],
        parts: vec![Part { slot, rows: 1, start: 0, blocks: 0..1, adapter }],
        blocks: vec![BlockId(0)],
        outputs: vec![Output { row: 0, want: Want::Sample, mask: None }],
        opens: vec![Open { slot, tokens: [nine].into(), prompt: 1, params: Arc::clone(&params) }],
        ..Batch::default()
    };
    backend.submit(StepId(0), &batch).expect("alive");
    let (_, outcome) = backend.collect(Duration::ZERO).expect("alive");
    let token = Chain::of(&[nine], 0).next_token(77, &params);
    assert_eq!(outcome, [Ok(Answer::Sample { token, logprob: 0.0, top: Vec::new() })]);
}

#[test]
fn only_generation_models_fit() {
    let Probe::Found(devices) = platform().probe(&host()) else { panic!("there is always one") };
    let artifact = Artifact::Onnx(Arc::new(OnnxFile { path: PathBuf::from("a.onnx"), bytes: 1 }));
    let unfit = platform().fit(&devices, &artifact, &profile());
    assert!(matches!(unfit, Err(Unfit::Op { .. })), "{unfit:?}");
}

#[test]
fn copies_are_placed_on_devices_of_their_own() {
    let platform = SimPlatform { devices: vec![1 << 30; 7], ..platform() };
    let Probe::Found(devices) = platform.probe(&host()) else { panic!("there are some") };
    let placed = |replicas, ranks| {
        let profile = Profile { replicas: Some(replicas), ranks: Some(ranks), ..profile() };
        platform.fit(&devices, &model(), &profile).map(|fit| {
            let one = |p: &Placement| p.devices.iter().map(|d| d.ordinal).collect::<Vec<_>>();
            assert_eq!(fit.claims.len(), usize::from(replicas * ranks));
            fit.replicas.iter().map(one).collect::<Vec<_>>()
        })
    };
    assert_eq!(placed(2, 1), Ok(vec![vec![0], vec![1]]));
    assert_eq!(placed(2, 3), Ok(vec![vec![0, 1, 2], vec![3, 4, 5]]));
    for (replicas, ranks, at_fault) in [(8, 1, "replicas"), (1, 8, "tensor_parallel_degree")] {
        let unfit = placed(replicas, ranks);
        let is_named =
            matches!(&unfit, Err(Unfit::Setting { setting, .. }) if *setting == at_fault);
        assert!(is_named, "{unfit:?}");
    }
}
