"""llama-index, over chat completions. See tests/clients/libraries.py for arguments and output."""

import sys
from typing import Any

import openai
from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]  # installed apart, by make test-clients
from llama_index.core.tools import FunctionTool  # type: ignore[import-not-found]
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-not-found]

from tests.clients.libraries.shown import Shown, show
from tests.clients.libraries.shown import shout as shout_it


def main() -> None:
    """One task."""
    _, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    llm = OpenAILike(
        model=model, api_base=base_url, api_key=api_key, is_chat_model=True, is_function_calling_model=True, context_window=100_000
    )
    try:
        _run(llm, mode, prompt, shown)
    except openai.OpenAIError as error:
        shown.failed(error)
    show(shown)


def _run(llm: Any, mode: str, prompt: str, shown: Shown) -> None:
    def shout(text: str) -> str:
        """Writes a text in capitals."""
        return shout_it(shown, text)

    messages = [ChatMessage(role="user", content=prompt)]
    if mode == "stream":
        for piece in llm.stream_chat(messages):
            shown.text += piece.delta or ""
        return
    tool = FunctionTool.from_defaults(fn=shout)
    while True:
        answer = llm.chat_with_tools([tool], chat_history=messages, allow_parallel_tool_calls=True)
        calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        if not calls:
            shown.text = answer.message.content or ""
            return
        messages.append(answer.message)
        for call in calls:
            said = str(tool(**call.tool_kwargs))
            messages.append(ChatMessage(role="tool", content=said, additional_kwargs={"tool_call_id": call.tool_id}))


main()
