//! What each `model_type` of a `config.json` means where the file is silent.
//!
//! A file leaves out what equals its own class's default, so the defaults are data here, one row
//! for each class. **Source**: Hugging Face `configuration_*.py` of Transformers 5, with
//! whose values a test compares them (`tests/golden/classes.json`). Next: `keys.rs` (which keys a class knows).

/// Which layers have the window, where neither `layer_types` nor the older keys say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windowed {
    /// The class has no window; a file that names one is refused.
    Never,
    /// Every layer.
    All,
    /// Layers from `max_window_layers` on, and only where `use_sliding_window` is true.
    From(usize),
    /// All but every so many-th; `sliding_window_pattern` may say another number.
    Period(usize),
    /// Layers that do not rotate, and only where `use_sliding_window` is true.
    Still,
}

/// The defaults of one class.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) model_type: &'static str,
    pub(super) hidden: usize,
    pub(super) feed_forward: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// `None`: as many as heads.
    pub(super) kv_heads: Option<usize>,
    /// `None`: the hidden size over the heads.
    pub(super) head_dim: Option<usize>,
    pub(super) context: usize,
    pub(super) eps: f32,
    pub(super) theta: f32,
    /// Base of layers with a window; `None`: the same.
    pub(super) window_theta: Option<f32>,
    pub(super) window: Option<usize>,
    pub(super) windowed: Windowed,
    /// `original_max_position_embeddings`, where the class has one.
    pub(super) original: Option<usize>,
    pub(super) tied: bool,
    /// `partial_rotary_factor` is read.
    pub(super) is_partial: bool,
    /// `rope_parameters` has members for each kind of layer.
    pub(super) is_nested: bool,
    /// Queries, keys and values have biases.
    pub(super) has_qkv_bias: bool,
    /// Scores are divided by the root of this instead of a head's columns.
    pub(super) query_scalar: Option<f32>,
    /// Keys of this class alone.
    pub(super) keys: &'static [&'static str],
    /// Keys of other classes that the class's own code never reads, whatever their value.
    pub(super) unread: &'static [&'static str],
}

const LLAMA: Class = Class {
    model_type: "llama",
    hidden: 4096,
    feed_forward: 11008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    context: 2048,
    eps: 1e-6,
    theta: 1e4,
    window_theta: None,
    window: None,
    windowed: Windowed::Never,
    original: None,
    tied: false,
    is_partial: false,
    is_nested: false,
    has_qkv_bias: false,
    query_scalar: None,
    keys: &["mlp_bias"],
    unread: &["max_window_layers", "use_sliding_window"],
};

const QWEN2: Class = Class {
    model_type: "qwen2",
    feed_forward: 22016,
    kv_heads: Some(32),
    context: 32768,
    window: Some(4096),
    windowed: Windowed::From(28),
    has_qkv_bias: true,
    keys: &["use_sliding_window", "max_window_layers", "layer_types"],
    // Its three projections always have a bias and the fourth never.
    unread: &["attention_bias"],
    ..LLAMA
};

/// One row for each `model_type` of `super::FAMILIES`.
pub(super) const CLASSES: [Class; 9] = [
    LLAMA,
    Class {
        model_type: "mistral",
        feed_forward: 14336,
        kv_heads: Some(8),
        context: 4096 * 32,
        window: Some(4096),
        windowed: Windowed::All,
        keys: &[],
        ..LLAMA
    },
    QWEN2,
    Class { model_type: "qwen3", head_dim: Some(128), has_qkv_bias: false, unread: &[], ..QWEN2 },
    Class {
        model_type: "gemma3_text",
        hidden: 2304,
        feed_forward: 9216,
        layers: 26,
        heads: 8,
        kv_heads: Some(4),
        head_dim: Some(256),
        context: 131_072,
        theta: 1e6,
        window_theta: Some(1e4),
        window: Some(4096),
        windowed: Windowed::Period(6),
        tied: true,
        is_nested: true,
        query_scalar: Some(256.0),
        keys: &[
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "hidden_activation",
            "layer_types",
            "query_pre_attn_scalar",
            "rope_local_base_freq",
            "sliding_window_pattern",
            "use_bidirectional_attention",
        ],
        unread: &[],
        ..LLAMA
    },
    Class {
        model_type: "phi3",
        hidden: 3072,
        feed_forward: 8192,
        context: 4096,
        eps: 1e-5,
        windowed: Windowed::All,
        original: Some(4096),
        is_partial: true,
        keys: &[],
        unread: &["use_sliding_window", "attention_bias", "mlp_bias"],
        ..LLAMA
    },
    Class { model_type: "olmo2", eps: 1e-5, keys: &[], ..LLAMA },
    Class {
        model_type: "olmo3",
        eps: 1e-5,
        theta: 5e5,
        window: Some(4096),
        windowed: Windowed::Period(4),
        is_nested: true,
        keys: &["layer_types"],
        unread: &[],
        ..LLAMA
    },
    Class {
        model_type: "smollm3",
        hidden: 2048,
        layers: 36,
        heads: 16,
        kv_heads: Some(4),
        context: 32768,
        theta: 2e6,
        windowed: Windowed::Still,
        tied: true,
        keys: &[
            "layer_types",
            "mlp_bias",
            "no_rope_layer_interval",
            "no_rope_layers",
            "use_sliding_window",
        ],
        unread: &["max_window_layers"],
        ..LLAMA
    },
];

/// The class of a `model_type`.
pub(super) fn class(model_type: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.model_type == model_type)
}
