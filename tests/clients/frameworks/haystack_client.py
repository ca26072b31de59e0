"""Haystack: its OpenAIChatGenerator and Agent."""

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, WEATHER, City, Tool, check, equal


def generator(**more):
    return OpenAIChatGenerator(
        api_key=Secret.from_token(KEY), model=MODEL, api_base_url=f"{URL}/v1", max_retries=0, **more
    )


def asked(**more):
    return {"temperature": 0, "max_tokens": 200, **more}


def tool_loop():
    """agent loop ends with its tool; then text from the result"""
    tool = Tool()
    agent = Agent(
        chat_generator=generator(generation_kwargs=asked(tool_choice="required")),
        tools=[create_tool_from_function(tool.get_weather)],
        exit_conditions=["get_weather"],
        max_agent_steps=3,
    )
    said = agent.run([ChatMessage.from_user(QUESTION)])["messages"]
    equal([message.role.value for message in said[:2]], ["user", "assistant"])
    tool.was_called(len(said[1].tool_calls))
    equal(said[-1].tool_call_result.result, WEATHER)
    answer = generator().run(said, generation_kwargs=asked())["replies"][0]
    assert answer.text


def typed():
    """typed answer"""
    kwargs = asked(response_format=City)
    whole = generator().run([ChatMessage.from_user(DESCRIBE)], generation_kwargs=kwargs)
    City.model_validate_json(whole["replies"][0].text)


def streamed():
    """streamed call equals the whole one"""
    tools = [create_tool_from_function(Tool().get_weather)]
    said, chunks = [], []
    for callback in (None, chunks.append):
        llm = generator(tools=tools, streaming_callback=callback)
        kwargs = asked(tool_choice="required")
        reply = llm.run([ChatMessage.from_user(QUESTION)], generation_kwargs=kwargs)["replies"][0]
        said.append([(call.tool_name, call.arguments) for call in reply.tool_calls])
    equal(said[1], said[0])
    assert said[0] and len(chunks) > 3, (said, len(chunks))


check(tool_loop, typed, streamed)
