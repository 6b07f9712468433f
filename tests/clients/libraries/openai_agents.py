"""openai-agents, over responses (its default) or chat completions. See tests/clients/libraries.py for arguments and output."""

import asyncio
import sys

import openai
from agents import (  # type: ignore[import-not-found]  # installed apart, by make test-clients
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from agents.exceptions import AgentsException  # type: ignore[import-not-found]

from tests.clients.libraries.shown import Shown, show
from tests.clients.libraries.shown import shout as shout_it


async def main() -> None:
    """One task."""
    dialect, base_url, api_key, model, mode, prompt = sys.argv[1:]
    set_tracing_disabled(True)
    shown = Shown()
    client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, http_client=openai.DefaultAsyncHttpxClient(trust_env=False))

    @function_tool  # type: ignore[untyped-decorator]
    def shout(text: str) -> str:
        """Writes a text in capitals."""
        return shout_it(shown, text)

    made = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}[dialect](model, client)
    agent = Agent(name="shouter", model=made, tools=[shout] if mode == "tools" else [])
    try:
        if mode == "stream":
            result = Runner.run_streamed(agent, prompt)
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    shown.text += event.data.delta
        else:
            shown.text = (await Runner.run(agent, prompt)).final_output
    except (openai.OpenAIError, AgentsException) as error:
        shown.failed(error)
    await client.close()
    show(shown)


asyncio.run(main())
