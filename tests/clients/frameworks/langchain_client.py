"""LangChain's ChatOpenAI: its tools, its agent, its structured output."""

from langchain.agents import create_agent
from langchain_core.tools import tool as langchain_tool
from langchain_openai import ChatOpenAI

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

asked = {"temperature": 0, "max_tokens": 200, "max_retries": 0}
model = ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, **asked)


def tool_loop():
    """two-turn tool loop by bind_tools"""
    tool = Tool()
    weather = langchain_tool(tool.get_weather, parse_docstring=True)
    messages = [("user", QUESTION)]
    said = model.bind_tools([weather], tool_choice="get_weather").invoke(messages)
    results = [weather.invoke(call) for call in said.tool_calls]
    tool.was_called(1)
    answer = model.invoke([*messages, said, *results])
    assert answer.content and answer.usage_metadata["output_tokens"] > 0


def agent():
    """agent loop by create_agent ends"""
    tool = Tool()

    class Forced(ChatOpenAI):
        """The first turn must call; the client's own way to say it is tool_choice."""

        def bind_tools(self, tools, **more):
            return super().bind_tools(tools, **{**more, "tool_choice": "any"})

        def _generate(self, messages, *rest, **more):
            if any(message.type == "tool" for message in messages):
                more["tool_choice"] = "none"
            return super()._generate(messages, *rest, **more)

    forced = Forced(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, **asked)
    said = create_agent(forced, [tool.get_weather]).invoke({"messages": [("user", QUESTION)]})
    kinds = [message.type for message in said["messages"]]
    equal(kinds[:2] + sorted(set(kinds[2:-1])) + kinds[-1:], ["human", "ai", "tool", "ai"])
    tool.was_called(kinds.count("tool"))
    assert said["messages"][-1].content


def typed():
    """typed answer by each method of with_structured_output"""
    for method in ("json_schema", "function_calling"):
        found = model.with_structured_output(City, method=method).invoke(DESCRIBE)
        assert isinstance(found, City), (method, found)
    asking = "Is Paris a city? Answer in JSON: {\"answer\": true} or {\"answer\": false}"
    found = model.with_structured_output(method="json_mode").invoke(asking)
    assert isinstance(found, dict), found


def streamed():
    """streamed text and calls equal the whole ones"""
    for asking in (model, model.bind_tools([City], tool_choice="City")):
        whole, parts = asking.invoke(DESCRIBE), list(asking.stream(DESCRIBE))
        added = parts[0]
        for part in parts[1:]:
            added += part
        equal(added.content, whole.content)
        strip = lambda calls: [(call["name"], call["args"]) for call in calls]
        equal(strip(added.tool_calls), strip(whole.tool_calls))
    assert whole.tool_calls


check(tool_loop, agent, typed, streamed)
