"""For pytest: vLLM's tests of entrypoints as they are, against the real binary, with nothing fetched.

`tests.utils` is `vllm_server.py` here, and the package itself, `stand_ins.py`.
"""

import logging
import os
import pathlib
import sys
import types

import gguf
import pytest
import stand_ins
import transformers
import vllm_server
from counts import NOT_OURS, known, not_ours, without_server
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ENGINE = "vLLM's engine in the test's own process"
FOLDERS = {
    "cohere/test_registry_and_args.py": ENGINE,
    "common": "vLLM's own command line and processes",
    "cli": "vLLM's own command line and processes",
    "launchers": "vLLM's own command line and processes",
    "llm": ENGINE,
    "openai/models": "adapters",
    "openai/test_openai_schema.py": "schemathesis, which `cargo xtask test` runs",
    "serve/lora": "adapters",
    "serve/sagemaker/test_sagemaker_lora": "adapters",
    "multimodal": "images, sounds and films",
    "openai/responses/test_harmony.py": "gpt-oss and its packages",
    "openai/responses/test_parsable_context.py": "gpt-oss and its packages",
    "openai/responses/test_mcp_tools.py": "gpt-oss and its packages",
    "pooling": "models that do not generate",
    "rl": "weights that change while they are served",
    "scale_out": "vLLM's own parts in processes of their own",
    "speech_to_text": "images, sounds and films",
    "unit_tests": ENGINE,
}
ROOTS = [
    ("vllm", ENGINE),
    ("tests.conftest", ENGINE),
    ("tests.models", ENGINE),
    ("tests.v1", ENGINE),
    ("tests.reasoning", ENGINE),
    ("torch", "PyTorch in the test"),
    ("lm_eval", "lm-eval, which `cargo xtask clients` runs"),
    ("schemathesis", "schemathesis, which `cargo xtask test` runs"),
    ("hypothesis", "schemathesis, which `cargo xtask test` runs"),
    ("PIL", "images, sounds and films"),
    ("soundfile", "images, sounds and films"),
    ("jiwer", "images, sounds and films"),
    ("datasets", "files of a hub"),
    *((name, ENGINE) for name in (
        "fastapi", "model_hosting_container_standards", "openai_harmony", "orjson", "rapidfuzz",
        "starlette", "uvicorn", "uvloop", "websockets", "zmq",
    )),
]
# Adapters are named so.
ADAPTER = "lora"
# A line for each: `model` where an answer is about what another one says or thinks, `feature` where
# a feature is missing and no answer tells so; and a part of tests' ids.
KINDS = {"model": "another model", "feature": "missing feature"}
for line in pathlib.Path(__file__).with_name("vllm_known.txt").read_text().splitlines():
    kind, test = line.split()
    known[test] = KINDS[kind]
without_server[0] = ENGINE
stand_ins.install(ROOTS)
# Of calls that a test starts and leaves.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Platform:
    """A test for one kind of device is not left out."""

    def __getattr__(self, name):
        return lambda *_: name.startswith(("is_cuda", "supports"))


class Hub:
    """Where adapters come from; servers here have none."""

    def snapshot_download(self, *_, **__):
        return "/adapter"


def tokenizer(*_, **__):
    """The served model's, whatever model a test names, as Transformers has it."""
    fields = gguf.GGUFReader(os.environ["GIMBAL_MODEL"]).fields
    told = {key: field.contents() for key, field in fields.items() if "tokenizer" in key}
    words, kinds = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in told["tokenizer.ggml.merges"]]
    vocabulary = {word: index for index, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    made.decoder = decoders.ByteLevel()
    control = gguf.TokenType.CONTROL
    made.add_special_tokens([word for word, kind in zip(words, kinds) if kind == control])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=words[told["tokenizer.ggml.bos_token_id"]],
        eos_token=words[told["tokenizer.ggml.eos_token_id"]],
        chat_template=told["tokenizer.chat_template"],
    )


transformers.AutoTokenizer.from_pretrained = staticmethod(tokenizer)


def unmarked(*given, **_):
    return given[0] if given and callable(given[0]) else unmarked


import vllm.platforms
import vllm.tokenizers
import vllm.transformers_utils.repo_utils

vllm.platforms.current_platform = Platform()
vllm.tokenizers.get_tokenizer = tokenizer
vllm.transformers_utils.repo_utils.hf_api = Hub
transformers.AutoConfig = stand_ins.made("files of a hub", "AutoConfig")
utils = sys.modules["tests.utils"] = types.ModuleType("tests.utils")
utils.RemoteOpenAIServer = vllm_server.RemoteOpenAIServer
utils.RemoteLaunchRenderServer = stand_ins.made(ENGINE, "RemoteLaunchRenderServer")
utils.ROCM_EXTRA_ARGS, utils.VLLM_PATH = [], pathlib.Path(os.environ["SUITE"])
utils.large_gpu_mark = utils.multi_gpu_marks = lambda *_, **__: pytest.mark.usefixtures()
utils.create_new_process_for_each_test = utils.multi_gpu_only = utils.multi_gpu_test = unmarked
utils.requires_fp8 = unmarked


@pytest.fixture
def local_asset_server():
    not_ours("images, sounds and films")


def pytest_collection_modifyitems(items):
    for item in items:
        path = item.location[0].partition("entrypoints/")[2]
        why = next((FOLDERS[key] for key in FOLDERS if path.startswith(key)), None)
        asked = getattr(item, "callspec", None)
        if asked and any(ADAPTER in str(value).lower() for value in asked.params.values()):
            why = "adapters"
        if why:
            item.add_marker(pytest.mark.skip(NOT_OURS + why))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    stand_ins.runs[0] = True
    try:
        return (yield)
    finally:
        stand_ins.runs[0] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except OSError as problem:
        if "huggingface.co" in str(problem):
            not_ours("files of a hub")
        raise
