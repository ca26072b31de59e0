"""LiteLLM, as a gateway calls servers of three of its providers: vLLM's, OpenAI's, Anthropic's."""

import json

import litellm

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

PROVIDERS = {"hosted_vllm": f"{URL}/v1", "openai": f"{URL}/v1", "anthropic": URL}
DESCRIBED = [{"role": "user", "content": DESCRIBE}]


def ask(provider, **more):
    asked = {"model": f"{provider}/{MODEL}", "temperature": 0, "max_tokens": 200, "num_retries": 0}
    return litellm.completion(api_base=PROVIDERS[provider], api_key=KEY, **asked, **more)


def tool_loop():
    """two-turn tool loop, by three providers"""
    for provider in PROVIDERS:
        tool, messages = Tool(), [{"role": "user", "content": QUESTION}]
        asked = {"messages": messages, "tools": [tool.schema()]}
        said = ask(provider, tool_choice="required", **asked).choices[0].message
        messages.append(said)
        for call in said.tool_calls:
            result = tool.get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        tool.was_called(len(said.tool_calls))
        assert ask(provider, tool_choice="none", **asked).choices[0].message.content


def typed():
    """typed answer, whole and streamed"""
    for provider in PROVIDERS:
        asked = {"messages": DESCRIBED, "response_format": City}
        whole = ask(provider, **asked).choices[0].message.content
        assert City.model_validate_json(whole)
        chunks = list(ask(provider, stream=True, **asked))
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        # Of Anthropic's answers the whole one is written anew, with other blanks.
        equal(json.loads(streamed), json.loads(whole))


def streamed_tools():
    """streamed call, put together by stream_chunk_builder, equals the whole one"""
    named = {"type": "function", "function": {"name": "get_weather"}}
    for provider in PROVIDERS:
        messages = [{"role": "user", "content": QUESTION}]
        asked = {"messages": messages, "tools": [Tool().schema()], "tool_choice": named}
        whole = ask(provider, **asked).choices[0]
        chunks = list(ask(provider, stream=True, **asked))
        built = litellm.stream_chunk_builder(chunks, messages=messages).choices[0]
        calls = [one.message.tool_calls for one in (built, whole)]
        said = [[(c.function.name, json.loads(c.function.arguments)) for c in one] for one in calls]
        equal(*said)
        equal(built.finish_reason, whole.finish_reason)


def usage():
    """usage of a stream, and errors of their kind"""
    asked = {"messages": DESCRIBED, "stream": True, "stream_options": {"include_usage": True}}
    last = list(ask("hosted_vllm", **asked))[-1]
    assert last.usage.completion_tokens > 0, last
    try:
        ask("hosted_vllm", messages=DESCRIBED, top_p=7)
    except litellm.BadRequestError as error:
        assert "top_p" in str(error), error
    else:
        raise AssertionError("top_p 7 was taken")


check(tool_loop, typed, streamed_tools, usage)
