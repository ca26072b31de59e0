"""smolagents: its OpenAI model under ToolCallingAgent, and streams of calls."""

from smolagents import ChatMessage, OpenAIModel, ToolCallingAgent
from smolagents import tool as smol_tool

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

asked = {"temperature": 0, "max_tokens": 200}


def weather(done):
    """The tool, as smolagents wants it."""

    @smol_tool
    def get_weather(city: str, unit: str) -> str:
        """The weather in a city.

        Args:
            city: The name of the city.
            unit: The unit of the temperature.
        """
        return done.get_weather(city, unit)

    return get_weather


class Forced(OpenAIModel):
    """Asks for the tool first, then for the answer; smolagents itself asks for any call."""

    def _prepare_completion_kwargs(self, messages, tools_to_call_from=None, **more):
        asked = super()._prepare_completion_kwargs(
            messages, tools_to_call_from=tools_to_call_from, **more
        )
        name = "final_answer" if len(messages) > 2 else "get_weather"
        return {**asked, "tool_choice": {"type": "function", "function": {"name": name}}}


def agent(done, **more):
    model = Forced(model_id=MODEL, api_base=f"{URL}/v1", api_key=KEY, **asked)
    tools = [weather(done)]
    return ToolCallingAgent(tools=tools, model=model, max_steps=3, verbosity_level=0, **more)


def tool_loop():
    """agent loop: the tool, then its final answer"""
    done = Tool()
    run = agent(done).run(QUESTION, return_full_result=True)
    equal(run.state, "success")
    done.was_called(1)
    assert run.output


def streamed():
    """streamed agent loop equals the whole one"""
    done, streamed = Tool(), Tool()
    agent(done).run(QUESTION)
    agent(streamed, stream_outputs=True).run(QUESTION)
    equal(streamed.calls, done.calls)


def typed():
    """typed answer by response_format"""
    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}
    model = OpenAIModel(model_id=MODEL, api_base=f"{URL}/v1", api_key=KEY, **asked)
    said = model.generate([ChatMessage(role="user", content=DESCRIBE)], response_format=form)
    City.model_validate_json(said.content)


check(tool_loop, streamed, typed)
