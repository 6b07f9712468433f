"""The anthropic SDK with a loop over tools. See tests/clients/libraries.py for arguments and output."""

import sys
from typing import Any

import anthropic

from tests.clients.libraries.shown import TOOL, Shown, shout, show


def main() -> None:
    """One task."""
    _, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    with anthropic.Anthropic(
        base_url=base_url, api_key=api_key, http_client=anthropic.DefaultHttpxClient(trust_env=False)
    ) as client:
        try:
            _messages(client, model, mode, prompt, shown)
        except anthropic.AnthropicError as error:
            shown.failed(error)
    show(shown)


def _messages(client: anthropic.Anthropic, model: str, mode: str, prompt: str, shown: Shown) -> None:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    if mode == "stream":
        with client.messages.stream(model=model, messages=messages, max_tokens=4_000) as stream:
            for text in stream.text_stream:
                shown.text += text
            shown.ended = stream.get_final_message().stop_reason or ""
        return
    tool: Any = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    while True:
        message = client.messages.create(model=model, messages=messages, max_tokens=4_000, tools=[tool])
        shown.ended = message.stop_reason or ""
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls:
            shown.text = "".join(block.text for block in message.content if block.type == "text")
            return
        results = []
        for call in calls:
            said = shout(shown, **call.input)  # type: ignore[arg-type]
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": said})
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


main()
