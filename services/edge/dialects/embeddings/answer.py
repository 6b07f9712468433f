"""A vendor's vectors on their way to the client. Pure.

An answer in OpenAI's form passes byte for byte. In any other the vectors are taken out and written anew, in the order of the inputs
and in the encoding that was asked for. An answer that has not one vector for each input is none: another route is tried.
"""

import binascii
import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.json_text import NOT_JSON, Raw, encode
from services.edge.dialects.metadata import FREE_BYTES
from services.edge.dialects.refusals import refusal_in
from services.edge.http.problems import Problem, problem_body
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import EMBEDDINGS, VendorCount, read_usage
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INPUT_INDEXES, NOTHING, Vector, total_input, trimmed

_FLOAT_BYTES: Final = 4
# A number in JSON with all of its digits and the blanks around it; in base64 it has fewer bytes.
NUMBER_BYTES_MAX: Final = 32
_WORD_CHARACTERS_MAX: Final = 256
# Names and marks around a vector.
_VECTOR_BYTES: Final = 256
_USAGE_BYTES_MAX: Final = 1_024
_Word = Annotated[str, msgspec.Meta(max_length=_WORD_CHARACTERS_MAX)]
_NO_USAGE: Final = Raw(b"null")


class _Embedding(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    embedding: Raw
    object: str


class _Whole(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An answer in OpenAI's form, with the members that compatible servers add."""

    object: str
    data: list[_Embedding]
    model: _Word
    usage: Raw = _NO_USAGE
    id: _Word | None = None
    created: int | None = None
    service_tier: _Word | None = None


class _OddEmbedding(msgspec.Struct, gc=False):
    embedding: Raw
    index: int | None = None


_whole_decoder: Final = msgspec.json.Decoder(_Whole)
_members_decoder: Final = msgspec.json.Decoder(dict[str, Raw])
_embeddings_decoder: Final = msgspec.json.Decoder(list[_OddEmbedding])
_word_decoder: Final = msgspec.json.Decoder(_Word)
_text_decoder: Final = msgspec.json.Decoder(str)
_floats_decoder: Final = msgspec.json.Decoder(list[float])


class EmbeddingsAnswer:
    """See `services.edge.call.dialect.Answer`. It never streams."""

    content_type = "application/json"
    tells_usage = None

    def __init__(self, reading: UsageReading, model_id: str, inputs: int, dimensions: int | None, *, is_base64: bool) -> None:
        """`dimensions`: the length that the client asked for; None: the model's own."""
        self._reading = reading
        self._inputs = inputs
        self._dimensions = dimensions
        self._is_base64 = is_base64
        self._model = model_id
        # The vendor's bytes, where they can be passed on; else its vectors, in order.
        self._body = b""
        self._vectors: list[Raw] = []
        self._usage: Any = None
        self._counted: VendorCount | None = None

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. No vendor streams vectors."""
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`. Where the vendor gave no count, the input's own holds; the output is none."""
        try:
            whole = _whole_decoder.decode(body)
        except NOT_JSON:
            self._read_odd(body)
        else:
            self._model = whole.model
            self._read_usage(whole.usage)
            in_order = all(each.index == position and each.object == "embedding" for position, each in enumerate(whole.data))
            found = [(each.index, each.embedding) for each in whole.data]
            is_as_asked = self._take(found)
            if in_order and is_as_asked and whole.object == "list" and self._is_plain(body, whole):
                self._body = body
        counts = NOTHING if self._counted is None else self._counted.counts
        has_input = self._counted is not None and self._counted.has_input
        is_odd = self._counted is not None and self._counted.is_odd
        return Step(counted=VendorCount(counts, has_input, True, is_odd), finished=True, ended=True)  # output: none

    def _is_plain(self, body: bytes, whole: _Whole) -> bool:
        """Whether the bytes have nothing but what was read, each name once."""
        vectors = sum(len(each.embedding) for each in whole.data)
        if len(body) - vectors > FREE_BYTES + self._inputs * _VECTOR_BYTES or b"\\u" in body:
            return False
        return body.count(b'"data"') == 1 and body.count(b'"embedding"') == 2 * self._inputs

    def _read_odd(self, body: bytes) -> None:
        """Reads an answer that lacks something, or has more. Errors: `VendorFailure`."""
        try:
            members = _members_decoder.decode(body)
            found = _embeddings_decoder.decode(members["data"])
        except (*NOT_JSON, KeyError):
            raise refusal_in(body) from None
        if "model" in members:
            # Else the client's own name of the model stands there.
            with suppress(*NOT_JSON):
                self._model = _word_decoder.decode(members["model"])
        self._read_usage(members.get("usage", _NO_USAGE))
        self._take([(position if each.index is None else each.index, each.embedding) for position, each in enumerate(found)])

    def _read_usage(self, raw: Raw) -> None:
        try:
            self._usage = msgspec.json.decode(raw)
        except NOT_JSON:
            return
        counted = read_usage(self._usage, EMBEDDINGS, self._reading)
        if counted is not None:
            inputs = [tokens if index in INPUT_INDEXES else 0 for index, tokens in enumerate(counted.counts)]
            self._counted = counted._replace(counts=trimmed(inputs))
        if len(raw) > _USAGE_BYTES_MAX:
            # It says more than a count: ours is told.
            self._usage = None

    def _take(self, found: list[tuple[int, Raw]]) -> bool:
        """Takes the vectors in the order of the inputs; whether all came in the encoding that was asked for.

        Errors: `VendorFailure` garbage where there is not exactly one vector for each input, all of one length.
        """
        by_index = dict(found)
        if len(found) != self._inputs or by_index.keys() != set(range(self._inputs)):
            raise VendorFailure("garbage", 200)
        vectors = [by_index[index] for index in range(self._inputs)]
        lengths = {len(_numbers(vector)) for vector in vectors}
        if len(lengths) != 1 or (self._dimensions is not None and lengths != {self._dimensions}):
            raise VendorFailure("garbage", 200)
        is_as_asked = all((bytes(vector[:1]) == b'"') is self._is_base64 for vector in map(bytes, vectors))
        self._vectors = vectors if is_as_asked else [_encoded(vector, is_base64=self._is_base64) for vector in vectors]
        return is_as_asked

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`. The usage that is told is the charged one."""
        is_counted_so = self._counted is not None and not self._counted.is_odd and trimmed(self._counted.counts) == trimmed(used)
        if self._body and is_counted_so:
            return self._body
        tokens = total_input(used)
        usage = self._usage if is_counted_so and self._usage is not None else {"prompt_tokens": tokens, "total_tokens": tokens}
        data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(self._vectors)]
        return encode({"object": "list", "data": data, "model": self._model, "usage": usage})

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return problem_body(problem)


def _numbers(vector: Raw) -> Sequence[float]:
    """The numbers of a vector, in either encoding.

    Errors: `VendorFailure` garbage for what is no vector. NaN and infinities are no numbers: JSON has none, and readers that find
    them in base64, or in 1e999, would compute with them.
    """
    written = bytes(vector)
    if written.startswith(b'"'):
        packed = _floats(vector)
        if len(packed) % _FLOAT_BYTES:
            raise VendorFailure("garbage", 200)
        numbers: Sequence[float] = struct.unpack(f"<{len(packed) // _FLOAT_BYTES}f", packed)
    else:
        try:
            numbers = _floats_decoder.decode(written)
        except NOT_JSON:
            raise VendorFailure("garbage", 200) from None
        if max(map(len, written[1:-1].split(b","))) > NUMBER_BYTES_MAX:
            raise VendorFailure("garbage", 200)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise VendorFailure("garbage", 200)
    return numbers


def _floats(vector: Raw) -> bytes:
    """A vector's numbers, from base64, as they lie in memory. Errors: `VendorFailure` garbage."""
    try:
        return binascii.a2b_base64(_text_decoder.decode(vector), strict_mode=True)
    except (*NOT_JSON, ValueError):
        raise VendorFailure("garbage", 200) from None


def _encoded(vector: Raw, *, is_base64: bool) -> Raw:
    """The vector in an encoding. Errors: `VendorFailure` garbage for numbers that it cannot have."""
    if is_base64 == bytes(vector).startswith(b'"'):
        return vector
    numbers = _numbers(vector)
    if not is_base64:
        return Raw(encode(numbers))
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        raise VendorFailure("garbage", 200) from None
    return Raw(b'"%b"' % binascii.b2a_base64(packed, newline=False))
