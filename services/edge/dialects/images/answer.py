"""A vendor's images on their way to the client. Pure.

Images are counted, and an answer with more than were asked for is none: another route is tried. The answer is written anew, with
the members that say something of an image, and with the usage that is charged.
"""

from typing import Any, Final

import msgspec

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.json_text import NOT_JSON, Raw, encode
from services.edge.dialects.refusals import refusal_in
from services.edge.http.problems import Problem, problem_body
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import IMAGES, VendorCount, read_usage
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, NOTHING, Vector, total_input, total_output, trimmed

# An image of 4,096 by 4,096 pixels in base64 has fewer; no answer has more than `vendor.BODY_BYTES_MAX`.
IMAGE_BYTES_MAX: Final = 64 * 1024 * 1024
# Words about an image: the prompt as the vendor made it, and settings.
_PROMPT_BYTES_MAX: Final = 32 * 1024
_WORD_BYTES_MAX: Final = 256
_ADDRESS_BYTES_MAX: Final = 16 * 1024
# A usage that is longer says more than a count.
_USAGE_BYTES_MAX: Final = 1_024
_QUOTE: Final = ord('"')
_WORDS: Final = ("background", "output_format", "quality", "size")
_OUTPUT: Final = INDEX["output"]
_IMAGE_TOKENS: Final = INDEX["image_output"]
_IMAGES: Final = INDEX["generated_images"]
_members_decoder: Final = msgspec.json.Decoder(dict[str, Raw])
_items_decoder: Final = msgspec.json.Decoder(list[dict[str, Raw]])


class ImagesAnswer:
    """See `services.edge.call.dialect.Answer`. It never streams."""

    content_type = "application/json"
    tells_usage = None

    def __init__(self, reading: UsageReading, images: int) -> None:
        """`images`: the number that was asked for."""
        self._reading = reading
        self._images = images
        self._members: dict[str, Raw] = {}
        self._data: list[dict[str, Raw]] = []
        self._usage: Any = None
        self._counted: VendorCount | None = None

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. No vendor is asked to stream images."""
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`. The count has the images beside the vendor's tokens, if it counted any."""
        try:
            self._members = _members_decoder.decode(body)
            items = _items_decoder.decode(self._members["data"])
        except (*NOT_JSON, KeyError):
            raise refusal_in(body) from None
        self._data = [image for image in map(_image, items) if image is not None]
        if not 1 <= len(self._data) <= self._images:
            raise VendorFailure("garbage", 200)
        self._counted = self._read_usage()
        counts = list(NOTHING if self._counted is None else self._counted.counts)
        counts += [0] * (_IMAGES + 1 - len(counts))
        counts[_IMAGES] = len(self._data)
        has_input = self._counted is not None and self._counted.has_input
        is_odd = self._counted is not None and self._counted.is_odd
        # The meter takes the images, or the tokens where there are any, as the model is charged.
        return Step(counted=VendorCount(tuple(counts), has_input, has_output=True, is_odd=is_odd), finished=True, ended=True)

    def _read_usage(self) -> VendorCount | None:
        if "usage" not in self._members:
            return None
        try:
            self._usage = msgspec.json.decode(self._members["usage"])
        except NOT_JSON:
            return None
        counted = read_usage(self._usage, IMAGES, self._reading)
        if counted is None or len(counted.counts) > _IMAGE_TOKENS:
            return counted
        # A vendor that does not say which of its output are images makes nothing else.
        counts = list(counted.counts) + [0] * (_IMAGE_TOKENS + 1 - len(counted.counts))
        counts[_IMAGE_TOKENS], counts[_OUTPUT] = counts[_OUTPUT], 0
        return counted._replace(counts=trimmed(counts))

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`. The usage that is told is the charged one, where tokens are charged."""
        created = self._members.get("created")
        answer: dict[str, Any] = {"created": _whole(created), "data": self._data}
        for name in _WORDS:
            if name in self._members and _is_text(self._members[name], _WORD_BYTES_MAX):
                answer[name] = self._members[name]
        if not any(used[_IMAGES:]):
            answer["usage"] = self._told(used)
        return encode(answer)

    def _told(self, used: Vector) -> Any:
        is_counted_so = self._counted is not None and not self._counted.is_odd and trimmed(self._counted.counts) == trimmed(used)
        if is_counted_so and len(encode(self._usage)) <= _USAGE_BYTES_MAX:
            return self._usage
        tokens, images = total_input(used), total_output(used)
        return {
            "input_tokens": tokens,
            "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
            "output_tokens": images,
            "total_tokens": tokens + images,
        }

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return problem_body(problem)


def _image(item: dict[str, Raw]) -> dict[str, Raw] | None:
    """The members of an image that are told; None for what is none, such as the error of one of several."""
    image = {
        name: item[name]
        for name, bytes_max in (("b64_json", IMAGE_BYTES_MAX), ("url", _ADDRESS_BYTES_MAX), ("revised_prompt", _PROMPT_BYTES_MAX))
        if name in item and _is_text(item[name], bytes_max)
    }
    return image if "b64_json" in image or "url" in image else None


def _is_text(raw: Raw, bytes_max: int) -> bool:
    return memoryview(raw)[0] == _QUOTE and 2 < len(raw) <= bytes_max


def _whole(raw: Raw | None) -> int:
    try:
        return msgspec.json.decode(raw, type=int) if raw is not None else 0
    except NOT_JSON:
        return 0
