"""Stands in for packages that another project's tests import: vLLM itself, torch and the like.

Any module below those roots can be imported, and any name of one is a class. It can be a base, an
annotation, a mark or a default; a test that makes or calls one is about the engine in its own
process and ends as not applicable. Next: `vllm_suite.py`.
"""

import importlib.abc
import importlib.machinery
import sys
import types

from counts import not_ours

# Set while a test or what it stands on runs, not while files are read.
runs = [False]


class Meta(type):
    """Of the classes that stand for names."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return made(cls.root, name)

    def __call__(cls, *given, **named):
        # Without the mark, it is a test's own class upon one of theirs.
        if runs[0] or "is_ours" not in cls.__dict__:
            not_ours(cls.root)
        # A decorator, while a file is read, gives back what it is given.
        if len(given) == 1 and not named and callable(given[0]):
            return given[0]
        return made(cls.root, cls.__name__)

    def __iter__(cls):
        return iter(())

    def __bool__(cls):
        return False

    def __getitem__(cls, key):
        return cls

    def __or__(cls, other):
        return cls

    __ror__ = __truediv__ = __or__


def made(root, name):
    bases = (Exception,) if name.endswith(("Error", "Exception")) else ()
    return Meta(name, bases, {"root": root, "is_ours": True})


class Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = made(self.root, name)
        setattr(self, name, found)
        return found


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Roots to why a test that uses them is not ours."""

    def __init__(self, roots):
        self.roots = roots

    def find_spec(self, name, path=None, target=None):
        why = next((why for root, why in self.roots if f"{name}.".startswith(f"{root}.")), None)
        return why and importlib.machinery.ModuleSpec(name, self, loader_state=why, is_package=True)

    def create_module(self, spec):
        module = Module(spec.name)
        module.root = spec.loader_state
        return module

    def exec_module(self, module):
        pass


def install(roots):
    sys.meta_path.insert(0, Finder(roots))
