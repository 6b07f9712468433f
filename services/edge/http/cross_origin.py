"""Requests of browsers' pages from other origins (CORS of the Fetch standard), which pass only where origins are configured.

A page sends its key itself, in a header. What a browser adds by itself (cookies, client certificates) opens nothing here and is
never allowed. So the origin decides who may read an answer, and never who pays.
"""

from collections.abc import Callable, Collection
from typing import Final

from services.edge.http.problems import Header, origin_not_allowed, problem_body
from services.runtime.http.exchange import Exchange

_METHODS: Final = b"GET, POST, DELETE"
# Browsers keep the answer to a preflight this long, in seconds; none keeps it longer than two hours.
_KEPT_S: Final = b"7200"
_VARIES: Final[Header] = (b"vary", b"origin")


class CrossOrigin:
    """The origins whose pages may read answers. None of it asks who calls."""

    def __init__(self, origins: Collection[str]) -> None:
        """`origins` as browsers write them, or "*" for all."""
        self._all = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def told(self, origin: bytes) -> tuple[Header, ...]:
        """Headers of an answer, whoever makes it, from the request's own Origin; empty: it has none."""
        if not self._allows(origin):
            return (_VARIES,)
        # All that are not sent by a browser's cookies; those of limits, retries and receipts among them.
        return *self._allowed(origin), (b"access-control-expose-headers", b"*")

    def serve(self, exchange: Exchange, request_id: Callable[[], Header]) -> bool:
        """Gives the answer the headers that its page needs; answers a preflight, under a `request_id`, and then returns True."""
        origin = exchange.value_of(b"origin")
        is_preflight = exchange.method == "OPTIONS" and bool(exchange.value_of(b"access-control-request-method"))
        if not self._allows(origin):
            exchange.more_headers = (_VARIES,)
            if is_preflight and origin:
                problem = origin_not_allowed(origin.decode("latin-1"))
                headers = [(b"content-type", b"application/json"), request_id()]
                exchange.whole(problem.status, headers, problem_body(problem))
            return is_preflight and bool(origin)
        if not is_preflight:
            exchange.more_headers = self.told(origin)
            return False
        asked = exchange.value_of(b"access-control-request-headers")
        headers = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _KEPT_S), request_id()]
        if asked:
            headers.append((b"access-control-allow-headers", asked))
        exchange.more_headers = self._allowed(origin)
        exchange.start(204, headers)
        exchange.end()
        return True

    def _allows(self, origin: bytes) -> bool:
        return self._all or origin in self._origins

    def _allowed(self, origin: bytes) -> tuple[Header, ...]:
        if self._all:
            return ((b"access-control-allow-origin", b"*"),)
        return (b"access-control-allow-origin", origin), _VARIES
