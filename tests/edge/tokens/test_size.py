"""Sizes of texts add up, and bound their tokens."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.tokens.size import NO_TEXT, SAMPLE_BYTES, TextSize, normalization_bytes, size_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("Hello, 42!\n", {"utf8_bytes": 11, "lowers": 4, "capitals": 1, "digits": 2, "spaces": 2, "marks": 2}),
        ("é", {"utf8_bytes": 2, "latin": 1}),
        ("Ω", {"utf8_bytes": 2, "greek": 1}),
        ("Я", {"utf8_bytes": 2, "cyrillic": 1}),
        ("אԱ", {"utf8_bytes": 4, "hebrew": 2}),
        ("ع", {"utf8_bytes": 2, "arabic": 1}),
        ("न", {"utf8_bytes": 3, "devanagari": 1}),
        ("ก", {"utf8_bytes": 3, "thai": 1}),
        ("অ", {"utf8_bytes": 3, "indic": 1}),
        ("བ", {"utf8_bytes": 3, "rare": 1}),
        ("ქ", {"utf8_bytes": 3, "rare": 1}),
        ("—，", {"utf8_bytes": 6, "signs": 2}),
        ("€→─①", {"utf8_bytes": 12, "signs": 3, "rare": 1}),
        # Braille, Vai, a small form, private use, no characters; the sign for what is none is no rare one.
        ("⣿ꔀ﹫\ue000\uffef\u2fff", {"utf8_bytes": 18, "rare": 6}),
        ("ｶﾞ\ufe0f\ufffd", {"utf8_bytes": 12, "signs": 4}),
        ("가힣", {"utf8_bytes": 6, "hangul": 2}),
        ("ܐ", {"utf8_bytes": 2, "hebrew": 1}),
        ("か。", {"utf8_bytes": 6, "kana": 2}),
        ("\t\n\r ", {"utf8_bytes": 4, "spaces": 4}),
        # Each of these is a token, where of white space many are one.
        ("\x00\x0b\x0c\x1b", {"utf8_bytes": 4, "marks": 4}),
        ("中文", {"utf8_bytes": 6, "chinese": 2}),
        ("한", {"utf8_bytes": 3, "hangul": 1}),
        ("😀", {"utf8_bytes": 4, "emoji": 1}),
        ("a\ud800", {"utf8_bytes": 4, "lowers": 1, "hangul": 1}),
    ],
)
def test_characters_are_counted_by_class(text: str, expected: dict[str, int]) -> None:
    assert size_of(text) == NO_TEXT._replace(**expected)


@given(st.text(max_size=200))
def test_each_character_has_one_class(text: str) -> None:
    size = size_of(text)
    assert size.utf8_bytes == len(text.encode("utf-8", "surrogatepass"))
    assert sum(size[1:]) == len(text)


@given(st.text(max_size=200), st.data())
def test_sizes_of_chunks_add_up(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert sum(map(size_of, chunks), NO_TEXT) == size_of(text)


@pytest.mark.parametrize(
    "text", ["Words of ASCII, 42 of them. " * 20_000, "中文和 English，混在一起。" * 20_000, "ནམ་མཁའ་ " * 20_000]
)
def test_a_long_text_is_sampled_and_its_bytes_are_exact(text: str) -> None:
    whole = sum((size_of(text[start : start + 1_000]) for start in range(0, len(text), 1_000)), NO_TEXT)
    sampled = size_of(text)
    assert whole.utf8_bytes > SAMPLE_BYTES
    assert sampled.utf8_bytes == whole.utf8_bytes
    for name, exact, found in zip(TextSize._fields, whole, sampled, strict=True):
        assert found == pytest.approx(exact, rel=0.1, abs=len(text) // 100), name


def test_normalization_adds_no_more_than_it_says() -> None:
    """Every character, alone and with a mark that it may combine with; then any text."""
    for code in range(sys.maxunicode + 1):
        for text in (chr(code), chr(code) + "\u0323", "e" + chr(code)):
            if 0xD800 <= code < 0xE000:
                continue
            grown = len(unicodedata.normalize("NFC", text).encode()) - len(text.encode())
            assert grown <= normalization_bytes(text), ascii(text)


@given(
    st.text(
        st.one_of(st.characters(codec="utf-8"), st.sampled_from("ếΐᾂ\u0323\u0301\u0328\u0345\u0f71\u0f72\U0001d160")), max_size=30
    )
)
def test_normalization_of_any_text_adds_no_more_than_it_says(text: str) -> None:
    assert len(unicodedata.normalize("NFC", text).encode()) <= len(text.encode()) + normalization_bytes(text)
