"""OpenAI's Agents SDK on responses, its own way, and on chat completions."""

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

set_tracing_disabled(True)
DOORS = (OpenAIResponsesModel, OpenAIChatCompletionsModel)


def kinds(run):
    return [item.type for item in run.new_items]


def agent(door, name="weather", tool_choice=None, **more):
    # A client belongs to the event loop of its first request.
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    model = door(model=MODEL, openai_client=client)
    settings = ModelSettings(temperature=0, max_tokens=300, tool_choice=tool_choice)
    return Agent(name=name, model=model, model_settings=settings, **more)


def tool_loop(door):
    """agent loop: a tool, then text"""
    tool = Tool()
    # Once it was called it is off: a small model would call for ever.
    weather = function_tool(tool.get_weather, is_enabled=lambda *_: not tool.calls)
    asked = agent(door, tool_choice="get_weather", tools=[weather])
    run = Runner.run_sync(asked, QUESTION, max_turns=3)
    tool.was_called(1)
    equal(kinds(run), ["tool_call_item", "tool_call_output_item", "message_output_item"])
    assert run.final_output


def streamed(door):
    """streamed agent loop equals the whole one"""
    tool = Tool()

    def asked():
        tools = [function_tool(tool.get_weather)]
        return agent(door, "weather", "required", tools=tools, tool_use_behavior="stop_on_first_tool")

    whole = Runner.run_sync(asked(), QUESTION)

    async def stream():
        run = Runner.run_streamed(asked(), QUESTION)
        return run, [event.type async for event in run.stream_events()]

    run, events = asyncio.run(stream())
    equal(kinds(run), kinds(whole))
    equal(tool.calls[0], tool.calls[1])
    assert events.count("raw_response_event") > 5, events


def handoff(door):
    """handoff to another agent"""
    other = agent(door, "paris", instructions="You know Paris.")
    first = agent(door, tool_choice="required", handoffs=[other])
    run = Runner.run_sync(first, QUESTION, max_turns=3)
    equal(run.last_agent.name, "paris")
    assert run.final_output


def typed(door):
    """typed output"""
    run = Runner.run_sync(agent(door, output_type=City), DESCRIBE)
    assert isinstance(run.final_output, City)


def by_each_door(function):
    def run():
        for door in DOORS:
            function(door)

    run.__doc__ = f"{function.__doc__}, by responses and by chats"
    return run


check(*map(by_each_door, (tool_loop, streamed, handoff, typed)))
