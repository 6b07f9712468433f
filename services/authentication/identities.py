"""Identities: the numbers by which an operator tells persons and companies. One number has one form, and a hash in the store."""

import hashlib
import hmac
import re
from typing import Final

from services.runtime.errors import invalid

# As it stands in phone books, with 00 or + before the country's code; E.164 has at most 15 digits.
_PHONE: Final = re.compile(r"(?:\+|00)([1-9][0-9]{6,14})")
# Others write a Chinese area code with a 0 that is not dialled from abroad: two forms of one number.
_TRUNK: Final = "860"
_NUMBER: Final = re.compile(r"[0-9A-Z]{4,40}")
_SEPARATORS: Final = re.compile(r"[ -]")
_LENGTH_MAX: Final = 200
_RIGHT: Final = (
    'identity must be "phone:" and a number with its country\'s code, like phone:+86 138 0013 8000, or "company:" or "person:" and '
    "a registration number of 4 to 40 ASCII letters and digits"
)


def normal_identity(identity: str) -> str:
    """An identity in its one form: without spaces and hyphens, a phone number with +, letters in capitals.

    Errors: `ServiceError` INVALID_ARGUMENT, which says nothing of the number.
    """
    kind, colon, number = identity.partition(":")
    if len(identity) > _LENGTH_MAX or not colon or not identity.isascii():
        raise invalid(_RIGHT)
    number = _SEPARATORS.sub("", number)
    if kind == "phone":
        phone = _PHONE.fullmatch(number)
        if phone is None:
            raise invalid(_RIGHT)
        if phone[1].startswith(_TRUNK):
            raise invalid("identity is a number with a 0 after +86; leave out the 0 of the area code")
        return f"phone:+{phone[1]}"
    number = number.upper()
    if kind not in ("company", "person") or _NUMBER.fullmatch(number) is None:
        raise invalid(_RIGHT)
    return f"{kind}:{number}"


def hash_identity(identity: str, secret: bytes) -> bytes:
    """The stored form: HMAC-SHA256 under a secret that is made of the cell's, so that it is never the hash of a key or a code.

    Errors: those of `normal_identity`.
    """
    own = hmac.digest(secret, b"tokenline identity", hashlib.sha256)
    return hmac.digest(own, normal_identity(identity).encode(), hashlib.sha256)
