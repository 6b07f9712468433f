"""What the call path asks of a dialect: to read a request, size it, write the vendor's, read the answer, end it, word a problem.

A dialect is a protocol that clients and vendors speak. It is told what happens and says what that means on the wire; it decides
nothing, awaits nothing and knows no balance. The call path knows nothing of JSON. Bodies are bytes with a content type.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from services.edge.http.problems import Header, Problem
from services.edge.tokens.size import TextSize
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFault
from services.token_classes import Vector


class Body(NamedTuple):
    """What is sent: bytes, and what they are."""

    content: bytes
    content_type: str


class InputSize(NamedTuple):
    """How large an input is, before anybody has counted its tokens."""

    # What may become tokens one byte each: all text in UTF-8, and the JSON of what is no plain text, such as tools.
    bytes_bound: int
    # The same by script, for estimates.
    text: TextSize
    # How many turns the chat template wraps.
    messages: int
    # How many images, each of which has the bound of its family.
    images: int
    # The plain texts among it, for a tokenizer; what is no text is `bytes_bound` less their bytes.
    texts: Callable[[], Iterable[str]]


class VendorRequest(NamedTuple):
    """What one vendor is asked."""

    # Appended to the endpoint's base URL, for example "/chat/completions".
    path: str
    body: Body
    headers: tuple[Header, ...]
    # Top-level fields that the vendor's profile leaves out: the client is told their names.
    dropped: tuple[str, ...]

    def headers_for(self, endpoint: Endpoint) -> list[Header]:
        """All headers of the vendor's request, its secret among them."""
        headers = [(b"content-type", self.body.content_type.encode("ascii")), *self.headers]
        if endpoint.api_key:
            secret = endpoint.api_key.encode("latin-1", "replace")
            headers.append((b"x-api-key", secret) if endpoint.key_in_header else (b"authorization", b"Bearer " + secret))
        return headers


class Step(NamedTuple):
    """What one event of a vendor's answer means."""

    # What the client gets for it, whole events of its own stream; empty: nothing, as always while an answer is assembled.
    out: bytes = b""
    # Output in it, known field or not: what is said (text, calls of tools), and what is thought.
    said: str = ""
    thought: str = ""
    # Bytes of opaque proofs of thought (signatures, encrypted reasoning), which stand for thought that is not shown.
    opaque_bytes: int = 0
    # Calls of tools that begin with it: each has a few tokens that no text shows.
    calls: int = 0
    # Text that the vendor added to the input on its own, such as results of a search.
    added: str = ""
    # The vendor's count, where it says one; cumulative. The last one holds.
    counted: VendorCount | None = None
    # Every choice that was asked for has said how it ends; only counts can follow.
    finished: bool = False
    # The dialect's terminal event.
    ended: bool = False
    # The vendor's error in the middle of its answer.
    fault: VendorFault | None = None
    # Bytes that the vendor added to the input in encrypted form: no text shows them.
    added_opaque_bytes: int = 0
    # The choice that says it, where the answer has several; several choices in one event count as the first.
    choice: int = 0


class Ending(Enum):
    """How an answer ends for its client."""

    # As the vendor ended it.
    COMPLETE = "complete"
    # The quota is used up: as if the output limit had been reached.
    CUT = "cut"


class Answer(Protocol):
    """One vendor's answer on its way to one client. Made anew for each attempt; events are fed once, in order."""

    @property
    def content_type(self) -> str:
        """What the client gets: "text/event-stream; charset=utf-8", or "application/json" for one that is assembled."""
        ...

    def feed(self, event: Event) -> Step:
        """Reads one event of a stream. Errors: `VendorFailure` garbage for what is not of the dialect."""
        ...

    def feed_whole(self, body: bytes) -> Step:
        """Reads an answer that the vendor did not stream. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
        ...

    def end(self, ending: Ending, used: Vector) -> bytes:
        """What the client still gets at the end: the terminal events of its stream, or the whole answer.

        `used` is what is charged; it stands where the client asked for usage and the vendor gave none.
        """
        ...

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The last events of a stream that can't go on: the problem, in the dialect's shape."""
        ...


class Request(Protocol):
    """A request as a dialect read it; never changed. Errors of all methods: `Problem` 400 that names the field."""

    @property
    def model_id(self) -> str:
        """The model asked for."""
        ...

    @property
    def streamed(self) -> bool:
        """Whether the client wants the answer as it is made."""
        ...

    @property
    def choices(self) -> int:
        """How many answers side by side; each has the output limit of its own."""
        ...

    @property
    def output_limit(self) -> int | None:
        """The output tokens that the client asked for at most, a choice, thinking included; None: no limit was given."""
        ...

    @property
    def output_field(self) -> str | None:
        """The field that said so."""
        ...

    @property
    def is_free(self) -> bool:
        """Whether it makes no output and costs nothing, as counting tokens does: no session is opened for it."""
        ...

    @property
    def makes_output(self) -> bool:
        """Whether it makes output tokens; embeddings make none: nothing but the input is reserved."""
        ...

    def size(self) -> InputSize:
        """How large the input is."""
        ...

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """The vendor's request, built from what was read: nothing that was not reaches a vendor.

        `output_limit` is written into the field that the endpoint heeds, a choice; None: the client's own, where it gave one.
        Errors: `Problem` 400 for a field that the endpoint's profile refuses or that costs extra.
        """
        ...

    def whole_bytes_max(self, output_tokens: int) -> int:
        """The most bytes of a whole answer with so many tokens of output, with all that the client asked to be told of them."""
        ...

    def answer(self, endpoint: Endpoint) -> Answer:
        """What takes the vendor's answer to such a request."""
        ...


class Dialect(Protocol):
    """A protocol that clients speak."""

    @property
    def name(self) -> str:
        """As catalogs name it, for example "openai_chat"."""
        ...

    @property
    def request_id_header(self) -> bytes:
        """The header that carries the charging_id on every answer."""
        ...

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> Request:
        """Reads a request. Errors: `Problem` 400 that names the field and says what would be right."""
        ...

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        """An error answer's JSON body in the dialect's shape."""
        ...

    def status_of(self, problem: Problem) -> int:
        """The HTTP status under which the dialect's clients understand the problem."""
        ...
