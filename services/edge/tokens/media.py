"""Sizes of images, sound and documents in a request, as far as their own heads tell them for sure. Pure.

Nothing is decoded but base64, and nothing is fetched. A size that a head does not tell beyond doubt is unknown, and then the rule's
maximum holds: so a head that lies, breaks off or is of another kind than its declared type makes nothing cheaper.
"""

import binascii
import re
from io import BytesIO
from typing import Final, NamedTuple

import imagesize

# A JPEG tells its size after its metadata, of which a camera's preview has up to 64 KiB. A longer head is not looked at.
_HEAD_BYTES: Final = 96 * 1024
# Formats of one image with one size, by the bytes that they begin with. All others may hold several, or say two sizes.
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_WEBP: Final = re.compile(rb"RIFF.{4}WEBPVP8[ L]", re.DOTALL)
# The chunk of a PNG that says that it moves; it stands before the first image.
_MOVES: Final = b"acTL"
# The metadata of a JPEG have fewer of the bytes that begin a segment, their preview too. A head of nothing but segments takes long.
_SEGMENT: Final = b"\xff"
_SEGMENTS_MAX: Final = 2_048
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_IN_URL: Final = re.compile(r"data:(?P<type>[^;,]*)(?P<base64>;base64)?,", re.ASCII | re.IGNORECASE)


class Image(NamedTuple):
    """An image, in pixels; 0 x 0: unknown."""

    width: int = 0
    height: int = 0
    # Whether the client asked for low detail, which some vendors count as a few tokens.
    is_low: bool = False


UNKNOWN: Final = Image()


class Document(NamedTuple):
    """A document in pages, which nobody has counted; 0 bytes: unknown."""

    size_bytes: int = 0


class ImageRule(NamedTuple):
    """The tokens of an image by its size; see registry.proto for the units."""

    square_pixels: int
    square_tokens_milli: int
    base_tokens: int = 0
    short_side_pixels: int = 0
    tokens_min: int = 0
    low_detail_tokens: int = 0


def image_of(data: str, media_type: str) -> Image:
    """The image in `data`, in base64, as its own head has it; unknown where the head does not fit `media_type`."""
    head = _head(data)
    if head.startswith(_PNG):
        is_still = _MOVES not in head
        is_as_declared = media_type == "image/png" and is_still
    elif head.startswith(_JPEG):
        is_as_declared = media_type in ("image/jpeg", "image/jpg") and head.count(_SEGMENT) <= _SEGMENTS_MAX
    else:
        is_as_declared = media_type == "image/webp" and _WEBP.match(head) is not None
    if not is_as_declared:
        return UNKNOWN
    width, height = imagesize.get(BytesIO(head), exif_rotation=False)
    # A JPEG may have a height of 0, and say it at its end.
    return Image(width, height) if width > 0 and height > 0 else UNKNOWN


def media_type_of(url: str) -> str | None:
    """The media type of a data URL, in lower case; None for any other URL."""
    found = _IN_URL.match(url)
    return found["type"].lower() if found is not None else None


def image_at(url: str) -> Image:
    """The image at a URL: unknown, unless the URL holds it."""
    found = _IN_URL.match(url)
    if found is None or not found["base64"]:
        return UNKNOWN
    return image_of(url[found.end() :], found["type"].lower())


def tokens_of(image: Image, rule: ImageRule | None, tokens_max: int) -> int:
    """The most tokens that the image can have; `tokens_max` is that of every image."""
    if rule is None:
        return tokens_max
    if image.is_low and rule.low_detail_tokens:
        return rule.low_detail_tokens
    if not image.width:
        return tokens_max
    long, short = max(image.width, image.height), min(image.width, image.height)
    if rule.short_side_pixels:
        long, short = -(-long * rule.short_side_pixels // short), rule.short_side_pixels
    squares = -(-long // rule.square_pixels) * -(-short // rule.square_pixels)
    tokens = rule.base_tokens + -(-squares * rule.square_tokens_milli // 1_000)
    return min(max(tokens, rule.tokens_min), tokens_max)


def without_line_ends(text: str) -> str:
    """Base64 in one line."""
    return text.replace("\r", "").replace("\n", "")


def _head(data: str) -> bytes:
    """The first bytes of base64; none where readers would differ on them."""
    # A whole number of groups of four letters, without what line ends take.
    text = without_line_ends(data[: _HEAD_BYTES * 2])[: _HEAD_BYTES // 3 * 4]
    if _BASE64.fullmatch(text) is None:
        return b""
    try:
        return binascii.a2b_base64(text[: len(text) // 4 * 4])
    except ValueError:
        return b""
