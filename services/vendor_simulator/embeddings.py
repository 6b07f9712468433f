"""OpenAI's embeddings: the request as it is read, and a vector of unit length for each input, the same for the same input."""

import base64
import hashlib
import math
import struct
from array import array
from typing import Annotated, Final, Literal, Never, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, count
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import PLAIN, Simulate
from services.vendor_simulator.text import count_tokens

INPUTS_MAX: Final = 2_048
DIMENSIONS_MAX: Final = 4_096
_DIMENSIONS: Final = 1_536
_NUMBER_BYTES: Final = 2

Token = Annotated[int, msgspec.Meta(ge=0)]


class EmbeddingsRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    input: str | list[str | Token | list[Token]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=DIMENSIONS_MAX)] | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def stream(self) -> bool:
        """Embeddings are not streamed."""
        return False

    @property
    def inputs(self) -> list[str | list[int]]:
        """The texts and lists of tokens, each of which gets a vector."""
        if isinstance(self.input, str):
            return [self.input]
        tokens = [each for each in self.input if isinstance(each, int)]
        return [tokens] if tokens else [each for each in self.input if not isinstance(each, int)]

    @property
    def last_text(self) -> str:
        """The last text; "" where there are tokens."""
        last = self.inputs[-1]
        return last if isinstance(last, str) else ""

    @property
    def input_tokens(self) -> int:
        """The tokens of all inputs together."""
        counted = sum(len(each) for each in self.inputs if not isinstance(each, str))
        return counted + count_tokens([each for each in self.inputs if isinstance(each, str)])


_strict_type: Final = msgspec.defstruct(
    "StrictEmbeddingsRequest", [], bases=(EmbeddingsRequest,), frozen=True, forbid_unknown_fields=True
)
_strict: Final = msgspec.json.Decoder(cast(type[EmbeddingsRequest], _strict_type))
_NAMES: Final[Names] = {
    "model": None,
    "input": None,
    "encoding_format": None,
    "dimensions": None,
    "user": None,
    "simulate": None,
}


def parse_embeddings(body: bytes) -> EmbeddingsRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.input or not all(request.inputs):
        raise _refused("Invalid 'input': an input cannot be empty.", "input")
    if isinstance(request.input, list) and len({type(each) for each in request.input}) > 1:
        raise _refused("Invalid 'input': all elements must be of one kind.", "input")
    if len(request.inputs) > INPUTS_MAX:
        raise _refused(f"Invalid 'input': at most {INPUTS_MAX} inputs.", "input")
    return request


def _refused(message: str, param: str) -> RefusedError:
    return RefusedError(400, error_body(message, "invalid_request_error", "invalid_value", param))


class EmbeddingsAnswer(CountedAnswer, frozen=True):
    """The answer to one call: vectors, and no output."""

    request: EmbeddingsRequest

    def answer(self) -> bytes:
        """The body of the answer."""
        request = self.request
        dimensions = request.dimensions or _DIMENSIONS
        data = []
        for index, each in enumerate(request.inputs):
            vector = _vector(each, dimensions)
            written = base64.b64encode(vector).decode() if request.encoding_format == "base64" else _floats(vector)
            data.append({"object": "embedding", "index": index, "embedding": written})
        body: dict[str, object] = {"object": "list", "data": data, "model": request.model}
        if self.counts.simulate.usage_report.place != "none":
            body["usage"] = {"prompt_tokens": self.input_tokens, "total_tokens": self.input_tokens}
        return msgspec.json.encode(body)

    def events(self) -> Never:
        """Embeddings are not streamed."""
        raise AssertionError("embeddings are not streamed")


def _vector(text_or_tokens: str | list[int], dimensions: int) -> bytes:
    """A vector of length 1 as little-endian numbers of 32 bits."""
    seed = text_or_tokens if isinstance(text_or_tokens, str) else " ".join(map(str, text_or_tokens))
    numbers = array("h", hashlib.shake_128(seed.encode()).digest(dimensions * _NUMBER_BYTES))
    # 1 in place of 0, so that no vector is without a direction.
    numbers[0] = numbers[0] or 1
    length = math.sqrt(sum(number * number for number in numbers))
    return struct.pack(f"<{dimensions}f", *(number / length for number in numbers))


def _floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def plan_embeddings(request: EmbeddingsRequest) -> EmbeddingsAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    return EmbeddingsAnswer(count(simulate, request.input_tokens + simulate.added_input_tokens, 0), request)
