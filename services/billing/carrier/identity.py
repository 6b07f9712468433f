"""Shows the carrier who asks: access tokens by client credentials (RFC 6749, 4.4), for which a signed assertion vouches (RFC 7523).

That is `private_key_jwt`, the client authentication that CAMARA's Security and Interoperability Profile has; no secret is sent.
"""

import asyncio
import base64
import secrets
import time
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.billing.carrier.config import CarrierConfig
from services.runtime.clock import Clock
from services.runtime.config import ConfigError

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPES: Final = (
    "carrier-billing:payments:create carrier-billing:payments:read carrier-billing:payments:write"
    " carrier-billing-refund:refunds:create carrier-billing-refund:refunds:read"
)
# An assertion is for one request.
_ASSERTION_S: Final = 60
# A token is given up this long before it ends, so that none ends on its way.
_EARLY_S: Final = 10
_BYTES_MAX: Final = 64 * 1024
# Errors of an answer that is no JSON of its kind; one that is nested too deep is none.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CredentialsError(Exception):
    """No token is to be had now; the message says why."""


class _Granted(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: int = 60


class Identity:
    """Access tokens of one client, each used until it ends."""

    def __init__(self, config: CarrierConfig, http: aiohttp.ClientSession, clock: Clock) -> None:
        """Errors: `ConfigError` for a key that can't be read."""
        self._config = config
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._ends_s = 0.0
        read_key(Path(config.key_file))

    async def token(self) -> str:
        """A token that is good for a while. Errors: `CredentialsError`."""
        async with self._lock:
            if not self._token or time.monotonic() >= self._ends_s:
                await self._renew()
            return self._token

    def drop(self, token: str) -> None:
        """Gives up a token that the carrier refused."""
        if token == self._token:
            self._token = ""

    async def _renew(self) -> None:
        try:
            form = {
                "grant_type": "client_credentials",
                "scope": SCOPES,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": assertion(self._config, read_key(Path(self._config.key_file)), self._clock.now_us()),
            }
            async with self._http.post(self._config.token_url, data=form, allow_redirects=False) as response:
                body = await response.content.read(_BYTES_MAX)
                if response.status != 200:
                    raise CredentialsError(f"no token is given: {response.status} {_error_in(body)}; check client_id and key_file")
                granted = msgspec.json.decode(body, type=_Granted)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CredentialsError(f"token_url cannot be reached: {str(error) or type(error).__name__}") from error
        except (*NOT_JSON, ConfigError) as error:
            raise CredentialsError(f"no token is given: {error}") from error
        if granted.token_type.lower() != "bearer" or not granted.access_token.isascii() or not granted.access_token.isprintable():
            raise CredentialsError("what token_url gives is no bearer token")
        self._token = granted.access_token
        self._ends_s = time.monotonic() + max(1, granted.expires_in - _EARLY_S)


def read_key(path: Path) -> PrivateKey:
    """Errors: `ConfigError` that tells nothing of the key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path}: the carrier's key_file cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: the carrier's key_file must be a PEM file of a private key without a password") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    raise ConfigError(f"{path}: the carrier's key_file must be of EC P-256, or of RSA with 2048 bits or more")


def assertion(config: CarrierConfig, key: PrivateKey, now_us: int) -> str:
    """A signed JWT (RFC 7515, compact) that says who asks for a token, for one request of the next minute."""
    now_s = now_us // 1_000_000
    header = {"alg": "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256", "typ": "JWT"}
    if config.key_id:
        header["kid"] = config.key_id
    claims = {
        "iss": config.client_id,
        "sub": config.client_id,
        "aud": config.token_url,
        "iat": now_s,
        "exp": now_s + _ASSERTION_S,
        "jti": secrets.token_hex(16),
    }
    signed = b".".join(_packed(msgspec.json.encode(part)) for part in (header, claims))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
        signature = r.to_bytes(32) + s.to_bytes(32)
    else:
        signature = key.sign(signed, padding.PKCS1v15(), SHA256())
    return (signed + b"." + _packed(signature)).decode("ascii")


def _packed(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


class _Refusal(msgspec.Struct):
    error: str = ""


def _error_in(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).error[:100]
    except NOT_JSON:
        return ""
