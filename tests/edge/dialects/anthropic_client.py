"""The official SDK of Anthropic's clients, reading bodies that are given to it."""

from collections.abc import Callable
from typing import Any

import anthropic
import httpx2


def sdk(body: bytes, content_type: str, status: int = 200, asked: list[httpx2.Request] | None = None) -> anthropic.Anthropic:
    """A client whose every call is answered so; what it asks is put into `asked`."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if asked is not None:
            asked.append(request)
        return httpx2.Response(status, headers={"content-type": content_type}, content=body)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(
        api_key="key", base_url="http://edge", max_retries=0, http_client=anthropic.DefaultHttpxClient(transport=transport)
    )


def _call(method: Callable[..., Any]) -> Any:
    return method(model="m", max_tokens=100, messages=[{"role": "user", "content": "Hello"}])


def read_stream(body: bytes) -> Any:
    """The message that the SDK makes of a stream."""
    with _call(sdk(body, "text/event-stream; charset=utf-8").messages.stream) as stream:
        return stream.get_final_message()


def read_whole(body: bytes) -> Any:
    """The message that the SDK makes of a whole answer."""
    return _call(sdk(body, "application/json").messages.create)


def read_error(status: int, body: bytes) -> anthropic.APIStatusError:
    """The error that the SDK raises."""
    try:
        _call(sdk(body, "application/json", status).messages.create)
    except anthropic.APIStatusError as error:
        return error
    raise AssertionError("the SDK raised nothing")
