"""instructor: typed answers by its modes that force a form, and partial streams."""

import instructor
import openai

from given import DESCRIBE, KEY, MODEL, URL, City, check

# Those that force a form; the others hope that the model keeps to what it is told.
MODES = ("TOOLS", "TOOLS_STRICT", "JSON_SCHEMA")
asked = {"model": MODEL, "temperature": 0, "max_tokens": 300, "max_retries": 0}


def client(mode):
    inner = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    return instructor.from_openai(inner, mode=instructor.Mode[mode])


def ask(mode, create="create"):
    messages = [{"role": "user", "content": DESCRIBE}]
    return getattr(client(mode), create)(response_model=City, messages=messages, **asked)


def typed():
    """typed answers by tools, strict tools and schema"""
    for mode in MODES:
        assert isinstance(ask(mode), City), mode


def streamed():
    """partial streams end in a whole answer"""
    for mode in MODES:
        parts = list(ask(mode, "create_partial"))
        assert len(parts) > 2, parts
        City.model_validate(parts[-1].model_dump())


check(typed, streamed)
