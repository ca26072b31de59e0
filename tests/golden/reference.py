"""The f32 reference: a Llama-family forward pass in numpy over dequantised weights.

Independent of Gimbal: the file is read and dequantised by the package `gguf`, the arithmetic is
written from the paper and checked by nothing of ours. Every other number is compared with it.
"""

import gguf
import numpy as np


class Reference:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        field = lambda key: reader.fields[key].contents()
        arch = field("general.architecture")
        self.layers = field(f"{arch}.block_count")
        self.heads = field(f"{arch}.attention.head_count")
        self.kv_heads = field(f"{arch}.attention.head_count_kv")
        self.eps = field(f"{arch}.attention.layer_norm_rms_epsilon")
        self.theta = field(f"{arch}.rope.freq_base")
        self.weights = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            for t in reader.tensors
        }
        hidden = self.weights["token_embd.weight"].shape[1]
        self.dim = hidden // self.heads

    def start(self):
        """An empty KV cache."""
        return [None] * self.layers

    def forward(self, tokens, cache):
        """Logits `[len(tokens), vocab]` of the next tokens of a sequence."""
        w, first = self.weights, 0 if cache[0] is None else cache[0][0].shape[0]
        x = w["token_embd.weight"][np.asarray(tokens)]
        positions = np.arange(first, first + len(tokens))
        for i in range(self.layers):
            n = self.norm(x, w[f"blk.{i}.attn_norm.weight"])
            q, k, v = (n @ w[f"blk.{i}.attn_{s}.weight"].T for s in "qkv")
            q = self.rotate(q.reshape(len(tokens), self.heads, self.dim), positions)
            k = self.rotate(k.reshape(len(tokens), self.kv_heads, self.dim), positions)
            v = v.reshape(len(tokens), self.kv_heads, self.dim)
            if cache[i] is not None:
                k = np.concatenate([cache[i][0], k])
                v = np.concatenate([cache[i][1], v])
            cache[i] = (k, v)
            x = x + self.attend(q, k, v, first) @ w[f"blk.{i}.attn_output.weight"].T
            n = self.norm(x, w[f"blk.{i}.ffn_norm.weight"])
            gate = n @ w[f"blk.{i}.ffn_gate.weight"].T
            up = n @ w[f"blk.{i}.ffn_up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"blk.{i}.ffn_down.weight"].T
        x = self.norm(x, w["output_norm.weight"])
        return x @ w.get("output.weight", w["token_embd.weight"]).T

    def norm(self, x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.eps)) * weight

    def rotate(self, x, positions):
        """Adjacent pairs, as GGUF stores Llama's weights."""
        frequency = self.theta ** (-np.arange(0, self.dim, 2) / self.dim)
        angle = positions[:, None, None] * frequency
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        even, odd = x[..., ::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., ::2] = even * cos - odd * sin
        out[..., 1::2] = even * sin + odd * cos
        return out

    def attend(self, q, k, v, first):
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(self.dim))
        seen = np.arange(k.shape[0])[None, :] <= np.arange(first, first + q.shape[0])[:, None]
        scores = np.where(seen, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return np.einsum("hts,shd->thd", shares, v).reshape(q.shape[0], -1)

    def greedy(self, prompt, count):
        """The `count` tokens that follow, with the gap between the two best logits of each."""
        cache, tokens, gaps, feed = self.start(), [], [], prompt
        for _ in range(count):
            logits = self.forward(feed, cache)[-1]
            best, second = np.argsort(logits)[-1], np.partition(logits, -2)[-2]
            tokens.append(int(best))
            gaps.append(round(float(logits[best] - second), 4))
            feed = [int(best)]
        return tokens, gaps


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
