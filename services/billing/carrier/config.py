"""The configuration of the way to the carrier."""

from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class CarrierConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The operator's carrier billing, after CAMARA Carrier Billing 0.5 and Carrier Billing Refund 0.3."""

    # The root of both APIs, as https://api.operator.example.
    address: str
    # Where access tokens are given.
    token_url: str
    # This client, as the operator knows it.
    client_id: str
    # The PEM file of the key that signs who asks: EC P-256 (ES256) or RSA of 2048 bits or more (RS256). Read for each new token.
    key_file: str
    # The key's identifier at the operator, if it has several.
    key_id: str = ""
    # How a payment is made: in one step, or reserved and confirmed, so that an order is carried out between the two.
    steps: Literal["one", "two"] = "two"
    # How long an answer may take.
    timeout_ms: int = 10_000
    # How long use of a credit line is added up before it is asked for.
    usage_interval_s: int = 86_400

    def __post_init__(self) -> None:
        for name in ("address", "token_url"):
            url = urlsplit(getattr(self, name))
            safe = url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)
            if not safe or not url.hostname or url.query or url.fragment or url.username:
                raise ValueError(f"{name} must be an https:// address without a query; http:// only on this machine")
        if self.address.endswith("/"):
            raise ValueError("address must not end with a slash: the names of the APIs follow it")
        if not self.client_id or not self.key_file:
            raise ValueError("client_id and key_file must be given")
        if not 100 <= self.timeout_ms <= 120_000:
            raise ValueError("timeout_ms must be 100 to 120000")
        if not 1 <= self.usage_interval_s <= 31 * 86_400:
            raise ValueError("usage_interval_s must be 1 to 2678400")
