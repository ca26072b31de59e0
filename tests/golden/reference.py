"""The f32 reference: the forward pass of Llama and of Gemma 3 in numpy over dequantised weights.

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
        self.gemma = arch == "gemma3"
        # Of Gemma 3, every sixth layer sees all; the others have a window and their own base.
        self.window = field(f"{arch}.attention.sliding_window") if self.gemma else None
        self.weights = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            for t in reader.tensors
        }
        self.hidden = self.weights["token_embd.weight"].shape[1]
        self.dim = field(f"{arch}.attention.key_length") if self.gemma else self.hidden // self.heads

    def start(self):
        """An empty KV cache."""
        return [None] * self.layers

    def forward(self, tokens, cache):
        """Logits `[len(tokens), vocab]` of the next tokens of a sequence."""
        w, first = self.weights, 0 if cache[0] is None else cache[0][0].shape[0]
        x = w["token_embd.weight"][np.asarray(tokens)]
        if self.gemma:
            x = x * np.float32(np.sqrt(self.hidden))
        positions = np.arange(first, first + len(tokens))
        for i in range(self.layers):
            local = self.gemma and (i + 1) % 6 != 0
            theta, window = (1e4, self.window) if local else (self.theta, None)
            n = self.norm(x, w[f"blk.{i}.attn_norm.weight"])
            q, k, v = (n @ w[f"blk.{i}.attn_{s}.weight"].T for s in "qkv")
            q = q.reshape(len(tokens), self.heads, self.dim)
            k = k.reshape(len(tokens), self.kv_heads, self.dim)
            if self.gemma:
                q = self.norm(q, w[f"blk.{i}.attn_q_norm.weight"])
                k = self.norm(k, w[f"blk.{i}.attn_k_norm.weight"])
            q, k = self.rotate(q, positions, theta), self.rotate(k, positions, theta)
            v = v.reshape(len(tokens), self.kv_heads, self.dim)
            if cache[i] is not None:
                k = np.concatenate([cache[i][0], k])
                v = np.concatenate([cache[i][1], v])
            cache[i] = (k, v)
            a = self.attend(q, k, v, first, window) @ w[f"blk.{i}.attn_output.weight"].T
            if self.gemma:
                a = self.norm(a, w[f"blk.{i}.post_attention_norm.weight"])
            x = x + a
            n = self.norm(x, w[f"blk.{i}.ffn_norm.weight"])
            gate = n @ w[f"blk.{i}.ffn_gate.weight"].T
            up = n @ w[f"blk.{i}.ffn_up.weight"].T
            fed = (self.act(gate) * up) @ w[f"blk.{i}.ffn_down.weight"].T
            if self.gemma:
                fed = self.norm(fed, w[f"blk.{i}.post_ffw_norm.weight"])
            x = x + fed
        x = self.norm(x, w["output_norm.weight"])
        return x @ w.get("output.weight", w["token_embd.weight"]).T

    def norm(self, x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.eps)) * weight

    def act(self, x):
        """GELU by its tanh form for Gemma, SiLU for Llama."""
        if self.gemma:
            return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
        return x / (1 + np.exp(-x))

    def rotate(self, x, positions, theta):
        """Adjacent pairs, as GGUF stores Llama's weights; halves for Gemma."""
        frequency = theta ** (-np.arange(0, self.dim, 2) / self.dim)
        angle = positions[:, None, None] * frequency
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        if self.gemma:
            a, b = np.split(x, 2, -1)
            return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)
        even, odd = x[..., ::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., ::2] = even * cos - odd * sin
        out[..., 1::2] = even * sin + odd * cos
        return out

    def attend(self, q, k, v, first, window):
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(self.dim))
        back = np.arange(first, first + q.shape[0])[:, None] - np.arange(k.shape[0])[None, :]
        seen = (back >= 0) & (back < (window or k.shape[0]))
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
