"""Makes `keys.json`: logits of the families' tiny weights under other configurations, by Transformers.

    keys.py FOLDER

`FOLDER/families` has the weights (see `families.py`). Each case lays some keys over the family's
`config.json`, or takes some away; Transformers (5.24, PyTorch on the CPU, f64, eager attention) then
computes the last position of each prompt. A case is made only of keys that Transformers itself reads.
"""

import json
import pathlib
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM

GONE = object()
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
SLIDING = {"sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}
CASES = {
    "rope_parameters": ("llama", {"rope_theta": GONE, "rope_parameters":
                                  {"rope_type": "default", "rope_theta": 500.0}}),
    "rope_parameters_beat_rope_theta": ("llama", {"rope_theta": 9e5, "rope_parameters":
                                                  {"rope_type": "default", "rope_theta": 500.0}}),
    "rope_scaling_beats_rope_parameters": ("llama", {
        "rope_scaling": {"type": "linear", "factor": 3.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "theta_of_the_class": ("smollm3", {"rope_theta": GONE}),
    "eps_of_the_class": ("llama", {"rms_norm_eps": GONE}),
    "dynamic_within_the_context": ("llama", {"rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    "llama3_original_outside": ("llama3", {"original_max_position_embeddings": 32}),
    "partial_nested": ("phi3", {"rope_theta": GONE, "rope_parameters": {
        "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "partial_outside": ("phi3", {"partial_rotary_factor": 0.75}),
    "phi3_window": ("phi3", {"sliding_window": 9}),
    "query_scalar": ("gemma3", {"query_pre_attn_scalar": 64}),
    "query_scalar_of_the_class": ("gemma3", {"query_pre_attn_scalar": GONE}),
    "gemma_nested": ("gemma3", {"rope_theta": GONE, "rope_local_base_freq": GONE, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5}, **SLIDING}}),
    "gemma_scaling": ("gemma3", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "gemma_thetas_of_the_class": ("gemma3", {"rope_theta": GONE, "rope_local_base_freq": GONE}),
    "gemma_layers": ("gemma3", {"layer_types": ["full_attention", "sliding_attention"] * 3}),
    "gemma_pattern": ("gemma3", {"sliding_window_pattern": 2}),
    "window_flag_absent": ("qwen2", {"sliding_window": 8}),
    "window_from_layer_1": ("qwen2", {"use_sliding_window": True, "sliding_window": 8,
                                      "max_window_layers": 1}),
    "window_of_named_layers": ("qwen3", {"use_sliding_window": True, "sliding_window": 8,
                                         "layer_types": ["sliding_attention", "full_attention"]}),
    "window_null": ("mistral", {"sliding_window": None}),
    "window_of_the_class": ("mistral", {"sliding_window": GONE}),
    "yarn_mscale": ("yarn", {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}}),
    "yarn_mscales_differ": ("yarn", {"rope_scaling": YARN | {"mscale": 2.0, "mscale_all_dim": 0.5}}),
    "yarn_mscale_alone": ("yarn", {"rope_scaling": YARN | {"mscale": 2.0}}),
    "yarn_attention_factor": ("yarn", {"rope_scaling": YARN | {"attention_factor": 0.7, "mscale": 2.0,
                                                              "mscale_all_dim": 0.5}}),
    "yarn_whole": ("yarn", {"rope_scaling": YARN | {"truncate": False}}),
    "yarn_betas": ("yarn", {"rope_scaling": YARN | {"beta_fast": 8, "beta_slow": 2}}),
    "yarn_nested": ("yarn", {"rope_scaling": GONE, "rope_theta": GONE,
                             "rope_parameters": YARN | {"rope_theta": 1e5, "mscale": 0.0}}),
    "olmo3_nested": ("olmo3", {"rope_scaling": GONE, "rope_parameters": {
        "full_attention": YARN | {"rope_theta": 5e5}, **SLIDING}}),
    "olmo3_layers": ("olmo3", {"layer_types": ["full_attention", "sliding_attention"] * 2}),
    "no_rope_interval": ("smollm3", {"no_rope_layers": GONE, "no_rope_layer_interval": 2}),
    "still_layers_slide": ("smollm3", {"use_sliding_window": True, "sliding_window": 8}),
    "longrope_factor": ("longrope", {"rope_scaling": "AND", "and": {"factor": 2.0}}),
    "olmo2_dynamic": ("olmo2", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
}


def changed(config, changes):
    config = dict(config) | {"pad_token_id": None}  # whose defaults are past this vocabulary
    for key, value in changes.items():
        if value is GONE:
            config.pop(key, None)
        elif value == "AND":
            config[key] = config[key] | changes["and"]
        elif key != "and":
            config[key] = value
    return config


def logits(folder, config, prompts):
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for file in folder.iterdir():
            if "safetensors" in file.name:
                (place / file.name).write_bytes(file.read_bytes())
        (place / "config.json").write_text(json.dumps(config))
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float64,
                                                     attn_implementation="eager")
    found = []
    for prompt in prompts:
        with torch.no_grad():
            out = model(torch.tensor([prompt])).logits[0, -1]
        found.append([round(float(x), 5) for x in out])
    return found


def main():
    folder = pathlib.Path(sys.argv[1])
    families = folder / "families"
    prompts = json.loads((families / "logits.json").read_text())["prompts"]
    made = {}
    for name, (family, changes) in CASES.items():
        config = changed(json.loads((families / family / "config.json").read_text()), changes)
        made[name] = {"family": family, "config": config,
                      "logits": logits(families / family, config, prompts)}
        print(name, "written")
    cases = ",\n".join(f"{json.dumps(name)}: {json.dumps(case, separators=(',', ':'))}"
                       for name, case in made.items())
    text = f'{{"prompts": {json.dumps(prompts, separators=(",", ":"))},\n"cases": {{\n{cases}\n}}}}\n'
    (folder / "keys.json").write_text(text)


if __name__ == "__main__":
    main()
