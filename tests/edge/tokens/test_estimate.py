"""Estimates hold their published errors, wherever a stream is cut."""

from random import Random

import pytest

from services.edge.tokens.estimate import BEST, HIGH, LOW, estimate, low, most
from services.edge.tokens.size import NO_TEXT, TextSize, size_of
from services.edge.tokens.tokenizers import TOKENIZER_NAMES, load
from tests.edge.tokens.calibrate import DOCUMENT, errors_of, row_of
from tests.edge.tokens.corpus import TEXTS_PER_LENGTH, corpus

# Kinds made here alone: the others have texts of Python's library, which another Python may have changed.
PUBLISHED = ("english", "chinese", "russian", "tibetan", "emoji", "base64", "javascript", "tool_calls")


@pytest.mark.parametrize("counted", [LOW, BEST, HIGH])
def test_every_class_has_a_rate(counted: tuple[object, ...]) -> None:
    others = counted[5]
    assert isinstance(others, tuple)
    assert 1 + 5 + len(others) == len(TextSize._fields)


def test_the_published_table_is_that_of_the_code() -> None:
    tokenizers = [load(name) for name in TOKENIZER_NAMES]
    published = DOCUMENT.read_text().splitlines()
    for kind, errors in errors_of((each for each in corpus() if each.kind in PUBLISHED), tokenizers).items():
        assert errors.texts == 4 * TEXTS_PER_LENGTH
        assert row_of(kind, errors) in published


def test_the_truth_lies_within_the_errors() -> None:
    tokenizers = [load(name) for name in TOKENIZER_NAMES]
    for kind, errors in errors_of(corpus(5), tokenizers).items():
        assert errors.most[0] >= 1, kind
        assert errors.low <= 1, kind


def test_nothing_has_no_tokens() -> None:
    assert (estimate(NO_TEXT), most(NO_TEXT), low(NO_TEXT)) == (0, 0, 0)


def test_no_estimate_exceeds_the_bytes() -> None:
    for text in ("a", "€", "😀", "\x00", "12", "Aa1", "བ" * 50):
        size = size_of(text)
        assert low(size) <= estimate(size) <= most(size) <= len(text.encode())


def test_a_stream_is_estimated_alike_wherever_it_is_cut() -> None:
    random = Random("cuts of streams")
    for kind, text in corpus(1):
        chunks, rest = [], text
        while rest:
            length = random.randrange(1, 12)
            chunks.append(rest[:length])
            rest = rest[length:]
        streamed, whole = sum(map(size_of, chunks), NO_TEXT), size_of(text)
        assert streamed == whole, kind
        assert (estimate(streamed), most(streamed), low(streamed)) == (estimate(whole), most(whole), low(whole))


def test_a_sign_that_nobody_writes_costs_its_bytes_however_often_it_stands() -> None:
    tokenizers = [load(name) for name in TOKENIZER_NAMES]
    # A small form, private use, no characters, Braille, Vai, Syriac.
    for sign in "\ufe6b\ue000\uf8ff\uffef\ufdd0\ufdef\u20cf\u2e7f\u2fff\u28ff\ua500\ua9ff\u0710":
        text = sign * 750
        most_real = max(each.count(text) for each in tokenizers)
        assert low(size_of(text)) <= min(each.count(text) for each in tokenizers), ascii(sign)
        assert most(size_of(text)) >= most_real >= len(text.encode()) * 2 // 3, ascii(sign)


def test_what_is_repeated_has_no_fewer_tokens_than_the_fewest() -> None:
    """Vocabularies have words of one letter several times over; an honest count of such a text must not be doubted."""
    tokenizers = [load(name) for name in TOKENIZER_NAMES]
    for sign in (*"aflox", *"MXAF", *"哈ㅋ。ー—…", "ha", "ab", "word "):
        text = sign * 750
        assert low(size_of(text)) <= min(each.count(text) for each in tokenizers), sign
