"""Probabilities of tokens as completions have them: lists side by side, an element a token. Pure."""

from typing import Any, Final

from services.edge.dialects.chat.deltas import Found, count_member
from services.edge.dialects.disguise import told_by_numbers

# Longer alternatives count.
_CHARACTERS_MAX: Final = 64
# Vendors add the token itself to the alternatives that were asked for.
_MORE: Final = 1
# The beginning of a token that is a part of a character, and of each of its bytes.
_BYTES: Final = "bytes:"
_BYTE: Final = "\\x"
_NAMES: Final = frozenset({"tokens", "token_logprobs", "top_logprobs", "text_offset"})


def count_probabilities(value: object, text: str, found: Found, alternatives: int | None) -> None:
    """Counts text in the probabilities of a choice, except the repeated `text` and the `alternatives` asked for to each token.

    `alternatives` is None where no probabilities were asked for: none are free then.
    """
    if not isinstance(value, dict):
        count_member("logprobs", value, found)
        return
    found.names("logprobs", value, _NAMES)
    # A character has at least one token, and may have one for each of its bytes.
    entries_max = len(text.encode()) if alternatives is not None else 0
    for name, entries in value.items():
        if entries is None:
            continue
        if not isinstance(entries, list) or name not in _NAMES or len(entries) > entries_max:
            count_member(f"logprobs {name}", entries, found)
        elif name == "tokens":
            _count_tokens(entries, text, found)
        elif name == "top_logprobs":
            for entry in entries:
                if not _is_free(entry, (alternatives or 0) + _MORE):
                    count_member("logprob alternative", entry, found)
        elif not all(each is None or _is_number(each) for each in entries):
            count_member(f"logprobs {name}", entries, found)


def _count_tokens(entries: list[Any], text: str, found: Found) -> None:
    repeated = 0
    for entry in entries:
        if not isinstance(entry, str):
            count_member("logprob token", entry, found)
        elif entry.startswith(_BYTES):
            repeated += entry.count(_BYTE)
        else:
            repeated += len(entry.encode())
    size = len(text.encode())
    if repeated > size:
        joined = "".join(entry for entry in entries if isinstance(entry, str))
        found.said.append(joined.encode()[size:].decode("utf-8", "ignore"))


def _is_free(entry: object, alternatives: int) -> bool:
    if entry is None:
        return True
    if not isinstance(entry, dict) or len(entry) > alternatives:
        return False
    return all(len(token) <= _CHARACTERS_MAX and _is_number(each) for token, each in entry.items())


def _is_number(value: object) -> bool:
    """Whether it is a number that tells no text by its length."""
    return type(value) is float or (type(value) is int and not told_by_numbers(value))
