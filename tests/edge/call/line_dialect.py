"""A dialect of lines, which proves the protocol for what is not there yet.

A request is a line of options and a prompt, or several parts. An event of a vendor is a few lines, each a word and what it is
about: `say "text"`, `think "text"`, `opaque 16`, `call name`, `add "text"`, `count input=3 output=5`, `finish`, `end`,
`fault 429 code words`. The end of an answer repeats everything that was said. No JSON is read by the call path, and no other
dialect is needed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.edge.call.dialect import Answer, Body, Charged, Dialect, Ending, InputSize, Rate, Request, Step, VendorRequest
from services.edge.http.problems import Header, Problem, malformed
from services.edge.tokens.media import UNKNOWN
from services.edge.tokens.size import size_of
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFailure, VendorFault
from services.token_classes import CLASSES, INDEX, TOKEN_CLASSES, Vector, trimmed

_LINE: Final = "text/x-line"
_PARTS: Final = "multipart/form-data; boundary=part"
_BOUNDARY: Final = b"--part"


def event(*lines: str) -> bytes:
    """One event of a vendor's stream."""
    return b"".join(b"data: %s\n" % line.encode("utf-8", "surrogatepass") for line in lines) + b"\n"


def say(text: str, *more: str) -> bytes:
    """An event that says something."""
    return event(f"say {json.dumps(text)}", *more)


def think(text: str, *more: str) -> bytes:
    """An event that thinks something."""
    return event(f"think {json.dumps(text)}", *more)


def count(**counts: int) -> str:
    """A line with the vendor's count of each class that is given; a side of which no class is given is not usable."""
    return " ".join(["count", *(f"{name}={tokens}" for name, tokens in counts.items())])


def counted(**counts: int) -> bytes:
    """An event with nothing but a count."""
    return event(count(**counts))


def whole(*lines: str) -> bytes:
    """An answer that is not streamed."""
    return "\n".join(lines).encode()


def words(tokens: int, word: str = "word ") -> str:
    """Text of about so many tokens."""
    return word * tokens


FINISH: Final = event("finish")
END: Final = event("end")


class LineAnswer:
    """A vendor's answer in lines."""

    def __init__(self, *, streamed: bool, running: bool = False) -> None:
        self.tells_usage = _told if running else None
        self.content_type = "text/event-stream; charset=utf-8" if streamed else "text/plain"
        self._streamed = streamed
        self._said: list[str] = []

    def feed(self, event: Event) -> Step:
        step = Step()
        out: list[bytes] = []
        for line in event.data.decode("utf-8", "surrogatepass").split("\n"):
            step = self._read(step, line, out)
        return step._replace(out=b"".join(out) if self._streamed else b"")

    def _read(self, step: Step, line: str, out: list[bytes]) -> Step:
        word, _, rest = line.partition(" ")
        match word:
            case "say":
                self._said.append(json.loads(rest))
                out.append(b"data: said %s\n\n" % rest.encode())
                return step._replace(said=step.said + json.loads(rest))
            case "think":
                out.append(b"data: thought %s\n\n" % rest.encode())
                return step._replace(thought=step.thought + json.loads(rest))
            case "opaque":
                return step._replace(opaque_bytes=step.opaque_bytes + int(rest))
            case "call":
                out.append(b"data: call %s\n\n" % rest.encode())
                return step._replace(calls=step.calls + 1)
            case "add":
                return step._replace(added=step.added + json.loads(rest))
            case "count":
                return step._replace(counted=_count(rest))
            case "finish":
                return step._replace(finished=True)
            case "end":
                return step._replace(ended=True)
            case "fault":
                status, code, message = (*rest.split(" ", 2), "", "")[:3]
                return step._replace(fault=VendorFault(int(status), code, message=message))
            case "crash":
                raise RuntimeError("a fault of the dialect")
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        step = self.feed(Event("", body))
        if step.fault is not None:
            raise VendorFailure("refused", 200, fault=step.fault)
        return step._replace(out=b"data: said %s\n\n" % json.dumps(step.said).encode() if self._streamed and step.said else b"")

    def end(self, ending: Ending, used: Vector) -> bytes:
        said = "".join(self._said)
        mark = f"[{ending.value}] {' '.join(map(str, used))}"
        if self._streamed:
            return b"data: repeated %s\n\ndata: %s\n\n" % (json.dumps(said).encode(), mark.encode())
        return f"{said}\n{mark}".encode()

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        return b"data: error %d %s %s\n\n" % (problem.status, str(problem.code).encode(), problem.message.encode())


def _told(events: bytes, used: Vector) -> bytes:
    return events + f"data: used {' '.join(map(str, used))}\n\n".encode()


def _count(rest: str) -> VendorCount:
    counts = [0] * len(TOKEN_CLASSES)
    sides = set()
    for word in rest.split():
        name, _, tokens = word.partition("=")
        if int(tokens) >= 0:
            counts[INDEX[name]] = int(tokens)
            sides.add(CLASSES[INDEX[name]].is_input)
    return VendorCount(trimmed(counts), True in sides, False in sides)


class LineRequest(NamedTuple):
    """A request as it was read."""

    options: dict[str, str]
    prompt: str
    # The file of a request of several parts.
    file: bytes | None = None

    @property
    def model_id(self) -> str:
        return self.options.get("model", "solo")

    @property
    def streamed(self) -> bool:
        return self.options.get("stream") == "yes"

    @property
    def choices(self) -> int:
        return int(self.options.get("n", "1"))

    @property
    def output_limit(self) -> int | None:
        return int(self.options["limit"]) if "limit" in self.options else None

    @property
    def output_field(self) -> str | None:
        return "limit" if "limit" in self.options else None

    @property
    def takes_limit(self) -> bool:
        return "unlimited" not in self.options

    @property
    def makes_output(self) -> bool:
        return self.options.get("kind") not in ("embed", "count")

    def size(self) -> InputSize:
        images = (UNKNOWN,) * int(self.options.get("images", "0"))
        size = size_of(self.prompt)
        return InputSize(size.utf8_bytes + len(self.file or b""), size, 1, images, self._texts)

    def conversation(self) -> bytes:
        return self.options.get("talk", "").encode()

    def _texts(self) -> Iterable[str]:
        return [self.prompt]

    def vendor_request(
        self, endpoint: Endpoint, vendor_model_id: str, output_limit: int | None, *, streamed: bool
    ) -> VendorRequest:
        if f"refused_by_{endpoint.vendor_id}" in self.options:
            raise malformed("field", f"{endpoint.vendor_id} refuses this field.")
        limit = self.output_limit if output_limit is None else output_limit
        options = {"model": vendor_model_id, "n": str(self.choices), "stream": "yes" if streamed else "no"}
        if limit is not None:
            options["limit"] = str(limit)
        content = (" ".join(f"{name}={value}" for name, value in options.items()) + "\n" + self.prompt).encode()
        drops = self.options.get("dropped_by", endpoint.vendor_id) == endpoint.vendor_id
        dropped = tuple(self.options["dropped"].split(",")) if drops and "dropped" in self.options else ()
        if self.file is None:
            return VendorRequest("/lines", Body(content, _LINE), ((b"x-lines", b"1"),), dropped)
        parts = b"%s\n%s\n%s\n%s\n%s--" % (_BOUNDARY, content, _BOUNDARY, self.file, _BOUNDARY)
        return VendorRequest("/files", Body(parts, _PARTS), (), dropped)

    def whole_bytes_max(self, output_tokens: int) -> int:
        return 40_000 + output_tokens * 10

    def answer(self, endpoint: Endpoint) -> LineAnswer:
        return LineAnswer(streamed=self.streamed, running=self.options.get("usage") == "running")


class LineDialect:
    """See the module."""

    # Catalogs know the names of real dialects alone.
    name = "openai_chat"
    request_id_header = b"line-request-id"
    is_json = True

    def __init__(self, charged: Charged = Charged.INPUT_AND_OUTPUT) -> None:
        self.charged = charged

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> LineRequest:
        content, file = body.content, None
        if body.content_type.startswith("multipart/"):
            _, content, file, _ = (part.strip(b"\n") for part in body.content.split(_BOUNDARY))
        head, _, prompt = content.decode().partition("\n")
        options = dict(word.split("=", 1) for word in head.split() if "=" in word)
        if "bad" in options:
            raise malformed("bad", "bad must not be given.")
        return LineRequest(options, prompt, file)

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        return f"{problem.code}: {problem.message}".encode()

    def status_of(self, problem: Problem) -> int:
        return problem.status

    def rate_headers(self, rates: Sequence[Rate], now_ms: int) -> list[Header]:
        return [(f"line-{rate.of}".encode(), f"{rate.remaining} of {rate.limit}, {rate.reset_ms} ms".encode()) for rate in rates]


# A type checker sees here that the doubles keep the protocols.
_ANSWER: type[Answer] = LineAnswer
_REQUEST: type[Request] = LineRequest
_DIALECT: type[Dialect] = LineDialect
