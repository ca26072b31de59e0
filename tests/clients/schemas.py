"""JSON schemas as people and their tools write them: a table of names and schemas.

Strings, lists and depths have bounds wherever a small model would go on until its tokens are spent:
a grammar says what may come, not that an answer ends. Read by `forms_client.py`.
"""


def text(most=12, **more):
    return {"type": "string", "maxLength": most, **more}


def number(kind="integer", **more):
    """A number with bounds; without them and `multipleOf`, digits may go on for ever."""
    return {"type": kind, **more}


def array(items, least=0, most=4, **more):
    return {"type": "array", "items": items, "minItems": least, "maxItems": most, **more}


def fields(properties, required=None, **more):
    """An object; all its properties are required unless said."""
    required = list(properties) if required is None else required
    told = {"type": "object", "properties": properties, "required": required}
    return {**told, "additionalProperties": False, **more}


DIGIT = number(minimum=0, maximum=9)
FLAG = {"type": "boolean"}
NULL = {"type": "null"}
POINT = fields({"x": DIGIT, "y": DIGIT})


def formatted(*formats):
    return {f"format {name}": {"type": "string", "format": name} for name in formats}


NUMBERS = {
    "integer range": number(minimum=1, maximum=12),
    "integer below zero": number(minimum=-40, maximum=-7),
    "integer across zero": number(minimum=-15, maximum=130),
    "integer exclusive": number(exclusiveMinimum=0, exclusiveMaximum=4),
    "integer exclusive and not": number(minimum=10, exclusiveMaximum=12),
    "integer multiple": number(minimum=0, maximum=100, multipleOf=7),
    "integer multiple of 5 in a list": array(number(minimum=1, maximum=99, multipleOf=5), 3, 3),
    "integer one value": number(minimum=42, maximum=42),
    "integer of a million": number(minimum=999_990, maximum=1_000_010),
    "number range": number("number", minimum=0, maximum=1, multipleOf=0.25),
    "number exclusive": number("number", exclusiveMinimum=0.5, exclusiveMaximum=2, multipleOf=0.1),
    "number below zero": number("number", minimum=-1.5, maximum=-0.5, multipleOf=0.5),
    "number of money": fields({"price": number("number", minimum=0, maximum=99, multipleOf=0.01)}),
}

STRINGS = {
    "string short": text(5),
    "string exact": text(6, minLength=6),
    "string at least": text(20, minLength=10),
    "string empty": text(0),
    "pattern letters": {"type": "string", "pattern": "^[a-z]{3,8}$"},
    "pattern code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}(/[a-f]+)?$", "maxLength": 12},
    "pattern alternatives": {"type": "string", "pattern": "^(red|green|blue)( dark)?$"},
    "pattern not anchored": text(12, pattern="[0-9]x"),
    "pattern escapes": {"type": "string", "pattern": r"^\d{2}\.\d{2}\s\w{1,4}$"},
    "pattern quotes": {"type": "string", "pattern": '^"[a-z]{1,3}\\\\"$'},
    "pattern unicode": {"type": "string", "pattern": "^[äöüß]{1,4}€$"},
    **formatted("date", "uuid", "ipv4", "ipv6"),
    # Parts of these are as long as one likes.
    "format date-time": {"type": "string", "format": "date-time", "maxLength": 30},
    "format time": {"type": "string", "format": "time", "maxLength": 20},
    "format duration": {"type": "string", "format": "duration", "maxLength": 12},
    "format uri": {"type": "string", "format": "uri", "maxLength": 40},
    "format email": {"type": "string", "format": "email", "maxLength": 40},
    "format hostname": {"type": "string", "format": "hostname", "maxLength": 30},
}

VALUES = {
    "enum of strings": {"enum": ["cat", "dog", "ferret"]},
    "enum of kinds": {"enum": ["a", 1, 2.5, None, True, {"k": [1]}]},
    "enum with type": {"type": "string", "enum": ["N", "NE", "E"]},
    "enum unicode": {"enum": ["größer", "日本", "\"quoted\"", "tab\t"]},
    "const string": {"const": "fixed"},
    "const object": {"const": {"a": [1, {"b": None}], "c": "x"}},
    "boolean": FLAG,
    "null": NULL,
    "nullable string": {"type": ["string", "null"], "maxLength": 8},
    "nullable integer": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
    "three types": {"type": ["boolean", "integer", "null"], "minimum": 0, "maximum": 9},
}

ARRAYS = {
    "array of integers": array(DIGIT, 2, 5),
    "array exact": array(FLAG, 3, 3),
    "array perhaps empty": array(text(4), 0, 2),
    "array empty": array(FLAG, 0, 0),
    "array of arrays": array(array(DIGIT, 2, 2), 2, 2),
    "array of objects": array(POINT, 1, 3),
    "array of nullable": array({"type": ["integer", "null"], "minimum": 0, "maximum": 9}, 2, 4),
    "prefix items": {
        "type": "array",
        "prefixItems": [text(5), DIGIT, FLAG],
        "items": False,
        "minItems": 3,
    },
    "prefix items and more": {
        "type": "array",
        "prefixItems": [{"const": "head"}],
        "items": DIGIT,
        "minItems": 2,
        "maxItems": 4,
    },
}

OBJECTS = {
    "object flat": fields({"name": text(), "age": number(minimum=0, maximum=120), "ok": FLAG}),
    "object nested": fields({"a": fields({"b": fields({"c": fields({"d": DIGIT})})})}),
    "object optional": fields({"id": DIGIT, "note": text(8), "tag": {"enum": ["x", "y"]}}, ["id"]),
    "object all optional": fields({"a": DIGIT, "b": FLAG, "c": NULL}, []),
    "object optional in the middle": fields({"a": DIGIT, "b": DIGIT, "c": DIGIT}, ["a", "c"]),
    "object empty": fields({}),
    "object unicode keys": fields({"größe": DIGIT, "名前": text(4), "emoji 🙂": FLAG, 'q"\\': NULL}),
    "object odd keys": fields({"": DIGIT, "a b": DIGIT, "$ref": DIGIT, "type": DIGIT, "/~1": FLAG}),
    "object counted": {
        "type": "object",
        "patternProperties": {"^[a-z]{1,4}$": DIGIT},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
    },
    "object pattern properties": {
        "type": "object",
        "patternProperties": {"^k[0-9]$": FLAG},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    "object more of a schema": {
        "type": "object",
        "properties": {"id": DIGIT},
        "required": ["id"],
        "additionalProperties": FLAG,
        "maxProperties": 2,
        "minProperties": 1,
    },
    "object required but not described": {
        "type": "object",
        "properties": {"a": DIGIT},
        "required": ["a", "b"],
        "additionalProperties": {"enum": [1, 2]},
        "maxProperties": 2,
        "minProperties": 2,
    },
    "annotations": fields(
        {"n": {**DIGIT, "title": "N", "description": "one", "default": 1, "examples": [2]}},
        title="Noted",
        **{"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": "not read"},
    ),
}

LEAF = fields({"v": DIGIT})
REFERENCES = {
    "ref": {"$ref": "#/$defs/p", "$defs": {"p": POINT}},
    "ref twice": fields(
        {"from": {"$ref": "#/$defs/p"}, "to": {"$ref": "#/$defs/p"}}, **{"$defs": {"p": POINT}}
    ),
    "ref to a ref": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"enum": ["there"]}},
    },
    "ref in definitions": {"$ref": "#/definitions/p", "definitions": {"p": POINT}},
    "ref to a property": fields({"a": POINT, "b": {"$ref": "#/properties/a"}}),
    "recursion in a list": {
        "$ref": "#/$defs/node",
        "$defs": {"node": fields({"v": DIGIT, "next": array({"$ref": "#/$defs/node"}, 0, 1)})},
    },
    "recursion or null": {
        "$ref": "#/$defs/node",
        "$defs": {"node": fields({"v": DIGIT, "next": {"anyOf": [NULL, {"$ref": "#/$defs/node"}]}})},
    },
    "recursion of two": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": fields({"b": {"anyOf": [{"$ref": "#/$defs/b"}, DIGIT]}}),
            "b": fields({"a": {"anyOf": [{"$ref": "#/$defs/a"}, DIGIT]}}),
        },
    },
    "recursion at the root": fields({"v": DIGIT, "more": array({"$ref": "#"}, 0, 1)}),
    "tree of three": fields({"l": fields({"l": LEAF, "r": LEAF}), "r": LEAF}),
}

COMBINATIONS = {
    "any of kinds": {"anyOf": [DIGIT, text(6), NULL]},
    "any of objects": {
        "anyOf": [fields({"kind": {"const": "a"}, "n": DIGIT}), fields({"kind": {"const": "b"}})]
    },
    "one of by a tag": {
        "oneOf": [
            fields({"kind": {"const": "circle"}, "r": DIGIT}),
            fields({"kind": {"const": "square"}, "side": DIGIT}),
        ]
    },
    "one of kinds": {"oneOf": [DIGIT, FLAG]},
    "all of bounds": {"allOf": [number(minimum=3), {"maximum": 5}]},
    "all of objects": {
        "allOf": [
            {"type": "object", "properties": {"a": DIGIT}, "required": ["a"]},
            {"type": "object", "properties": {"b": FLAG}, "required": ["b"]},
        ],
        "maxProperties": 2,
    },
    "all of a ref": {"allOf": [{"$ref": "#/$defs/p"}], "$defs": {"p": POINT}},
    "any of beside properties": {
        "type": "object",
        "properties": {"a": DIGIT, "b": DIGIT},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "additionalProperties": False,
    },
    "anything in a list": array({"anyOf": [{"enum": [1, 2]}, array(FLAG, 1, 2)]}, 1, 3),
}

# What the model is asked, where the name does not do: recursion ends only if the model ends it.
ASKED = {
    "recursion in a list": 'The list [7] as JSON: {"v": 7, "next": []}. The list [8] as JSON?',
    "recursion or null": '[7] as JSON: {"v": 7, "next": null}. The list [8] as JSON?',
    "recursion of two": 'Copy this JSON: {"b": 5}',
    "recursion at the root": 'Copy this JSON: {"v": 1, "more": []}',
}

TABLE = NUMBERS | STRINGS | VALUES | ARRAYS | OBJECTS | REFERENCES | COMBINATIONS
