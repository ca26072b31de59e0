"""Renders a table of templates with Jinja 2, set up as `transformers` sets it up.

    templates.py OUT.json

Each line of the tables in `template_lines.py` is a template of its own. OUT gets, for each, what
Jinja writes, or `null` where it refuses. Gimbal's own template language is held against this table:
the same text, or an error. Needs `jinja2` only.
"""

import json
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from template_lines import FILTERS, METHODS, SPACE, STATEMENTS, TESTS, VALUES, VARIABLES


def environment():
    class AssistantTracker(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_whole"), [], [], body).set_lineno(line)

        def _whole(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    class Namespace(jinja2.utils.Namespace):
        def __init__(*args, **kwargs):
            attributes = dict(*args[1:], **kwargs)
            for name in attributes:
                Namespace.check(name)
            jinja2.utils.Namespace.__init__(args[0], attributes)

        def __setitem__(self, name, value):
            Namespace.check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def check(name):
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(name)

    import datetime
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[AssistantTracker, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.datetime(2025, 11, 24, 16, 5, 9).strftime(format)
    env.globals["namespace"] = Namespace
    return env


def main():
    env, rows = environment(), []
    tables = [t.strip("\n").split("\n") for t in (VALUES, METHODS, FILTERS, TESTS, STATEMENTS)]
    dates = ["{{ strftime_now('%s') }}" % ("%" + flag + c) for c in "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ%f"
             for flag in ("", "-", "^")]
    dates += ["{{ strftime_now('%s') }}" % c for c in ("%_d", "%0e", "%_j", "%#p", "%Ey", "%Od", "%d %b %Y, %H:%M")]
    # A line of several expressions is cut into them, so that each is held alone.
    for template in [line for table in tables for line in table] + dates + SPACE:
        pieces = [template]
        if template not in SPACE and "{%" not in template and "{#" not in template:
            pieces = [p + "}}" for p in template.replace("}}|", "}} ").replace("]", "]").split("}} ")]
            pieces = [p.replace("}}}}", "}}") if p.endswith("}}}}") and p.count("{{") < p.count("}}") else p for p in pieces]
            if len(pieces) > 1 and all(p.count("{{") == p.count("}}") for p in pieces):
                pieces.append(template)
            else:
                pieces = [template]
        for piece in pieces:
            try:
                text = env.from_string(piece).render(**VARIABLES)
            except Exception:
                text = None
            if text is not None and (" at 0x" in text or "<jinja2" in text or "<bound" in text or "<built" in text):
                text = None
            if [piece, text] not in rows:
                rows.append([piece, text])
    out = json.dumps({"variables": VARIABLES, "now": "2025-11-24 16:05:09", "templates": rows}, ensure_ascii=True, indent=0)
    open(sys.argv[1], "w").write(out + "\n")
    print(len(rows), "templates,", sum(1 for r in rows if r[1] is None), "refused", file=sys.stderr)


main()
