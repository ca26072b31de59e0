//! What a GGUF file's metadata means: keys by name, and what llama.cpp takes where a file is silent.

use std::path::Path;

use crate::ModelError;
use crate::config::{Facts, gguf};
use crate::weights::{Gguf, Mapping};

/// A value as a file holds it.
#[derive(Clone, Copy)]
enum Said<'a> {
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(&'a str),
    U32s(&'a [u32]),
    Bools(&'a [bool]),
}

fn text(f: &mut Vec<u8>, s: &str) {
    f.extend((s.len() as u64).to_le_bytes());
    f.extend(s.as_bytes());
}

/// A file without tensors.
fn file(entries: &[(&str, Said<'_>)]) -> Gguf {
    let mut f = b"GGUF".to_vec();
    f.extend(3_u32.to_le_bytes());
    f.extend(0_u64.to_le_bytes());
    f.extend((entries.len() as u64).to_le_bytes());
    for (key, said) in entries {
        text(&mut f, key);
        let (kind, bytes): (u32, Vec<u8>) = match *said {
            Said::U32(n) => (4, n.to_le_bytes().to_vec()),
            Said::I32(n) => (5, n.to_le_bytes().to_vec()),
            Said::F32(x) => (6, x.to_le_bytes().to_vec()),
            Said::Bool(b) => (7, vec![u8::from(b)]),
            Said::Text(t) => {
                let mut bytes = Vec::new();
                text(&mut bytes, t);
                (8, bytes)
            }
            Said::U32s(all) => (9, array(4, all.iter().map(|n| n.to_le_bytes().to_vec()))),
            Said::Bools(all) => (9, array(7, all.iter().map(|b| vec![u8::from(*b)]))),
        };
        f.extend(kind.to_le_bytes());
        f.extend(bytes);
    }
    let mapping = Mapping::from_bytes(&f).expect("memory");
    Gguf::from_mapping(Path::new("m-00002-of-00003.gguf"), mapping).expect("a good file")
}

fn array(kind: u32, elements: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((elements.len() as u64).to_le_bytes());
    bytes.extend(elements.flatten());
    bytes
}

/// What a file of an architecture means that says the least, and `more` (without the prefix where
/// a key has no dot before it: `.x` is `ARCH.x`).
fn read(arch: &str, more: &[(&str, Said<'_>)]) -> Result<Facts, ModelError> {
    let least = [
        ("general.architecture", Said::Text(arch)),
        (".block_count", Said::U32(8)),
        (".context_length", Said::U32(64)),
        (".embedding_length", Said::U32(64)),
        (".feed_forward_length", Said::U32(32)),
        (".attention.head_count", Said::U32(4)),
        (".attention.layer_norm_rms_epsilon", Said::F32(1e-5)),
    ];
    let kept = least.iter().filter(|(key, _)| !more.iter().any(|(other, _)| key == other));
    let named = kept.chain(more).map(|(key, said)| match key.strip_prefix('.') {
        Some(rest) => (format!("{arch}.{rest}"), *said),
        None => ((*key).to_owned(), *said),
    });
    let named: Vec<(String, Said<'_>)> = named.collect();
    let entries: Vec<_> = named.iter().map(|(key, said)| (key.as_str(), *said)).collect();
    let file = file(&entries);
    gguf::is_a_model(&file)?;
    gguf::facts(&file)
}

fn good(arch: &str, more: &[(&str, Said<'_>)]) -> Facts {
    read(arch, more).unwrap_or_else(|e| panic!("{arch}: {e}"))
}

#[test]
fn keys_that_would_change_a_number_are_refused_by_name() {
    let cases: &[(&str, &str, Said<'_>, &str)] = &[
        ("llama", ".attention.scale", Said::F32(0.5), "llama.attention.scale = 0.5"),
        ("llama", ".logit_scale", Said::F32(0.1), "llama.logit_scale = 0.1; known: 1 or no"),
        ("llama", ".residual_scale", Said::F32(0.2), "residual_scale"),
        ("llama", ".embedding_scale", Said::F32(12.0), "embedding_scale = 12"),
        ("llama", ".expert_count", Said::U32(8), "llama.expert_count = 8"),
        ("llama", ".attention.causal", Said::Bool(false), "attention.causal = false"),
        ("llama", ".attention.clamp_kqv", Said::F32(8.0), "clamp_kqv"),
        ("llama", ".use_parallel_residual", Said::Bool(true), "use_parallel_residual"),
        ("llama", ".rope.scaling.yarn_ext_factor", Said::F32(1.0), "yarn_ext_factor"),
        ("qwen2", ".rope.scaling.yarn_log_multiplier", Said::F32(0.1), "yarn_log_multiplier"),
        ("qwen2", ".rope.dimension_sections", Said::U32s(&[16, 24, 24, 0]), "dimension_sections"),
        ("gemma3", ".final_logit_softcapping", Said::F32(30.0), "softcapping = 30"),
        ("gemma3", ".attention.key_length_swa", Said::U32(8), "key_length_swa = 8"),
        ("qwen3", ".attention.sliding_window", Said::U32(8), "qwen3.attention.sliding_window = 8"),
        ("smollm3", ".nextn_predict_layers", Said::U32(1), "nextn_predict_layers = 1"),
        ("llama", ".a_key_of_tomorrow", Said::U32(3), "llama.a_key_of_tomorrow = 3; known: no"),
        ("llama", ".a_word", Said::Text("x"), "llama.a_word = \"x\""),
        ("llama", ".attention.value_length", Said::U32(8), "value_length = 8"),
        ("llama", ".attention.head_count", Said::U32s(&[4, 4, 2]), "head_count of 4 and 2"),
        ("llama", ".attention.head_count_kv", Said::U32s(&[4, 1]), "head_count_kv of 4 and 1"),
        ("llama", ".feed_forward_length", Said::U32s(&[32, 64]), "feed_forward_length of 32"),
        ("llama", "split.count", Said::U32(3), "--merge m-00001-of-00003.gguf MODEL.gguf"),
        ("clip", ".vision.block_count", Said::U32(1), "a projector of pictures (mmproj)"),
        ("llama", "general.type", Said::Text("adapter"), "general.type = \"adapter\""),
        ("mamba", ".ssm.state_size", Said::U32(16), "architecture mamba; known: llama"),
    ];
    for (arch, key, said, expect) in cases {
        let more: &[(&str, Said<'_>)] = match *key {
            "split.count" => &[(key, *said), ("split.no", Said::U32(1))],
            _ => &[(key, *said)],
        };
        let error = read(arch, more).map(|_| ()).expect_err(expect);
        assert!(matches!(error, ModelError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error} should name {expect}");
    }
    let error = gguf::facts(&file(&[("general.architecture", Said::Text("llama"))]));
    assert!(matches!(error.map(|_| ()), Err(ModelError::Broken { .. })));
}

#[test]
fn what_says_that_it_is_not_used_is_taken() {
    let more = [
        (".logit_scale", Said::F32(1.0)),
        (".residual_scale", Said::F32(0.0)),
        (".expert_count", Said::U32(0)),
        (".attention.causal", Said::Bool(true)),
        (".attention.clamp_kqv", Said::F32(0.0)),
        (".attention.layer_norm_epsilon", Said::F32(1e-5)),
        (".attention.key_length_swa", Said::U32(16)),
        (".attention.key_length", Said::U32(16)),
        (".rope.dimension_sections", Said::U32s(&[0, 0, 0, 0])),
        (".rope.scaling.yarn_attn_factor", Said::F32(1.0)),
        (".rope.scaling.finetuned", Said::Bool(true)),
        (".tensor_data_layout", Said::Text("Meta AI original pth")),
        (".pooling_type", Said::U32(3)),
        (".vocab_size", Said::U32(9)),
        (".a_flag", Said::Bool(false)),
        ("general.quantized_by", Said::Text("somebody")),
        ("general.type", Said::Text("model")),
        ("quantize.imatrix.file", Said::Text("i.dat")),
    ];
    good("llama", &more);
    let equal = [
        (".attention.head_count", Said::U32s(&[4; 8])),
        (".attention.head_count_kv", Said::U32s(&[2; 8])),
        (".feed_forward_length", Said::U32s(&[32; 8])),
    ];
    let facts = good("llama", &equal);
    assert_eq!((facts.heads, facts.kv_heads, facts.feed_forward), (4, 2, 32));
}

#[test]
fn what_llama_cpp_derives_is_derived() {
    assert_eq!(good("gemma3", &[]).attention_scale, None, "a head's columns");
    let layers = [(".block_count", Said::U32(62)), (".attention.key_length", Said::U32(8))];
    let scale = good("gemma3", &layers).attention_scale;
    assert_eq!(scale, Some(0.25), "27B: hidden size over heads, 16 here");
    assert_eq!(good("llama", &layers).attention_scale, None);
    let gemma = good("gemma3", &[(".attention.sliding_window", Said::U32(8))]);
    assert_eq!((gemma.window, gemma.window_theta, gemma.windowed.len()), (Some(8), 1e4, 0));
    let phi = good("phi3", &[(".attention.sliding_window", Said::U32(8))]);
    assert_eq!(phi.window, None, "llama.cpp keeps none");
    for none in [Said::U32(0), Said::I32(-1), Said::U32(64)] {
        assert_eq!(good("llama", &[(".attention.sliding_window", none)]).window, None);
    }
    let window = |pattern| {
        let more = [(".attention.sliding_window", Said::U32(8)), (SWA, pattern)];
        good("olmo2", &more).windowed
    };
    const SWA: &str = ".attention.sliding_window_pattern";
    let every_third = [true, true, false, true, true, false, true, true];
    assert_eq!(window(Said::U32(3)), every_third);
    assert_eq!(window(Said::U32(1)), [false; 8]);
    assert_eq!(window(Said::U32(0)), [true; 8]);
    assert_eq!(window(Said::Bools(&every_third)), every_third);
}

#[test]
fn a_factor_lengthens_what_a_model_serves_and_0_is_none() {
    use crate::config::Scaling;
    let of = |arch: &str, more: &[(&str, Said<'_>)]| {
        let facts = good(arch, more);
        (facts.scaling, facts.context)
    };
    let factor = |x| (".rope.scaling.factor", Said::F32(x));
    let kind = |kind| (".rope.scaling.type", Said::Text(kind));
    assert_eq!(of("llama", &[factor(0.0)]), (Scaling::Linear(1.0), 64));
    assert_eq!(of("llama", &[factor(2.0)]), (Scaling::Linear(2.0), 128));
    assert_eq!(of("llama", &[(".rope.scale_linear", Said::F32(2.0))]).1, 128, "the old name");
    assert_eq!(of("llama", &[factor(2.0), kind("none")]), (Scaling::None, 64));
    assert_eq!(of("gemma3", &[factor(8.0)]), (Scaling::Linear(8.0), 64), "said already");
    let original = (".rope.scaling.original_context_length", Said::U32(16));
    assert_eq!(of("qwen2", &[factor(4.0), kind("yarn"), original]).1, 64);
    assert_eq!(of("qwen2", &[factor(4.0), kind("yarn")]).1, 256);
    let whole = (".rope.scaling.yarn_ext_factor", Said::F32(1.0));
    assert!(matches!(of("qwen2", &[factor(4.0), kind("yarn"), whole]).0, Scaling::Yarn { .. }));
}
