"""Makes a tiny random F32 model of each family and its logits by llama.cpp.

    families.py FOLDER

Writes FOLDER/NAME.gguf and FOLDER/logits.json. Run by `cargo xtask golden`.
"""

import ctypes
import json
import sys

import gguf
import llama_cpp
import numpy as np

VOCAB, HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 128, 32, 64, 2, 2, 1, 16
CONTEXT = 1024
# The last one is longer than a block of the KV cache and than a tile of the kernels.
PROMPTS = [[1], [5, 9, 100, 31, 17], [(7 * i * i + 3 * i + 11) % VOCAB for i in range(70)]]
FAMILIES = {
    "llama": {"arch": "llama"},
    "llama3": {"arch": "llama", "rope_factors": True, "theta": 500000.0},
    "qwen2": {"arch": "qwen2", "bias": True, "theta": 1000000.0},
    "qwen3": {"arch": "qwen3", "head_norms": True, "theta": 1000000.0},
}


def write(path, noise, arch, theta=10000.0, bias=False, head_norms=False, rope_factors=False):
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length(FEED_FORWARD)
    w.add_block_count(LAYERS)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(HEAD_DIM)
    w.add_value_length(HEAD_DIM)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_rope_freq_base(theta)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("default")
    w.add_token_list([f"<{i}>" for i in range(VOCAB)])
    w.add_token_types([1] * VOCAB)
    w.add_token_merges(["< 0"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)

    def tensor(name, *shape, mean=0.0, scale=None):
        scale = (1.0 / np.sqrt(shape[-1])) if scale is None else scale
        w.add_tensor(name, noise.normal(mean, scale, shape).astype(np.float32))

    tensor("token_embd.weight", VOCAB, HIDDEN, scale=0.5)
    tensor("output_norm.weight", HIDDEN, mean=1.0, scale=0.1)
    tensor("output.weight", VOCAB, HIDDEN)
    if rope_factors:
        factors = np.linspace(1.0, 8.0, HEAD_DIM // 2).astype(np.float32)
        w.add_tensor("rope_freqs.weight", factors)
    for i in range(LAYERS):
        def name(s):
            return f"blk.{i}.{s}"
        tensor(name("attn_norm.weight"), HIDDEN, mean=1.0, scale=0.1)
        tensor(name("ffn_norm.weight"), HIDDEN, mean=1.0, scale=0.1)
        for which, heads in [("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)]:
            tensor(name(f"attn_{which}.weight"), heads * HEAD_DIM, HIDDEN)
            if bias:
                tensor(name(f"attn_{which}.bias"), heads * HEAD_DIM, scale=0.5)
        if head_norms:
            tensor(name("attn_q_norm.weight"), HEAD_DIM, mean=1.0, scale=0.3)
            tensor(name("attn_k_norm.weight"), HEAD_DIM, mean=1.0, scale=0.3)
        tensor(name("attn_output.weight"), HIDDEN, HEADS * HEAD_DIM)
        tensor(name("ffn_gate.weight"), FEED_FORWARD, HIDDEN)
        tensor(name("ffn_up.weight"), FEED_FORWARD, HIDDEN)
        tensor(name("ffn_down.weight"), HIDDEN, FEED_FORWARD)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def logits(path):
    """Logits of the last position of each prompt, with KV in f32."""
    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    assert model, path
    found = []
    for prompt in PROMPTS:
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_threads = CONTEXT, CONTEXT, 1
        options.type_k = options.type_v = 0
        options.flash_attn_type = 0  # off: it would round to f16
        context = llama_cpp.llama_init_from_model(model, options)
        tokens = (ctypes.c_int32 * len(prompt))(*prompt)
        status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, len(prompt)))
        assert status == 0, status
        out = llama_cpp.llama_get_logits_ith(context, -1)
        found.append([round(float(x), 5) for x in out[:VOCAB]])
        llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found


def main():
    (folder,) = sys.argv[1:]
    llama_cpp.llama_backend_init()
    families = {}
    for i, (name, options) in enumerate(FAMILIES.items()):
        path = f"{folder}/{name}.gguf"
        write(path, np.random.default_rng(100 + i), **options)
        families[name] = logits(path)
        print(name, "written")
    with open(f"{folder}/logits.json", "w") as out:
        json.dump({"prompts": PROMPTS, "families": families}, out, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
