"""Trains small vocabularies and asks llama.cpp and the `tokenizers` library for ids.

    vocabularies.py FOLDER

Writes FOLDER/texts.json, and for each vocabulary FOLDER/NAME.json (its data) and FOLDER/NAME-ids.json
(ids of the texts). Run by `cargo xtask golden`.
"""

import io
import json
import os
import pathlib
import random
import sys
import tempfile
import unicodedata

# Sums of many threads differ from run to run.
os.environ["RAYON_NUM_THREADS"] = "1"
import gguf
import llama_cpp
import numpy as np
import sentencepiece
import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from make import ALPHABETS, PROMPTS, TEXTS

CONTROL, USER = "<|im_end|>", "<think>"
SPACE = "\u2581"
ODD = [
    "\ufffd", "a\ufffdb", "\u0301", "\u0301\u0301 a", "\x00", "a\x00b", "\ufeff", "\ufeffa \ufeff",
    "\U0010ffff", "\uffff", "\u200d", "\ud7ff\ue000", "<0x41>", "<0x0A>", SPACE, SPACE * 3 + "a",
    "a" + SPACE + " b", "<s>", "</s>", "<s>a</s>", "<unk>", "</s", "<pad>", CONTROL, f"a {CONTROL} b",
    f"{CONTROL}{CONTROL}a", USER, f" {USER} ", f"a{USER}b{CONTROL}c", f"{USER}{USER}", f"  {USER}  a",
    "<|im_end|", "<|im_<|im_end|>end|>", "<|begin_of_text|>x", "  a  b   c    d ", "\t \n a\n\n b \r\n",
    "ＦＵＬＬ　ｗｉｄｔｈ", "①②③ ㎏ ﬃ ſ", "e\u0301a\u0308o\u0302", "\u212b\u2126 \u1e9b\u0323", "\u00ad\u200b\u200e",
    "＜think＞", "a" * 300, "ab " * 100, " " * 200, "日本語" * 40, "🦀" * 30,
]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def texts():
    noise = random.Random(20261125)
    texts = list(TEXTS) + ODD + PROMPTS
    glue = ["", "", "", " ", "  ", CONTROL, USER, "</s>", "\x00", "\u0301", "\ufffd", "\ufeff"]
    while len(texts) < 950:
        parts = [noise.choice(ALPHABETS) for _ in range(noise.randint(1, 4))]
        words = ["".join(noise.choice(p) for _ in range(noise.randint(1, 7))) for p in parts]
        texts.append("".join(word + noise.choice(glue) for word in words))
    ranges = [(0x20, 0x2FF), (0x370, 0xD7FF), (0xE000, 0xFDCF), (0xFDF0, 0x1FFFF)]
    some = lambda: chr(noise.randrange(*noise.choice(ranges)))
    return texts + ["".join(some() for _ in range(noise.randint(1, 8))) for _ in range(200)]


def corpus():
    noise = random.Random(20261126)
    root = pathlib.Path(__file__).resolve().parents[2]
    lines = [line for name in ["README.md", "ARCHITECTURE.md"]
             for line in (root / name).read_text().splitlines() if line.strip()]
    for _ in range(600):
        letters = noise.choice(ALPHABETS[:10])
        words = ["".join(noise.choice(letters) for _ in range(noise.randint(1, 6))) for _ in range(5)]
        lines.append(" ".join(words).strip() or "a")
    return lines


def charsmap_rules(path):
    """Part of `nmt_nfkc`, whose whole file has 300 kB."""
    rules = {(c,): " " for c in map(ord, "\t\n\r\u00a0\u2003\u3000\ufeff")}
    rules |= {(c,): "" for c in [*range(1, 9), *range(14, 32), 0x7F, 0x200B, 0x200E, 0xAD]}
    for c in [*range(0xA8, 0x250), *range(0x1E00, 0x1F00), *range(0x2100, 0x2150),
              *range(0x2460, 0x2480), *range(0x3380, 0x33C0), *range(0xFB00, 0xFB07),
              *range(0xFF01, 0xFF5F)]:
        for form in {chr(c), unicodedata.normalize("NFD", chr(c))}:
            normal = unicodedata.normalize("NFKC", form)
            if normal != form:
                rules.setdefault(tuple(map(ord, form)), normal)
    hexes = lambda text: " ".join(f"{ord(c) if isinstance(c, str) else c:X}" for c in text)
    path.write_text("".join(f"{hexes(a)}\t{hexes(b)}\n" for a, b in sorted(rules.items())))


def sentences(folder, kind, lines):
    model = io.BytesIO()
    options = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
               "remove_extra_whitespaces": False}
    if kind == "t5":
        charsmap_rules(folder / "rules.tsv")
        options = {"model_type": "unigram", "normalization_rule_tsv": str(folder / "rules.tsv")}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=1800, num_threads=1,
        character_coverage=0.995, control_symbols=[CONTROL], user_defined_symbols=[USER],
        hard_vocab_limit=False, minloglevel=2, **options)
    from sentencepiece import sentencepiece_model_pb2 as pb2
    proto = pb2.ModelProto.FromString(model.getvalue())
    return {
        "kind": kind,
        "tokens": [piece.piece for piece in proto.pieces],
        "scores": [round(piece.score, 4) for piece in proto.pieces],
        "token_types": [piece.type for piece in proto.pieces],
        "charsmap": proto.normalizer_spec.precompiled_charsmap.hex(),
        "bos": proto.trainer_spec.bos_id, "eos": proto.trainer_spec.eos_id,
        "unk": proto.trainer_spec.unk_id, "add_bos": kind == "llama", "add_eos": kind == "t5",
        "add_space_prefix": True, "remove_extra_whitespaces": kind == "t5",
    }


def llama(folder, data):
    path = str(folder / "vocabulary.gguf")
    w = gguf.GGUFWriter(path, data["kind"])
    w.add_tokenizer_model(data["kind"])
    w.add_token_list(data["tokens"])
    w.add_token_scores(data["scores"])
    w.add_token_types(data["token_types"])
    if data["charsmap"]:
        w.add_precompiled_charsmap(bytes.fromhex(data["charsmap"]))
    w.add_bos_token_id(data["bos"])
    w.add_eos_token_id(data["eos"])
    w.add_unk_token_id(data["unk"])
    w.add_add_bos_token(data["add_bos"])
    w.add_add_eos_token(data["add_eos"])
    w.add_add_space_prefix(data["add_space_prefix"])
    w.add_remove_extra_whitespaces(data["remove_extra_whitespaces"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    return lambda text, special, add: model.tokenize(text.encode(), add_bos=add, special=special)


def added(tokenizer, *special):
    tokenizer.add_special_tokens([hf.AddedToken(t, normalized=False) for t in special])
    tokenizer.add_tokens([hf.AddedToken(USER, normalized=False),
                          hf.AddedToken("<Norm> x", normalized=True),
                          hf.AddedToken("<strip>", normalized=False, lstrip=True, rstrip=True)])


def byte_level(lines):
    """As Llama 3, with the normaliser of Qwen."""
    t = hf.Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(hf.Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=alphabet, show_progress=False))
    added(t, "<|begin_of_text|>", CONTROL)
    bos = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="$A $B",
                                      special_tokens=[("<|begin_of_text|>", bos)])])
    t.decoder = decoders.ByteLevel()
    return t


def byte_fallback(lines):
    """As Llama 2 and Gemma."""
    t = hf.Tokenizer(models.BPE(unk_token="<unk>"))
    spaced = [SPACE + word for line in lines for word in line.split()]
    t.train_from_iterator(spaced, trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    data = json.loads(t.to_str())
    model = data["model"]
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    rest = [token for token in model["vocab"] if token not in names[:3]]
    model["vocab"] = {token: i for i, token in enumerate(names + rest)}
    model |= {"byte_fallback": True, "fuse_unk": True}
    t = hf.Tokenizer.from_str(json.dumps(data))
    t.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    added(t, "<unk>", "<s>", "</s>", CONTROL)
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(),
                                   decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return t


def unigram(lines):
    """As T5's children, with the first blank of newer Llama files."""
    t = hf.Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                         normalizers.Replace(hf.Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    t.train_from_iterator(lines, trainers.UnigramTrainer(
        vocab_size=1200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
        show_progress=False))
    data = json.loads(t.to_str())
    # The last digits differ from run to run.
    data["model"]["vocab"] = [[token, round(score, 4)] for token, score in data["model"]["vocab"]]
    t = hf.Tokenizer.from_str(json.dumps(data))
    added(t, "<pad>", "</s>", "<unk>", CONTROL)
    t.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    t.decoder = decoders.Metaspace()
    return t


def library(tokenizer):
    def ids(text, special, add):
        tokenizer.encode_special_tokens = not special
        return tokenizer.encode(text, add_special_tokens=add).ids
    return ids


def cases(texts, ids, control):
    """For each text its ids where control tokens are text, then, if others, where they are such.
    `None` where the library itself makes a control token of plain text."""
    found = []
    for text in texts:
        plain, special = ids(text, False, False), ids(text, True, False)
        forged = any(id in plain and token in text for id, token in control.items())
        found.append([None if forged else plain] + ([special] if special != plain else []))
    return found


def write(folder, name, data):
    with open(f"{folder}/{name}.json", "w") as out:
        json.dump(data, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")
    print(name, out.name, pathlib.Path(out.name).stat().st_size, "bytes")


def main():
    folder = pathlib.Path(sys.argv[1])
    strings, lines = texts(), corpus()
    write(folder, "texts", strings)
    answers = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ["llama", "t5"]:
            data = sentences(pathlib.Path(scratch), kind, lines)
            write(folder, kind, data)
            control = {i: data["tokens"][i] for i, t in enumerate(data["token_types"]) if t == 3}
            ids = llama(pathlib.Path(scratch), data)
            answers[kind] = (cases(strings, ids, control), ids)
    for name, train in [("byte_level", byte_level), ("byte_fallback", byte_fallback), ("unigram", unigram)]:
        tokenizer = train(lines)
        data = json.loads(tokenizer.to_str())
        write(folder, name, data)
        control = {t["id"]: t["content"] for t in data["added_tokens"] if t["special"]}
        ids = library(hf.Tokenizer.from_str(json.dumps(data)))
        answers[name] = (cases(strings, ids, control), ids)
    some = ["", "a", "Hello, world!", f"a{CONTROL}b", " \n"]
    for name, (found, ids) in answers.items():
        more = [[text, ids(text, True, True)] for text in some]
        write(folder, f"{name}-ids", {"cases": found, "added": more})


if __name__ == "__main__":
    main()
