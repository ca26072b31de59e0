"""OpenAI's Python package: its own parsing helpers and its streams."""

import json

import openai

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
ASKED = {"model": MODEL, "temperature": 0, "max_tokens": 200}


def tool_loop():
    """two-turn tool loop"""
    tool = Tool()
    messages = [{"role": "user", "content": QUESTION}]
    asked = {**ASKED, "tools": [tool.schema()]}
    first = client.chat.completions.create(messages=messages, tool_choice="required", **asked)
    said = first.choices[0].message
    messages.append(said)
    for call in said.tool_calls:
        result = tool.get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    tool.was_called(len(said.tool_calls))
    answer = client.chat.completions.create(messages=messages, tool_choice="none", **asked)
    assert answer.choices[0].message.content
    equal(answer.choices[0].finish_reason, "stop")


def typed():
    """typed answer by parse()"""
    messages = [{"role": "user", "content": DESCRIBE}]
    parsed = client.chat.completions.parse(messages=messages, response_format=City, **ASKED)
    assert isinstance(parsed.choices[0].message.parsed, City)


def streamed_typed():
    """streamed typed answer equals the whole one"""
    asked = {"messages": [{"role": "user", "content": DESCRIBE}], "response_format": City, **ASKED}
    whole = client.chat.completions.parse(**asked).choices[0].message.parsed
    with client.chat.completions.stream(**asked) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_completion()
    equal(final.choices[0].message.parsed, whole)
    assert events.count("content.delta") > 3, events


def streamed_tools():
    """streamed call equals the whole one"""
    tool = openai.pydantic_function_tool(City, name="save_city")
    asked = {"messages": [{"role": "user", "content": DESCRIBE}], "tools": [tool], **ASKED}
    choice = {"type": "function", "function": {"name": "save_city"}}
    whole = client.chat.completions.parse(tool_choice=choice, **asked).choices[0].message
    with client.chat.completions.stream(tool_choice=choice, **asked) as stream:
        final = stream.get_final_completion().choices[0].message
    parsed = [call.function.parsed_arguments for call in whole.tool_calls]
    assert isinstance(parsed[0], City)
    equal([call.function.parsed_arguments for call in final.tool_calls], parsed)


check(tool_loop, typed, streamed_typed, streamed_tools)
