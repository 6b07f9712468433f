"""ASGI applications over exchanges."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from services.runtime.http.exchange import Exchange, GoneError, Header

Scope = dict[str, Any]
AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]

_VERSIONS: Final = {"version": "3.0", "spec_version": "2.3"}
# The extension of a scope that has its exchange.
_EXCHANGE: Final = "tokenline.exchange"


def exchange_of(scope: Mapping[str, Any]) -> Exchange:
    """The exchange that a scope is of: who serves it says there who asks. Errors: `KeyError` for a scope of another server."""
    found = scope["extensions"][_EXCHANGE]
    assert isinstance(found, Exchange)
    return found


class Asgi:
    """Serves an ASGI application, for HTTP alone."""

    def __init__(self, application: AsgiApplication, hold: Callable[[Exchange], Awaitable[None]] | None = None) -> None:
        """`hold` is awaited before each answer is begun."""
        self._application = application
        self._hold = hold

    async def __call__(self, exchange: Exchange, *headers: Header) -> Scope:
        """Serves one request and returns its scope. `headers` are added to the answer unless it has others of their names."""
        scope: Scope = {
            "type": "http",
            "asgi": _VERSIONS,
            "http_version": "1.0" if exchange.is_http_1_0 else "1.1",
            "scheme": "http",
            "server": None,
            "client": None,
            "method": exchange.method,
            "root_path": "",
            "path": unquote(exchange.path) if "%" in exchange.path else exchange.path,
            "raw_path": exchange.raw_path,
            "query_string": exchange.query,
            "headers": exchange.headers,
            "extensions": {_EXCHANGE: exchange},
        }
        messages = _Messages(exchange, headers, self._hold)
        await self._application(scope, messages.receive, messages.send)
        return scope


class _Messages:
    """The messages of one request."""

    def __init__(self, exchange: Exchange, headers: tuple[Header, ...], hold: Callable[[Exchange], Awaitable[None]] | None) -> None:
        self._exchange = exchange
        self._hold = hold
        self._headers = headers
        self._was_read = False

    async def receive(self) -> Any:
        """The next part of the body; after the body, a message once the client leaves."""
        exchange = self._exchange
        try:
            if not self._was_read:
                piece = await exchange.read()
                self._was_read = exchange.body_ended and not exchange.unread
                return {"type": "http.request", "body": piece, "more_body": not self._was_read}
            await exchange.left()
        except GoneError:
            pass
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Takes the next part of the answer."""
        exchange = self._exchange
        if message["type"] == "http.response.start":
            if self._hold is not None:
                await self._hold(exchange)
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            names = {name for name, _ in headers}
            exchange.start(message["status"], [*headers, *(header for header in self._headers if header[0] not in names)])
            return
        if exchange.congested:
            await exchange.drained()
        if message.get("more_body", False):
            exchange.write(message.get("body", b""))
        else:
            exchange.end(message.get("body", b""))

    def cut(self) -> None:
        """See `Exchange.cut`."""
        self._exchange.cut()
