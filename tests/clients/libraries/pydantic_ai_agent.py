"""pydantic-ai, over responses, chat completions or messages. See tests/clients/libraries.py for arguments and output."""

import asyncio
import sys
from typing import Any

import anthropic
import openai
from pydantic_ai import Agent  # type: ignore[import-not-found]  # installed apart, by make test-clients
from pydantic_ai.exceptions import AgentRunError  # type: ignore[import-not-found]
from pydantic_ai.models.anthropic import AnthropicModel  # type: ignore[import-not-found]
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # type: ignore[import-not-found]
from pydantic_ai.providers.anthropic import AnthropicProvider  # type: ignore[import-not-found]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]

from tests.clients.libraries.shown import Shown, show
from tests.clients.libraries.shown import shout as shout_it


def model_of(dialect: str, base_url: str, api_key: str, model: str) -> Any:
    """Its model in a dialect."""
    if dialect == "messages":
        client = anthropic.AsyncAnthropic(
            base_url=base_url, api_key=api_key, http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False)
        )
        return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    provider = OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url=base_url, api_key=api_key, http_client=http))
    return {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}[dialect](model, provider=provider)


async def main() -> None:
    """One task."""
    dialect, base_url, api_key, model, mode, prompt = sys.argv[1:]
    shown = Shown()
    agent: Any = Agent(model_of(dialect, base_url, api_key, model))

    if mode == "tools":

        @agent.tool_plain  # type: ignore[untyped-decorator]
        def shout(text: str) -> str:
            """Writes a text in capitals."""
            return shout_it(shown, text)

    try:
        if mode == "stream":
            async with agent.run_stream(prompt) as result:
                async for text in result.stream_text(delta=True):
                    shown.text += text
        else:
            shown.text = (await agent.run(prompt)).output
    except (AgentRunError, openai.OpenAIError, anthropic.AnthropicError) as error:
        shown.failed(error)
    show(shown)


asyncio.run(main())
