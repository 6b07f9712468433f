"""The port of a vendor's HTTP API, whatever client carries it."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, NamedTuple, Protocol

# No answer is longer.
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
Outcome = Literal["answered", "refused", "unreachable", "timeout", "broken", "garbage"]


class VendorFault(NamedTuple):
    """A vendor's account of its failure. Its words may quote the prompt or a secret: never logged, shown only where scrubbed."""

    # The HTTP status; 200 for an error within an answer.
    http_status: int
    # Its code and its type, as text; empty where it has none.
    code: str = ""
    kind: str = ""
    message: str = ""
    # The request's field that the vendor complains of.
    param: str | None = None
    # The time to wait by its Retry-After; 0: none was given.
    retry_after_ms: int = 0


class VendorFailure(Exception):  # noqa: N818  # an outcome, and no error of ours
    """A vendor did not give the requested answer.

    `http_status` is 0 when there was none. `body` holds a refusing vendor's words, at most 64 KiB; they may quote the prompt, so
    they are never logged. `fault` is read from them, or from an error within an answer. `certificate_fault` says in the TLS
    library's words why an unreachable vendor's certificate is not taken, `network_fault` in the system's why
    there is no connection.
    """

    def __init__(
        self,
        outcome: Outcome,
        http_status: int = 0,
        body: bytes = b"",
        fault: VendorFault | None = None,
        retry_after_ms: int = 0,
        certificate_fault: str = "",
        network_fault: str = "",
    ) -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome
        self.http_status = http_status
        self.body = body
        self.fault = fault
        self.retry_after_ms = retry_after_ms
        self.certificate_fault = certificate_fault
        self.network_fault = network_fault


class VendorAnswer(Protocol):
    """A vendor's 200, of which perhaps only the head has come yet. Close it, also after an error."""

    @property
    def content_type(self) -> str:
        """Its media type in lower case, with its parameters; empty where the vendor named none."""
        ...

    async def read(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """The whole body, unpacked, without BOM. Errors: `VendorFailure` broken, timeout, or garbage for one of more bytes."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, unpacked, without empty pieces; after a cancelled wait, another reader goes on from there.

        Errors: `VendorFailure` broken, timeout, or garbage.
        """
        ...

    def close(self) -> None:
        """Ends the answer. An unfinished one is cut off, so that the vendor stops."""
        ...


class VendorClient(Protocol):
    """Calls vendors."""

    async def post(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> VendorAnswer:
        """Posts a body; returns when the head of a 200 has come.

        Errors: `VendorFailure` refused (any other status), unreachable, timeout, broken. A cancellation cuts the call off.
        """
        ...

    async def get(self, url: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Asks for what costs nothing; returns when a 200 has come whole. Errors: as `post`, and garbage for a large body."""
        ...
