"""API keys: "tl-<region>-", 32 random characters, and 6 characters of checksum over all before them.

The checksum lets secret scanners recognise a leaked key, and lets a mistyped one be refused, without a database.
"""

import hashlib
import hmac
import re
import secrets
import string
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from services.runtime.config import ConfigError

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(rf"tl-([a-z0-9]{{1,16}})-([0-9A-Za-z]{{{_RANDOM_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})")
_HASH_KEY_BYTES_MIN: Final = 32


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
    return ParsedKey(region, body + _checksum(body))


def parse_key(api_key: str) -> ParsedKey | None:
    """The key; None when its form or checksum is wrong."""
    match = _FORM.fullmatch(api_key)
    if match is None or match.group(3) != _checksum(api_key[:-_CHECKSUM_LENGTH]):
        return None
    return ParsedKey(match.group(1), api_key)


def hash_key(api_key: str, secret: bytes) -> bytes:
    """What is stored of a key: HMAC-SHA256 under the cell's secret."""
    return hmac.digest(secret, api_key.encode(), hashlib.sha256)


def read_hash_key(path: Path) -> bytes:
    """The cell's hash key: a text without the white space around it, or bytes as they are.

    Errors: `ConfigError` when the file cannot be read or is too short.
    """
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the hash key cannot be read: {error.strerror}") from error
    # Editors end a text with a newline; at the end of random bytes one belongs to the key.
    if secret.isascii():
        secret = secret.strip()
    if len(secret) < _HASH_KEY_BYTES_MIN:
        raise ConfigError(f"{path}: the hash key has {len(secret)} bytes; it needs at least {_HASH_KEY_BYTES_MIN} random ones")
    return secret


def _checksum(text: str) -> str:
    number = crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
