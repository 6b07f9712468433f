"""Failures that come as a whole answer of status 200. Pure."""

from typing import Final

from services.edge.dialects.chat.chunks import decoded, is_error
from services.edge.vendors.errors import fault_in
from services.edge.vendors.vendor import VendorFailure

_REFUSAL_BYTES_MAX: Final = 64 * 1024


def refusal_in(body: bytes) -> VendorFailure:
    """The failure that an answer of status 200 is: a refusal with the vendor's error, or garbage."""
    if len(body) <= _REFUSAL_BYTES_MAX:
        whole = decoded(body.strip())
        if is_error(whole, ""):
            return VendorFailure("refused", 200, body, fault_in(whole))
    return VendorFailure("garbage", 200)
