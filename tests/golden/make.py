"""Makes the committed golden files. Run by `cargo xtask golden`, which installs what it imports.

    make.py MODEL.gguf GEMMA.gguf FOLDER

- smollm2.json: greedy tokens of the f32 reference, with gaps and some logits; the README's prompt.
- quality.json: per position the reference's choice and gap, and llama.cpp's choice and KL.
- quality-gemma3.json: the same of Gemma 3 270M; one prompt is longer than its window.
- tokens.json, tokens-gemma3.json: token ids of many strings by llama.cpp.
- quants.json: random blocks of every quantised type, and their values by ggml.
"""

import ctypes
import json
import pathlib
import random
import sys

import llama_cpp
import numpy as np

from reference import Reference, log_softmax

README_PROMPT = "The alphabet: A, B, C, D, E,"
POSITIONS = 64
PROMPTS = [
    "The capital of France is", "Once upon a time", "The quick brown fox", "Water boils at",
    "The first three planets from the Sun are", "Photosynthesis is the process by which",
    "def fibonacci(n):", "A list of the days of the week: Monday,", "Gravity is",
    "To make a cup of tea, first", "The history of the Roman Empire begins",
    "In machine learning, a neural network", "Dear Sir or Madam,", "SELECT name FROM users WHERE",
    "The three laws of thermodynamics state that", "My favourite book is",
    "Q: What is the tallest mountain on Earth?\nA:", "During the winter, many birds",
    "The recipe calls for two eggs,", "An economy grows when", "She opened the door and",
    "<|im_start|>user\nWhat is a prime number?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a haiku about rain.<|im_end|>\n<|im_start|>assistant\n",
    "import numpy as np\n\n",
]
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABC xyz 019 .,;:!?'\"()[]{}", "  \t\n\r", "éüßñçøåłşğ",
    "привет мир", "你好世界語言模型", "こんにちは", "안녕하세요", "مرحبا", "😀👍🏽🇫🇷👨‍👩‍👧", "0123456789",
    "don't I'll we've", "\u00a0\u2003\u200b", "_-=+*/\\|<>~^%$#@&`",
]
TEXTS = [
    "", " ", "  ", "\n", "\n\n\n", "a", "Hello, world!", "Hello  world", "I'm you're he'd",
    "1234567890", "3.14159", "x=1;y=2", "<|im_start|>user", "café", "naïve", "ﬁne", "Ⅷ", "½",
    "\ufeffbom", "tab\tand\nnewline", "trailing space ", " leading", "e\u0301", "🇫🇷", "👨‍👩‍👧",
    "'s 't 're", "don’t", "ABC123def", "  indented\n    code", "\r\nwindows\r\n", "a\u00a0b",
]


# Elements and bytes of a block, and where its f16 scales are.
QUANTS = {
    "Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]),
    "Q5_1": (32, 24, [0, 2]), "Q8_0": (32, 34, [0]), "Q4_K": (256, 144, [0, 2]),
    "Q5_K": (256, 176, [0, 2]), "Q6_K": (256, 210, [208]),
}


def quants():
    ggml = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib/libggml-base.so"))
    noise, all_types = np.random.default_rng(20261124), {}
    for name, (elements, size, scales) in QUANTS.items():
        count = 24 if elements == 32 else 6
        raw = noise.integers(0, 256, (count, size), dtype=np.uint8)
        for at in scales:
            some = noise.normal(0, 0.05, (count, 1)).astype(np.float16)
            raw[:, at:at + 2] = some.view(np.uint8)
        # A scale of zero, and the smallest negative one.
        for block, d in [(0, 0.0), (1, -6e-8)]:
            raw[block, scales[0]:scales[0] + 2] = np.array([d], np.float16).view(np.uint8)
        raw, values = np.ascontiguousarray(raw), np.zeros(count * elements, np.float32)
        read = getattr(ggml, "dequantize_row_" + name.lower().replace("_k", "_K"))
        read.argtypes, read.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
        read(raw.ctypes.data, values.ctypes.data, values.size)
        all_types[name] = {"blocks": raw.tobytes().hex(), "values": values.tobytes().hex()}
    return all_types


def smollm2(reference, llama):
    cases = []
    for text in [README_PROMPT, *PROMPTS[:3], PROMPTS[21]]:
        prompt = tokenize(llama, text, special=True)
        tokens, gaps = reference.greedy(prompt, 24)
        logits = reference.forward(prompt, reference.start())[-1]
        some = [int(i) for i in np.argsort(logits)[-8:][::-1]] + [0, 1, 2, 1000, 49151]
        cases.append({
            "text": text, "prompt": prompt, "tokens": tokens, "gaps": gaps,
            "logits": {str(i): round(float(logits[i]), 5) for i in some},
        })
    return {"readme": 0, "cases": cases}


def quality(reference, llama, prompts=PROMPTS, positions=POSITIONS, bos=False):
    cases = []
    for text in prompts:
        prompt = tokenize(llama, text, special=True, bos=bos)
        tokens, _ = reference.greedy(prompt, positions)
        whole = prompt + tokens[:-1]
        logits = reference.forward(whole, reference.start())[-positions:]
        llama.reset()
        llama.eval(whole)
        theirs = np.array(llama.scores[len(whole) - positions : len(whole)])
        p, q = log_softmax(logits), log_softmax(theirs)
        two = np.partition(logits, -2)[:, -2:]
        cases.append({
            "text": text, "prompt": prompt, "tokens": tokens,
            "choice": logits.argmax(-1).tolist(),
            "gap": np.round(two[:, 1] - two[:, 0], 4).tolist(),
            "llama_choice": theirs.argmax(-1).tolist(),
            "llama_kl": np.round((np.exp(p) * (p - q)).sum(-1), 7).tolist(),
        })
    return {"llama_cpp": "llama-cpp-python " + llama_cpp.__version__, "llama_kv": "f16", "cases": cases}


def tokens(llama):
    noise = random.Random(20261124)
    texts = list(TEXTS) + PROMPTS
    while len(texts) < 1200:
        parts = [noise.choice(ALPHABETS) for _ in range(noise.randint(1, 4))]
        texts.append("".join(noise.choice(p) for p in parts for _ in range(noise.randint(1, 9))))
    texts += ["".join(chr(noise.choice([noise.randrange(0x20, 0x2FF), noise.randrange(0x370, 0xD7FF),
              noise.randrange(0xE000, 0x1FFFF)])) for _ in range(noise.randint(1, 12))) for _ in range(300)]
    return {"cases": [[t, tokenize(llama, t, special=False)] for t in texts]}


def tokenize(llama, text, special, bos=False):
    return llama.tokenize(text.encode(), add_bos=bos, special=special)


def write(folder, name, data):
    with open(f"{folder}/{name}.json", "w") as out:
        json.dump(data, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")
    print(name, len(data.get("cases", data)), "cases")


def gemma3(path):
    llama = llama_cpp.Llama(path, n_ctx=2048, n_batch=512, logits_all=True, verbose=False)
    prompts = PROMPTS[:12] + [" ".join(PROMPTS[:21] * 5)]
    return quality(Reference(path), llama, prompts, positions=48, bos=True)


def main():
    model, gemma, folder = sys.argv[1:]
    llama = llama_cpp.Llama(model, n_ctx=2048, n_batch=512, logits_all=True, verbose=False)
    reference = Reference(model)
    write(folder, "quants", quants())
    write(folder, "tokens", tokens(llama))
    write(folder, "smollm2", smollm2(reference, llama))
    write(folder, "quality", quality(reference, llama))
    del reference, llama
    write(folder, "quality-gemma3", gemma3(gemma))
    vocabulary = llama_cpp.Llama(gemma, vocab_only=True, verbose=False)
    write(folder, "tokens-gemma3", tokens(vocabulary))


if __name__ == "__main__":
    main()
