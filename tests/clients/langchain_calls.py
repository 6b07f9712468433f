"""LangChain as its users call it, a whole answer and a streamed one, limited by `max_completion_tokens`; run by its own Python.

Arguments: base URL, API key, model, limit, prompt. Prints what each answer said, why it ended and which tokens it counted.
"""

import json
import sys
from typing import Any

from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]  # installed apart, by make test-clients


def main() -> None:
    """Makes both calls."""
    base_url, api_key, model, limit, prompt = sys.argv[1:]
    chat = ChatOpenAI(base_url=base_url, api_key=api_key, model=model, max_completion_tokens=int(limit), stream_usage=True)
    streamed: Any = None
    for chunk in chat.stream(prompt):
        streamed = chunk if streamed is None else streamed + chunk
    answers = (chat.invoke(prompt), streamed)
    print(
        json.dumps(
            [
                {
                    "text": answer.text,
                    "finish_reason": answer.response_metadata["finish_reason"],
                    "tokens": [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]],
                }
                for answer in answers
            ]
        )
    )


if __name__ == "__main__":
    main()
