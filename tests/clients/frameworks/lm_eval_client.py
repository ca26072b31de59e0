"""lm-eval's local-completions and local-chat-completions, by its remote tokenizer.

Scores are compared with those of its own backend for Transformers in f32 on the same weights, stored by
`../lm_eval/reference.py`.
"""

import json
import pathlib
import sys

from given import MODEL, URL, check

sys.path.append(str(pathlib.Path(__file__).parent.parent / "lm_eval"))

from scores import CHOICES, FOLDER, scores

REFERENCE = json.loads((FOLDER / "reference.json").read_text())
# Of an accuracy; of a perplexity, this share.
POINT = 0.01
# A choice whose log-likelihood is above the next by so much is the same in any precision.
CLEAR = 0.5
asked = {"model": MODEL, "num_concurrent": 8, "max_retries": 1, "max_length": 4096}


def by_completions(*tasks):
    return scores("local-completions", {"base_url": f"{URL}/v1/completions", **asked}, tasks)


def compare(task, metric, found, bound):
    value, expected = found[task][metric], REFERENCE[task][metric]
    told = f"{task} {metric} {value:.4g}, Transformers {expected:.4g}"
    assert abs(value - expected) <= bound + 1e-9, f"{told}: more than {bound} apart"
    return told


def choices():
    """multiple choice: each of three scores within a point of Transformers', all clear choices equal"""
    found = by_completions(*CHOICES)
    for task in CHOICES:
        pairs = list(zip(found[task]["chosen"], REFERENCE[task]["chosen"], strict=True))
        other = [gap for (mine, _), (theirs, gap) in pairs if mine != theirs]
        assert all(gap < CLEAR for gap in other), f"{task}: {other}"
    return "; ".join(compare(task, "acc", found, POINT) for task in CHOICES)


def texts():
    """perplexity of texts within a hundredth of Transformers'"""
    found = by_completions("texts")
    return compare("texts", "word_perplexity", found, POINT * REFERENCE["texts"]["word_perplexity"])


def generated():
    """generated answers: one of 20 at most other than Transformers'"""
    return compare("capitals", "exact_match", by_completions("capitals"), 1 / 20)


def by_chat():
    """generated answers by chat completions"""
    arguments = {"base_url": f"{URL}/v1/chat/completions", **asked}
    scores("local-chat-completions", arguments, ["capitals"], apply_chat_template=True)


check(choices, texts, generated, by_chat)
