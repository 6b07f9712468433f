"""What is fed: JSON as nobody should write it, bodies of vendors, and pieces of them.

TOKENLINE_FUZZ_EXAMPLES sets how many examples each test tries, other ones each time; without it they are few and always the same.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES: Final = int(os.environ.get("TOKENLINE_FUZZ_EXAMPLES", "0"))

F = TypeVar("F", bound=Callable[..., None])


def tries(few: int) -> Callable[[F], F]:
    """The settings of a test that tries `few` examples in each run of all tests."""
    return settings(
        max_examples=EXAMPLES or few,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


class Pairs(list[tuple[str, Any]]):
    """An object by its members in order, of which several may have one name."""


class Text(str):
    """A value's JSON to the letter."""

    __slots__ = ()


def mostly(right: st.SearchStrategy[Any], odd: st.SearchStrategy[Any], times: int = 15) -> st.SearchStrategy[Any]:
    """What is right, and every now and then what is odd: of what is odd throughout only the first thing is seen."""
    return st.integers(0, times).flatmap(lambda drawn: right if drawn < times else odd)


_PLAIN: Final = ["", "a", "Hello there", "你好", "🙂", "\u2028", "\x7f", "null", "data: x", "\n\n", "é" * 300, "stop", "x" * 70]
# All but one without lone surrogates.
WORDS: Final = mostly(
    st.one_of(st.sampled_from(_PLAIN), st.text(max_size=8)), st.text(st.characters(exclude_categories=()), max_size=8)
)
NUMBERS: Final = st.one_of(
    st.integers(-3, 5),
    st.sampled_from(
        [
            Text(number)
            for number in (
                "1.0",
                "1e2",
                "-0",
                "1E400",
                "0.1",
                "9007199254740993",
                "18446744073709551616",
                "1" * 400,
                "100000000001",
            )
        ]
    ),
)
SCALARS: Final = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)


def objects(names: Sequence[str], values: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[Pairs]:
    """Objects with members of these names, at times of others, at times twice."""
    name = mostly(st.sampled_from(names), st.one_of(st.sampled_from(names).map(_other_case), WORDS))
    return st.lists(st.tuples(name, values), max_size=most).map(Pairs)


def _other_case(name: str) -> str:
    return name.replace("s", "ſ").replace("k", "\u212a") if len(name) % 2 else name.title()


def anything(names: Sequence[str]) -> st.SearchStrategy[Any]:
    """Any JSON, with members of these names."""
    return st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), objects(names, inner, 4)), max_leaves=8)


def written(value: Any) -> str:
    """The value's JSON."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}:{written(each)}" for name, each in value) + "}"
    if isinstance(value, dict):
        return written(Pairs(value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))


def json_bytes(value: Any) -> bytes:
    """The value's JSON in UTF-8, at times not quite."""
    return written(value).encode("utf-8", "surrogatepass")


def broken(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The bodies, some of them cut off, or with a few bytes that do not belong there."""

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        body = draw(bodies)
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(body)))
            body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
        return body

    return one()


@st.composite
def streams(draw: st.DrawFn, datas: st.SearchStrategy[bytes], names: Sequence[str]) -> bytes:
    """Bodies of events, by the standard and beside it."""
    body = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\n", b"\xef"]))
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(["", "", *names]))
        if name:
            body += b"event: " + name.encode() + end
        if draw(st.integers(0, 5)) == 0:
            body += draw(st.sampled_from([b": comment", b"id: 7", b"retry: 5", b"data:", b"data", b"nothing"])) + end
        body += b"data: " + draw(datas).replace(b"\n", end + b"data: ") + end
        if draw(st.integers(0, 9)):
            body += end
    return body


@st.composite
def pieces(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """The body in pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    return [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]
