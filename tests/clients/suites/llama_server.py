#!/usr/bin/env python3
"""What llama.cpp's server tests start instead of llama-server: its flags as Gimbal's.

GIMBAL is the program and GIMBAL_MODEL its model, whatever model a test names: no hub is asked. A flag
without a counterpart is left out, so that a test fails where it needs it; a server that does something
else than to generate, or lacks its file, ends with NOT_OURS.
"""

import os
import sys

NOT_OURS = 3
OURS = {
    "--host": "--host",
    "--port": "--port",
    "--alias": "--served-model-name",
    "--chat-template-file": "--chat-template",
    "--threads": "--threads",
    "--api-key": "--api-key",
    "--cors-origins": "--cors-origins",
    "--parallel": "--max-rolling-batch-size",
}
OTHERS = {
    "--embedding", "--reranking", "--models-dir", "--models-preset", "--mmproj-url", "--lora",
    "--model-draft", "--tools", "--mcp-servers-config", "--mcp-servers-json", "--sleep-idle-seconds",
    "--slot-save-path", "--ui-mcp-proxy",
}


def translated(given):
    """Its flags; each value stands behind its flag and does not begin with a dash."""
    flags = {}
    for word in given:
        if word.startswith("-"):
            name, flags[word] = word, None
        else:
            flags[name] = word
    template = flags.get("--chat-template-file")
    # The package has no templates.
    if not OTHERS.isdisjoint(flags) or (template and not os.path.exists(template)):
        sys.exit(NOT_OURS)
    # Any model's name is taken there.
    ours = ["--served-model-name-strict", "false"]
    for name, value in flags.items():
        if name in OURS:
            ours += [OURS[name], value]
    if "--ctx-size" in flags:
        # Slots share the context there.
        slots = int(flags.get("--parallel") or 1)
        ours += ["--max-model-len", str(int(flags["--ctx-size"]) // slots)]
    return ours


program, model = os.environ["GIMBAL"], os.environ["GIMBAL_MODEL"]
os.execv(program, ["gimbal", "serve", model, *translated(sys.argv[1:])])
