"""The stored form of API keys: a hash under a secret of the cell."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from services.runtime.config import ConfigError

_HASH_KEY_BYTES_MIN: Final = 32


def hash_key(api_key: str, secret: bytes) -> bytes:
    """The stored form of a key: HMAC-SHA256 under the cell's secret."""
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
