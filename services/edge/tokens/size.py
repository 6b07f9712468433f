"""Sizes of texts: bytes in UTF-8, and characters by class. Pure.

A class holds characters that tokenizers treat alike: letters, capitals (many in base64, few in words), digits, Chinese characters,
emoji. A size is a vector of counts. So the sizes of a stream's chunks add up to the size of the stream, wherever it was cut.
"""

import re
from operator import add
from random import SystemRandom
from typing import AnyStr, Final, NamedTuple

# At most this many bytes of a text are classified, in blocks spread over it; its length in bytes stays exact.
SAMPLE_BYTES: Final = 16_384
_BLOCK_BYTES: Final = 512
_BLOCKS: Final = SAMPLE_BYTES // _BLOCK_BYTES
# Blocks lie elsewhere in every process, so that nobody can write a text whose sampled parts are its cheap ones.
_JITTER: Final = tuple(SystemRandom().random() for _ in range(_BLOCKS))


class TextSize(NamedTuple):
    """The size of a text: its bytes, and its characters by class. An unlisted character is counted by its bytes alone."""

    utf8_bytes: int
    # ASCII: a to z, A to Z, 0 to 9, white space except vertical tabs and form feeds, and all else.
    lowers: int
    capitals: int
    digits: int
    spaces: int
    marks: int
    # Latin letters with accents, and phonetic ones.
    latin: int
    # Greek, and combining accents.
    greek: int
    cyrillic: int
    # Armenian, Hebrew, Syriac, Thaana, N'Ko.
    hebrew: int
    arabic: int
    devanagari: int
    thai: int
    # Bengali, Tamil, Telugu, Lao: the other scripts of U+0800 to U+0EFF.
    indic: int
    # Tibetan, Myanmar, Georgian, Ethiopic, Khmer, Mongolian and others that tokenizers were hardly trained on. Also unused signs
    # and code points: most are a token a byte.
    rare: int
    # Typographic, mathematical and full-width signs, joiners and selectors of emoji.
    signs: int
    # Kana and Chinese punctuation.
    kana: int
    chinese: int
    hangul: int
    # Characters beyond U+FFFF: emoji, mostly.
    emoji: int

    def __add__(self, other: "TextSize") -> "TextSize":  # type: ignore[override]  # sizes add up, tuples would be joined
        return TextSize._make(map(add, self, other))


NO_TEXT: Final = TextSize(*(0 for _ in TextSize._fields))
# Classes that a text in ASCII cannot have.
_NO_OTHERS: Final = NO_TEXT[TextSize._fields.index("latin") :]


# Characters that normalization changes, or that may combine with one before them; some others between these.
_UNSETTLED: Final = re.compile(
    "["
    r"\u0300-\u0314\u031b\u0323-\u0328\u032d-\u0331\u0338\u0340-\u0345\u0374\u037e\u0387\u0653-\u0655\u093c"
    r"\u0958-\u095f\u09be\u09d7\u09dc-\u09df\u0a33-\u0a36\u0a59-\u0a5e\u0b3e\u0b56-\u0b57\u0b5c-\u0b5d\u0bbe\u0bd7"
    r"\u0c56\u0cc2\u0cd5-\u0cd6\u0d3e\u0d57\u0dca\u0dcf\u0ddf\u0f43\u0f4d\u0f52\u0f57\u0f5c\u0f69\u0f73-\u0f78\u0f81"
    r"\u0f93\u0f9d\u0fa2\u0fa7\u0fac\u0fb9\u102e\u1161-\u1175\u11a8-\u11c2\u1b35\u1f71-\u1f7d\u1fbb-\u1fbe"
    r"\u1fc9-\u1fcb\u1fd3\u1fdb\u1fe3\u1feb-\u1fef\u1ff9-\u2001\u2126-\u212b\u2329-\u232a\u2adc\u3099-\u309a"
    r"\uf900-\ufad9\ufb1d-\ufb1f\ufb2a-\ufb4e\U000110ba\U00011127\U0001133e\U00011357\U000114b0\U000114ba-\U000114bd"
    r"\U000115af\U00011930\U0001d15e-\U0001d164\U0001d1bb-\U0001d1c0\U0002f800-\U0002fa1d"
    "]"
)
# A note of music in four bytes becomes three signs of four.
_NORMALIZATION_BYTES_MAX: Final = 8


def _classes() -> bytes:
    """The class of each byte, as the letter that stands for it: in UTF-8 the first byte of a character tells its script."""
    table = bytearray(b"m" * 256)
    for first, last, letter in (
        (0x61, 0x7A, b"l"),
        (0x41, 0x5A, b"u"),
        (0x30, 0x39, b"d"),
        (0x09, 0x0A, b"s"),
        (0x0D, 0x0D, b"s"),
        (0x20, 0x20, b"s"),
        (0xC0, 0xCB, b"a"),
        (0xCC, 0xCF, b"g"),
        (0xD0, 0xD3, b"x"),
        (0xD4, 0xD7, b"w"),
        (0xD8, 0xDB, b"r"),
        (0xDC, 0xDF, b"w"),
        (0xE0, 0xE0, b"i"),
        (0xE1, 0xE1, b"t"),
        (0xE2, 0xE2, b"y"),
        (0xE3, 0xE3, b"k"),
        (0xE4, 0xE9, b"c"),
        (0xEA, 0xED, b"h"),
        (0xEE, 0xEE, b"t"),
        (0xEF, 0xEF, b"f"),
        (0xF0, 0xFF, b"e"),
    ):
        table[first : last + 1] = letter * (last + 1 - first)
    return bytes(table)


_CLASSES: Final = _classes()
# Bytes that continue a character.
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
# Beginnings of characters whose scripts share a first byte with others.
_DEVANAGARI: Final = (b"\xe0\xa4", b"\xe0\xa5")
_THAI: Final = (b"\xe0\xb8", b"\xe0\xb9")
_TIBETAN: Final = (b"\xe0\xbc", b"\xe0\xbd", b"\xe0\xbe", b"\xe0\xbf")
# The second bytes of rare characters by their first: Braille to radicals beside common signs, and those that lie in no script's
# block; Yi to Meetei Mayek beside Hangul; private use, Chinese and Arabic of other encodings, small forms beside full-width ones.
_RARE_SECONDS: Final = {
    0xE2: (0x83, 0x90, 0x91, *range(0xA0, 0xC0)),
    0xEA: tuple(range(0x80, 0xB0)),
    0xEF: (*range(0x80, 0xB8), 0xB9, 0xBA, 0xBB, 0xBF),
}
# Second bytes that most text has after these first ones: dashes and quotes, full-width commas.
_DASHES: Final = b"\xe2\x80"
_FULL_WIDTH: Final = b"\xef\xbc"
# Stands for bytes that are no text; vocabularies have words of it.
_REPLACEMENT: Final = b"\xef\xbf\xbd"


def _pairs(first: int) -> bytes:
    """A table that writes this first byte as `1`, the second bytes of its rare characters as `2`, and all else as `0`."""
    table = bytearray(b"0" * 256)
    table[first] = ord("1")
    for second in _RARE_SECONDS[first]:
        table[second] = ord("2")
    return bytes(table)


_PAIRS: Final = {first: _pairs(first) for first in _RARE_SECONDS}


def size_of(text: str) -> TextSize:
    """The size of a text. Past 16 KiB its classes are those of a sample, scaled to its length."""
    if text.isascii():
        utf8_bytes = len(text)
        if utf8_bytes > SAMPLE_BYTES:
            return _scaled("".join(_sampled(text)).encode(), utf8_bytes)
        kinds = text.encode().translate(_CLASSES)
        count = kinds.count
        lowers, capitals, digits, spaces = count(b"l"), count(b"u"), count(b"d"), count(b"s")
        marks = utf8_bytes - lowers - capitals - digits - spaces
        return TextSize._make((utf8_bytes, lowers, capitals, digits, spaces, marks, *_NO_OTHERS))
    utf8 = text.encode("utf-8", "surrogatepass")
    if len(utf8) > SAMPLE_BYTES:
        return _scaled(b"".join(_sampled(utf8)), len(utf8))
    return _classified(utf8)


def size_of_tokens(tokens: int) -> TextSize:
    """The size of tokens that come as numbers: as a text of one byte each, of the dearest kind, so that each counts as one."""
    return NO_TEXT._replace(utf8_bytes=tokens, rare=tokens)


def normalization_bytes(text: str) -> int:
    """The most bytes that Unicode's normalization form C may add to a text; 0 for ASCII.

    A tokenizer that normalizes (qwen3) may make more tokens than a text has bytes, but not more than its bytes and these together.
    It is slow for long texts, 25 ns a character, so ask it where such a tokenizer's bound is needed.
    """
    return 0 if text.isascii() else _NORMALIZATION_BYTES_MAX * len(_UNSETTLED.findall(text))


def _classified(utf8: bytes) -> TextSize:
    """The size of a text in UTF-8, or of blocks of one, cut anywhere."""
    count = utf8.translate(_CLASSES, _CONTINUATION).count
    indic = count(b"i")
    rare = count(b"t")
    devanagari = thai = 0
    if indic:
        devanagari = sum(map(utf8.count, _DEVANAGARI))
        thai = sum(map(utf8.count, _THAI))
        tibetan = sum(map(utf8.count, _TIBETAN))
        # A sample's block may end within a character.
        indic = max(0, indic - devanagari - thai - tibetan)
        rare += tibetan
    signs = count(b"y")
    if signs and signs != utf8.count(_DASHES):
        found = _rare(utf8, 0xE2)
        rare += found
        signs -= found
    hangul = count(b"h")
    if hangul:
        found = _rare(utf8, 0xEA)
        rare += found
        hangul -= found
    if others := count(b"f"):
        found = _rare(utf8, 0xEF) - utf8.count(_REPLACEMENT) if others != utf8.count(_FULL_WIDTH) else 0
        rare += found
        signs += others - found
    return TextSize._make(
        (
            len(utf8),
            count(b"l"),
            count(b"u"),
            count(b"d"),
            count(b"s"),
            count(b"m"),
            count(b"a"),
            count(b"g"),
            count(b"x"),
            count(b"w"),
            count(b"r"),
            devanagari,
            thai,
            indic,
            rare,
            signs,
            count(b"k"),
            count(b"c"),
            hangul,
            count(b"e"),
        )
    )


def _rare(utf8: bytes, first: int) -> int:
    """The number of rare characters with this first byte."""
    return utf8.translate(_PAIRS[first]).count(b"12")


def _sampled(whole: AnyStr) -> list[AnyStr]:
    """The part of a long text that is classified: a block from each of its equal parts."""
    part = len(whole) / _BLOCKS
    room = part - _BLOCK_BYTES
    starts = [int(part * index + room * jitter) for index, jitter in enumerate(_JITTER)]
    return [whole[start : start + _BLOCK_BYTES] for start in starts]


def _scaled(sample: bytes, utf8_bytes: int) -> TextSize:
    """The size of a text of `utf8_bytes` that is like its sample; counts are rounded up."""
    counts = _classified(sample)
    return TextSize._make((utf8_bytes, *(-(-count * utf8_bytes // len(sample)) for count in counts[1:])))
