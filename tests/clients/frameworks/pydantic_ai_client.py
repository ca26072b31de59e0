"""Pydantic AI: an agent with a tool, typed output by tool and by schema, streams."""

from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
model = OpenAIChatModel(MODEL, provider=provider)
settings = {"temperature": 0, "max_tokens": 300, "parallel_tool_calls": False}


class First(AbstractCapability):
    """Forces a tool at the first step, as the package's guide does it."""

    def get_model_settings(self):
        first = {"tool_choice": ["get_weather"]}
        return lambda context: first if context.run_step <= 1 else {"tool_choice": "none"}


def agent(output_type, **more):
    return Agent(model, output_type=output_type, model_settings=settings, retries=0, **more)


def kinds(run):
    return [part.part_kind for message in run.all_messages() for part in message.parts]


def tool_loop():
    """agent loop: a tool, then text"""
    tool = Tool()
    run = agent(str, tools=[tool.get_weather], capabilities=[First()]).run_sync(QUESTION)
    tool.was_called(1)
    equal(kinds(run), ["user-prompt", "tool-call", "tool-return", "text"])
    assert run.output


def tool_then_type():
    """agent loop: a tool, then typed output by a tool"""
    tool = Tool()
    typed = agent(ToolOutput(City), tools=[tool.get_weather], capabilities=[First()])
    run = typed.run_sync(QUESTION)
    tool.was_called(1)
    assert isinstance(run.output, City)


def typed():
    """typed output by tool and by schema, whole and streamed"""
    for kind in (ToolOutput, NativeOutput):
        typed = agent(kind(City))
        whole = typed.run_sync(DESCRIBE).output
        assert isinstance(whole, City), kind
        with typed.run_stream_sync(DESCRIBE) as stream:
            equal(stream.get_output(), whole)


check(tool_loop, tool_then_type, typed)
