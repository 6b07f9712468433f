"""What the edge asks of a vendor's HTTP API, whatever client carries it."""

from collections.abc import AsyncIterator
from typing import Literal, Protocol

Outcome = Literal["answered", "refused", "unreachable", "timeout", "broken", "garbage"]


class VendorFailure(Exception):  # noqa: N818  # an outcome, and no error of ours
    """A vendor did not give the answer that was asked for.

    `http_status` is 0 when there was none. `body` is what a refusing vendor said, at most 64 KiB; it may quote the prompt, so it
    is for the client alone and never logged.
    """

    def __init__(self, outcome: Outcome, http_status: int = 0, body: bytes = b"") -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome
        self.http_status = http_status
        self.body = body


class VendorAnswer(Protocol):
    """A vendor's 200, of which nothing but the head may have come yet. Close it, also after an error."""

    async def read(self) -> bytes:
        """The whole body. Errors: `VendorFailure` broken, timeout, or garbage for one beyond the bound."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, never empty pieces. Errors: `VendorFailure` broken or timeout."""
        ...

    def close(self) -> None:
        """Ends the answer. One that has not ended by itself is cut off, so that the vendor stops."""
        ...


class VendorClient(Protocol):
    """Calls vendors."""

    async def post(self, url: str, api_key: str, body: bytes) -> VendorAnswer:
        """Posts JSON, with `api_key` as bearer token unless it is empty; returns when the head of a 200 has come.

        Errors: `VendorFailure` refused (any other status), unreachable, timeout, broken. Being cancelled cuts the call off.
        """
        ...
