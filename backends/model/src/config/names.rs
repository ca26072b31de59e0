//! What the tensors of safetensors are called here, and which of them are no weights.
//!
//! Shapes and types are not looked at. Next: `mod.rs` (which weights a graph needs).

use super::family::Family;

/// The name a tensor has in GGUF, `None` for names of no family we know.
pub(crate) fn canonical_name(family: &Family, name: &str) -> Option<String> {
    let fixed = match name {
        "model.embed_tokens.weight" => "token_embd.weight",
        "model.norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        _ => {
            let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let (part, kind) = rest.rsplit_once('.')?;
            let part = match part {
                "input_layernorm" => "attn_norm",
                "self_attn.q_proj" => "attn_q",
                "self_attn.k_proj" => "attn_k",
                "self_attn.v_proj" => "attn_v",
                "self_attn.qkv_proj" => "attn_qkv",
                "self_attn.o_proj" => "attn_output",
                "self_attn.q_norm" => "attn_q_norm",
                "self_attn.k_norm" => "attn_k_norm",
                "mlp.gate_proj" => "ffn_gate",
                "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
                "mlp.down_proj" => "ffn_down",
                "post_attention_layernorm" if family.post_norms => "post_attention_norm",
                "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
                "post_feedforward_layernorm" => "post_ffw_norm",
                _ => return None,
            };
            return Some(format!("blk.{layer}.{part}.{kind}"));
        }
    };
    Some(fixed.to_owned())
}

/// Buffers that old checkpoints keep among their weights: tables and masks that are computed
/// anew from the configuration. **Source**: `_keys_to_ignore_on_load_unexpected` of Transformers
/// 4, and what llama.cpp's converter skips.
pub(crate) fn is_no_weight(name: &str) -> bool {
    const ENDINGS: [&str; 9] = [
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
        ".masked_bias",
        ".self_attn.bias",
        "position_ids",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
    ];
    name.ends_with("inv_freq") || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Tensors of a GGUF file that are read as part of the configuration, or say again what it says.
pub(super) fn is_read_elsewhere(name: &str) -> bool {
    name.starts_with("rope_f") || name.contains("attn_rot_embd") || is_no_weight(name)
}

/// True where safetensors store `weight - 1` and GGUF `weight`: all norms of Gemma.
pub(crate) fn has_unit_offset(family: &Family, canonical: &str) -> bool {
    family.gemma && canonical.ends_with("norm.weight")
}
