"""A corpus of texts in the scripts and forms that models see, the same on every run.

Natural languages are the passages of `passages.py` in random order; code and documentation are those of Python's own library; data
is random. `HOSTILE` is what nobody writes but to be counted wrongly.
"""

import argparse
import ast
import base64
import inspect
import json
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from types import ModuleType
from typing import Final, NamedTuple
from uuid import UUID

from tests.edge.tokens.passages import EMOJI, PASSAGES

# Characters of a text, from a stream's chunk of a few sentences to a page.
LENGTHS: Final = (60, 250, 1_000, 4_000)
TEXTS_PER_LENGTH: Final = 25
_MODULES: Final[tuple[ModuleType, ...]] = (argparse, ast, base64, inspect, json, textwrap, tokenize)


class Text(NamedTuple):
    """A text of the corpus and its kind."""

    kind: str
    text: str


def corpus(texts_per_length: int = TEXTS_PER_LENGTH) -> Iterator[Text]:
    """All texts of the kinds that are written in earnest."""
    return _texts(_KINDS, texts_per_length)


def hostile(texts_per_length: int = TEXTS_PER_LENGTH) -> Iterator[Text]:
    """Texts made to be counted wrongly."""
    return _texts(_HOSTILE, texts_per_length)


def _texts(kinds: dict[str, Callable[[Random, int], str]], texts_per_length: int) -> Iterator[Text]:
    for kind, make in kinds.items():
        random = Random(f"tokens of {kind}")
        for length in LENGTHS:
            for _ in range(texts_per_length):
                yield Text(kind, make(random, length)[:length])


def _of_passages(kind: str, joint: str) -> Callable[[Random, int], str]:
    passages = PASSAGES[kind]

    def make(random: Random, length: int) -> str:
        parts: list[str] = []
        while sum(map(len, parts)) < 2 * length + 200:
            parts.extend(random.sample(passages, len(passages)))
        start = random.randrange(max(1, min(200, length)))
        return joint.join(parts)[start:]

    return make


@cache
def _sources() -> str:
    return "\n".join(inspect.getsource(module) for module in _MODULES)


@cache
def _documentation() -> str:
    docs = [inspect.getdoc(each) or "" for module in _MODULES for each in (module, *vars(module).values())]
    return "\n\n".join(sorted({doc for doc in docs if len(doc) > 80 and doc.isascii()}))


def _part_of(whole: Callable[[], str]) -> Callable[[Random, int], str]:
    def make(random: Random, length: int) -> str:
        start = random.randrange(len(whole()) - length)
        return whole()[start:]

    return make


def _words(random: Random, count: int) -> list[str]:
    words = " ".join(PASSAGES["english"]).split()
    return [random.choice(words) for _ in range(count)]


def _record(random: Random, depth: int = 0) -> object:
    choice = random.randrange(7 if depth < 3 else 5)
    if choice == 0:
        return random.randrange(10 ** random.randrange(1, 10))
    if choice == 1:
        return round(random.uniform(-1_000, 1_000), random.randrange(1, 8))
    if choice in (2, 3):
        return " ".join(_words(random, random.randrange(1, 9)))
    if choice == 4:
        return random.choice([True, False, None, str(UUID(int=random.getrandbits(128))), "2026-11-29T04:10:00Z"])
    if choice == 5:
        return [_record(random, depth + 1) for _ in range(random.randrange(1, 6))]
    return {"_".join(_words(random, 2)).lower().strip(".,;"): _record(random, depth + 1) for _ in range(random.randrange(1, 6))}


def _json(indent: int | None) -> Callable[[Random, int], str]:
    def make(random: Random, length: int) -> str:
        text = ""
        while len(text) < length:
            text += json.dumps({"records": [_record(random) for _ in range(6)]}, indent=indent) + "\n"
        return text

    return make


def _tool_calls(random: Random, length: int) -> str:
    text = ""
    while len(text) < length:
        arguments = {"path": "/srv/app/" + "/".join(_words(random, 2)).lower(), "query": " ".join(_words(random, 5)), "limit": 20}
        text += json.dumps({"name": "search_files", "arguments": json.dumps(arguments)})
    return text


def _base64(random: Random, length: int) -> str:
    return base64.b64encode(random.randbytes(length)).decode()


def _hex(random: Random, length: int) -> str:
    return random.randbytes(length).hex()


def _uuids(random: Random, length: int) -> str:
    return "\n".join(str(UUID(int=random.getrandbits(128))) for _ in range(length // 36 + 1))


def _numbers(random: Random, length: int) -> str:
    joint = random.choice([" ", ",", ", ", "\t", "\n", ""])
    return joint.join(str(random.randrange(10 ** random.randrange(1, 13))) for _ in range(length))


def _table(random: Random, length: int) -> str:
    rows = length // 30 + 1
    return "\n".join(f"| {_words(random, 1)[0]} | {random.uniform(0, 900):.2f} | {random.randrange(9_999)} |" for _ in range(rows))


def _whitespace(random: Random, length: int) -> str:
    return "".join(random.choice([" ", "  ", "    ", "\n", "\n\n", "\t", "\t\t", "        \n"]) for _ in range(length))


def _links(random: Random, length: int) -> str:
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        slug = "-".join(_words(random, 4)).lower()
        parts.append(f"https://www.example.com/{slug}?id={random.getrandbits(40):x}&page={random.randrange(99)}#top\n")
    return "".join(parts)


def _html(random: Random, length: int) -> str:
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        words = " ".join(_words(random, 6))
        parts.append(f'<li class="item item-{random.randrange(99)}"><a href="#s{random.randrange(999)}">{words}</a></li>\n')
    return "".join(parts)


def _capitals(random: Random, length: int) -> str:
    return " ".join(_words(random, length)).upper()


def _emoji(random: Random, length: int) -> str:
    return "".join(random.choice(EMOJI) for _ in range(length)) if random.random() < 0.5 else EMOJI * (length // len(EMOJI) + 1)


def _chat(random: Random, length: int) -> str:
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        parts.append(
            " ".join(_words(random, random.randrange(3, 10))) + " " + "".join(random.choices(EMOJI, k=random.randrange(1, 4))) + " "
        )
    return "".join(parts)


def _rules(random: Random, length: int) -> str:
    return random.choice("-=*#_~.!? \n\t/…─█—·。！") * length


def _repeated_letter(random: Random, length: int) -> str:
    return random.choice("0aAx哈呵ㅋwあ😂хα") * length


def _repeated_sign(random: Random, length: int) -> str:
    return random.choice("\ufe6b\ue000\uffef\ufdd0\u20cf\u2e7f⣿ꔀ") * length


def _from(alphabet: str) -> Callable[[Random, int], str]:
    return lambda random, length: "".join(random.choices(alphabet, k=length))


def _range(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


# What stands between two passages, if not a space.
_JOINTS: Final = {"chinese": "", "traditional_chinese": "", "japanese": "", "thai": "", "javascript": "\n"}
_KINDS: Final[dict[str, Callable[[Random, int], str]]] = {
    **{kind: _of_passages(kind, _JOINTS.get(kind, " ")) for kind in PASSAGES},
    "documentation": _part_of(_documentation),
    "python": _part_of(_sources),
    "json": _json(None),
    "json_indented": _json(2),
    "tool_calls": _tool_calls,
    "html": _html,
    "links": _links,
    "table": _table,
    "capitals": _capitals,
    "base64": _base64,
    "hex": _hex,
    "uuids": _uuids,
    "numbers": _numbers,
    "whitespace": _whitespace,
    "emoji": _emoji,
    "chat": _chat,
    "rules": _rules,
    "random_lowers": _from("abcdefghijklmnopqrstuvwxyz"),
    "random_capitals": _from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "random_ascii": _from(_range(33, 126)),
    "random_marks": _from("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
}
_HOSTILE: Final[dict[str, Callable[[Random, int], str]]] = {
    "repeated_letter": _repeated_letter,
    "repeated_sign": _repeated_sign,
    "controls": _from(_range(0, 8) + _range(14, 31)),
    "random_latin": _from(_range(0xC0, 0x24F)),
    "random_greek": _from(_range(0x370, 0x52F)),
    "random_arabic": _from(_range(0x590, 0x7FF)),
    "random_indic": _from(_range(0x900, 0xEFF)),
    "random_rare": _from(_range(0xF00, 0xFFF) + _range(0x1000, 0x1FFF)),
    "random_signs": _from(_range(0x2000, 0x2BFF)),
    "random_chinese": _from(_range(0x4E00, 0x9FFF)),
    "random_hangul": _from(_range(0xAC00, 0xD7A3)),
    "random_emoji": _from(_range(0x1F300, 0x1FAFF)),
    "cuneiform": _from(_range(0x12000, 0x1236E)),
}
