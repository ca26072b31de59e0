"""DSPy: typed signatures by its JSON adapter, and native tool calls.

The server is declared as one that speaks vLLM's form of chat completions and honours schemas.
"""

from typing import Literal

import dspy
from dspy.lm15 import AccessPolicy, ModelSupport, OpenAIChatCompat, ProviderDefinition, register_provider

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, WEATHER, City, Tool, check, equal

access = AccessPolicy(provider="gimbal", env_keys=(), base_url=f"{URL}/v1")
supports = ModelSupport(function_calling=True, response_schema=True)
register_provider(ProviderDefinition.chat(access, compat=OpenAIChatCompat.preset("vllm")), supports=supports)
asked = {"temperature": 0, "max_tokens": 300, "cache": False, "num_retries": 0}
lm = dspy.LM(f"gimbal/{MODEL}", api_key=KEY, **asked)


class Describe(dspy.Signature):
    """Describe a city."""

    question: str = dspy.InputField()
    city: City = dspy.OutputField()


class Call(dspy.Signature):
    """Call a tool."""

    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


class Answer(dspy.Signature):
    """Answer with one word."""

    question: str = dspy.InputField()
    weather: str = dspy.InputField()
    answer: Literal["sunny", "rainy"] = dspy.OutputField()


def typed():
    """typed signature by the JSON adapter"""
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        found = dspy.Predict(Describe)(question=DESCRIBE)
    assert isinstance(found.city, City), found


def tool_loop():
    """native tool call, then a typed answer from its result"""
    tool = Tool()
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter(use_native_function_calling=True)):
        forced = {"tool_choice": "required", "max_tokens": 100}
        tools = [dspy.Tool(tool.get_weather)]
        found = dspy.Predict(Call)(question=QUESTION, tools=tools, config=forced)
        weather = found.calls.tool_calls[0].execute(functions=tools)
        tool.was_called(1)
        equal(weather, WEATHER)
        said = dspy.Predict(Answer)(question=QUESTION, weather=weather)
    assert said.answer in ("sunny", "rainy"), said


check(typed, tool_loop)
