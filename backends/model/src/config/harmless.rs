//! Names of keys that a `config.json` may have without changing a number here, and the values of some
//! that say so.
//!
//! Nothing is decided here; `keys.rs` is. **Source**: Hugging Face `configuration_utils.py` and
//! `generation/configuration_utils.py` of Transformers 4 and 5, and the real files whose key names
//! are in `tests/golden/config_keys.json`.

use serde_json::Value;

/// Values that mean "not used".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neutral {
    /// 0, as a count of experts.
    Zero,
    /// 1, as a multiplier.
    One,
    /// True, as of causal attention.
    True,
    /// A list of `full_attention` alone.
    Full,
    /// None but those that every key may have.
    Nothing,
}

impl Neutral {
    pub(super) fn allows(self, value: &Value) -> bool {
        match self {
            Self::Zero => value.as_f64() == Some(0.0),
            Self::One => value.as_f64() == Some(1.0),
            Self::True => value.as_bool() == Some(true),
            Self::Full => {
                let all = value.as_array().map(|all| all.iter().all(|v| v == "full_attention"));
                all == Some(true)
            }
            Self::Nothing => false,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zero => "0 or no such key",
            Self::One => "1 or no such key",
            Self::True => "true or no such key",
            Self::Full => "full_attention alone or no such key",
            Self::Nothing => "no such key",
        }
    }
}

/// Members of `rope_scaling` and `rope_parameters` that the reader knows. A member that the kind
/// does not use changes nothing, as in Transformers.
pub(super) const ROPE: [&str; 17] = [
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "finetuned",
    "high_freq_factor",
    "long_factor",
    "low_freq_factor",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_type",
    "short_factor",
    "truncate",
    "type",
];

/// Beginnings of harmless names: private members of the classes, and what is said of training,
/// of layers that no family here has, and of tasks other than the next token.
pub(super) const STARTS: [&str; 8] = [
    "_",
    "initializer_",
    "summary_",
    "task_specific",
    "time_step_",
    "transformers.js",
    "transformers_",
    "unsloth_",
];

/// Endings of harmless names: tokens' ids, what is dropped in training, what is done by loss.
pub(super) const ENDINGS: [&str; 13] = [
    "_dropout",
    "_dropout_prob",
    "_loss",
    "_loss_coef",
    "_noise_alpha",
    "_pdrop",
    "_token",
    "_token_id",
    "_token_ids",
    "_token_index",
    "_tokens_per_image",
    "_version",
    "dropout_rate",
];

/// Keys of other classes, or of other uses of ours, and what says that they are not used.
pub(super) const NEUTRAL: [(&str, Neutral); 32] = [
    ("attention_multiplier", Neutral::Nothing),
    ("attn_logit_softcapping", Neutral::Zero),
    ("attn_scale", Neutral::One),
    ("chunk_size_feed_forward", Neutral::Zero),
    ("embedding_multiplier", Neutral::One),
    ("embedding_scale", Neutral::One),
    ("final_logit_softcapping", Neutral::Zero),
    ("first_k_dense_replace", Neutral::Zero),
    ("full_attn_mod", Neutral::One),
    ("interpolate_factor", Neutral::One),
    ("is_causal", Neutral::True),
    ("layer_types", Neutral::Full),
    ("lm_head_bias", Neutral::Nothing),
    ("logit_scale", Neutral::One),
    ("logits_scaling", Neutral::One),
    ("mlp_bias", Neutral::Nothing),
    ("moe_intermediate_size", Neutral::Zero),
    ("n_routed_experts", Neutral::Zero),
    ("n_shared_experts", Neutral::Zero),
    ("num_experts", Neutral::Zero),
    ("num_experts_per_tok", Neutral::Zero),
    ("num_local_experts", Neutral::Zero),
    ("num_nextn_predict_layers", Neutral::Zero),
    ("per_layer_config", Neutral::Nothing),
    ("pruned_heads", Neutral::Nothing),
    ("residual_multiplier", Neutral::One),
    ("rope_interleaved", Neutral::Nothing),
    ("rope_ratio", Neutral::One),
    ("rotary_emb_fraction", Neutral::One),
    ("rotary_pct", Neutral::One),
    ("scale_depth", Neutral::Nothing),
    ("use_rope", Neutral::True),
];

/// Harmless names, in order.
pub(super) const HARMLESS: [&str; 131] = [
    "add_cross_attention",
    "architectures",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "attn_implementation",
    "author",
    "auto_map",
    "auto_mapping",
    "bad_words_ids",
    "base_model",
    "base_model_name",
    "base_model_name_or_path",
    "begin_suppress_tokens",
    "bf16",
    "cache_implementation",
    "commit_hash",
    "constraints",
    "cross_attention_hidden_size",
    "custom_generate",
    "custom_pipelines",
    "datasets",
    "description",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "experts_implementation",
    "exponential_decay_length_penalty",
    "fine_tuning_task",
    "finetuning_task",
    "flash_attention",
    "force_words_ids",
    "fp16",
    "fp32",
    "gradient_checkpointing",
    "guidance_scale",
    "id2label",
    "is_assistant",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "length_penalty",
    "library_name",
    "license",
    "logits_to_keep",
    "low_memory",
    "max_cache_len",
    "max_length",
    "max_model_length",
    "max_new_tokens",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "max_time",
    "min_length",
    "min_new_tokens",
    "min_p",
    "model_creator",
    "model_id",
    "model_max_length",
    "model_name",
    "name",
    "name_or_path",
    "no_repeat_ngram_size",
    "norm_eps",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_key_value_groups",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_router_logits",
    "output_scores",
    "pad_vocab_size_multiple_of",
    "penalty_alpha",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "revision",
    "router_jitter_noise",
    "seq_length",
    "sequence_bias",
    "sequence_length",
    "stop_strings",
    "suppress_tokens",
    "tags",
    "temperature",
    "tensor_parallel",
    "tie_encoder_decoder",
    "token_healing",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_name",
    "tokenizer_padding_side",
    "tokenizer_type",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "training_args",
    "type_vocab_size",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention",
    "use_flash_attention_2",
    "use_flash_attn",
    "use_liger_kernel",
    "use_sdpa",
    "vocab_file",
    "vocab_size",
    "watermarking_config",
];
