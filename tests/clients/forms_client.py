"""Answers in a grammar, as clients ask for them, against a Gimbal at GIMBAL_URL.

Each answer must validate with `jsonschema_rs`, formats included, and end by itself. What is asked
for stands in `schemas.py`; what must not work in `bad_forms.py`.
"""

import concurrent.futures
import datetime
import enum
import ipaddress
import json
import os
import re
import typing
import unittest
import urllib.error
import urllib.request
import uuid

import jsonschema_rs
import openai
import pydantic

import schemas

URL = os.environ["GIMBAL_URL"]
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=120)
AT_ONCE = 8
# The longest answer of the table has a tenth of it.
TOKENS_MAX = 400
# Temperature and seed of each answer.
DRAWN = [(0, 1), (1, 1), (1, 2)]


def post(path, body):
    """Status and JSON of an answer."""
    json_type = {"content-type": "application/json"}
    asked = urllib.request.Request(URL + path, json.dumps(body).encode(), json_type)
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def by_chat(question, form, **more):
    """Text and finish reason of an answer that has a form."""
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": TOKENS_MAX}
    status, answer = post("/v1/chat/completions", {**body, **form, **more})
    if status != 200:
        raise AssertionError(f"{status}: {answer}")
    return answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]


def by_completions(question, form, **more):
    body = {"prompt": question, "max_tokens": TOKENS_MAX, **form, **more}
    status, answer = post("/v1/completions", body)
    if status != 200:
        raise AssertionError(f"{status}: {answer}")
    return answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]


def by_invocations(question, form, **more):
    if not more.get("temperature"):
        more = {}
    parameters = {"max_new_tokens": TOKENS_MAX, "details": True, **form, **more}
    status, answer = post("/invocations", {"inputs": question, "parameters": parameters})
    if status != 200:
        raise AssertionError(f"{status}: {answer}")
    # LMI's word for an end that the model chose.
    ends = {"eos_token": "stop"}
    reason = answer["details"]["finish_reason"]
    return answer["generated_text"], ends.get(reason, reason)


def response_format(schema):
    named = {"name": "form", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


# How one schema is asked for: OpenAI's, vLLM's two, llama.cpp's, SGLang's, TGI's and LMI's way.
WAYS = {
    "response_format": (by_chat, response_format),
    "guided_json": (by_completions, lambda schema: {"guided_json": schema}),
    "structured_outputs": (by_chat, lambda schema: {"structured_outputs": {"json": schema}}),
    "json_schema": (by_completions, lambda schema: {"json_schema": schema}),
    "json_schema as text": (by_chat, lambda schema: {"json_schema": json.dumps(schema)}),
    "llama.cpp's format": (
        by_chat,
        lambda schema: {"response_format": {"type": "json_object", "schema": schema}},
    ),
    "LMI": (by_invocations, response_format),
    "LMI's grammar": (
        by_invocations,
        lambda schema: {"grammar": {"type": "json", "value": schema}},
    ),
}
# One schema of each kind; they are asked for in every way.
EVERY_WAY = ["object nested", "array of objects", "format uuid", "object unicode keys", "ref twice"]


def fault(way, name, temperature, seed):
    """What is wrong with an answer, or nothing."""
    ask, form = WAYS[way]
    schema = schemas.TABLE[name]
    question = schemas.ASKED.get(name, f"Give an example of: {name}")
    text = reason = None
    try:
        text, reason = ask(question, form(schema), temperature=temperature, seed=seed)
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        validator.validate(json.loads(text))
    except (ValueError, AssertionError) as error:
        return f"{way}, {name}, temperature {temperature}: {error}\n{reason}: {text}"
    if reason != "stop":
        return f"{way}, {name}, temperature {temperature}: ends by {reason}\n{text}"
    return None


class Schemas(unittest.TestCase):
    def check(self, ways, names):
        asked = [(way, name, *drawn) for name in names for way in ways for drawn in DRAWN]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            faults = [f for f in pool.map(lambda one: fault(*one), asked) if f]
        self.assertEqual(faults, [], "\n".join(faults))
        print(f"{len(names)} schemas, {len(asked)} answers")

    def test_every_answer_validates(self):
        self.assertGreaterEqual(len(schemas.TABLE), 60)
        self.check(["response_format"], schemas.TABLE)

    def test_every_way_of_asking_means_the_same(self):
        self.check(WAYS, EVERY_WAY)

    def test_an_object_of_anything(self):
        # Anything never ends by itself with a small model, unless it is shown an end.
        question = 'Copy this JSON: {"a": 1}'
        form = {"response_format": {"type": "json_object"}}
        text, reason = by_chat(question, form, temperature=0)
        self.assertIsInstance(json.loads(text), dict)
        self.assertEqual(reason, "stop")


Short = typing.Annotated[str, pydantic.Field(max_length=12)]
Few = typing.Annotated[int, pydantic.Field(ge=0, le=9)]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Address(pydantic.BaseModel):
    street: Short
    number: Few | None


class Person(pydantic.BaseModel):
    name: Short = pydantic.Field(description="How people call them")
    age: typing.Annotated[int, pydantic.Field(gt=0, lt=120)]
    home: Address
    others: typing.Annotated[list[Address], pydantic.Field(max_length=2)]


class Order(pydantic.BaseModel):
    id: uuid.UUID
    day: datetime.date
    size: Size
    state: typing.Literal["open", "paid"]
    from_: ipaddress.IPv4Address = pydantic.Field(alias="from")
    pair: tuple[Few, bool]
    code: typing.Annotated[str, pydantic.Field(pattern="^[A-Z]{2}[0-9]{3}$")]


class Cat(pydantic.BaseModel):
    kind: typing.Literal["cat"]
    lives: Few


class Dog(pydantic.BaseModel):
    kind: typing.Literal["dog"]
    tricks: typing.Annotated[list[Short], pydantic.Field(max_length=2)]


class Pets(pydantic.BaseModel):
    first: Cat | Dog
    second: typing.Optional[Cat]


class Model(unittest.TestCase):
    """The client's own helpers: a class of pydantic in, an instance of it out."""

    def asked(self, form, temperature):
        about = "Tell about one, as JSON."
        messages = [{"role": "user", "content": f"{form.__name__}. {about}"}]
        asked = {"model": client.models.list().data[0].id, "messages": messages, "seed": 3}
        asked["max_completion_tokens"] = TOKENS_MAX
        return {**asked, "response_format": form, "temperature": temperature}

    def test_whole_and_streamed_answers_are_parsed(self):
        for form in (Address, Person, Order, Pets):
            for temperature in (0, 1):
                asked = self.asked(form, temperature)
                whole = client.chat.completions.parse(**asked).choices[0]
                self.assertEqual(whole.finish_reason, "stop")
                self.assertIsInstance(whole.message.parsed, form)
                with client.chat.completions.stream(**asked) as stream:
                    deltas = [e.delta for e in stream if e.type == "content.delta"]
                    last = stream.get_final_completion().choices[0]
                self.assertEqual("".join(deltas), whole.message.content)
                self.assertEqual(last.message.parsed, whole.message.parsed)
                self.assertEqual(last.finish_reason, "stop")


CHESS = (
    'root ::= ("1. " move " " move "\\n"){2,3}\nmove ::= piece? [a-h] [1-8] check?\n'
    'piece ::= [NBRQK]\ncheck ::= "+" | "#"'
)
MOVE = "[NBRQK]?[a-h][1-8][+#]?"
# Bounded, like the schemas. What is asked for, and an expression of Python's for the whole answer.
TEXTS = [
    ({"grammar": CHESS}, f"(1\\. {MOVE} {MOVE}\n){{2,3}}"),
    ({"ebnf": 'root ::= "<" [0-9]{2} ("," [a-c]){0,3} ">"'}, "<[0-9]{2}(,[a-c]){0,3}>"),
    ({"guided_grammar": 'start: "a" B~1..5 "."\nB: /[b-d]{2}/'}, "a([b-d]{2}){1,5}\\."),
    ({"structured_outputs": {"grammar": 'root ::= "ja" | "nein"'}}, "ja|nein"),
    ({"guided_regex": r"\d{3}-\d{4} (x|y){1,3}!"}, r"\d{3}-\d{4} (x|y){1,3}!"),
    ({"regex": "[0-9]{3}-[a-f]{2,5}"}, "[0-9]{3}-[a-f]{2,5}"),
    ({"regex": "[äöü]{2,4}€ 日本"}, "[äöü]{2,4}€ 日本"),
    ({"structured_outputs": {"regex": "(ab|cd){3}"}}, "(ab|cd){3}"),
    ({"guided_choice": ["yes", "no", "per\"haps"]}, "yes|no|per\"haps"),
    ({"structured_outputs": {"choice": ["a", "ab", "abc"]}}, "a|ab|abc"),
    ({"guided_choice": ["größer", "日本 🙂"]}, "größer|日本 🙂"),
]


class Texts(unittest.TestCase):
    def test_grammars_expressions_and_choices(self):
        for form, expression in TEXTS:
            for ask in (by_chat, by_completions, by_invocations):
                for temperature, seed in DRAWN:
                    with self.subTest(form=form, ask=ask.__name__, temperature=temperature):
                        text, reason = ask("Go on:", form, temperature=temperature, seed=seed)
                        self.assertRegex(text, re.compile(f"\\A(?:{expression})\\Z"))
                        self.assertEqual(reason, "stop")


if __name__ == "__main__":
    unittest.main()
