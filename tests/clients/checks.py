"""Schemathesis, told what the OpenAPI document cannot say.

A request that obeys the document may still ask for more than the model has: a prompt longer than
its context, a token id outside its vocabulary. And one field may need another one. And a text that
should be a grammar may be none. Everything else that obeys must be answered.
"""

import re

import schemathesis
from schemathesis.generation import GenerationMode

UNKNOWABLE = re.compile(
    r"is no token|is not one of|is out of vocabulary|has no tokens|do not fit max_model_len"
    r"|needs (stream|logprobs|include_usage): true|must be at most max_tokens|continue_final_message"
    r"|^(parameters\.)?(response_format|structured_outputs|guided_\w+|grammar|json_schema|regex|ebnf|format|tools|tool_choice|functions|function_call)\b"
    r"|needs logprobs|not with stream: true|best_of other than n"
    # Items and blocks of many kinds, each with members of its own.
    r"|^(input|messages|system)\[\d+\]\.|empty turn of the assistant|their results must follow"
    r"|^(text|metadata|output_config|thinking|reasoning)\b"
)


@schemathesis.check
def what_obeys_is_answered(_context, response, case):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if response.status_code != 400:
        return
    fault = response.json()
    fault = fault.get("error", fault) if isinstance(fault.get("error"), dict) else fault
    # Ollama's errors are texts.
    message = fault["message"] if "message" in fault else fault["error"]
    if not UNKNOWABLE.search(message):
        raise AssertionError(f"refused: {message}")
