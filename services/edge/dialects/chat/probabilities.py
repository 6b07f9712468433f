"""Probabilities of tokens, which repeat an answer's text, and name alternatives to each of its tokens. Pure.

A client asks for them, so they are no output as far as they can be true. Each token is the text that came, and the alternatives
are tokens too, so on average they are about as long. All else is metadata, or counts.
"""

import re
from typing import Any, Final

from services.edge.dialects.chat.deltas import Found, Json, count_member

# The longest token of known vocabularies: 128 spaces.
_TOKEN_BYTES_MAX: Final = 128
# Each alternative is at most this many times as long as the text, on average of the answer.
_TIMES_THE_TEXT: Final = 2
# A token that is a part of a character is told by its bytes.
_BYTES: Final = re.compile(r"(?:bytes:)?((?:\\x[0-9A-Fa-f]{2})+)")
_REPLACED: Final = "\ufffd"
_NAMES: Final = frozenset({"token", "logprob", "bytes", "top_logprobs"})
_BYTE_MAX: Final = 255


class Probabilities:
    """The free part of one answer's probabilities."""

    def __init__(self, alternatives: int | None) -> None:
        """`alternatives` to each token were asked for; None: no probabilities at all, so none are free."""
        self._is_asked = alternatives is not None
        self.alternatives = alternatives or 0
        # Bytes of alternatives that are free.
        self._bytes_left = self.alternatives * _TOKEN_BYTES_MAX
        # The most tokens that the text so far can have, less those that were told. Parts of a character come before its text.
        self.tokens_left = 0
        # The text of the event, and the place in it that the next token repeats.
        self._text = b""
        self._at = 0

    def begin(self, text: str) -> None:
        """Begins with the probabilities of a text."""
        self._text, self._at = text.encode(), 0
        # A character has at least one token, and may have one for each of its bytes.
        self.tokens_left += len(self._text) if self._is_asked else 0
        self._bytes_left += self.alternatives * _TIMES_THE_TEXT * len(self._text)

    def count_token(self, token: str, told: Any, found: Found) -> None:
        """Counts a token that is not the next part of the text; `told` are its bytes, for one that is no text by itself."""
        is_part = bool(_bytes_of(token)) or _REPLACED in token
        for raw in (token.encode(), _bytes_of(token), bytes(told) if is_part and _are_bytes(told) else b""):
            if raw and self._text.startswith(raw, self._at):
                self._at += len(raw)
                return
        self._at += len(token.encode())
        if self._at <= len(self._text) or is_part:
            # Some vendors write spaces otherwise, or tell parts of a character before they tell the character.
            found.tell("logprob token", token)
        else:
            found.said.append(token)

    def takes(self, token: str) -> bool:
        """Takes an alternative from the free bytes; False: it exceeds them."""
        size = len(_bytes_of(token) or token.encode())
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


class ChatProbabilities(Probabilities):
    """Probabilities as chat has them: an object a token."""

    def count(self, value: object, said: str, found: Found) -> None:
        """Counts text in the probabilities of a choice that says `said`."""
        if not isinstance(value, dict):
            count_member("logprobs", value, found)
            return
        self.begin(said)
        found.names("logprobs", value)
        for name, entries in value.items():
            if name not in ("content", "refusal") or not isinstance(entries, list):
                count_member(name, entries, found)
                continue
            for entry in entries:
                self.tokens_left -= 1
                if isinstance(entry, dict):
                    self._count_token(entry, found, is_free=self.tokens_left >= 0)
                else:
                    count_member("logprob entry", entry, found)
        self.tokens_left = max(0, self.tokens_left)

    def _count_token(self, entry: Json, found: Found, *, is_free: bool) -> None:
        """Counts a token and its alternatives; `is_free`: the text can have it."""
        token = entry.get("token")
        if isinstance(token, str):
            self.count_token(token, entry.get("bytes"), found)
        self._count_rest(entry, found, is_free=is_free)
        others = entry.get("top_logprobs")
        if not isinstance(others, list):
            return
        for position, other in enumerate(others):
            name = other.get("token") if isinstance(other, dict) else None
            if is_free and position < self.alternatives and isinstance(name, str) and self.takes(name):
                self._count_rest(other, found, is_free=True)
                found.tell("logprob alternatives", other.get("top_logprobs"))
            else:
                found.tell("logprob alternative", other)

    def _count_rest(self, entry: Json, found: Found, *, is_free: bool) -> None:
        """Counts a token's members, except the token and its alternatives; `is_free`: its probability was asked for."""
        found.names("logprob", entry, _NAMES)
        for name, value in entry.items():
            match name:
                case "token" if isinstance(value, str):
                    pass
                case "top_logprobs" if isinstance(value, list):
                    pass
                case "logprob" if is_free and isinstance(value, float):
                    pass
                case "bytes" if is_free and (value is None or _tells_again(value, entry.get("token"))):
                    pass
                case _:
                    count_member(f"logprob {name}", value, found)


def _bytes_of(token: str) -> bytes:
    """The bytes that a token tells as such; empty: it tells none."""
    told = _BYTES.fullmatch(token)
    return bytes.fromhex(told.group(1).replace("\\x", "")) if told is not None else b""


def _are_bytes(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= _BYTE_MAX for each in value)


def _tells_again(value: Any, token: object) -> bool:
    """Whether these are the bytes of a token; of one that is no text by itself they may be any, at most as many."""
    if not isinstance(token, str) or not _are_bytes(value):
        return False
    raw = bytes(value)
    return raw in (token.encode(), _bytes_of(token)) or (_REPLACED in token and len(raw) <= len(token.encode()))
