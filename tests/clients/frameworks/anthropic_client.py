"""Anthropic's Python package on /v1/messages: its tool runner, its parsing helper, its streams."""

import anthropic
from anthropic import beta_tool

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, Unit, check, equal

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
# The package has no place of its own for it any more.
asked = {"model": MODEL, "max_tokens": 200, "extra_body": {"temperature": 0}}
described = [{"role": "user", "content": DESCRIBE}]
questioned = [{"role": "user", "content": QUESTION}]


def tool_loop():
    """tool loop by tool_runner, then text"""
    tool = Tool()

    @beta_tool
    def get_weather(city: str, unit: Unit) -> str:
        """The weather in a city."""
        return tool.get_weather(city, unit)

    named = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    runner = client.beta.messages.tool_runner(
        messages=questioned, tools=[get_weather], tool_choice=named, max_iterations=2, **asked
    )
    first = next(runner)
    equal(first.stop_reason, "tool_use")
    result = runner.generate_tool_call_response()
    tool.was_called(1)
    history = [*questioned, {"role": "assistant", "content": first.content}, result]
    answer = client.beta.messages.create(messages=history, **asked)
    assert answer.content[0].text


def typed():
    """typed answer by parse()"""
    found = client.messages.parse(messages=described, output_format=City, **asked)
    assert isinstance(found.parsed_output, City), found


def streamed():
    """streamed call equals the whole one"""
    schema = {"name": "save_city", "input_schema": City.model_json_schema()}
    more = {"tools": [schema], "tool_choice": {"type": "tool", "name": "save_city"}, **asked}
    whole = client.messages.create(messages=described, **more)
    with client.messages.stream(messages=described, **more) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    City.model_validate(whole.content[0].input)
    equal(final.content[0].input, whole.content[0].input)
    equal(final.stop_reason, whole.stop_reason)
    assert kinds.count("input_json") > 3, kinds


check(tool_loop, typed, streamed)
