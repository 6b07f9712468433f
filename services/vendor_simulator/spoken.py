"""The `simulate` object where a client sends it in its text, since it has no other way."""

import re
from typing import Final

import msgspec

from services.vendor_simulator.errors import ErrorWriter, RefusedError
from services.vendor_simulator.simulate import PLAIN, Simulate

_LINE: Final = re.compile(r"^simulate: (\{.*\})[ \t\r]*$", re.MULTILINE)
_decode: Final = msgspec.json.Decoder(Simulate).decode


def simulate_in(text: str, write_error: ErrorWriter) -> Simulate:
    """The object in the first line `simulate: {...}` of `text`; the default where there is none.

    Errors: `RefusedError` with status 400, worded by `write_error`.
    """
    found = _LINE.search(text)
    if found is None:
        return PLAIN
    try:
        return _decode(found[1])
    except msgspec.DecodeError as error:
        message = f"the line that begins with simulate: cannot be read: {error}"
        raise RefusedError(400, write_error(message, "invalid_request_error", "invalid_value", "simulate")) from None
