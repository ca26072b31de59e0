"""What vLLM's tests start instead of `vllm serve`: its flags as Gimbal's.

GIMBAL is the program and GIMBAL_MODEL its model, whatever model a test names; it is served under
the name that the test asks for. A flag without a counterpart is left out, so that a test fails where
it needs it; one of OTHERS asks for a server that does something else.
"""

import os
import socket
import subprocess
import time

import anthropic
import openai
import requests
from counts import lacks, not_ours

OURS = {
    "--host": "--host",
    "--port": "--port",
    "--served-model-name": "--served-model-name",
    "--api-key": "--api-key",
    "--chat-template": "--chat-template",
    "--tool-call-parser": "--tool-call-parser",
    "--reasoning-parser": "--reasoning-parser",
    "--max-num-batched-tokens": "--max-rolling-batch-prefill-tokens",
}
OTHERS = {
    "--runner": "a model that does not generate",
    "--tool-server": "tools that the server itself runs",
    "--enable-scale-out": "vLLM's own parts in processes of their own",
    "--data-parallel-size": "vLLM's own parts in processes of their own",
    "--api-server-count": "vLLM's own parts in processes of their own",
    "--middleware": "Python in the server",
    "--worker-extension-cls": "Python in the server",
    "--diffusion-config": "a model that does not generate",
}
# What a server lacks that leaves them out.
FEATURES = {
    "--enable-force-include-usage", "--enable-log-requests", "--enable-per-request-metrics",
    "--enable-prompt-embeds", "--reasoning-config", "--return-tokens-as-token-ids", "--root-path",
    "--uds", "--watermark-config",
}
# Of the environment: a file of Python that the server loads.
SCRIPT = "CUSTOM_SCRIPT_FILENAME"
# The default model's.
MODEL_LEN_MAX = 8192
BOOT_S = 60


def translated(model, given):
    flags = {}
    for word in given:
        name, is_joined, value = word.partition("=")
        if word.startswith("--"):
            flags[name] = value if is_joined else None
        else:
            flags[last] = word
        last = name if word.startswith("--") else last
    for name, why in OTHERS.items():
        if name in flags:
            not_ours(why)
    lacks[0] = not FEATURES.isdisjoint(flags)
    ours = []
    for name, value in flags.items():
        if name in OURS:
            ours += [OURS[name], value]
    if "--served-model-name" not in flags:
        ours += ["--served-model-name", model]
    if "--no-enable-prefix-caching" in flags:
        ours += ["--enable-prefix-caching", "false"]
    if "--max-model-len" in flags:
        ours += ["--max-model-len", str(min(int(flags["--max-model-len"]), MODEL_LEN_MAX))]
    return ours


def open_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class RemoteOpenAIServer:
    DUMMY_API_KEY = "token-abc123"

    def __init__(self, model, vllm_serve_args, *, env_dict=None, **_):
        given = list(vllm_serve_args)
        self.host, self.port, self.uds = "127.0.0.1", open_port(), None
        self.show_hidden_metrics = False
        if "--port" in given:
            self.port = int(given[given.index("--port") + 1])
        else:
            given += ["--port", str(self.port)]
        environment = {**os.environ, **(env_dict or {})}
        if SCRIPT in environment:
            not_ours("Python in the server")
        command = [os.environ["GIMBAL"], "serve", os.environ["GIMBAL_MODEL"]]
        command += ["--metrics-alias", "vllm", *translated(model, given)]
        quiet = subprocess.DEVNULL
        self.proc = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
        until = time.monotonic() + BOOT_S
        while not self.is_up():
            if self.proc.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise RuntimeError(f"no server by {command[5:]}")
            time.sleep(0.05)

    def is_up(self):
        try:
            return requests.get(self.url_for("ping"), timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        lacks[0] = False
        self.proc.kill()
        self.proc.wait()

    @property
    def url_root(self):
        return f"http://{self.host}:{self.port}"

    def url_for(self, *parts):
        return "/".join((self.url_root, *parts))

    def client(self, of, path, given):
        return of(**{
            "base_url": self.url_for(*path), "api_key": self.DUMMY_API_KEY, "max_retries": 0,
            "timeout": 600, **given,
        })

    def get_client(self, **given):
        return self.client(openai.OpenAI, ["v1"], given)

    def get_async_client(self, **given):
        return self.client(openai.AsyncOpenAI, ["v1"], given)

    def get_client_anthropic(self, **given):
        return self.client(anthropic.Anthropic, [], given)

    def get_async_client_anthropic(self, **given):
        return self.client(anthropic.AsyncAnthropic, [], given)
