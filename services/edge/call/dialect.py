"""The contract of dialects: read a request, size it, write the vendor's, read the answer, end it, word a problem.

A dialect is a protocol that clients and vendors speak. It translates between events of a call and bytes on the wire. It decides
nothing, awaits nothing and knows no balance. The call path knows nothing of JSON. Bodies are bytes with a content type.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

from services.edge.http.problems import Header, Problem
from services.edge.tokens.media import Document, Image
from services.edge.tokens.size import TextSize
from services.edge.tokens.sound import Sound
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFault
from services.token_classes import Vector


class Charged(Enum):
    """The part of a call that is metered and charged."""

    INPUT_AND_OUTPUT = "input and output"
    # It makes no output, as embeddings do.
    INPUT = "input"
    # The vendor's free count of an input: no session is opened.
    NOTHING = "nothing"


class Body(NamedTuple):
    """Bytes with their content type."""

    content: bytes
    content_type: str


class Rate(NamedTuple):
    """A limit on a rate at this moment."""

    # "requests" or "tokens".
    of: str
    # As many as may come at once after a pause, and as may come now.
    limit: int
    remaining: int
    # Until as many as `limit` may come.
    reset_ms: int


class InputSize(NamedTuple):
    """The size of an input, before anybody has counted its tokens."""

    # Bytes that may become one token each: all text in UTF-8, and the JSON of everything else, such as tools.
    bytes_bound: int
    # These bytes by script, for estimates.
    text: TextSize
    # Turns that the chat template wraps.
    messages: int
    # Images, each of which has the bound that its family's rule says.
    images: tuple[Image, ...]
    # The plain texts of the input, for a tokenizer; `bytes_bound` less their bytes is the rest.
    texts: Callable[[], Iterable[str]]
    # Inputs side by side, each of which has the model's context window for itself.
    inputs: int = 1
    # The field that it stands in, for errors.
    param: str = "messages"
    sounds: tuple[Sound, ...] = ()
    documents: tuple[Document, ...] = ()
    # Characters of text to be spoken; then those of them that stand in fields which are not known here.
    characters: int = 0
    unknown_characters: int = 0

    @property
    def known(self) -> "InputSize":
        """The size for a vendor that gets no unknown field. It lacks only their characters: tokens have the vendor's count."""
        return self._replace(characters=self.characters - self.unknown_characters, unknown_characters=0)


class VendorRequest(NamedTuple):
    """The request to one vendor."""

    # Appended to the endpoint's base URL, for example "/chat/completions".
    path: str
    body: Body
    headers: tuple[Header, ...]
    # Top-level fields that the vendor's profile drops: the client is told their names.
    dropped: tuple[str, ...]
    # Whether the answer is sound, whose bytes pass as they come, and no events.
    relays_bytes: bool = False

    def headers_for(self, endpoint: Endpoint) -> list[Header]:
        """All headers of the vendor's request, including its secret."""
        return [(b"content-type", self.body.content_type.encode("ascii")), *self.headers, *endpoint.key_headers]


class Step(NamedTuple):
    """The meaning of one event of a vendor's answer."""

    # Whole events for the client's own stream; empty: none, as always while an answer is assembled.
    out: bytes = b""
    # Output in it, from known fields or others: said (text, calls of tools), and thought.
    said: str = ""
    thought: str = ""
    # Bytes of opaque proofs of thought (signatures, encrypted reasoning), which stand for hidden thought.
    opaque_bytes: int = 0
    # Calls of tools that begin with it: each has a few tokens without text.
    calls: int = 0
    # Text that the vendor added to the input by itself, such as results of a search.
    added: str = ""
    # The vendor's cumulative count, where the event has one; the last count holds.
    counted: VendorCount | None = None
    # Every choice that was asked for has ended; only counts can follow.
    finished: bool = False
    # The dialect's terminal event.
    ended: bool = False
    # The vendor's error in the middle of its answer.
    fault: VendorFault | None = None
    # Encrypted bytes that the vendor added to the input; they have no text.
    added_opaque_bytes: int = 0
    # The choice of this output, where the answer has several; several choices in one event count as the first.
    choice: int = 0
    # Bytes of sound, which have no tokens.
    sound_bytes: int = 0


class Ending(Enum):
    """The end of an answer, for its client."""

    # The answer ends as the vendor ended it.
    COMPLETE = "complete"
    # The quota is used up: the answer ends as if the output limit had been reached.
    CUT = "cut"


# From whole events and the usage so far to the events with it.
TellsUsage = Callable[[bytes, Vector], bytes]


class Answer(Protocol):
    """One vendor's answer on its way to one client. Made anew for each attempt; events are fed once, in order."""

    @property
    def content_type(self) -> str:
        """The type of the client's answer: "text/event-stream; charset=utf-8", or "application/json" for an assembled one."""
        ...

    def feed(self, event: Event) -> Step:
        """Reads one event of a stream. Errors: `VendorFailure` garbage for an event outside the dialect."""
        ...

    def feed_whole(self, body: bytes) -> Step:
        """Reads an answer that the vendor did not stream. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
        ...

    def end(self, ending: Ending, used: Vector) -> bytes:
        """The rest of the answer: the terminal events of its stream, or the whole answer.

        `used` is the charged usage; it stands where the client asked for usage and the vendor gave none.
        """
        ...

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The last events of a stream that can't go on: the problem, as the dialect words it. Empty: it can only be cut off."""
        ...

    @property
    def tells_usage(self) -> TellsUsage | None:
        """Puts the usage so far into events on their way; None where the client did not ask for it."""
        ...


class Request(Protocol):
    """A request as a dialect read it; never changed. Errors of all methods: `Problem` 400 that names the field."""

    @property
    def model_id(self) -> str:
        """The ID of the model."""
        ...

    @property
    def streamed(self) -> bool:
        """Whether the client wants the answer as it is made."""
        ...

    @property
    def choices(self) -> int:
        """The number of answers side by side; each has an output limit of its own."""
        ...

    @property
    def output_limit(self) -> int | None:
        """The most output tokens that the client asked for, a choice, thinking included; None: no limit was given."""
        ...

    @property
    def output_field(self) -> str | None:
        """The field that gave the limit."""
        ...

    @property
    def takes_limit(self) -> bool:
        """Whether its output can be limited; else a vendor makes all of it, however little of it can be paid for."""
        ...

    @property
    def makes_output(self) -> bool:
        """Whether it makes output tokens, as its dialect's `charged` says; else only the input is reserved."""
        ...

    def size(self) -> InputSize:
        """The size of the input."""
        ...

    def conversation(self) -> bytes:
        """The mark of its conversation: the same in each call of one, by which they stay on one route. It costs a few us."""
        ...

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        """The vendor's request, built from the fields that were read: nothing else reaches a vendor.

        `output_limit` is written, a choice, into the field that the endpoint heeds; None: the client's own, where it gave one.
        Errors: `Problem` 400 for a field that the endpoint's profile refuses or that costs extra.
        """
        ...

    def whole_bytes_max(self, output_tokens: int) -> int:
        """The most bytes of a whole answer with `output_tokens` of output, with all details that the client asked for."""
        ...

    def answer(self, endpoint: Endpoint) -> Answer:
        """A reader of the vendor's answer to this request."""
        ...


@runtime_checkable
class CountsHere(Protocol):
    """A request for a free count that no vendor answers: the edge's own count is told."""

    def size(self) -> InputSize:
        """The size of the input."""
        ...

    def count_body(self, tokens: int) -> Body:
        """The answer of a count."""
        ...


@runtime_checkable
class Dialect(Protocol):
    """A protocol that clients speak."""

    @property
    def name(self) -> str:
        """Its name in catalogs, for example "openai_chat"."""
        ...

    @property
    def request_id_header(self) -> bytes:
        """The header that carries the charging_id on every answer."""
        ...

    @property
    def charged(self) -> Charged:
        """The part of its calls that is charged: the same for every request, so that no client chooses it."""
        ...

    @property
    def is_json(self) -> bool:
        """Whether its requests are JSON, whose values are counted while they come."""
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

    def rate_headers(self, rates: Sequence[Rate], now_ms: int) -> list[Header]:
        """Headers of an answer that tell what rates leave; `now_ms` since 1970."""
        ...


class Translator(Protocol):
    """Writes requests anew in another dialect, for models of which no vendor speaks the client's."""

    def targets(self, dialect: str, spoken: Collection[str]) -> tuple[str, ...]:
        """The dialects of those that are `spoken` into which requests of `dialect` can be written, the best first."""
        ...

    def is_long_work(self, request: Request) -> bool:
        """Whether writing this request anew would hold up others on the event loop."""
        ...

    def translated(
        self, dialect: Dialect, request: Request, targets: Collection[str], *, model_id: str, output_max: int
    ) -> tuple[str, Request]:
        """The request in the first of `targets` that can have it, and this dialect's name.

        `request` as `dialect` read it; `model_id` is the model that answers, with at most `output_max` tokens. Its answer is in the
        client's dialect again. Errors: `Problem` 400 that names the client's field that cannot be carried, and says why.
        """
        ...
