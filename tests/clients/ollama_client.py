"""Ollama's API by the official package, unchanged, against a Gimbal at GIMBAL_URL."""

import json
import os
import unittest

import jsonschema
import ollama
import openai

URL = os.environ["GIMBAL_URL"]
client = ollama.Client(host=URL)
chats = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
MODEL = client.list().models[0].model
ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
OPTIONS = {"temperature": 0, "num_predict": 24}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def weather(city: str, days: int = 1) -> str:
    """The weather of the days to come.

    Args:
        city: where
        days: how many days
    """
    return f"It rains in {city} for {days} days."


class Chat(unittest.TestCase):
    def test_an_answer_is_that_of_a_chat(self):
        asked = {"model": MODEL, "messages": ASKED, "temperature": 0, "max_tokens": 24}
        expect = chats.chat.completions.create(**asked)
        answer = client.chat(MODEL, ASKED, options=OPTIONS)
        self.assertEqual(answer.message.content, expect.choices[0].message.content)
        self.assertEqual(answer.prompt_eval_count, expect.usage.prompt_tokens)
        self.assertEqual((answer.eval_count, answer.done_reason), (24, "length"))
        parts = answer.prompt_eval_duration + answer.eval_duration
        self.assertEqual(parts, answer.total_duration)
        self.assertGreater(answer.prompt_eval_duration, 0)

    def test_a_stream_is_the_whole_answer(self):
        whole = client.chat(MODEL, ASKED, options=OPTIONS)
        pieces = list(client.chat(MODEL, ASKED, options=OPTIONS, stream=True))
        self.assertEqual("".join(p.message.content for p in pieces), whole.message.content)
        self.assertGreater(len(pieces), 10)
        self.assertEqual([p.done for p in pieces], [False] * (len(pieces) - 1) + [True])
        self.assertEqual(pieces[-1].eval_count, whole.eval_count)

    def test_formats_are_kept(self):
        asked = [{"role": "user", "content": "Plan a trip to Paris, as JSON."}]
        for seed in range(5):
            options = {"temperature": 1, "seed": seed, "num_predict": 200}
            answer = client.chat(MODEL, asked, format=SCHEMA, options=options)
            jsonschema.validate(json.loads(answer.message.content), SCHEMA)
            answer = client.generate(MODEL, asked[0]["content"], format=SCHEMA, options=options)
            jsonschema.validate(json.loads(answer.response), SCHEMA)

    def test_a_tool_is_offered_and_its_result_answered(self):
        # A small model seldom calls; that it may, and what becomes of a result, is tested here.
        asked = [{"role": "user", "content": "What is the weather in Paris?"}]
        options = {"temperature": 0, "num_predict": 64}
        answer = client.chat(MODEL, asked, tools=[weather], options=options)
        for call in answer.message.tool_calls or []:
            self.assertEqual(call.function.name, "weather")
            self.assertIsInstance(call.function.arguments, dict)
        call = {"function": {"name": "weather", "arguments": {"city": "Paris", "days": 2}}}
        asked += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "weather", "content": weather("Paris", 2)},
        ]
        answer = client.chat(MODEL, asked, tools=[weather], options=options)
        self.assertTrue(answer.message.content or answer.message.tool_calls)

    def test_errors_are_the_packages(self):
        with self.assertRaises(ollama.ResponseError) as told:
            client.chat("another", ASKED)
        self.assertEqual(told.exception.status_code, 404)
        self.assertIn("another", told.exception.error)
        with self.assertRaises(ollama.ResponseError) as told:
            client.chat(MODEL, ASKED, options={"mirostat": 2})
        self.assertEqual(told.exception.status_code, 400)
        self.assertIn("options.mirostat", told.exception.error)


class Generate(unittest.TestCase):
    def test_a_prompt_is_a_chat_of_one_message(self):
        prompt = ASKED[0]["content"]
        chat = client.chat(MODEL, ASKED, options=OPTIONS)
        answer = client.generate(MODEL, prompt, options=OPTIONS)
        self.assertEqual(answer.response, chat.message.content)
        pieces = list(client.generate(MODEL, prompt, options=OPTIONS, stream=True))
        self.assertEqual("".join(p.response for p in pieces), answer.response)

    def test_raw_prompts_go_on_as_they_are(self):
        answer = client.generate(MODEL, "A, B, C,", raw=True, options=OPTIONS)
        asked = {"model": MODEL, "prompt": "A, B, C,", "temperature": 0, "max_tokens": 24}
        self.assertEqual(answer.response, chats.completions.create(**asked).choices[0].text)


class Models(unittest.TestCase):
    def test_the_model_is_listed_shown_and_loaded(self):
        self.assertEqual([m.model for m in client.ps().models], [MODEL])
        shown = client.show(MODEL)
        self.assertIn("completion", shown.capabilities)
        self.assertTrue(shown.template)
        self.assertEqual(client.generate(MODEL, "").done_reason, "load")
        self.assertEqual(client.chat(f"{MODEL}:latest", []).done_reason, "load")


if __name__ == "__main__":
    unittest.main()
