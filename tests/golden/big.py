"""Writes a model of random weights in the shape of a Llama, with another model's tokenizer.

    big.py TOKENIZER.gguf OUT.gguf BILLIONS

Q4_0 with a Q8_0 embedding, as most files of that size are. Written in pieces: the memory this needs
is that of one tensor. Run by `cargo xtask big`.
"""

import sys

import gguf
import numpy as np

# Billions to hidden, feed-forward, layers, heads, kv heads: Llama 3.2 1B and 3B, Llama 2 7B, Llama 3 8B.
SHAPES = {
    1: (2048, 8192, 16, 32, 8), 3: (3072, 8192, 28, 24, 8),
    7: (4096, 11008, 32, 32, 32), 8: (4096, 14336, 32, 32, 8),
}
TYPES = {"Q4_0": (gguf.GGMLQuantizationType.Q4_0, 18), "Q8_0": (gguf.GGMLQuantizationType.Q8_0, 34)}


def main():
    donor, out, billions = sys.argv[1], sys.argv[2], int(sys.argv[3])
    hidden, feed_forward, layers, heads, kv_heads = SHAPES[billions]
    kv = hidden // heads * kv_heads
    fields = gguf.GGUFReader(donor).fields
    w = gguf.GGUFWriter(out, "llama")
    w.add_context_length(4096)
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(feed_forward)
    w.add_block_count(layers)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model(fields["tokenizer.ggml.model"].contents())
    w.add_tokenizer_pre(fields["tokenizer.ggml.pre"].contents())
    tokens = fields["tokenizer.ggml.tokens"].contents()
    w.add_token_list(tokens)
    w.add_token_types(fields["tokenizer.ggml.token_type"].contents())
    w.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)

    plan = [("token_embd.weight", "Q8_0", len(tokens), hidden), ("output_norm.weight", None, hidden, 0)]
    for i in range(layers):
        plan += [(f"blk.{i}.{name}.weight", None, hidden, 0) for name in ["attn_norm", "ffn_norm"]]
        plan += [(f"blk.{i}.{name}.weight", "Q4_0", rows, cols) for name, rows, cols in [
            ("attn_q", hidden, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden),
            ("attn_output", hidden, hidden), ("ffn_gate", feed_forward, hidden),
            ("ffn_up", feed_forward, hidden), ("ffn_down", hidden, feed_forward)]]
    for name, kind, rows, cols in plan:
        if kind is None:
            w.add_tensor_info(name, (rows,), np.dtype(np.float32), rows * 4)
        else:
            dtype, size = TYPES[kind]
            shape, bytes = (rows, cols // 32 * size), rows * cols // 32 * size
            w.add_tensor_info(name, shape, np.dtype(np.uint8), bytes, raw_dtype=dtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    noise = np.random.default_rng(20261124)
    for name, kind, rows, cols in plan:
        if kind is None:
            w.write_tensor_data(np.ones(rows, np.float32))
            continue
        size = TYPES[kind][1]
        blocks = noise.integers(0, 256, (rows * cols // 32, size), dtype=np.uint8)
        # Weights of a standard deviation near 1 / sqrt(cols), as trained ones have.
        step = np.float16(1 / np.sqrt(cols) / (4.6 if kind == "Q4_0" else 74))
        blocks[:, :2] = np.array([step]).view(np.uint8)
        w.write_tensor_data(blocks)
    w.close()
    count = sum(rows * max(cols, 1) for _, _, rows, cols in plan)
    print(f"{count / 1e9:.2f} billion weights in {out}")


if __name__ == "__main__":
    main()
