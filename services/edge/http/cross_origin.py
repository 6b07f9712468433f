"""Requests of browsers' pages from other origins (CORS of the Fetch standard), which pass only where origins are configured.

A page sends its key itself, in a header. What a browser adds by itself (cookies, client certificates) opens nothing here and is
never allowed. So the origin decides who may read an answer, and never who pays.
"""

from collections.abc import Collection
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

    def serve(self, exchange: Exchange) -> bool:
        """Gives the answer, whoever makes it, the headers that its page needs; answers a preflight, and then returns True."""
        origin = exchange.value_of(b"origin")
        is_preflight = exchange.method == "OPTIONS" and bool(exchange.value_of(b"access-control-request-method"))
        if not (self._all or origin in self._origins):
            exchange.more_headers = () if self._all else (_VARIES,)
            if is_preflight and origin:
                problem = origin_not_allowed(origin.decode("latin-1"))
                exchange.whole(problem.status, [(b"content-type", b"application/json")], problem_body(problem))
            return is_preflight and bool(origin)
        allowed = [(b"access-control-allow-origin", b"*")] if self._all else [(b"access-control-allow-origin", origin), _VARIES]
        if not is_preflight:
            # All that are not sent by a browser's cookies; those of limits, retries and receipts among them.
            exchange.more_headers = (*allowed, (b"access-control-expose-headers", b"*"))
            return False
        asked = exchange.value_of(b"access-control-request-headers")
        headers = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _KEPT_S)]
        if asked:
            headers.append((b"access-control-allow-headers", asked))
        exchange.more_headers = tuple(allowed)
        exchange.start(204, headers)
        exchange.end()
        return True
