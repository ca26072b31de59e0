"""What every client is given: a server, a question, a tool, a type; and how its checks are told.

The server is a Gimbal at GIMBAL_URL with the model GIMBAL_MODEL. A small model calls what it must,
not what is sensible: what is checked is that the client's own way works, not what the model says.
"""

import os
import signal
import sys
import traceback
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

URL = os.environ["GIMBAL_URL"]
MODEL = os.environ["GIMBAL_MODEL"]
KEY = "none"
# A client that hangs is ended by a signal.
SECONDS_MAX = 600
QUESTION = "What is the weather in Paris, in celsius?"
WEATHER = "It is 21 degrees and sunny."
DESCRIBE = "Describe the city of Paris."
Unit = Literal["celsius", "fahrenheit"]


class City(BaseModel):
    """A city."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=20)
    continent: Literal["Africa", "America", "Asia", "Europe"]
    population: int = Field(ge=0, le=40_000_000)
    is_capital: bool


class Tool:
    """A tool that is really called: it keeps what it was given."""

    def __init__(self):
        self.calls = []

    def get_weather(self, city: str, unit: Unit) -> str:
        """The weather in a city.

        Args:
            city: The name of the city.
            unit: The unit of the temperature.
        """
        self.calls.append({"city": city, "unit": unit})
        return WEATHER

    def schema(self):
        """The same, for clients that take a JSON schema."""
        return {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "maxLength": 30},
                        "unit": {"enum": ["celsius", "fahrenheit"]},
                    },
                    "required": ["city", "unit"],
                    "additionalProperties": False,
                },
            },
        }

    def was_called(self, times=1):
        """It ran so often, each time with arguments of its types."""
        assert len(self.calls) == times, f"{len(self.calls)} calls: {self.calls}"
        for call in self.calls:
            assert isinstance(call["city"], str) and call["city"], call
            assert call["unit"] in ("celsius", "fahrenheit"), call


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def check(*functions):
    """Runs each, says its docstring's first line, whether it passed, and what it tells."""
    failed = False
    signal.alarm(SECONDS_MAX)
    for function in functions:
        what = function.__doc__.splitlines()[0]
        try:
            told = function()
        except Exception:
            failed = True
            print(f"\nfailed: {what}\n{traceback.format_exc(limit=-6)}")
        else:
            print(f"\npassed: {what}" + (f" ({told})" if told else ""))
    sys.exit(failed)
