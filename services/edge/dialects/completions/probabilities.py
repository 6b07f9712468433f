"""Probabilities of tokens as completions have them: lists side by side, an element a token. Pure."""

from typing import Any, Final

from services.edge.dialects.chat.deltas import Found, count_member
from services.edge.dialects.chat.probabilities import Probabilities
from services.edge.dialects.disguise import told_by_numbers

# Vendors add the token itself to the alternatives that were asked for.
_MORE: Final = 1
_NAMES: Final = frozenset({"tokens", "token_logprobs", "top_logprobs", "text_offset"})


class TextProbabilities(Probabilities):
    """See `Probabilities`."""

    def __init__(self, alternatives: int | None) -> None:
        super().__init__(None if alternatives is None else alternatives + _MORE)

    def count(self, value: object, text: str, found: Found) -> None:
        """Counts text in the probabilities of a choice that has `text`, a repeated prompt included."""
        if not isinstance(value, dict):
            count_member("logprobs", value, found)
            return
        self.begin(text)
        found.names("logprobs", value, _NAMES)
        for name, entries in value.items():
            if entries is None:
                continue
            if not isinstance(entries, list) or name not in _NAMES or len(entries) > self.tokens_left:
                count_member(f"logprobs {name}", entries, found)
            elif name == "tokens":
                for entry in entries:
                    if isinstance(entry, str):
                        self.count_token(entry, None, found)
                    else:
                        count_member("logprob token", entry, found)
            elif name == "top_logprobs":
                for entry in entries:
                    self._count_alternatives(entry, found)
            elif not all(each is None or _is_number(each) for each in entries) or (
                name == "text_offset" and not _are_offsets(entries, text)
            ):
                count_member(f"logprobs {name}", entries, found)
        told = max((len(entries) for entries in value.values() if isinstance(entries, list)), default=0)
        self.tokens_left = max(0, self.tokens_left - told)

    def _count_alternatives(self, entry: object, found: Found) -> None:
        if not isinstance(entry, dict):
            count_member("logprob alternative", entry, found)
            return
        beyond = {}
        for position, (token, number) in enumerate(entry.items()):
            if position >= self.alternatives or not _is_number(number) or not self.takes(token):
                beyond[token] = number
        if beyond:
            found.tell("logprob alternatives", beyond)


def _is_number(value: object) -> bool:
    """Whether it is a number that tells no text by its length."""
    return type(value) is float or (type(value) is int and not told_by_numbers(value))


def _are_offsets(entries: list[Any], text: str) -> bool:
    """Whether these can be the places of tokens in the text: they rise, and by no more than its length."""
    found = [each for each in entries if each is not None]
    return not found or (found == sorted(found) and found[-1] - found[0] <= len(text))
