"""A call that its client names by an `Idempotency-Key`, so that it is made at most once; and what another try is told.

Accounting knows the names: it opens one session for each, whichever edge asks. Nothing of an answer is kept.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from services.edge.call.threads import in_thread
from services.edge.http.problems import Problem, call_in_progress, call_made, idempotency_key_reused, malformed
from tokenline.accounting.v1 import accounting_pb2 as pb

HEADER: Final = "Idempotency-Key"
NAME: Final = HEADER.lower().encode()
_LENGTH_MAX: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DIGEST_BYTES: Final = 16
# A digest of so much takes half a millisecond.
_INLINE_BYTES_MAX: Final = 500_000


class Once(NamedTuple):
    """The client's name for its call, and a digest of its content."""

    key: str
    content_digest: bytes

    def write(self, create: pb.CreateSession) -> None:
        """Names the call in its Create."""
        create.idempotency_key = self.key
        create.content_digest = self.content_digest


async def once_of(given: Sequence[bytes], dialect_name: str, content: bytes) -> Once:
    """The name of a call with this body, of all values of its header, one at least. Errors: `Problem` 400."""
    try:
        key = given[0].decode()
    except UnicodeDecodeError:
        key = ""
    if len(given) > 1 or not 1 <= len(key) <= _LENGTH_MAX or _CONTROL.search(key) is not None:
        message = f"{HEADER} must come once and have 1 to {_LENGTH_MAX} characters in UTF-8, none a control character."
        raise malformed(HEADER, f"{message} Make a new one for each call.", "invalid_value")
    if len(content) <= _INLINE_BYTES_MAX:
        return Once(key, _digest(dialect_name, content))
    return Once(key, await in_thread(_digest, dialect_name, content))


def _digest(dialect_name: str, content: bytes) -> bytes:
    digest = blake2b(f"{dialect_name}\0".encode(), digest_size=_DIGEST_BYTES)
    digest.update(content)
    return digest.digest()


def problem_of(known: pb.KnownCall) -> Problem:
    """The answer to another try of a call."""
    if known.has_other_content:
        return idempotency_key_reused(known.charging_id)
    return call_in_progress(known.charging_id) if known.is_open else call_made(known.charging_id)
