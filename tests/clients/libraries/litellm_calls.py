"""litellm as a client, over chat completions, responses or messages. See tests/clients/libraries.py for arguments and output."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # type: ignore[import-not-found]  # installed apart, by make test-clients  # reads the environment
import openai

from tests.clients.libraries.shown import TOOL, Shown, shout, show

litellm.suppress_debug_info = True


def main() -> None:
    """One task."""
    dialect, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    # Before the model stands the vendor whose dialect it speaks.
    named = {"chat": f"openai/{model}", "responses": f"openai/responses/{model}", "messages": f"anthropic/{model}"}[dialect]
    # It adds the path of messages by itself, with /v1.
    reached = {"model": named, "api_base": base_url, "api_key": api_key, "max_tokens": 4_000}
    try:
        _run(reached, mode, prompt, shown)
    except openai.OpenAIError as error:
        shown.failed(error)
    show(shown)


def _run(reached: dict[str, Any], mode: str, prompt: str, shown: Shown) -> None:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    if mode == "stream":
        for chunk in litellm.completion(messages=messages, stream=True, **reached):
            for choice in chunk.choices:
                shown.text += choice.delta.content or ""
                shown.ended = choice.finish_reason or shown.ended
        return
    while True:
        answer = litellm.completion(messages=messages, tools=[{"type": "function", "function": TOOL}], **reached)
        choice = answer.choices[0]
        shown.ended = choice.finish_reason
        if not choice.message.tool_calls:
            shown.text = choice.message.content or ""
            return
        messages.append(choice.message)
        for call in choice.message.tool_calls:
            said = shout(shown, **json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})


main()
