"""LlamaIndex's OpenAILike: tools, its function agent, structured predictions."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

from given import DESCRIBE, KEY, MODEL, QUESTION, URL, City, Tool, check, equal

is_ours = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 8192}
asked = {"temperature": 0, "max_tokens": 200, "max_retries": 0}


def llm(**more):
    return OpenAILike(model=MODEL, api_base=f"{URL}/v1", api_key=KEY, **is_ours, **asked, **more)


def tool_loop():
    """tool called by predict_and_call"""
    tool = Tool()
    tools = [FunctionTool.from_defaults(tool.get_weather)]
    said = llm().predict_and_call(tools, QUESTION, tool_choice="required")
    assert tool.calls and said.response, said


def agent():
    """function agent calls the tool, then generates its answer"""
    tool = Tool()
    agent = FunctionAgent(tools=[tool.get_weather], llm=llm(), initial_tool_choice="get_weather")

    async def run():
        # A small model would call for ever; the workflow then asks for a last answer.
        return await agent.run(QUESTION, max_iterations=2, early_stopping_method="generate")

    said = asyncio.run(run())
    assert tool.calls and said.response.content, said


def typed():
    """typed answer by a function program, whole and streamed"""
    program = FunctionCallingProgram.from_defaults(
        output_cls=City, prompt_template_str=DESCRIBE, llm=llm(), tool_choice="City"
    )
    whole = program()
    assert isinstance(whole, City)
    equal(list(program.stream_call())[-1].model_dump(), whole.model_dump())


def streamed():
    """streamed call equals the whole one"""
    tools = [FunctionTool.from_defaults(Tool().get_weather)]
    messages = [ChatMessage(role="user", content=QUESTION)]
    whole = llm().chat_with_tools(tools, chat_history=messages, tool_required=True)
    parts = list(llm().stream_chat_with_tools(tools, chat_history=messages, tool_required=True))
    calls = [
        [(call.tool_name, call.tool_kwargs) for call in llm().get_tool_calls_from_response(one)]
        for one in (whole, parts[-1])
    ]
    equal(*calls)
    assert calls[0], whole


check(tool_loop, agent, typed, streamed)
