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
    """The answer again, checked as its type says: the clients themselves check nothing."""
    return type(answer).model_validate(answer.model_dump(mode="json", by_alias=True))


def bare(value, names):
    """An answer without members of these names, wherever they stand."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {k: bare(v, names) for k, v in value.items() if k not in names}
    return [bare(v, names) for v in value] if isinstance(value, list) else value


def chat(**more):
    asked = {"model": MODEL, "temperature": 0, "max_tokens": 24}
    asked["messages"] = [{"role": "user", "content": QUESTION}]
    return chats.chat.completions.create(**{**asked, **more})


def message(**more):
    # Not every version of the package has a name for the temperature.
    asked = {"model": MODEL, "max_tokens": 24, "extra_body": {"temperature": 0}}
    asked["messages"] = [{"role": "user", "content": QUESTION}]
    asked.update(more)
    return asked


class Messages(unittest.TestCase):
    ANY = {"type": "any", "disable_parallel_tool_use": True}
    TOOLS = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]

    def test_an_answer_is_that_of_a_chat(self):
        answer = claude.messages.create(**message(system="Be brief."))
        self.assertTrue(answer._request_id)
        told = strict(answer)
        system = {"role": "system", "content": "Be brief."}
        expect = chat(messages=[system, {"role": "user", "content": QUESTION}])
        self.assertEqual(told.content[0].text, expect.choices[0].message.content)
        self.assertEqual((told.stop_reason, told.stop_sequence), ("max_tokens", None))
        usage = told.usage
        prompt = usage.input_tokens + usage.cache_read_input_tokens
        self.assertEqual(prompt, expect.usage.prompt_tokens)
        self.assertEqual(usage.output_tokens, expect.usage.completion_tokens)

    def test_a_stream_is_the_whole_answer(self):
        for more in ({}, {"tools": self.TOOLS, "tool_choice": self.ANY, "max_tokens": 300}):
            whole = strict(claude.messages.create(**message(**more)))
            with claude.messages.stream(**message(**more)) as stream:
                kinds = [event.type for event in stream]
                final = strict(stream.get_final_message())
            self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
            for mine, theirs in zip(final.content, whole.content, strict=True):
                self.assertEqual(bare(mine, {"id"}), bare(theirs, {"id"}))
            self.assertEqual(final.stop_reason, whole.stop_reason)
            self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)

    def test_tools_are_called_and_their_results_go_on(self):
        for choice in (self.ANY, {**self.ANY, "type": "tool", "name": "weather"}):
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
            del asked["max_tokens"]
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


class Responses(unittest.TestCase):
    TOOLS = [{"type": "function", "name": "weather", "parameters": SCHEMA}]

    def ask(self, **more):
        return chats.responses.create(**self.asked(**more))

    def asked(self, **more):
        asked = {"model": MODEL, "input": QUESTION, "temperature": 0, "max_output_tokens": 24}
        return {**asked, "parallel_tool_calls": False, **more}

    def test_an_answer_is_that_of_a_chat(self):
        told = strict(self.ask(instructions="Be brief.", metadata={"a": "b"}))
        system = {"role": "system", "content": "Be brief."}
        expect = chat(messages=[system, {"role": "user", "content": QUESTION}])
        self.assertEqual(told.output_text, expect.choices[0].message.content)
        self.assertEqual(told.status, "incomplete")
        self.assertEqual(told.incomplete_details.reason, "max_output_tokens")
        self.assertEqual(told.usage.input_tokens, expect.usage.prompt_tokens)
        self.assertEqual(told.usage.output_tokens, expect.usage.completion_tokens)
        self.assertEqual((told.instructions, told.metadata), ("Be brief.", {"a": "b"}))

    def test_a_stream_is_the_whole_answer(self):
        called = {"tools": self.TOOLS, "tool_choice": "required", "max_output_tokens": 300}
        for more in ({}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}, called):
            whole = strict(self.ask(**more))
            with chats.responses.stream(**self.asked(**more)) as stream:
                events = list(stream)
            numbers = [event.sequence_number for event in events]
            self.assertEqual(numbers, list(range(len(events))))
            final = strict(events[-1].response)
            # What is random, the time, what is cached by now, and what the package adds to streams.
            own = {"id", "call_id", "created_at", "completed_at", "usage", "parsed_arguments"}
            self.assertEqual(bare(final, own), bare(whole, own))
            kinds = {event.type for event in events}
            done = "function_call_arguments" if "tools" in more else "output_text"
            self.assertIn(f"response.{done}.done", kinds)
            snapshots = [event for event in events if event.type == "response.output_text.delta"]
            if snapshots:
                self.assertEqual("".join(event.delta for event in snapshots), final.output_text)

    def test_tools_are_called_and_their_results_go_on(self):
        for choice in ("required", {"type": "function", "name": "weather"}):
            told = self.ask(tools=self.TOOLS, tool_choice=choice, max_output_tokens=300)
            self.assertEqual(told.status, "completed")
            for call in told.output:
                self.assertEqual((call.type, call.name), ("function_call", "weather"))
                self.assertEqual(sorted(json.loads(call.arguments)), ["city", "days"])
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            for call in told.output
        ]
        kept = strict(self.ask(previous_response_id=told.id, input=results, tools=self.TOOLS))
        sent = [{"role": "user", "content": QUESTION}]
        sent += [item.model_dump(exclude_none=True) for item in told.output] + results
        whole = self.ask(input=sent, tools=self.TOOLS, store=False)
        self.assertEqual(kept.output_text, whole.output_text)
        self.assertEqual(kept.usage.input_tokens, whole.usage.input_tokens)

    def test_what_is_kept_can_be_read_and_forgotten(self):
        told = self.ask()
        self.assertEqual(chats.responses.retrieve(told.id), told)
        items = chats.responses.input_items.list(told.id).data
        self.assertEqual([strict(item).content[0].text for item in items], [QUESTION])
        chats.responses.delete(told.id)
        with self.assertRaises(openai.NotFoundError):
            chats.responses.retrieve(told.id)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask(previous_response_id=told.id)
        self.assertEqual(caught.exception.code, "previous_response_not_found")

    def test_a_schema_is_kept_to(self):
        form = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}
        told = strict(self.ask(text={"format": form}, max_output_tokens=300))
        self.assertEqual(sorted(json.loads(told.output_text)), ["city", "days"])
        told = self.ask(text={"format": {"type": "json_object"}}, max_output_tokens=300)
        if told.status == "completed":
            self.assertIsInstance(json.loads(told.output_text), dict)

    def test_what_cannot_be_done_is_refused_by_name(self):
        for more, name in (
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"background": True}, "background"),
            ({"truncation": "auto"}, "truncation"),
        ):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.ask(**more)
            self.assertEqual(caught.exception.param, name)


if __name__ == "__main__":
    unittest.main()
