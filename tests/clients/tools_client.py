"""Tools by the official OpenAI client, unchanged, against a Gimbal at GIMBAL_URL.

A small model calls what it must, not what is sensible: what is tested is that each call parses, that
streams re-assemble to the same, and that results go back into the conversation.
"""

import json
import os
import unittest

import jsonschema
import openai

client = openai.OpenAI(base_url=f"{os.environ['GIMBAL_URL']}/v1", api_key="none", max_retries=0)
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 30},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
SUM = {
    "name": "sum",
    "parameters": {
        "type": "object",
        "properties": {
            "numbers": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 99},
                "minItems": 1,
                "maxItems": 4,
            }
        },
        "required": ["numbers"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": function} for function in (WEATHER, SUM)]
MESSAGES = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]
RUNS = 100


def ask(**more):
    asked = {"model": "default", "messages": MESSAGES, "tools": TOOLS, "max_tokens": 1200}
    return client.chat.completions.create(**{**asked, "model": name(), **more})


def name():
    return client.models.list().data[0].id


class Tools(unittest.TestCase):
    def check(self, function):
        arguments = json.loads(function.arguments)
        if function.name == "sum":
            self.assertEqual(list(arguments), ["numbers"])
            self.assertTrue(all(0 <= number <= 99 for number in arguments["numbers"]))
        else:
            self.assertEqual(function.name, "get_weather")
            self.assertIn(arguments["unit"], ("celsius", "fahrenheit"))
            self.assertLessEqual(len(arguments["city"]), 30)
            self.assertLessEqual(set(arguments), {"city", "unit", "days"})

    def test_a_call_that_must_come_always_parses(self):
        """At temperature 1: required, and named."""
        named = {"type": "function", "function": {"name": "get_weather"}}
        for choice in ("required", named):
            for seed in range(0, RUNS, 10):
                answer = ask(tool_choice=choice, temperature=1, seed=seed, n=10)
                for said in answer.choices:
                    self.assertEqual(said.finish_reason, "tool_calls", said)
                    self.assertIsNone(said.message.content)
                    self.assertGreaterEqual(len(said.message.tool_calls), 1)
                    for call in said.message.tool_calls:
                        self.assertEqual(call.type, "function")
                        self.check(call.function)
                    if choice is named:
                        self.assertEqual(len(said.message.tool_calls), 1)

    def test_streamed_calls_are_the_whole_ones(self):
        for choice in ("required", "auto"):
            asked = {"tool_choice": choice, "temperature": 0}
            whole = ask(**asked).choices[0]
            calls, text, finish = {}, "", None
            for chunk in ask(stream=True, **asked):
                delta, finish = chunk.choices[0].delta, chunk.choices[0].finish_reason or finish
                text += delta.content or ""
                for piece in delta.tool_calls or []:
                    call = calls.setdefault(piece.index, {"name": None, "arguments": ""})
                    call["name"] = piece.function.name or call["name"]
                    call["arguments"] += piece.function.arguments or ""
            expect = [call.function for call in whole.message.tool_calls or []]
            self.assertEqual(
                [(call["name"], call["arguments"]) for _, call in sorted(calls.items())],
                [(function.name, function.arguments) for function in expect],
            )
            self.assertEqual((text, finish), (whole.message.content or "", whole.finish_reason))

    def test_results_go_back(self):
        first = ask(tool_choice="required", temperature=0, parallel_tool_calls=False)
        message = first.choices[0].message
        self.assertEqual(len(message.tool_calls), 1)
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21 degrees"}
        history = [*MESSAGES, message, result]
        answer = ask(messages=history, tool_choice="none", max_tokens=32)
        self.assertTrue(answer.choices[0].message.content)
        parts = {**result, "content": [{"type": "text", "text": "21 degrees"}]}
        again = ask(messages=[*MESSAGES, message, parts], tool_choice="none", max_tokens=32)
        self.assertEqual(again.usage.prompt_tokens, answer.usage.prompt_tokens)

    def test_functions_are_tools_the_older_way(self):
        asked = {"messages": MESSAGES, "model": name(), "max_tokens": 200, "functions": [WEATHER]}
        answer = client.chat.completions.create(function_call={"name": "get_weather"}, **asked)
        said = answer.choices[0]
        self.assertEqual(said.finish_reason, "function_call")
        self.check(said.message.function_call)
        self.assertIsNone(said.message.tool_calls)

    def test_an_answer_is_a_call_or_has_its_form(self):
        schema = {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "sunny": {"type": "boolean"}},
            "required": ["city", "sunny"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        kinds = set()
        for seed in range(30):
            choice = ask(response_format=form, temperature=1.5, seed=seed, max_tokens=200).choices[0]
            kinds.add(choice.finish_reason)
            for call in choice.message.tool_calls or []:
                self.check(call.function)
            if choice.finish_reason == "stop":
                jsonschema.validate(json.loads(choice.message.content), schema)
        self.assertEqual(kinds, {"tool_calls", "stop"})

    def test_what_is_wrong_names_its_place(self):
        def refused(part, **more):
            with self.assertRaises(openai.BadRequestError) as caught:
                ask(**more)
            self.assertIn(part, str(caught.exception))

        refused("tools[0].function.name", tools=[{"type": "function", "function": {}}])
        refused("nothing", tool_choice={"type": "function", "function": {"name": "nothing"}})
        refused("tool_choice", tool_choice="sometimes")
        refused("tool_choice", tool_choice="required", tools=[])
        odd = {"type": "object", "properties": {"a": {"type": "string", "format": "odd"}}}
        bad = {"type": "function", "function": {"name": "f", "parameters": odd}}
        refused("tools[0]", tool_choice="required", tools=[bad])
        call = {"id": "1", "type": "function", "function": {"name": "sum", "arguments": "{"}}
        history = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}]
        refused("messages[1].tool_calls[0].function.arguments", messages=history)
        # A form of texts does not concern a call; another grammar of the whole answer does.
        text = {"type": "json_object"}
        called = ask(tool_choice="required", response_format=text, temperature=0).choices[0]
        self.assertEqual(called.finish_reason, "tool_calls")
        self.check(called.message.tool_calls[0].function)
        extra = {"structured_outputs": {"regex": "a+"}}
        refused("structured_outputs", tool_choice="required", extra_body=extra)


if __name__ == "__main__":
    unittest.main()
