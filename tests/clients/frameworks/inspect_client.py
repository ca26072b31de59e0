"""Inspect: its OpenAI-compatible provider in an evaluation with a tool, and answers by schema."""

import os
import tempfile

# Where its providers `openai-api` and `vllm` look.
for provider in ("GIMBAL", "VLLM"):
    os.environ[f"{provider}_API_KEY"] = "none"
    os.environ[f"{provider}_BASE_URL"] = os.environ["GIMBAL_URL"] + "/v1"

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ResponseSchema
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import ToolFunction, tool
from inspect_ai.util import json_schema

from given import DESCRIBE, MODEL, QUESTION, City, Tool, Unit, check, equal

NAMES = (f"openai-api/gimbal/{MODEL}", f"vllm/{MODEL}")
done = Tool()


@tool
def get_weather():
    async def execute(city: str, unit: Unit) -> str:
        """The weather in a city.

        Args:
            city: The name of the city.
            unit: The unit of the temperature.
        """
        return done.get_weather(city, unit)

    return execute


def run(name, task, **more):
    with tempfile.TemporaryDirectory() as logs:
        asked = {"temperature": 0, "max_tokens": 200, "max_retries": 0}
        log = eval(task, model=name, log_dir=logs, display="none", **asked, **more)[0]
        equal(log.status, "success")
        # Samples are read from the folder when they are first asked for.
        assert log.samples
    return log


def tool_loop():
    """evaluation with a tool: called, then answered and scored"""
    for name in NAMES:
        done.calls.clear()
        solver = [
            use_tools(get_weather(), tool_choice=ToolFunction("get_weather")),
            generate(tool_calls="single"),
            use_tools(tool_choice="none"),
            generate(),
        ]
        dataset = [Sample(input=QUESTION, target="Paris")]
        log = run(name, Task(dataset=dataset, solver=solver, scorer=includes()))
        done.was_called(1)
        roles = [message.role for message in log.samples[0].messages]
        equal(roles, ["user", "assistant", "tool", "assistant"])
        assert log.stats.model_usage[name].output_tokens > 0


def typed():
    """answers by a schema"""
    schema = ResponseSchema(name="city", json_schema=json_schema(City), strict=True)
    for name in NAMES:
        task = Task(dataset=[Sample(input=DESCRIBE)], solver=generate())
        log = run(name, task, response_schema=schema)
        City.model_validate_json(log.samples[0].output.completion)


check(tool_loop, typed)
