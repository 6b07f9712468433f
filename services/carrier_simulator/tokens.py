"""Access tokens by client credentials (RFC 6749, 4.4), for which a client signs who it is (RFC 7523, private_key_jwt)."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from services.carrier_simulator.errors import unauthenticated
from services.runtime.clock import Clock
from services.runtime.config import ConfigError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
SCOPES: Final = frozenset(
    {
        *("carrier-billing:payments:create", "carrier-billing:payments:read", "carrier-billing:payments:write"),
        *("carrier-billing-refund:refunds:create", "carrier-billing-refund:refunds:read"),
    }
)
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# An assertion lives at most this long, as the Security and Interoperability Profile has it for what clients sign.
_ASSERTION_S_MAX: Final = 300
_TOKEN_S: Final = 300


class TokenError(Exception):
    """A token request that is refused, by the words of RFC 6749, 5.2."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Token(NamedTuple):
    """A right to ask. A token with a phone number is three-legged: that line's user has agreed."""

    client_id: str
    scopes: frozenset[str]
    expires_us: int
    phone_number: str


def read_public_key(path: Path) -> PublicKey:
    """Errors: `ConfigError` for a file that is no public key of a kind that is taken."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is no PEM file of a public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ConfigError(f"{path}: must be of EC P-256 or RSA")
    return key


class Tokens:
    """Tokens given out, and the clients that may have some."""

    def __init__(self, clients: Mapping[str, PublicKey], clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._used: set[str] = set()

    def issue(self, client_id: str, scopes: frozenset[str] = SCOPES, phone_number: str = "", lives_s: int = _TOKEN_S) -> str:
        """A token for a client."""
        token = secrets.token_urlsafe(24)
        expires_us = self._clock.now_us() + lives_s * 1_000_000
        self._tokens[token] = Token(client_id, scopes, expires_us, phone_number)
        return token

    def forget(self) -> None:
        """Makes all tokens worthless, as an operator that loses its memory does."""
        self._tokens.clear()

    def granted(self, form: Mapping[str, str], url: str) -> dict[str, Any]:
        """The answer to a token request at `url`. Errors: `TokenError`."""
        if form.get("grant_type") != "client_credentials":
            raise TokenError(400, "unsupported_grant_type")
        if form.get("client_assertion_type") != _ASSERTION_TYPE:
            raise TokenError(401, "invalid_client")
        client_id = self._client_of(form.get("client_assertion", ""), url)
        scopes = frozenset(form.get("scope", "").split())
        if not scopes or not scopes <= SCOPES:
            raise TokenError(400, "invalid_scope")
        token = self.issue(client_id, scopes)
        return {"access_token": token, "token_type": "Bearer", "expires_in": _TOKEN_S, "scope": " ".join(sorted(scopes))}

    def of(self, authorization: str) -> Token:
        """The right that a request shows. Errors: `CarrierError` 401."""
        word, _, value = authorization.partition(" ")
        token = self._tokens.get(value) if word.lower() == "bearer" else None
        if token is None or token.expires_us <= self._clock.now_us():
            raise unauthenticated()
        return token

    def _client_of(self, assertion: str, url: str) -> str:
        refused = TokenError(401, "invalid_client")
        try:
            head, claims, signature = (_unpadded(part) for part in assertion.split("."))
            header, said = msgspec.json.decode(head), msgspec.json.decode(claims)
            key = self._clients[said["iss"]]
            _verify(key, header["alg"], assertion.rpartition(".")[0].encode(), signature)
            now_s = self._clock.now_us() // 1_000_000
            lives = now_s < said["exp"] <= now_s + _ASSERTION_S_MAX and said["exp"] - said["iat"] <= _ASSERTION_S_MAX
            if said["sub"] != said["iss"] or said["aud"] != url or not lives or said["jti"] in self._used:
                raise refused
            self._used.add(said["jti"])
            return str(said["iss"])
        except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, msgspec.DecodeError) as error:
            raise refused from error


def _unpadded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError(part) from error


def _verify(key: PublicKey, algorithm: str, signed: bytes, signature: bytes) -> None:
    """Errors: `InvalidSignature`; `ValueError` for an algorithm that is not the key's."""
    if isinstance(key, ec.EllipticCurvePublicKey) and algorithm == "ES256" and len(signature) == 64:
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    elif isinstance(key, rsa.RSAPublicKey) and algorithm == "RS256":
        key.verify(signature, signed, padding.PKCS1v15(), SHA256())
    else:
        raise ValueError(algorithm)
