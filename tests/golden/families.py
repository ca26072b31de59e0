"""Makes a tiny random model of each family in both formats, and its logits by llama.cpp.

    families.py FOLDER SEEDS

A model is made as Hugging Face names and lays it out: `FOLDER/NAME/` gets `config.json` and
safetensors. `FOLDER/NAME.gguf` holds the same values as llama.cpp's converter would write them.
`FOLDER/logits.json` gets the logits. `SEEDS` gets some of them a quarter as wide, to begin fuzzing
with. Run by `cargo xtask golden`.

Heads have 16 columns. `NAME-64` and `NAME-128` have those of real models, for which kernels of GPUs
are written, and one layer where all are alike. At 128 there are the families that differ in what is
done to a head; the others differ in angles, or in which layers rotate. YaRN, LongRoPE and OLMo 3
stand at 16 only: llama.cpp wants as many columns in all heads of those as there are hidden ones.

llama.cpp keeps no window for Mistral, and wants the same of Qwen 2, Phi-3 and OLMo 2: those logits are
by numpy in f64, which is held to llama.cpp's where it has both.
"""

import ctypes
import json
import pathlib
import sys

import gguf
import llama_cpp
import numpy as np

VOCAB, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM = 64, 32, 64, 2, 1, 16
CONTEXT, EPS, WINDOW = 1024, 1e-5, 24
# The last one is longer than the window, a block of the KV cache and a tile of the kernels.
PROMPTS = [[1], [5, 9, 60, 31, 17], [(7 * i * i + 3 * i + 11) % VOCAB for i in range(70)]]
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 256}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
SHORT = [1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0]
FAMILIES = {
    "llama": {"arch": "llama", "type": "llama"},
    "llama3": {"arch": "llama", "type": "llama", "theta": 5e5, "scaling": LLAMA3, "tied": True},
    "linear": {"arch": "llama", "type": "llama", "scaling": {"type": "linear", "factor": 2.0}},
    "mistral": {"arch": "llama", "type": "mistral", "window": WINDOW},
    "qwen2": {"arch": "qwen2", "type": "qwen2", "bias": True, "theta": 1e6},
    "yarn": {"arch": "qwen2", "type": "qwen2", "bias": True, "theta": 1e6, "scaling": YARN},
    "qwen3": {"arch": "qwen3", "type": "qwen3", "theta": 1e6},
    "gemma3": {"arch": "gemma3", "type": "gemma3_text", "theta": 1e6, "layers": 6,
               "window": WINDOW, "tied": True},
    "phi3": {"arch": "phi3", "type": "phi3"},
    "longrope": {"arch": "phi3", "type": "phi3", "scaling": {"type": "longrope"}},
    "olmo2": {"arch": "olmo2", "type": "olmo2", "theta": 5e5},
    "olmo3": {"arch": "olmo2", "type": "olmo3", "theta": 5e5, "layers": 4, "window": WINDOW,
              "scaling": YARN},
    "smollm3": {"arch": "smollm3", "type": "smollm3", "theta": 5e6, "layers": 4, "tied": True},
}
# Heads of other sizes, and the families that have them.
WIDE = {64: ["llama", "llama3", "linear", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "olmo2",
             "smollm3"],
        128: ["llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "olmo2"]}


def bf16(x):
    """Rounds to values that bf16 holds; returns them as f32."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def tensors(noise, type, layers=2, bias=False, tied=False, **_):
    """All tensors by Hugging Face's names."""
    found, q, kv = {}, HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    gemma, olmo = type == "gemma3_text", type.startswith("olmo")

    def matrix(name, rows, cols, scale=None):
        scale = 1 / np.sqrt(cols) if scale is None else scale
        found[name] = bf16(noise.normal(0, scale, (rows, cols)))

    def vector(name, n, mean=0.0 if gemma else 1.0, scale=0.2):
        found[name] = bf16(noise.normal(mean, scale, n))

    matrix("model.embed_tokens.weight", VOCAB, HIDDEN, 0.1 if tied else 0.5)
    for i in range(layers):
        at = f"model.layers.{i}."
        norms = ["input_layernorm", "post_attention_layernorm"]
        if gemma:
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        if olmo:
            norms = ["post_attention_layernorm", "post_feedforward_layernorm"]
        for norm in norms:
            # llama.cpp's GELU rounds to f16; a third of it keeps that below the tolerance.
            small = gemma and norm == "post_feedforward_layernorm"
            vector(f"{at}{norm}.weight", HIDDEN, *([-0.7] if small else []))
        if type == "phi3":
            matrix(f"{at}self_attn.qkv_proj.weight", q + 2 * kv, HIDDEN)
            matrix(f"{at}mlp.gate_up_proj.weight", 2 * FEED_FORWARD, HIDDEN)
        else:
            for which, rows in [("q", q), ("k", kv), ("v", kv)]:
                matrix(f"{at}self_attn.{which}_proj.weight", rows, HIDDEN)
                if bias:
                    vector(f"{at}self_attn.{which}_proj.bias", rows, 0.0, 0.5)
            matrix(f"{at}mlp.gate_proj.weight", FEED_FORWARD, HIDDEN)
            matrix(f"{at}mlp.up_proj.weight", FEED_FORWARD, HIDDEN)
        if type in ("qwen3", "gemma3_text") or olmo:
            vector(f"{at}self_attn.q_norm.weight", q if olmo else HEAD_DIM)
            vector(f"{at}self_attn.k_norm.weight", kv if olmo else HEAD_DIM)
        matrix(f"{at}self_attn.o_proj.weight", HIDDEN, q)
        matrix(f"{at}mlp.down_proj.weight", HIDDEN, FEED_FORWARD)
    vector("model.norm.weight", HIDDEN)
    if not tied:
        matrix("lm_head.weight", VOCAB, HIDDEN, 0.1)
    return found


def write_safetensors(folder, found, files=1):
    """BF16, in one file or several with an index."""
    folder.mkdir(exist_ok=True)
    names, weight_map = list(found), {}
    for file in range(files):
        name = "model.safetensors" if files == 1 else f"model-{file + 1:05}-of-{files:05}.safetensors"
        header, data = {}, b""
        for tensor in names[file::files]:
            raw = (found[tensor].view(np.uint32) >> 16).astype(np.uint16).tobytes()
            header[tensor] = {"dtype": "BF16", "shape": list(found[tensor].shape),
                              "data_offsets": [len(data), len(data) + len(raw)]}
            weight_map[tensor] = name
            data += raw
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        (folder / name).write_bytes(len(head).to_bytes(8, "little") + head + data)
    if files > 1:
        index = json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1)
        (folder / "model.safetensors.index.json").write_text(index + "\n")


def write_config(folder, arch, type, layers=2, theta=1e4, scaling=None, window=None, tied=False,
                 **_):
    config = {
        "model_type": type, "hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "head_dim": HEAD_DIM,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS,
        "rope_theta": theta, "tie_word_embeddings": tied, "vocab_size": VOCAB, "hidden_act": "silu",
    }
    if type == "gemma3_text":
        config |= {"hidden_activation": "gelu_pytorch_tanh", "rope_local_base_freq": 1e4,
                   "query_pre_attn_scalar": HEAD_DIM, "sliding_window_pattern": 6}
        del config["hidden_act"]
    if scaling:
        config["rope_scaling"] = scaling
    if is_longrope(scaling):
        config["rope_scaling"] = scaling | longrope_factors()
        config |= {"original_max_position_embeddings": CONTEXT,
                   "max_position_embeddings": 4 * CONTEXT}
    if window:
        config["sliding_window"] = window
    if type == "smollm3":
        config["no_rope_layers"] = [int((i + 1) % 4 != 0) for i in range(layers)]
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def is_longrope(scaling):
    return bool(scaling) and scaling.get("type") == "longrope"


def longrope_factors():
    """One for each pair of a head."""
    short = [x for x in SHORT for _ in range(HEAD_DIM // 2 // len(SHORT))]
    return {"short_factor": short, "long_factor": [2 * x for x in short]}


def adjacent(rows, heads):
    """Rows of halves to rows of neighbouring pairs, as llama.cpp's converter does."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(path, found, arch, type, layers=2, theta=1e4, scaling=None, window=None, **_):
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(4 * CONTEXT if is_longrope(scaling) else CONTEXT)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length(FEED_FORWARD)
    w.add_block_count(layers)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(HEAD_DIM)
    w.add_value_length(HEAD_DIM)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_rope_freq_base(theta)
    w.add_layer_norm_rms_eps(EPS)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("default")
    w.add_token_list([f"<{i}>" for i in range(VOCAB)])
    w.add_token_types([1] * VOCAB)
    w.add_token_merges(["< 0"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    if window:
        w.add_sliding_window(window)
    if scaling is LLAMA3:
        w.add_tensor("rope_freqs.weight", llama3_factors(theta, scaling))
    elif is_longrope(scaling):
        w.add_rope_scaling_orig_ctx_len(CONTEXT)
        w.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(4) / np.log(CONTEXT))))
        for length in ["short", "long"]:
            factors = np.array(longrope_factors()[f"{length}_factor"], np.float32)
            w.add_tensor(f"rope_factors_{length}.weight", factors)
    elif scaling:
        kind = scaling.get("rope_type") or scaling["type"]
        w.add_rope_scaling_type(gguf.RopeScalingType(kind))
        w.add_rope_scaling_factor(scaling["factor"])
        if kind == "yarn":
            w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    ids = {name: id for id, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(ids[arch], layers)
    for name, values in found.items():
        if type == "gemma3_text" and name.endswith("norm.weight"):
            values = values + np.float32(1)
        if arch in ("llama", "smollm3"):
            if ".q_proj." in name:
                values = adjacent(values, HEADS)
            if ".k_proj." in name:
                values = adjacent(values, KV_HEADS)
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        w.add_tensor(ours, np.ascontiguousarray(values))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama3_factors(theta, scaling):
    """As llama.cpp's `convert_hf_to_gguf.py` computes them."""
    factors = []
    for i in range(0, HEAD_DIM, 2):
        wave = 2 * np.pi * theta ** (i / HEAD_DIM)
        original = scaling["original_max_position_embeddings"]
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        if wave < original / high:
            factors.append(1.0)
        elif wave > original / low:
            factors.append(scaling["factor"])
        else:
            smooth = (original / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, np.float32)


def llama_logits(path):
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


def unfused(found):
    """Phi-3's matrices as others have them."""
    parts, q, kv = {}, HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    for name, values in found.items():
        if "qkv_proj" in name:
            for which, part in zip("qkv", np.split(values, [q, q + kv])):
                parts[name.replace("qkv", which)] = part
        elif "gate_up" in name:
            for which, part in zip(["gate", "up"], np.split(values, 2)):
                parts[name.replace("gate_up", which)] = part
        else:
            parts[name] = values
    return parts


def numpy_logits(found, window=CONTEXT, layers=2, theta=1e4, **_):
    """Logits of the last position of each prompt, in f64."""
    found = {name: values.astype(np.float64) for name, values in unfused(found).items()}

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * found[name]

    def product(x, name):
        return x @ found[name + ".weight"].T + found.get(name + ".bias", 0)

    def rotate(x):
        angle = np.arange(len(x))[:, None] * theta ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    all_logits = []
    for prompt in PROMPTS:
        x, n = found["model.embed_tokens.weight"][prompt], len(prompt)
        back = np.arange(n)[:, None] - np.arange(n)
        seen = (back >= 0) & (back < window)
        for i in range(layers):
            at = f"model.layers.{i}."
            # OLMo's norms come after, and are of all heads together.
            olmo = at + "input_layernorm.weight" not in found
            h = x if olmo else norm(x, at + "input_layernorm.weight")
            q, k, v = (product(h, f"{at}self_attn.{w}_proj") for w in "qkv")
            if olmo:
                q = norm(q, at + "self_attn.q_norm.weight")
                k = norm(k, at + "self_attn.k_norm.weight")
            q, k, v = (part.reshape(n, -1, HEAD_DIM) for part in (q, k, v))
            scores = np.einsum("qhd,kd->hqk", rotate(q), rotate(k)[:, 0]) / np.sqrt(HEAD_DIM)
            scores = np.exp(np.where(seen, scores, -np.inf))
            mixed = np.einsum("hqk,kd->qhd", scores / scores.sum(-1, keepdims=True), v[:, 0])
            mixed = product(mixed.reshape(n, -1), at + "self_attn.o_proj")
            x = x + (norm(mixed, at + "post_attention_layernorm.weight") if olmo else mixed)
            h = x if olmo else norm(x, at + "post_attention_layernorm.weight")
            gate = product(h, at + "mlp.gate_proj")
            both = gate / (1 + np.exp(-gate)) * product(h, at + "mlp.up_proj")
            both = product(both, at + "mlp.down_proj")
            x = x + (norm(both, at + "post_feedforward_layernorm.weight") if olmo else both)
        last = norm(x, "model.norm.weight")[-1] @ found["lm_head.weight"].T
        all_logits.append([round(float(x), 5) for x in last])
    return all_logits


def seeds(folder):
    """Small enough that a mutation hits what is read first."""
    global VOCAB, HIDDEN, FEED_FORWARD, HEAD_DIM
    VOCAB, HIDDEN, FEED_FORWARD, HEAD_DIM = 8, 8, 8, 4
    for name in ["llama", "mistral", "qwen2", "gemma3", "phi3", "olmo2", "yarn"]:
        options = FAMILIES[name] | {"layers": 1}
        found = tensors(np.random.default_rng(1), **options)
        write_gguf(str(folder / f"{name}.gguf"), found, **options)
        write_safetensors(folder / name, found)
        write_config(folder / name, **options)


def write(folder, name, seed, options, files=1):
    """All files of a model; returns its logits."""
    found = tensors(np.random.default_rng(seed), **options)
    path = str(folder / f"{name}.gguf")
    write_gguf(path, found, **options)
    write_safetensors(folder / name, found, files)
    write_config(folder / name, **options)
    print(name, "written")
    if options["type"] == "mistral":
        return numpy_logits(found, **options)
    if options["type"] in ("qwen2", "phi3", "olmo2") and HIDDEN != HEADS * HEAD_DIM:
        return numpy_logits(found, **options)
    logits = llama_logits(path)
    if name in ("llama", "qwen2", "phi3", "olmo2"):
        assert np.abs(np.array(logits) - numpy_logits(found, **options)).max() < 1e-3, name
    return logits


def main():
    global HEAD_DIM
    folder = pathlib.Path(sys.argv[1])
    llama_cpp.llama_backend_init()
    families = {}
    for i, (name, options) in enumerate(FAMILIES.items()):
        files = 2 if name == "qwen3" else 1
        families[name] = write(folder, name, 100 + i, options, files)
    for HEAD_DIM, names in WIDE.items():
        for name in names:
            # One layer, where all are alike.
            options = {"layers": 1} | FAMILIES[name]
            wide = f"{name}-{HEAD_DIM}"
            families[wide] = write(folder, wide, 1000 * HEAD_DIM + names.index(name), options)
    with open(folder / "logits.json", "w") as out:
        json.dump({"prompts": PROMPTS, "families": families}, out, separators=(",", ":"))
        out.write("\n")
    seeds(pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
