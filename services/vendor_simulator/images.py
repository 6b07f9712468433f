"""OpenAI's images: the request as it is read, and as many small pictures as were asked for, in base64 or at an address."""

import base64
import struct
import zlib
from typing import Annotated, Final, Literal, Never, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, count
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import count_tokens

IMAGES_MAX: Final = 10
_CREATED: Final = 1_767_225_600


class ImagesRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    prompt: str
    n: Annotated[int, msgspec.Meta(ge=1, le=IMAGES_MAX)] | None = None
    size: str | None = None
    quality: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def stream(self) -> bool:
        """Images are not streamed."""
        return False

    @property
    def last_text(self) -> str:
        """The prompt."""
        return self.prompt


_strict_type: Final = msgspec.defstruct("StrictImagesRequest", [], bases=(ImagesRequest,), frozen=True, forbid_unknown_fields=True)
_strict: Final = msgspec.json.Decoder(cast(type[ImagesRequest], _strict_type))
_NAMES: Final[Names] = dict.fromkeys(("model", "prompt", "n", "size", "quality", "response_format", "user", "simulate"))


def parse_images(body: bytes) -> ImagesRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.prompt:
        message = "Invalid 'prompt': empty string."
        raise RefusedError(400, error_body(message, "invalid_request_error", "invalid_value", "prompt"))
    return request


class ImagesAnswer(CountedAnswer, frozen=True):
    """The answer to one call: images, each of as many tokens as `simulate.output_tokens` says."""

    request: ImagesRequest

    def answer(self) -> bytes:
        """The body of the answer."""
        request = self.request
        data = []
        for index in range(self.choices):
            picture = _picture(index)
            if request.response_format == "url":
                data.append({"url": f"https://images.simulator.test/{index}.png"})
            else:
                data.append({"b64_json": base64.b64encode(picture).decode(), "revised_prompt": request.prompt[:1_000]})
        body: dict[str, object] = {"created": _CREATED, "data": data, "size": request.size or "1024x1024", "output_format": "png"}
        if self.counts.simulate.usage_report.place != "none":
            output = self.choices * self.output_tokens
            body["usage"] = {
                "input_tokens": self.input_tokens,
                "input_tokens_details": {"text_tokens": self.input_tokens, "image_tokens": 0},
                "output_tokens": output,
                "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
                "total_tokens": self.input_tokens + output,
            }
        return msgspec.json.encode(body)

    def events(self) -> Never:
        """Images are not streamed."""
        raise AssertionError("images are not streamed")


def _picture(index: int) -> bytes:
    """A PNG of one grey pixel, another for each index."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes((0, index)))) + chunk(b"IEND", b"")


def plan_images(request: ImagesRequest) -> ImagesAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    input_tokens = count_tokens([request.prompt]) + simulate.added_input_tokens
    return ImagesAnswer(count(simulate, input_tokens, OUTPUT_TOKENS_MAX, request.n or 1), request)
