"""Sizes of images by their own heads, and the tokens that follow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.tokens.media import UNKNOWN, Image, ImageRule, image_at, image_of, tokens_of
from tests.edge.tokens.pictures import data_url, extended_webp, gif, in_base64, jpeg, png, webp

SIDES = st.integers(1, 16_383)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
# As OpenAI, Anthropic and Alibaba publish theirs.
TILES = ImageRule(512, 170_000, 85, 768, low_detail_tokens=85)
PATCHES = ImageRule(32, 2_460)
AREA = ImageRule(27, 1_000)
MERGED = ImageRule(28, 1_000, 2, tokens_min=32)


@given(SIDES, SIDES)
def test_a_plain_head_is_believed(width: int, height: int) -> None:
    expected = Image(width, height)
    assert image_of(in_base64(png(width, height)), "image/png") == expected
    assert image_of(in_base64(jpeg(width, height)), "image/jpeg") == expected
    assert image_of(in_base64(jpeg(width, height)), "image/jpg") == expected
    assert image_of(in_base64(webp(width, height)), "image/webp") == expected


@pytest.mark.parametrize("side", [1, 2**31 - 1])
def test_any_size_is_read(side: int) -> None:
    assert image_of(in_base64(png(side, side)), "image/png") == Image(side, side)


def test_the_metadata_of_a_camera_stands_before_the_size() -> None:
    assert image_of(in_base64(jpeg(4_000, 3_000, metadata_bytes=65_000)), "image/jpeg") == Image(4_000, 3_000)


@pytest.mark.parametrize(
    ("image", "media_type"),
    [
        # Another type than declared, so that a vendor may take it for either.
        (png(1, 1), "image/jpeg"),
        (jpeg(1, 1), "image/png"),
        (webp(1, 1), "image/png"),
        (png(1, 1), "image/webp"),
        (png(1, 1), "IMAGE/PNG"),
        (png(1, 1), ""),
        # Several images, or several sizes.
        (gif(1, 1), "image/gif"),
        (png(1, 1, moves=True), "image/png"),
        (extended_webp(1, 1), "image/webp"),
        (SVG, "image/svg+xml"),
        (SVG, "image/png"),
        # Cut off, without a size, or nothing.
        (png(1, 1)[:23], "image/png"),
        (jpeg(1, 1)[:30], "image/jpeg"),
        (jpeg(1, 0), "image/jpeg"),
        (png(0, 1), "image/png"),
        (webp(1, 1)[:20], "image/webp"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe1\x00\x00", "image/jpeg"),
        (b"", "image/png"),
        # A head of nothing but segments would keep a reader busy.
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2_100 + jpeg(1, 1)[2:], "image/jpeg"),
        # Its size stands after more metadata than is looked at.
        (jpeg(1, 1, metadata_bytes=60_000)[:-23] + jpeg(1, 1, metadata_bytes=60_000)[2:], "image/jpeg"),
    ],
)
def test_a_head_that_leaves_a_doubt_is_not_believed(image: bytes, media_type: str) -> None:
    assert image_of(in_base64(image), media_type) == UNKNOWN
    assert image_at(data_url(image, media_type.lower())) == image_of(in_base64(image), media_type.lower())


@given(st.binary(max_size=64), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b""]))
def test_no_head_raises_an_error(tail: bytes, head: bytes) -> None:
    for media_type in ("image/png", "image/jpeg", "image/webp"):
        image = image_of(in_base64(head + tail), media_type)
        assert image == UNKNOWN or (image.width > 0 and image.height > 0)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_line_ends_in_base64_change_nothing(line_end: str) -> None:
    text = in_base64(jpeg(4_000, 3_000, metadata_bytes=60_000))
    lines = line_end.join(text[begin : begin + 76] for begin in range(0, len(text), 76))
    assert image_of(lines + line_end, "image/jpeg") == Image(4_000, 3_000)


@pytest.mark.parametrize("before", ["=", "====", "*", "-_", " ", "\x00", "é", "%20"])
def test_base64_that_readers_take_differently_is_not_believed(before: str) -> None:
    # One reader leaves out what another stops at.
    assert image_of(before + in_base64(png(1, 1)), "image/png") == UNKNOWN
    text = in_base64(png(1, 1))
    assert image_of(text[:12] + before + text[12:], "image/png") == UNKNOWN


@pytest.mark.parametrize(
    "url",
    [
        "https://pictures.test/1.png",
        "file:///etc/passwd",
        "data:image/png," + in_base64(png(1, 1)),
        "data:image/png;charset=utf-8;base64," + in_base64(png(1, 1)),
        "data:image/png;base64",
        " " + data_url(png(1, 1)),
        "",
    ],
)
def test_what_is_no_plain_data_url_has_no_size(url: str) -> None:
    assert image_at(url) == UNKNOWN


def test_an_image_in_a_url_has_the_size_that_it_says() -> None:
    assert image_at(data_url(png(640, 480))) == Image(640, 480)
    assert image_at(data_url(png(640, 480)).replace("data:image/png;base64", "DATA:Image/PNG;BASE64")) == Image(640, 480)


@pytest.mark.parametrize(
    ("rule", "image", "tokens"),
    [
        # The examples of OpenAI's page.
        (TILES, Image(1_024, 1_024), 765),
        (TILES, Image(2_048, 4_096), 1_105),
        (TILES, Image(4_096, 8_192, is_low=True), 85),
        (TILES, Image(1, 1), 765),
        (TILES, Image(1, 100_000), 1_445),
        (TILES, Image(100_000, 100_000), 765),
        (PATCHES, Image(1_024, 1_024), -(-1_024 * 246 // 100)),
        (PATCHES, Image(1, 1), 3),
        (PATCHES, Image(33, 32), 5),
        (PATCHES, Image(100_000, 100_000), 1_445),
        # Of Anthropic's: 1,334 by area.
        (AREA, Image(1_000, 1_000), 1_444),
        (AREA, Image(200, 200), 64),
        (MERGED, Image(280, 280), 102),
        (MERGED, Image(1, 1), 32),
        (AREA, UNKNOWN, 1_445),
        (AREA, Image(1, 1, is_low=True), 1),
        (None, Image(1, 1), 1_445),
        (None, Image(1, 1, is_low=True), 1_445),
    ],
)
def test_tokens_follow_from_the_size_up_to_the_largest(rule: Any, image: Image, tokens: int) -> None:
    assert tokens_of(image, rule, 1_445 if rule is not PATCHES or image.width > 2_000 else 10_000) == tokens


@given(SIDES, SIDES)
def test_a_square_of_27_bounds_what_750_pixels_a_token_come_to(width: int, height: int) -> None:
    assert tokens_of(Image(width, height), AREA, 10**9) * 750 >= width * height


@given(SIDES, SIDES, st.sampled_from([TILES, PATCHES, AREA, MERGED]))
def test_an_image_that_is_turned_has_the_tokens_that_it_had(width: int, height: int, rule: ImageRule) -> None:
    assert tokens_of(Image(width, height), rule, 10**9) == tokens_of(Image(height, width), rule, 10**9)
