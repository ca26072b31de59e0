//! Tests of what files say and mean: the defaults of each class, every key by name, and what is done
//! with those that change a number. Logits are compared in `tests/conformance/tests/keys.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::class::{CLASSES, class};
use super::harmless::HARMLESS;
use super::json::facts;
use super::json_file::Config;
use super::keys::{Known, known, known_rope};
use super::{Facts, Scaling};
use crate::ModelError;

mod gguf;

/// A file of `tests/golden`.
fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What a `config.json` of a class means that says only `more`, for eight layers.
fn read(model_type: &str, more: &Value) -> Result<Facts, ModelError> {
    let mut config = json!({"model_type": model_type, "num_hidden_layers": 8});
    let more = more.as_object().expect("an object");
    config.as_object_mut().expect("an object").extend(more.clone());
    facts(&Config::new(Path::new("config.json"), &config)?)
}

fn good(model_type: &str, more: &Value) -> Facts {
    read(model_type, more).unwrap_or_else(|e| panic!("{model_type} {more}: {e}"))
}

/// A class of Transformers, as `tests/golden/classes.py` wrote it.
#[derive(Deserialize)]
struct Theirs {
    hidden: usize,
    feed_forward: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    context: u32,
    eps: f32,
    tied: bool,
    theta: f32,
    window_theta: f32,
    query_scalar: Option<f32>,
    window: Option<usize>,
    windowed: Vec<bool>,
}

#[test]
fn a_silent_file_means_what_its_class_says() {
    let theirs: BTreeMap<String, Theirs> =
        serde_json::from_slice(&golden("classes.json")).expect("JSON");
    assert_eq!(theirs.len(), CLASSES.len());
    for (model_type, theirs) in theirs {
        let whole = json!({"model_type": model_type});
        let config = Config::new(Path::new("c"), &whole).expect("nothing is said");
        assert_eq!(config.is_tied().expect("nothing is said"), theirs.tied, "{model_type}");
        let ours = facts(&config).expect("nothing is said");
        let sizes = [ours.hidden, ours.feed_forward, ours.layers, ours.heads, ours.kv_heads];
        let expect =
            [theirs.hidden, theirs.feed_forward, theirs.layers, theirs.heads, theirs.kv_heads];
        assert_eq!(sizes, expect, "{model_type}");
        assert_eq!(ours.head_dim, theirs.head_dim, "{model_type}");
        assert_eq!(ours.context, theirs.context, "{model_type}");
        assert_eq!(ours.eps, theirs.eps, "{model_type}");
        let thetas = (ours.rope_theta, ours.window_theta);
        assert_eq!(thetas, (theirs.theta, theirs.window_theta), "{model_type}");
        let scale = theirs.query_scalar.map(|scalar| scalar.sqrt().recip());
        assert_eq!(ours.attention_scale, scale, "{model_type}");
        assert_eq!(ours.window, theirs.window, "{model_type}");
        let has_window = theirs.windowed.contains(&true);
        let windowed = match read(&model_type, &json!({"sliding_window": 16})) {
            Ok(ours) => ours,
            Err(error) => {
                assert!(!has_window && error.to_string().contains("sliding_window"), "{error}");
                continue;
            }
        };
        assert_eq!(windowed.window, has_window.then_some(16), "{model_type}");
        let all = vec![true; 8];
        let layers = if windowed.windowed.is_empty() { &all } else { &windowed.windowed };
        assert!(!has_window || *layers == theirs.windowed, "{model_type}");
    }
}

/// The key names of a real configuration.
#[derive(Deserialize)]
struct Keys {
    model: String,
    model_type: String,
    keys: Vec<String>,
}

/// Those of real configurations, and of every one in `tests/golden/families`.
fn all_keys() -> Vec<Keys> {
    let mut all: Vec<Keys> = serde_json::from_slice(&golden("config_keys.json")).expect("JSON");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let Ok(bytes) = std::fs::read(entry.path().join("config.json")) else { continue };
        let config: Map<String, Value> = serde_json::from_slice(&bytes).expect("JSON");
        let inner = |key: &str| config.get(key).and_then(Value::as_object).cloned();
        let nested = ["rope_scaling", "rope_parameters"].into_iter().flat_map(|outer| {
            let members = inner(outer).unwrap_or_default();
            members.into_iter().map(move |(key, _)| format!("{outer}.{key}"))
        });
        let keys = nested.chain(config.keys().cloned()).collect();
        let model_type = config["model_type"].as_str().expect("a name").to_owned();
        all.push(Keys { model: entry.path().display().to_string(), model_type, keys });
    }
    all
}

#[test]
fn every_key_of_real_files_is_known_or_their_type_is_refused() {
    assert!(HARMLESS.is_sorted(), "they are searched by halves");
    let (mut ours, mut others, mut unknown) = (0, 0, Vec::new());
    for Keys { model, model_type, keys } in all_keys() {
        let Some(class) = class(&model_type) else {
            let config = json!({"model_type": model_type, "vocab_size": 8});
            let error = Config::new(Path::new("config.json"), &config).map(|_| ());
            let error = error.expect_err("unknown").to_string();
            assert!(error.contains(&format!("model_type {model_type}; known: llama")), "{error}");
            others += 1;
            continue;
        };
        ours += 1;
        for key in keys {
            let nested = key.rsplit_once('.').filter(|(outer, _)| outer.starts_with("rope_"));
            let known = match nested {
                None => known(class, &key),
                Some((_, "full_attention" | "sliding_attention")) if class.is_nested => Known::Read,
                Some((_, member)) => known_rope(member),
            };
            if known == Known::No {
                unknown.push(format!("{model}: {key}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(ours >= 60 && others >= 40, "{ours} of our families, {others} of others");
}

/// `(model_type, what is said, what the refusal names)`.
#[test]
fn keys_that_would_change_a_number_are_refused_by_name() {
    let rope = |more: Value| {
        let mut members = json!({"rope_type": "yarn", "factor": 4.0});
        members
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        members
    };
    let cases = [
        (
            "llama",
            json!({"residual_multiplier": 0.22}),
            "residual_multiplier = 0.22 for model_type",
        ),
        ("llama", json!({"residual_multiplier": 0.22}), "known: 1 or no such key"),
        ("llama", json!({"attention_multiplier": 0.0078}), "attention_multiplier = 0.0078"),
        ("llama", json!({"embedding_multiplier": 12.0}), "embedding_multiplier"),
        ("llama", json!({"logits_scaling": 8}), "logits_scaling = 8"),
        ("llama", json!({"attention_bias": true}), "attention_bias = true"),
        ("qwen3", json!({"attention_bias": true}), "attention_bias = true"),
        ("smollm3", json!({"mlp_bias": true}), "mlp_bias = true"),
        ("llama", json!({"clip_qkv": 8.0}), "clip_qkv = 8.0"),
        ("llama", json!({"use_qk_norm": true}), "use_qk_norm = true"),
        ("llama", json!({"position_embedding_type": "alibi"}), "position_embedding_type"),
        ("llama", json!({"a_key_of_tomorrow": 3}), "a_key_of_tomorrow = 3 for model_type llama"),
        ("llama", json!({"a_list": [1]}), "a_list = [1]"),
        ("llama", json!({"is_causal": false}), "is_causal = false"),
        ("llama", json!({"num_local_experts": 8}), "num_local_experts = 8"),
        ("llama", json!({"per_layer_config": {"0": {"head_dim": 4}}}), "per_layer_config"),
        ("llama", json!({"sliding_window": 16}), "sliding_window = 16"),
        ("olmo2", json!({"sliding_window": 16}), "sliding_window = 16"),
        ("llama", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor = 0.5"),
        ("qwen2", json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "= 0.5"),
        ("phi3", json!({"partial_rotary_factor": 1.5}), "known: 0 to 1"),
        ("phi3", json!({"full_attn_mod": 2}), "full_attn_mod = 2"),
        ("phi3", json!({"lm_head_bias": true}), "lm_head_bias"),
        ("gemma3_text", json!({"use_bidirectional_attention": true}), "use_bidirectional"),
        ("gemma3_text", json!({"final_logit_softcapping": 30.0}), "final_logit_softcapping = 30.0"),
        ("gemma3_text", json!({"attn_logit_softcapping": 50.0}), "attn_logit_softcapping"),
        ("llama", json!({"final_logit_softcapping": 30.0}), "known: 0 or no such key"),
        ("llama", json!({"layer_types": ["sliding_attention"]}), "layer_types"),
        ("qwen3", json!({"layer_types": ["linear_attention"]}), "linear_attention"),
        (
            "qwen2",
            json!({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}),
            "mrope_section",
        ),
        ("qwen2", json!({"rope_scaling": rope(json!({"alpha": 2}))}), "rope_scaling.alpha = 2"),
        (
            "qwen2",
            json!({"rope_parameters": rope(json!({"llama_4_scaling_beta": 0.1}))}),
            "scaling_beta",
        ),
        (
            "gemma3_text",
            json!({"rope_parameters": {"full_attention": {"rope_fraction": 0.5}}}),
            "rope_parameters.full_attention.rope_fraction = 0.5",
        ),
        ("llama", json!({"rope_parameters": {"full_attention": {}}, "x": 1}), "x = 1"),
        ("llama", json!({"rope_scaling": {"type": "proportional"}}), "rope scaling proportional"),
        ("llama", json!({"hidden_act": "gelu"}), "activation \"gelu\""),
        ("gemma3_text", json!({"hidden_activation": "silu"}), "activation \"silu\""),
        ("llama", json!({"quantization_config": {"bits": 4}}), "quantization_config"),
    ];
    for (model_type, more, expect) in cases {
        let error = read(model_type, &more).map(|_| ()).expect_err(expect);
        assert!(matches!(error, ModelError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error} should name {expect}");
    }
}

#[test]
fn what_says_that_it_is_not_used_is_taken() {
    let cases = [
        (
            "llama",
            json!({"residual_multiplier": 1.0, "logits_scaling": 1, "attention_multiplier": null}),
        ),
        ("llama", json!({"num_experts": 0, "clip_qkv": null, "use_qk_norm": false, "a_list": []})),
        ("llama", json!({"attn_logit_softcapping": 0.0, "final_logit_softcapping": null})),
        ("llama", json!({"time_step_limit": [0.0, "Infinity"], "initializer_range": "NaN"})),
        (
            "llama",
            json!({"sliding_window": 0, "max_window_layers": 21, "use_sliding_window": false}),
        ),
        ("llama", json!({"sliding_window": 4096, "max_position_embeddings": 4096})),
        (
            "llama",
            json!({"layer_types": ["full_attention"], "is_causal": true, "is_decoder": true}),
        ),
        ("llama", json!({"pretraining_tp": 2, "unsloth_version": "2025.1", "_anything": {"a": 1}})),
        ("qwen2", json!({"attention_bias": true, "rope_scaling": {}})),
        ("gemma3_text", json!({"final_logit_softcapping": 0, "_sliding_window_pattern": 6})),
        ("phi3", json!({"full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": false})),
        ("mistral", json!({"partial_rotary_factor": 1.0, "rope_scaling": null, "head_dim": null})),
    ];
    for (model_type, more) in cases {
        good(model_type, &more);
    }
}

#[test]
fn windows_are_where_their_class_has_them() {
    let window = |model_type: &str, more: Value| {
        let facts = good(model_type, &more);
        let layers = facts.windowed.iter().map(|has| if *has { 'w' } else { '-' });
        (facts.window, layers.collect::<String>())
    };
    let none = (None, String::new());
    for nothing in [json!(0), json!(-1), json!(null), json!(false)] {
        let more = json!({"sliding_window": nothing});
        assert_eq!(window("mistral", more.clone()), none);
        assert_eq!(window("phi3", more), none);
    }
    assert_eq!(window("mistral", json!({})), (Some(4096), String::new()), "its class has one");
    assert_eq!(window("qwen2", json!({"sliding_window": 8})), none, "its flag is off");
    let on = |more: Value| {
        let mut on = json!({"use_sliding_window": true, "sliding_window": 8});
        on.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        on
    };
    assert_eq!(window("qwen2", on(json!({}))), none, "from layer 28 on");
    let six = on(json!({"max_window_layers": 6}));
    assert_eq!(window("qwen3", six.clone()), (Some(8), "------ww".into()));
    let mut types = vec!["full_attention"; 8];
    types[1] = "sliding_attention";
    let mut named = six;
    named["layer_types"] = json!(types);
    assert_eq!(window("qwen3", named), (Some(8), "-w------".into()), "named layers count first");
    assert_eq!(window("qwen3", json!({"layer_types": types})), none, "but the flag is off");
    assert_eq!(window("smollm3", on(json!({}))), (Some(8), "---w---w".into()), "still layers");
    assert_eq!(window("olmo3", json!({"sliding_window": 8})), (Some(8), "www-www-".into()));
    let gemma = json!({"sliding_window": 8, "sliding_window_pattern": 3});
    assert_eq!(window("gemma3_text", gemma), (Some(8), "ww-ww-ww".into()));
    // Without a window its layers still rotate in two ways: one as long as the context.
    let gemma = json!({"sliding_window": 0, "max_position_embeddings": 512});
    assert_eq!(window("gemma3_text", gemma), (Some(512), "wwwww-ww".into()));
    let full = json!({"layer_types": ["full_attention", "full_attention"]});
    assert_eq!(window("gemma3_text", full), none);
    let still = good("smollm3", &json!({"no_rope_layer_interval": 2}));
    assert_eq!(still.rotated, [true, false, true, false, true, false, true, false]);
}

#[test]
fn rotation_is_read_from_every_place_that_says_it() {
    let nested = json!({"rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }});
    let gemma = good("gemma3_text", &nested);
    assert_eq!((gemma.rope_theta, gemma.window_theta), (5e5, 2e4));
    assert_eq!((gemma.scaling, gemma.window_scaling), (Scaling::Linear(8.0), Scaling::None));
    assert_eq!(gemma.context, 131_072, "its files say the longer length");
    let both =
        json!({"rope_theta": 7.0, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}});
    assert_eq!(good("llama", &both).rope_theta, 9.0, "the nested one is the newer one");
    let partial = json!({"rope_parameters": {"partial_rotary_factor": 0.4}, "head_dim": 96});
    assert_eq!(good("phi3", &partial).rope_dims, 38, "as Python cuts 38.4");
    let partial = json!({"partial_rotary_factor": 0.75, "head_dim": 128});
    assert_eq!(good("phi3", &partial).rope_dims, 96);
}

#[test]
fn a_factor_lengthens_what_a_model_serves() {
    let context = |model_type: &str, scaling: Value| {
        let more = json!({"max_position_embeddings": 64, "rope_scaling": scaling});
        good(model_type, &more).context
    };
    assert_eq!(context("llama", json!({"type": "linear", "factor": 2.0})), 128);
    let said = json!({"type": "linear", "factor": 2.0, "original_max_position_embeddings": 16});
    assert_eq!(context("llama", said), 64, "the file says the longer length");
    assert_eq!(context("llama", json!({"type": "linear", "factor": 0})), 64, "none");
    assert_eq!(context("llama", json!({"type": "dynamic", "factor": 2.0})), 64);
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    assert_eq!(context("qwen2", yarn), 256);
    let llama3 =
        json!({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8});
    assert_eq!(context("llama", llama3), 64);
}

/// What `_compute_yarn_parameters` infers; a factor of e² makes its logarithm 2.
#[test]
fn yarns_attention_factor_is_inferred_as_in_transformers() {
    let factor = 7.389_056_f32;
    let magnitude = |more: Value| {
        let mut members = json!({"rope_type": "yarn", "factor": factor});
        members.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        match good("qwen2", &json!({"rope_scaling": members})).scaling {
            Scaling::Yarn { magnitude, is_whole, .. } => (magnitude, is_whole),
            other => panic!("{other:?}"),
        }
    };
    let near = |more: Value, expect: f32| {
        let (found, _) = magnitude(more.clone());
        assert!((found - expect).abs() < 1e-6, "{more}: {found}");
    };
    near(json!({}), 1.2);
    near(json!({"mscale": 1.0, "mscale_all_dim": 1.0}), 1.0);
    near(json!({"mscale": 0.5, "mscale_all_dim": 2.0}), 1.1 / 1.4);
    near(json!({"mscale": 0.5}), 1.2);
    near(json!({"mscale": 0.5, "mscale_all_dim": 0}), 1.2);
    near(json!({"attention_factor": 3.0, "mscale": 1.0, "mscale_all_dim": 2.0}), 3.0);
    near(json!({"attention_factor": null, "beta_fast": 0}), 1.2);
    assert!(magnitude(json!({"truncate": true})).1);
    assert!(!magnitude(json!({"truncate": false})).1);
    let phi = json!({"rope_scaling": {"type": "yarn", "short_factor": [1.0, 2.0]}, "head_dim": 4});
    assert!(matches!(good("phi3", &phi).scaling, Scaling::Factors { .. }), "longrope's old name");
}
