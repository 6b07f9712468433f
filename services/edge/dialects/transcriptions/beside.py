"""Members of a transcription beside its text, which a client can read as it reads the text. Pure.

Segments and words tell the text again, with times and measures of each. So much is free; all else counts as said.
"""

from typing import Any, Final

from services.edge.dialects.json_text import encode
from services.edge.dialects.metadata import FREE_BYTES

# Lists that tell the text again, the member of an item that has its part of it, and the bytes of an item's times and measures.
_AGAIN: Final = (("segments", "text", 256), ("words", "word", 64))
# The numbers of a segment's tokens, by each character of its text.
_FREE_A_CHARACTER: Final = 8
# Members whose text is counted, or written anew.
_COUNTED: Final = frozenset({"text", "usage"})


def told_beside(whole: dict[str, Any]) -> str:
    """The part of an answer's other members that counts as said. `whole`: the answer, whose `text` is a string."""
    rest = {name: value for name, value in whole.items() if name not in _COUNTED}
    free = FREE_BYTES
    said: list[str] = []
    for name, member, item_bytes in _AGAIN:
        items = rest.get(name)
        if not isinstance(items, list):
            continue
        parts = [item[member] if isinstance(item, dict) and isinstance(item.get(member), str) else "" for item in items]
        rest[name] = [_without(item, member) if part else item for item, part in zip(items, parts, strict=True)]
        if _tells_again(parts, whole["text"]):
            free += sum(item_bytes + _FREE_A_CHARACTER * len(part) for part in parts if part)
        else:
            said += parts
    written = encode(rest)
    return "".join(said) + written[free:].decode("utf-8", "ignore")


def _without(item: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != member}


def _tells_again(parts: list[str], text: str) -> bool:
    """Whether parts have nothing but characters of the text, in its order. Blanks may stand around each part."""
    left = iter(text)
    return all(character in left for part in parts for character in part.removeprefix(" ").removesuffix(" "))
