"""Tokens a second of one sequence by another engine: `peers.py ENGINE MODEL.gguf THREADS`.

Prints one line of JSON: the median of three runs of 96 tokens, chosen greedily after a short prompt,
after one run that does not count. Used by `cargo xtask peers`.
"""

import json
import os
import statistics
import sys

PROMPT = "The alphabet: A, B, C, D, E,"
TOKENS = 96
RUNS = 3


def openvino(model, threads):
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos, config.do_sample = TOKENS, True, False
    config.apply_chat_template = False

    def run():
        metrics = pipeline.generate([PROMPT], config).perf_metrics
        return 1000.0 / metrics.get_tpot().mean

    return run


def mistralrs(model, threads):
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    from mistralrs import CompletionRequest, Runner, Which

    folder, name = os.path.split(os.path.abspath(model))
    runner = Runner(which=Which.GGUF(quantized_model_id=folder, quantized_filename=name))

    def run():
        request = CompletionRequest(
            model="default", prompt=PROMPT, max_tokens=TOKENS, temperature=0.0, top_k=1
        )
        return runner.send_completion_request(request).usage.avg_compl_tok_per_sec

    return run


def main():
    engine, model, threads = sys.argv[1:]
    run = {"openvino": openvino, "mistralrs": mistralrs}[engine](model, int(threads))
    run()
    print(json.dumps({"tokens_per_second": statistics.median(run() for _ in range(RUNS))}))


main()
