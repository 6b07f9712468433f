"""API keys: "tl-<region>-", 32 random characters, and 6 characters of checksum over all before them.

The checksum lets secret scanners recognise a leaked key. It also lets every service refuse a mistyped key without a database.
"""

import re
import secrets
import string
from typing import Final, NamedTuple
from zlib import crc32

# The scope of keys that mint narrower ones.
MINT: Final = "keys:mint"
# All scopes: what a key may do beyond calls.
SCOPES: Final = frozenset({MINT})
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(rf"tl-([a-z0-9]{{1,16}})-([0-9A-Za-z]{{{_RANDOM_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})")


class ParsedKey(NamedTuple):
    """A key whose form and checksum are right."""

    region: str
    api_key: str

    @property
    def masked(self) -> str:
        """The key with all but its beginning and end masked."""
        prefix, _, rest = self.api_key.rpartition("-")
        return f"{prefix}-{rest[:4]}…{rest[_RANDOM_LENGTH - 4 : _RANDOM_LENGTH]}"


def new_key(region: str) -> ParsedKey:
    """A new random key: 190 bits."""
    body = f"tl-{region}-" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return ParsedKey(region, body + checksum(body))


def parse_key(api_key: str) -> ParsedKey | None:
    """The key; None when its form or checksum is wrong."""
    match = _FORM.fullmatch(api_key)
    if match is None or match.group(3) != checksum(api_key[:-_CHECKSUM_LENGTH]):
        return None
    return ParsedKey(match.group(1), api_key)


def checksum(text: str) -> str:
    """The last characters of a key that begins with `text`."""
    number = crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
