"""Request bodies of the administration: read into structs; errors name the field and say what would be right."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from services.api_keys import SCOPES
from services.edge.http.problems import Problem, malformed

# How long a service may take to answer, unless it reads the whole store.
TIMEOUT_S: Final = 5.0
AMOUNT_MAX: Final = 2**63 - 1
DAY_S: Final = 86_400

T = TypeVar("T")
# No control characters, because names stand in logs and tables, and databases take no NUL.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
ValidDays = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
Scope = Literal["keys:mint"]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request without fields."""


# A right value of each field, for the error that names the field.
_RIGHT: Final = {
    "offering_id": "a string of 1 to 200 characters, the ID of an offering, as `tokenline offering list` shows it",
    "idempotency_key": "a string of 1 to 200 characters, none a control character, a new one for each thing that is made",
    "external_id": "a string of 1 to 200 characters, the account's ID in the operator's systems",
    "display_name": "a string of 1 to 200 characters, the name of the member",
    "member_id": "the ID of a member of the account; left out for its first",
    "code": "the code of an invitation, like inv-0123456789abcdef0123456789abcdef",
    "phone_number": "a phone number like +8613800000001: a plus, the country's code and the number; null for none",
    "line_code": "the code that the carrier sent to the line, 1 to 100 characters of ASCII",
    "invitation_days": "an integer of days, 1 to 365; left out for 7",
    "unit": '"TOKEN", "POINT" or "CURRENCY"',
    "currency": "an ISO 4217 code of three capital letters, exactly where unit is CURRENCY",
    "amount": f"an integer of micro-units, 1 to {AMOUNT_MAX}",
    "valid_days": "an integer of days, 1 to 36500",
    "priority": "an integer, 0 to 1000; lower burns first",
    "allowance_id": "a string of 1 to 200 characters, an allowance of the offering; left out for all of them",
    "payment_method": '"prepaid", "phone_bill" or "external"; left out where nothing is to be paid',
    "payment_reference": "a string of 1 to 200 characters, none a control character, the payer's own",
    "identity": "the subscriber's: phone:+8613800138000, company:NUMBER or person:NUMBER, without control characters",
    "reason": "a string of 1 to 500 characters",
    "at_once": "true or false",
    "write_missing": "true or false",
    "to_account_id": "the ID of the account that gets it",
    "bucket_id": "the ID of a bucket of the account",
    "subject": '"account", "member:ID" or "key:ID"',
    "limits": "a list of limits, each with limit_id, per, and one of request_rate, token_rate, concurrent_sessions and usage",
    "valid_until": "a time like 2026-12-31T16:00:00Z or 2027-01-01T00:00:00+08:00, of the years 1971 to 2068",
    "charging_id": "the ID of the call, as x-request-id and receipt have it",
    "sequence_number": "an integer, as the record in the receipt has it",
    "record_sequence_number": "an integer of 1 or above, as the record in the receipt has it",
    "scopes": f"a list of scopes; there is {', '.join(sorted(SCOPES))}",
    "budget": 'a list of 1 to 8 amounts in micro-units, one a unit, each like {"amount": 5000000, "unit": "TOKEN"}',
    "valid_seconds": "an integer of seconds, 1 to 2592000; left out where the key is to live as long as the one that mints it",
    "models": "a list of at most 100 model IDs, each once; left out for all that the key may use that mints it",
    "parallel_calls": "an integer, 1 to 1000000; left out for as many as the key may have that mints it",
    "address": "the address of a replica of accounting, as `tokenline owners` shows it; left out for any other one",
}
# protobuf takes an offset of 25 hours for one.
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_YEARS: Final = range(1971, 2069)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(\w+)`")
_AT_FIELD = re.compile(r" - at `\$\.(\w+)[^`]*`$")


def parse(body: bytes, kind: type[T]) -> T:
    """The body as `kind`; no body is an empty object. Errors: `Problem` 400 that names the field and what would be right."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except UnicodeDecodeError:
        raise malformed(None, "The request body is not valid UTF-8.", "invalid_json") from None
    except msgspec.ValidationError as error:
        text = str(error)
        if (match := _AT_FIELD.search(text)) and match[1] in _RIGHT:
            raise wrong(match[1]) from None
        if match := _UNKNOWN_FIELD.search(text):
            fields = ", ".join(field.name for field in msgspec.structs.fields(kind)) or "none"  # type: ignore[arg-type]  # always a struct
            raise malformed(match[1], f"{match[1]} is no field of this request; its fields: {fields}.", "unknown_field") from None
        if match := _MISSING_FIELD.search(text):
            raise malformed(match[1], f"{match[1]} is missing; it must be {_RIGHT[match[1]]}.", "missing_field") from None
        raise malformed(None, "The request body must be a JSON object.", "invalid_json") from None
    except msgspec.DecodeError as error:
        raise malformed(None, f"The request body is not valid JSON: {error}.", "invalid_json") from None


def valid_until(text: str) -> Timestamp:
    """The time of the field of this name. Errors: `Problem` 400."""
    try:
        time = msgspec.convert(text, _Time)
    except msgspec.ValidationError:
        raise wrong("valid_until") from None
    if time.year not in _YEARS:
        raise wrong("valid_until")
    made = Timestamp()
    made.FromDatetime(time)
    return made


def wrong(field: str) -> Problem:
    """The problem of a field with a wrong value."""
    return malformed(field, f"{field} must be {_RIGHT[field]}.", "invalid_value")
