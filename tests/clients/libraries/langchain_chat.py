"""LangChain, over chat completions, responses or messages. See tests/clients/libraries.py for arguments and output."""

import sys
from typing import Any

import anthropic
import openai
from langchain_anthropic import ChatAnthropic  # type: ignore[import-not-found]  # installed apart, by make test-clients
from langchain_core.messages import HumanMessage, ToolMessage  # type: ignore[import-not-found]
from langchain_core.tools import tool  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

from tests.clients.libraries.shown import Shown, show
from tests.clients.libraries.shown import shout as shout_it


def main() -> None:
    """One task."""
    dialect, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    if dialect == "messages":
        chat: Any = ChatAnthropic(base_url=base_url, api_key=api_key, model=model, max_tokens=4_000)
    else:
        chat = ChatOpenAI(base_url=base_url, api_key=api_key, model=model, use_responses_api=dialect == "responses")
    try:
        _run(chat, mode, prompt, shown)
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        shown.failed(error)
    show(shown)


def _run(chat: Any, mode: str, prompt: str, shown: Shown) -> None:
    @tool  # type: ignore[untyped-decorator]
    def shout(text: str) -> str:
        """Writes a text in capitals."""
        return shout_it(shown, text)

    messages: list[Any] = [HumanMessage(prompt)]
    if mode == "stream":
        for chunk in chat.stream(messages):
            shown.text += chunk.text
            shown.ended = _ended(chunk) or shown.ended
        return
    bound = chat.bind_tools([shout])
    while True:
        answer = bound.invoke(messages)
        shown.ended = _ended(answer)
        if not answer.tool_calls:
            shown.text = answer.text
            return
        messages.append(answer)
        messages += [ToolMessage(shout.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]


def _ended(message: Any) -> str:
    told = message.response_metadata
    return str(told.get("finish_reason") or told.get("stop_reason") or told.get("status") or "")


main()
