"""For pytest: llama.cpp's server tests as they are, with nothing fetched.

A test whose server ends with llama_server.py's NOT_OURS is not applicable.
"""

import sys
import types

import pytest
from counts import not_ours

# Their helpers import it to fetch models.
sys.modules["wget"] = types.ModuleType("wget")
import utils

utils.ServerPreset.load_all = staticmethod(lambda: None)
NOT_OURS = "died with return code 3"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from ended())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from ended())


def ended():
    try:
        return (yield)
    except Exception as problem:
        if NOT_OURS in str(problem):
            not_ours("a server that does something else than to generate, or a template it lacks")
        raise
