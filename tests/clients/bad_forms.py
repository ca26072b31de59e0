"""Grammars that are wrong, and those that would cost too much, against a Gimbal at GIMBAL_URL.

Each is answered, and meanwhile the stream of another client goes on. What is right stands in
`forms_client.py`.
"""

import contextlib
import json
import threading
import time
import unittest
import urllib.request

from forms_client import URL, post

# Seconds: generous, because other tests run on the same cores.
ANSWER_MAX = 30
GAP_MAX = 2
# What is within the limits is served, what passes one is refused, also where a limit is met only when
# a token is asked for.
ANSWERED = (200, 400)

INTEGER = {"type": "integer"}


def nested(depth):
    schema = INTEGER
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def alternatives(depth):
    """Two of each alternative inside each of another."""
    schema = INTEGER
    for _ in range(depth):
        part = {"a": schema}
        more = {"a": schema, "b": schema}
        schema = {"anyOf": [{"type": "object", "properties": p} for p in (part, more)]}
    return schema


def product(factors, terms):
    """All of some alternatives: as many combinations as terms to the power of factors."""
    one = [
        {"anyOf": [{"type": "object", "properties": {f"{i}.{j}": INTEGER}} for j in range(terms)]}
        for i in range(factors)
    ]
    return {"allOf": one}


def doubled(depth):
    """Definitions that each name the next one twice."""
    defs = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{depth}": {"type": "object"}}}


def properties(count):
    names = [f"property_{i:05}" for i in range(count)]
    return {"type": "object", "properties": {name: INTEGER for name in names}}


def inside(schema):
    return {"type": "object", "properties": {"list": {"type": "array", "items": schema}}}


PLACE = "/properties/list/items"
# Bodies and what the answer's message says.
WRONG = [
    ({"guided_json": inside({"type": "array", "uniqueItems": True})}, [PLACE, "uniqueItems"]),
    ({"guided_json": inside({"not": {"type": "null"}})}, [PLACE, '"not"']),
    ({"guided_json": inside({"type": "string", "format": "odd"})}, [PLACE, "format: odd"]),
    ({"guided_json": inside({"type": "string", "pattern": "("})}, [PLACE, "unclosed group"]),
    ({"guided_json": inside({"pattern": "^(?=a)", "type": "string"})}, [PLACE, "look-ahead"]),
    ({"guided_json": inside({"type": "whatever"})}, [PLACE, "whatever"]),
    ({"guided_json": {**INTEGER, "minimum": 5, "maximum": 4}}, ["guided_json", "minimum"]),
    ({"guided_json": inside({"oneOf": [INTEGER, {"type": "number"}]})}, [PLACE, "oneOf"]),
    ({"guided_json": inside({"$ref": "#/$defs/none"})}, [PLACE, "none"]),
    ({"guided_json": '{"type": '}, ["guided_json", "JSON"]),
    ({"guided_regex": "a(b"}, ["guided_regex", "unclosed group"]),
    ({"guided_regex": r"(a)\1"}, ["guided_regex", "backreferences"]),
    ({"regex": "[z-a]"}, ["regex", "range"]),
    ({"grammar": "root ::= missing"}, ["grammar", "missing"]),
    ({"grammar": 'start ::= "a"'}, ["grammar", "root"]),
    ({"guided_grammar": "start: missing"}, ["guided_grammar", "missing"]),
    ({"structured_outputs": {"choice": []}}, ["structured_outputs", "0 texts"]),
    ({"guided_choice": ["a", ""]}, ["guided_choice", "empty"]),
    ({"regex": "a", "guided_choice": ["a"]}, ["guided_choice", "regex", "one grammar"]),
    ({"guided_json": properties(8000)}, ["guided_json", "262144"]),
    ({"guided_json": nested(200)}, ["guided_json", "recursion limit"]),
    ({"guided_json": json.dumps(nested(200))}, ["guided_json", "recursion limit"]),
    ({"guided_json": product(9, 9)}, ["guided_json", "too large"]),
]

WORDS = [f"{a}{b}{c}.*{c}{b}{a}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz"]
# Bodies and the statuses they may have.
COSTLY = {
    "many properties": ({"guided_json": properties(5000)}, ANSWERED),
    "many values": ({"guided_json": {"enum": [f"value {i:05}" for i in range(9000)]}}, (200,)),
    "deep": ({"guided_json": nested(50)}, (200,)),
    "doubled alternatives": ({"guided_json": alternatives(6)}, ANSWERED),
    "much doubled alternatives": ({"guided_json": alternatives(10)}, (400,)),
    "product of alternatives": ({"guided_json": product(6, 6)}, ANSWERED),
    "doubled definitions": ({"guided_json": doubled(40)}, ANSWERED),
    "definition of itself": ({"guided_json": {"$ref": "#"}}, (400,)),
    "counted three times": ({"guided_regex": "((a{1,500}){1,500}){1,500}"}, ANSWERED),
    "counted five times": ({"guided_regex": "((((a{0,60}){0,60}){0,60}){0,60}){0,60}"}, ANSWERED),
    "counted once": ({"guided_regex": "a{1,100000}"}, ANSWERED),
    "counted anything": ({"guided_regex": "(?s:.{1,20000})x.{1000}"}, ANSWERED),
    "states of a power": ({"guided_regex": "(?s:.*a.{300}b.{300})"}, ANSWERED),
    "alternation": ({"guided_regex": "|".join(WORDS)}, ANSWERED),
    "alternation of anything": (
        {"guided_regex": "(" + "|".join(f".*{i}.*{i * 7}.*" for i in range(400)) + ")+"},
        ANSWERED,
    ),
    "counted rules": ({"grammar": 'root ::= ((("a"{1,500}){1,500}){1,500}){1,500}'}, ANSWERED),
    "counted rules of rules": (
        {"grammar": "root ::= x{1,200}\nx ::= y{0,200}\ny ::= [a-z]{0,200}"},
        ANSWERED,
    ),
    "ambiguous rules": ({"grammar": 'root ::= s\ns ::= s s | s s s | "a" | '}, ANSWERED),
    "many patterns": (
        {"guided_json": {"patternProperties": {f"^.*{i}.*$": INTEGER for i in range(60)}}},
        ANSWERED,
    ),
    "all of many patterns": (
        {"guided_json": {"allOf": [{"pattern": f"^.*{c}.{{9}}$"} for c in "abcdefghijklmn"]}},
        ANSWERED,
    ),
    "long list": ({"guided_json": {"type": "array", "minItems": 100_000}}, ANSWERED),
    "long text": ({"guided_json": {"type": "string", "minLength": 1_000_000}}, ANSWERED),
    "multiples of a large number": ({"guided_json": {**INTEGER, "multipleOf": 9999991}}, (400,)),
    "multiples": ({"guided_json": {**INTEGER, "multipleOf": 9973}}, ANSWERED),
}


def complete(form):
    body = {"prompt": "a", "max_tokens": 24, "temperature": 1, "seed": 1, **form}
    return post("/v1/completions", body)


class Stream:
    """Another client, which reads one stream after the other."""

    def __init__(self):
        self.gaps, self.is_over = [], False
        self.thread = threading.Thread(target=self.read)

    def read(self):
        messages = [{"role": "user", "content": "Tell a story."}]
        body = {"messages": messages, "max_tokens": 1000, "ignore_eos": True, "stream": True}
        json_type = {"content-type": "application/json"}
        while not self.is_over:
            path = f"{URL}/v1/chat/completions"
            asked = urllib.request.Request(path, json.dumps(body).encode(), json_type)
            with urllib.request.urlopen(asked, timeout=120) as answer:
                last = time.monotonic()
                for _ in answer:
                    now = time.monotonic()
                    self.gaps.append(now - last)
                    last = now
                    if self.is_over:
                        break


@contextlib.contextmanager
def watched():
    stream = Stream()
    stream.thread.start()
    try:
        yield stream
    finally:
        stream.is_over = True
        stream.thread.join()


class Wrong(unittest.TestCase):
    def test_what_is_wrong_is_said_with_its_place(self):
        for form, words in WRONG:
            with self.subTest(form=str(form)[:200]):
                status, answer = complete(form)
                self.assertEqual(status, 400, answer)
                self.assertEqual(answer["error"]["type"], "invalid_request_error")
                for word in words:
                    self.assertIn(word, answer["error"]["message"])

    def test_nothing_is_asked_for_by_what_is_empty(self):
        plain = complete({})[1]["choices"]
        empty = {"guided_choice": [], "regex": "", "grammar": None, "response_format": {}}
        for field, value in empty.items():
            self.assertEqual(complete({field: value})[1]["choices"], plain, field)


class Costly(unittest.TestCase):
    def test_each_is_answered_and_others_go_on(self):
        with watched() as stream:
            for name, (form, statuses) in COSTLY.items():
                with self.subTest(name):
                    begun = time.monotonic()
                    status, answer = complete(form)
                    took = time.monotonic() - begun
                    said = answer["error"]["message"][:80] if status != 200 else ""
                    print(f"{name}: {status} after {took:.2f} s {said!r}")
                    self.assertIn(status, statuses, answer)
                    self.assertLess(took, ANSWER_MAX)
        self.assertGreater(len(stream.gaps), 100)
        self.assertLess(max(stream.gaps), GAP_MAX)
        print(f"longest gap of the other stream: {max(stream.gaps):.2f} s")


    def test_what_one_answer_costs_is_not_counted_against_the_next(self):
        asked = {"guided_regex": "(?s:.*a.{250}b.{300})", "max_tokens": 16}
        self.assertEqual([complete(asked)[0] for _ in range(8)], [200] * 8)


if __name__ == "__main__":
    unittest.main()
