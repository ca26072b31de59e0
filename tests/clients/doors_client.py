"""Responses and Messages by the official clients, unchanged, against a Gimbal at GIMBAL_URL.

What is tested is the form: that both packages read each answer as their own types, strictly, that
streams re-assemble to the whole answer, and that each door says what a chat says.
"""

import json
import os
import unittest

import anthropic
import openai

URL = os.environ["GIMBAL_URL"]
chats = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
claude = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
MODEL = chats.models.list().data[0].id
QUESTION = "Why is the sky blue?"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def strict(answer):
    """The answer again, as its type reads it; its type must know every member it has."""
    kind = type(answer)
    read = kind.model_validate(answer.model_dump(mode="json", by_alias=True), strict=False)
    return read


def chat(**more):
    asked = {"model": MODEL, "temperature": 0, "max_tokens": 24}
    asked["messages"] = [{"role": "user", "content": QUESTION}]
    return chats.chat.completions.create(**{**asked, **more})


def message(**more):
    asked = {"model": MODEL, "temperature": 0, "max_tokens": 24}
    asked["messages"] = [{"role": "user", "content": QUESTION}]
    asked.update(more)
    return asked


class Messages(unittest.TestCase):
    TOOLS = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]

    def test_an_answer_is_that_of_a_chat(self):
        told = strict(claude.messages.create(**message(system="Be brief.")))
        system = {"role": "system", "content": "Be brief."}
        expect = chat(messages=[system, {"role": "user", "content": QUESTION}])
        self.assertEqual(told.content[0].text, expect.choices[0].message.content)
        self.assertEqual((told.stop_reason, told.stop_sequence), ("max_tokens", None))
        usage = told.usage
        prompt = usage.input_tokens + usage.cache_read_input_tokens
        self.assertEqual(prompt, expect.usage.prompt_tokens)
        self.assertEqual(usage.output_tokens, expect.usage.completion_tokens)
        self.assertTrue(told._request_id)

    def test_a_stream_is_the_whole_answer(self):
        for more in ({}, {"tools": self.TOOLS, "tool_choice": {"type": "any"}, "max_tokens": 300}):
            whole = strict(claude.messages.create(**message(**more)))
            with claude.messages.stream(**message(**more)) as stream:
                kinds = [event.type for event in stream]
                final = strict(stream.get_final_message())
            self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
            for mine, theirs in zip(final.content, whole.content, strict=True):
                self.assertEqual(mine.model_dump(exclude={"id"}), theirs.model_dump(exclude={"id"}))
            self.assertEqual(final.stop_reason, whole.stop_reason)
            self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)

    def test_tools_are_called_and_their_results_go_on(self):
        for choice in ({"type": "any"}, {"type": "tool", "name": "weather"}):
            asked = message(tools=self.TOOLS, tool_choice=choice, max_tokens=300)
            told = claude.messages.create(**asked)
            self.assertEqual(told.stop_reason, "tool_use")
            called = [block for block in told.content if block.type == "tool_use"]
            for call in called:
                self.assertEqual((call.name, sorted(call.input)), ("weather", ["city", "days"]))
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in called
        ]
        asked["messages"] += [
            {"role": "assistant", "content": told.content},
            {"role": "user", "content": results},
        ]
        del asked["tool_choice"]
        asked["max_tokens"] = 8
        told = strict(claude.messages.create(**asked))
        self.assertIn(told.stop_reason, ("max_tokens", "end_turn"))

    def test_tokens_are_counted_as_an_answer_reports_them(self):
        for more in (
            {},
            {"system": [{"type": "text", "text": "Be brief."}]},
            {"tools": self.TOOLS},
            {"tools": self.TOOLS, "tool_choice": {"type": "none"}},
        ):
            asked = message(**more, max_tokens=1)
            usage = claude.messages.create(**asked).usage
            del asked["max_tokens"], asked["temperature"]
            counted = claude.messages.count_tokens(**asked).input_tokens
            self.assertEqual(counted, usage.input_tokens + usage.cache_read_input_tokens)

    def test_an_assistants_turn_goes_on_and_ends_with_a_stop_sequence(self):
        turns = [
            {"role": "user", "content": "Count."},
            {"role": "assistant", "content": "1, 2, 3, 4,"},
        ]
        told = claude.messages.create(**message(messages=turns, stop_sequences=["7", "x"]))
        self.assertEqual((told.stop_reason, told.stop_sequence), ("stop_sequence", "7"))
        self.assertEqual(told.content[0].text.strip(), "5, 6,")

    def test_a_schema_is_kept_to(self):
        form = {"format": {"type": "json_schema", "schema": SCHEMA}}
        told = claude.messages.create(**message(output_config=form, max_tokens=300))
        self.assertEqual(sorted(json.loads(told.content[0].text)), ["city", "days"])

    def test_errors_are_those_of_their_package(self):
        image = {"type": "image", "source": {"type": "url", "url": "x"}}
        with self.assertRaises(anthropic.BadRequestError) as caught:
            claude.messages.create(**message(messages=[{"role": "user", "content": [image]}]))
        self.assertEqual(caught.exception.body["error"]["type"], "invalid_request_error")
        self.assertIn("messages[0].content[0].type", str(caught.exception))
        with self.assertRaises(anthropic.NotFoundError):
            claude.messages.create(**message(model="none"))
        search = [{"type": "web_search_20250305", "name": "web_search"}]
        with self.assertRaises(anthropic.BadRequestError) as caught:
            claude.messages.create(**message(tools=search))
        self.assertIn("web_search_20250305", str(caught.exception))

    def test_a_wish_that_nothing_meets_is_told(self):
        think = {"type": "enabled", "budget_tokens": 1024}
        told = claude.messages.with_raw_response.create(**message(thinking=think))
        ignored = told.headers["x-gimbal-ignored"].split(", ")
        self.assertEqual(ignored, ["thinking", "thinking.budget_tokens"])


if __name__ == "__main__":
    unittest.main()
