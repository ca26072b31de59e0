"""Ollama's Python package on /api: a real function as a tool, a typed answer, streams."""

import ollama

from given import DESCRIBE, MODEL, QUESTION, URL, City, Tool, check, equal

client = ollama.Client(host=URL)
asked = {"model": MODEL, "options": {"temperature": 0, "num_predict": 100}}
described = [{"role": "user", "content": DESCRIBE}]


def tool_loop():
    """a function as a tool, its result in the history, an answer"""
    tool = Tool()
    messages = [{"role": "user", "content": QUESTION}]
    # The package has no way to force a call: a small model may answer at once.
    said = client.chat(messages=messages, tools=[tool.get_weather], **asked).message
    result = tool.get_weather("Paris", "celsius")
    call = {"function": {"name": "get_weather", "arguments": tool.calls[0]}}
    history = [*messages, {"role": "assistant", "content": said.content, "tool_calls": [call]}]
    history.append({"role": "tool", "content": result, "tool_name": "get_weather"})
    answer = client.chat(messages=history, tools=[tool.get_weather], **asked)
    assert answer.done and (answer.message.content or answer.message.tool_calls)
    assert answer.eval_count > 0 and answer.prompt_eval_count > 0


def typed():
    """typed answer by format, whole and streamed"""
    form = City.model_json_schema()
    whole = client.chat(messages=described, format=form, **asked).message.content
    City.model_validate_json(whole)
    parts = list(client.chat(messages=described, format=form, stream=True, **asked))
    equal("".join(part.message.content for part in parts), whole)
    assert len(parts) > 3 and parts[-1].done


def generated():
    """generate, whole and streamed; list"""
    whole = client.generate(prompt="The alphabet: A, B, C,", **asked).response
    parts = client.generate(prompt="The alphabet: A, B, C,", stream=True, **asked)
    equal("".join(part.response for part in parts), whole)
    assert MODEL in [model.model.removesuffix(":latest") for model in client.list().models]


check(tool_loop, typed, generated)
