"""The same requests for every system, and single calls to them."""

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from services.cli.prose import prose

# The answer of the simulator when nothing else is asked of it, and what clients ask for, which is more.
_MAX_TOKENS: Final = 50
_SHORT: Final = "Say in one sentence what a token is."
# Some 2,000 tokens: more than the 500 that new-api and one-api reserve beside prompt and limit, so that theirs is no fault of size.
_LONG: Final = prose(8_000)
_TIMEOUT_S: Final = 60.0


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes

    @property
    def tokens(self) -> int:
        """As the vendor counted them."""
        total = msgspec.json.decode(self.body)["usage"]["total_tokens"]
        assert isinstance(total, int)
        return total


def short_body(model_id: str) -> str:
    """The body of a measured call."""
    return _body(model_id, _SHORT)


def long_body(model_id: str) -> str:
    """The body of a call that a small account pays."""
    return _body(model_id, _LONG)


def _body(model_id: str, prompt: str) -> str:
    body = {"model": model_id, "messages": [{"role": "user", "content": prompt}], "max_tokens": _MAX_TOKENS}
    return msgspec.json.encode(body).decode()


def ask(method: str, url: str, body: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request. Errors: `OSError` and `http.client.HTTPException` when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


def call(base_url: str, api_key: str, body: str) -> Answer:
    """One chat completion at a base URL that ends with /v1."""
    return ask("POST", f"{base_url}/chat/completions", body, {"Authorization": f"Bearer {api_key}"})


def served_at_once(base_url: str, api_key: str, body: str, calls: int) -> int:
    """How many of `calls`, all sent at one moment, are answered with 200."""
    together = Barrier(calls)

    def one(_: int) -> int:
        together.wait()
        try:
            return call(base_url, api_key, body).status
        except (OSError, http.client.HTTPException):
            return 0

    with ThreadPoolExecutor(calls) as pool:
        return Counter(pool.map(one, range(calls)))[200]


def served(vendor_base_url: str) -> dict[str, Any]:
    """What a simulator has served in all: `calls`, and `tokens` made and read."""
    by_model = msgspec.json.decode(ask("GET", f"{vendor_base_url}/simulator/served").body)["by_model"].values()
    return {
        "calls": sum(each["calls"] for each in by_model),
        "tokens": sum(each["input_tokens"] + each["output_tokens"] for each in by_model),
    }
