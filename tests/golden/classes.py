"""Makes `classes.json` and `config_keys.json`: what Transformers' classes mean where a file is silent,
and the key names of real configurations.

    classes.py FOLDER MODEL_PRESET.py HUB_CACHED_CONFIGS.py

Needs `transformers` (5.24; no PyTorch) and two files of public repositories that hold whole
configurations as Python: `python/mlc_llm/model/model_preset.py` of mlc-ai/mlc-llm, and
`onnx_diagnostic/torch_models/hghub/hub_data_cached_configs.py` of sdpython/onnx-diagnostic. Only names
of keys are kept, without values; keys that MLC adds for itself are left out.
"""

import ast
import json
import pathlib
import sys

from transformers import CONFIG_MAPPING

TYPES = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3", "olmo2", "olmo3", "smollm3"]
DEFAULTS = {
    "hidden": "hidden_size", "feed_forward": "intermediate_size", "layers": "num_hidden_layers",
    "heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "context": "max_position_embeddings",
    "eps": "rms_norm_eps", "tied": "tie_word_embeddings",
}
MLC = {"context_window_size", "prefill_chunk_size", "sliding_window_size", "attention_sink_size",
       "tensor_parallel_shards", "max_batch_size"}


def defaults(model_type):
    """The class's own values, after it derived what it derives."""
    config = CONFIG_MAPPING[model_type](num_hidden_layers=8)
    whole = CONFIG_MAPPING[model_type]()
    found = {ours: getattr(whole, theirs) for ours, theirs in DEFAULTS.items()}
    found["head_dim"] = getattr(whole, "head_dim", None) or whole.hidden_size // whole.num_attention_heads
    found["query_scalar"] = getattr(whole, "query_pre_attn_scalar", None)
    rope = whole.rope_parameters
    found["theta"] = rope.get("full_attention", rope)["rope_theta"]
    found["window_theta"] = rope.get("sliding_attention", rope)["rope_theta"]
    # What the class takes for a window of 16, if it has one and its layers say so.
    windowed = CONFIG_MAPPING[model_type](num_hidden_layers=8, sliding_window=16)
    types = getattr(windowed, "layer_types", None)
    reads = "sliding_window" in whole.to_dict()
    kinds = [t == "sliding_attention" for t in types] if types else [reads] * 8
    found["windowed"] = kinds if windowed.to_dict().get("sliding_window") else [False] * 8
    found["window"] = getattr(config, "sliding_window", None)
    return found


def names(config, prefix=""):
    """Names of keys, nested ones with dots; the values of tables of labels are no keys."""
    for key, value in config.items():
        if prefix == "" and key in MLC:
            continue
        yield prefix + key
        if key in ("rope_scaling", "rope_parameters", "full_attention", "sliding_attention"):
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{key}.")


def entry(model, source, config):
    return {"model": model, "from": source, "model_type": config["model_type"],
            "keys": sorted(names(config))}


def presets(path):
    for node in ast.parse(pathlib.Path(path).read_text()).body:
        if isinstance(node, ast.AnnAssign) and node.target.id == "MODEL_PRESETS":
            for model, config in ast.literal_eval(node.value).items():
                yield entry(model, "mlc-ai/mlc-llm", config)


def cached(path):
    """Every literal that is given to a function as a configuration."""
    for node in ast.parse(pathlib.Path(path).read_text()).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_ccached_"):
            continue
        for part in ast.walk(node):
            keys = {k.value for k in getattr(part, "keys", []) if isinstance(k, ast.Constant)} \
                if isinstance(part, ast.Dict) else set()
            if {"model_type", "architectures"} <= keys:
                config = {k.value: literal(v) for k, v in zip(part.keys, part.values)}
                if config["model_type"]:
                    yield entry(node.name.removeprefix("_ccached_"), "sdpython/onnx-diagnostic", config)
                break


def literal(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def main():
    folder = pathlib.Path(sys.argv[1])
    found = {model_type: defaults(model_type) for model_type in TYPES}
    (folder / "classes.json").write_text(json.dumps(found, indent=1) + "\n")
    entries = [entry(f"{t} as Transformers 5.24 saves it", "huggingface/transformers",
                     CONFIG_MAPPING[t]().to_diff_dict()) for t in TYPES]
    entries += [*presets(sys.argv[2]), *cached(sys.argv[3])]
    lines = ",\n".join(json.dumps(e) for e in entries)
    (folder / "config_keys.json").write_text(f"[\n{lines}\n]\n")
    print(len(entries), "configurations")


if __name__ == "__main__":
    main()
