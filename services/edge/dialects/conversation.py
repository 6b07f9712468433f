"""The mark of a conversation: what its calls have in common, from the first to the last. Pure.

A client's own mark is the best. Without one it is the stable beginning: the system's words and the first message of the user, which
every later call repeats.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

# Headers in which agents name their session: opencode and others, Codex, Claude Code.
_SESSION_HEADERS: Final = (b"x-session-affinity", b"session-id", b"x-claude-code-session-id")
# Only the ends and the length of a long text are looked at, and the first and last of many, because a call pays for each byte.
_END_CHARACTERS: Final = 128
_END_TEXTS: Final = 4


def session_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The session that a client names in a header; empty: none."""
    for name in _SESSION_HEADERS:
        if session := headers.get(name):
            return session
    return b""


def mark_of(beginning: Sequence[str]) -> bytes:
    """The mark of a stable beginning, given as its texts; two that differ may have the same mark."""
    if len(beginning) > 2 * _END_TEXTS:
        beginning = (*beginning[:_END_TEXTS], *beginning[-_END_TEXTS:])
    pieces = [f"{len(text)} {text[:_END_CHARACTERS]}{text[-_END_CHARACTERS:]}" for text in beginning]
    return b"%08x" % crc32("".join(pieces).encode("utf-8", "surrogatepass"))
