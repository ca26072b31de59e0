"""The official OpenAI client, unchanged, against a Gimbal at GIMBAL_URL.

The server runs with --job-queue-size 2 and --max-rolling-batch-size 2, so that a crowd is refused.
Each test is what a user's program does; answers of greedy requests must agree over all ways in.
"""

import json
import os
import threading
import time
import unittest
import urllib.request

import openai

URL = os.environ["GIMBAL_URL"]
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=120)
MESSAGES = [{"role": "user", "content": "Name three colours."}]
PROMPT = "The alphabet: A, B, C, D, E,"
CONTINUED = " F, G, H, I, J, K, L, M,"


def model() -> str:
    return client.models.list().data[0].id


def chat(**more):
    asked = {"model": model(), "messages": MESSAGES, "temperature": 0, "max_tokens": 16}
    return client.chat.completions.create(**{**asked, **more})


def complete(**more):
    asked = {"model": model(), "prompt": PROMPT, "temperature": 0, "max_tokens": 16}
    return client.completions.create(**{**asked, **more})


class Scores(unittest.TestCase):
    """What lm-eval's local-completions sends, and reads by its `parse_logprobs`."""

    def ids(self, text):
        body = json.dumps({"prompt": text}).encode()
        json_type = {"content-type": "application/json"}
        asked = urllib.request.Request(f"{URL}/tokenize", body, json_type)
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)["tokens"]

    def loglikelihood(self, context, continuation):
        prompt = self.ids(context) + self.ids(continuation)
        answer = complete(prompt=[prompt], max_tokens=1, logprobs=1, seed=1234, echo=True)
        told, ctxlen = answer.choices[0].logprobs, len(self.ids(context))
        logprobs, tops = told.token_logprobs[ctxlen:-1], told.top_logprobs[ctxlen:-1]
        self.assertEqual(len(logprobs), len(prompt) - ctxlen)
        greedy = all(own == max(top.values()) for own, top in zip(logprobs, tops))
        return sum(logprobs), greedy

    def test_a_right_answer_is_likelier(self):
        question = "The capital of France is"
        right, greedy = self.loglikelihood(question, " Paris")
        self.assertTrue(greedy)
        for wrong in (" London", " Banana"):
            other, greedy = self.loglikelihood(question, wrong)
            self.assertLess(other, right)
            self.assertFalse(greedy)

    def test_generated_tokens_have_the_scores_of_given_ones(self):
        prompt = self.ids(PROMPT)
        extra = {"return_token_ids": True}
        choice = complete(prompt=prompt, max_tokens=5, logprobs=2, extra_body=extra).choices[0]
        for length in (0, 1):
            asked = {"max_tokens": length, "logprobs": 2, "echo": True}
            whole = complete(prompt=prompt + choice.token_ids, **asked).choices[0]
            given = slice(len(prompt), len(prompt) + 5)
            self.assertEqual(whole.logprobs.token_logprobs[given], choice.logprobs.token_logprobs)
            self.assertEqual(whole.logprobs.top_logprobs[given], choice.logprobs.top_logprobs)
            self.assertIsNone(whole.logprobs.token_logprobs[0])
            self.assertTrue(whole.text.startswith(PROMPT))

    def test_prompt_logprobs_are_vllms(self):
        extra = {"prompt_logprobs": 2}
        told = complete(max_tokens=1, extra_body=extra).choices[0].prompt_logprobs
        ids = self.ids(PROMPT)
        self.assertEqual(len(told), len(ids))
        self.assertIsNone(told[0])
        for own, entry in zip(ids[1:], told[1:]):
            self.assertIn(str(own), entry)
            ranks = sorted(one["rank"] for one in entry.values())
            self.assertEqual(ranks[:2], [1, 2])


class Chat(unittest.TestCase):
    def test_answer_usage_and_finish(self):
        answer = chat()
        choice = answer.choices[0]
        self.assertEqual(choice.message.role, "assistant")
        self.assertTrue(choice.message.content)
        self.assertEqual(choice.finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 16)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 16)
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, model())
        self.assertGreater(answer.created, 1_700_000_000)

    def test_end_of_text_is_stop(self):
        answer = chat(messages=[{"role": "user", "content": "Say hi."}], max_tokens=100)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertLess(answer.usage.completion_tokens, 100)

    def test_streaming_gives_the_same_text_and_usage(self):
        whole = chat()
        chunks = list(chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices][-1], "length")
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 16)
        self.assertTrue(all(c.usage is None for c in chunks[:-1]))
        self.assertEqual(len({c.id for c in chunks}), 1)

    def test_n_gives_as_many_choices_by_seed(self):
        asked = {"n": 3, "temperature": 1.0, "seed": 7, "max_tokens": 12}
        first, second = chat(**asked), chat(**asked)
        texts = [c.message.content for c in first.choices]
        self.assertEqual([c.index for c in first.choices], [0, 1, 2])
        self.assertGreater(len(set(texts)), 1)
        self.assertEqual(texts, [c.message.content for c in second.choices])
        streamed = ["", "", ""]
        for chunk in chat(stream=True, **asked):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        self.assertEqual(streamed, texts)

    def test_seed_decides(self):
        asked = {"temperature": 1.0, "max_tokens": 24}
        texts = [chat(seed=seed, **asked).choices[0].message.content for seed in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_logprobs(self):
        choice = chat(logprobs=True, top_logprobs=3).choices[0]
        entries = choice.logprobs.content
        self.assertEqual(len(entries), 16)
        for entry in entries:
            self.assertEqual(len(entry.top_logprobs), 3)
            best = max(top.logprob for top in entry.top_logprobs)
            self.assertAlmostEqual(entry.logprob, best, places=4)
        told = bytes(byte for entry in entries for byte in entry.bytes)
        self.assertEqual(told.decode(), choice.message.content)
        streamed = [
            entry
            for chunk in chat(stream=True, logprobs=True, top_logprobs=3)
            for c in chunk.choices
            for entry in (c.logprobs.content if c.logprobs else [])
        ]
        self.assertEqual([e.token for e in streamed], [e.token for e in entries])

    def test_stop_ends_before_its_text(self):
        whole = chat(max_tokens=32).choices[0].message.content
        word = whole.split()[2]
        choice = chat(max_tokens=32, stop=[word]).choices[0]
        self.assertEqual(choice.message.content, whole[: whole.index(word)])
        self.assertEqual(choice.finish_reason, "stop")

    def test_text_parts_are_lines_of_one_text(self):
        parts = [{"type": "text", "text": "Name three"}, {"type": "text", "text": "colours."}]
        whole = chat(messages=[{"role": "user", "content": "Name three\ncolours."}])
        answer = chat(messages=[{"role": "user", "content": parts}])
        self.assertEqual(answer.choices[0].message.content, whole.choices[0].message.content)

    def test_penalties_change_the_text(self):
        plain = complete(prompt="a a a a a a a a", max_tokens=24).choices[0].text
        other = complete(prompt="a a a a a a a a", max_tokens=24, frequency_penalty=2.0)
        self.assertNotEqual(plain, other.choices[0].text)


class Completions(unittest.TestCase):
    def test_answer(self):
        answer = complete()
        self.assertEqual(answer.choices[0].text, CONTINUED)
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 16)

    def test_sixteen_tokens_unless_asked(self):
        answer = client.completions.create(model=model(), prompt=PROMPT, temperature=0)
        self.assertEqual(answer.choices[0].text, CONTINUED)

    def test_streaming_and_echo(self):
        text = "".join(c.choices[0].text for c in complete(stream=True, echo=True))
        self.assertEqual(text, PROMPT + CONTINUED)

    def test_several_prompts_keep_their_order(self):
        prompts = [PROMPT, "One, two, three,"]
        answer = complete(prompt=prompts, max_tokens=4)
        alone = [complete(prompt=p, max_tokens=4).choices[0].text for p in prompts]
        self.assertEqual([c.text for c in answer.choices], alone)

    def test_token_ids_are_a_prompt(self):
        body = json.dumps({"prompt": PROMPT}).encode()
        json_type = {"content-type": "application/json"}
        asked = urllib.request.Request(f"{URL}/tokenize", body, json_type)
        with urllib.request.urlopen(asked) as answer:
            tokens = json.load(answer)["tokens"]
        self.assertEqual(complete(prompt=tokens).choices[0].text, CONTINUED)

    def test_logprobs_and_offsets(self):
        choice = complete(logprobs=2).choices[0]
        told = choice.logprobs
        self.assertEqual(len(told.tokens), 16)
        self.assertEqual("".join(told.tokens), choice.text)
        for offset, token in zip(told.text_offset, told.tokens):
            self.assertEqual(choice.text[offset : offset + len(token)], token)
        self.assertTrue(all(len(top) == 2 for top in told.top_logprobs))
        self.assertTrue(all(logprob <= 0 for logprob in told.token_logprobs))

    def test_n_and_stop(self):
        answer = complete(n=2, temperature=0.8, seed=3, stop=["\n", " M"])
        self.assertEqual(len(answer.choices), 2)
        self.assertTrue(all(" M" not in c.text for c in answer.choices))


class Models(unittest.TestCase):
    def test_list_and_retrieve(self):
        self.assertEqual(client.models.retrieve(model()).id, model())
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("no-such-model")


class Errors(unittest.TestCase):
    def refused(self, error, code, **asked):
        for create in (chat, complete):
            with self.assertRaises(error) as caught:
                create(**asked)
            self.assertEqual(caught.exception.code, code)
        return caught.exception

    def test_bad_values_name_their_field(self):
        error = self.refused(openai.BadRequestError, "invalid_request", temperature=-1)
        self.assertEqual(error.status_code, 400)
        self.assertIn("temperature", error.message)
        self.assertEqual(error.type, "invalid_request_error")
        self.refused(openai.BadRequestError, "invalid_request", max_tokens=0)
        self.refused(openai.BadRequestError, "invalid_request", n=0)

    def test_what_is_not_there_says_so(self):
        self.refused(openai.BadRequestError, "not_supported", logit_bias={"1": 1})

    def test_too_long_has_its_numbers(self):
        error = self.refused(openai.BadRequestError, "context_length_exceeded", max_tokens=10**6)
        self.assertEqual(error.body["max_new_tokens"], 10**6)
        self.assertLess(error.body["max_model_len"], 10**6)

    def test_unknown_model_is_404(self):
        error = self.refused(openai.NotFoundError, "model_not_found", model="gpt-nope")
        self.assertIn(model(), error.message)

    def test_streams_are_refused_before_they_begin(self):
        with self.assertRaises(openai.BadRequestError):
            chat(stream=True, temperature=-1)

    def test_a_crowd_is_429_with_numbers(self):
        # Two run and two wait; of eight at once at least one is too many.
        refused = []

        def ask():
            try:
                chat(max_tokens=200, extra_body={"ignore_eos": True})
            except openai.RateLimitError as error:
                refused.append(error)

        crowd = [threading.Thread(target=ask) for _ in range(8)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        self.assertTrue(refused)
        for error in refused:
            self.assertEqual(error.body["job_queue_size"], 2)
            self.assertGreaterEqual(int(error.response.headers["retry-after"]), 1)

    def test_an_abandoned_stream_leaves_room(self):
        for _ in range(6):
            stream = eventually(chat, stream=True, max_tokens=400, temperature=1.0)
            next(iter(stream))
            stream.close()
        eventually(chat)


def eventually(create, **asked):
    """A closed connection is seen a moment later; until then its place is taken."""
    for _ in range(200):
        try:
            return create(**asked)
        except openai.RateLimitError:
            time.sleep(0.05)
    return create(**asked)


if __name__ == "__main__":
    unittest.main()
