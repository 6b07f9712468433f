"""The openai SDK: chat completions, or responses, with a loop over tools. See tests/clients/library.py for the arguments."""

import json
import sys
from typing import Any

import openai

from tests.clients.libraries.shown import TOOL, Shown, shout, show


def main() -> None:
    """One task."""
    dialect, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    with openai.OpenAI(base_url=base_url, api_key=api_key, http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        try:
            {"chat": _chat, "responses": _responses}[dialect](client, model, mode, prompt, shown)
        except openai.OpenAIError as error:
            shown.failed(error)
    show(shown)


def _chat(client: Any, model: str, mode: str, prompt: str, shown: Shown) -> None:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    if mode == "stream":
        for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
            for choice in chunk.choices:
                shown.text += choice.delta.content or ""
                shown.ended = choice.finish_reason or shown.ended
        return
    tools: list[Any] = [{"type": "function", "function": TOOL}]
    while True:
        choice = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0]
        shown.ended = choice.finish_reason
        if not choice.message.tool_calls:
            shown.text = choice.message.content or ""
            return
        messages.append(choice.message)
        for call in choice.message.tool_calls:
            said = shout(shown, **json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})


def _responses(client: Any, model: str, mode: str, prompt: str, shown: Shown) -> None:
    items: list[Any] = [{"role": "user", "content": prompt}]
    if mode == "stream":
        for event in client.responses.create(model=model, input=items, stream=True):
            if event.type == "response.output_text.delta":
                shown.text += event.delta
            if event.type in ("response.completed", "response.incomplete", "response.failed"):
                shown.ended = event.response.status or ""
        return
    while True:
        response = client.responses.create(model=model, input=items, tools=[{"type": "function", **TOOL, "strict": False}])
        shown.ended = response.status or ""
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            shown.text = response.output_text
            return
        items += response.output
        for call in calls:
            said = shout(shown, **json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})


main()
