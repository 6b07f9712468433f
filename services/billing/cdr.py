"""The charging data record of a call: what a session used and what it was charged, as one JSON line.

A CDR depends on its journal entry and its record number alone, and its line on nothing else, so that a file written again
has the same bytes. Field names, their order and the words of enums are what mediation systems read: they stay. Later
releases add members at the end of an object, and only where they are not empty. The line of a session that used the first five
token classes and of which nothing was absorbed is the same for every release.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from services.token_classes import FIRST, TOKEN_CLASSES
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

UNITS: Final[dict[int, str]] = {
    registry_pb2.UNIT_TOKEN: "TOKEN",
    registry_pb2.UNIT_POINT: "POINT",
    registry_pb2.UNIT_CURRENCY: "CURRENCY",
}
_CLOSE_CAUSES: Final[dict[int, str]] = {
    pb.CLOSE_CAUSE_NORMAL: "normal",
    pb.CLOSE_CAUSE_QUOTA_EXHAUSTED: "quota_exhausted",
    pb.CLOSE_CAUSE_CLIENT_GONE: "client_gone",
    pb.CLOSE_CAUSE_VENDOR_ERROR: "vendor_error",
    pb.CLOSE_CAUSE_SWEPT: "swept",
    pb.CLOSE_CAUSE_REJECTED: "rejected",
    pb.CLOSE_CAUSE_REVOKED: "revoked",
}
_PROVENANCES: Final[dict[int, str]] = {
    pb.USAGE_PROVENANCE_VENDOR: "vendor",
    pb.USAGE_PROVENANCE_PARTIAL: "partial",
    pb.USAGE_PROVENANCE_TOKENIZER: "tokenizer",
    pb.USAGE_PROVENANCE_ESTIMATED: "estimated",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Readers of the first release want each of these classes in every line.
_FIRST_CLASSES: Final = TOKEN_CLASSES[:FIRST]
# Read all classes in two steps into the message instead of one for each, because this runs for every CDR.
_first_counts: Final = attrgetter(*_FIRST_CLASSES)
_later_counts: Final = attrgetter(*TOKEN_CLASSES[FIRST:])
_NO_LATER_COUNTS: Final = (0,) * (len(TOKEN_CLASSES) - FIRST)
# A class of a later release is charged under its name, but its count would be lost here without a word.
_CLASSES: Final = {name: name for name in TOKEN_CLASSES}


class CdrError(Exception):
    """An entry has a value or a token class that this code has no word for; the message names it."""


class ClassCharge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The cumulative charge of one token class: rate in micro-units per 1,000,000 of its measure, amount in micro-units."""

    token_class: str
    tokens: int
    rate: int
    amount: int


class Debit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The amount taken from a bucket, in micro-units."""

    bucket_id: str
    amount: int


class VendorAttempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One try to get the answer from a vendor. `http_status` is 0 if there was none."""

    vendor_id: str
    vendor_model_id: str
    outcome: str
    http_status: int
    duration_ms: int


class Cdr(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One record. Amounts are micro-units of this record; usage and class charges are cumulative under the record's tariff.

    `record_number` counts from 1 without a gap in its partition, `record_sequence_number` in its session. Times are
    RFC 3339 in UTC with microseconds. `currency` is empty unless the unit is CURRENCY. `usage` and `unpaid` are counts by
    token class; in `usage` the first five classes are always named, the later ones where they are not 0.
    """

    record_number: int
    part_id: int
    sequence_number: int
    index: int
    charging_id: str
    record_sequence_number: int
    account_id: str
    member_id: str
    key_id: str
    model_id: str
    offering_id: str
    tariff_id: str
    tariff_version: int
    unit: str
    currency: str
    usage: dict[str, int]
    class_charges: list[ClassCharge]
    charged_amount: int
    debits: list[Debit]
    debt_amount: int
    close_cause: str
    provenance: str
    attempts: list[VendorAttempt]
    start_time: str
    end_time: str
    # The operator's loss: rated = `charged_amount` + absorbed.
    absorbed_amount: int = 0
    # Unpaid usage: the vendor made it beyond the session's usage. Only the session's first record has it.
    unpaid: dict[str, int] = {}
    # The client's own name for the run that the call was of.
    run_label: str = ""


def is_charged(entry: pb.JournalEntry) -> bool:
    """Whether the entry makes a CDR: only session_settled entries do."""
    return entry.HasField("session_settled")


def cdr_of(entry: pb.JournalEntry, record_number: int) -> Cdr:
    """The CDR of a session_settled entry. Errors: `CdrError` for an enum value or a token class without a word."""
    settled = entry.session_settled
    unit = settled.unit
    try:
        unit_word = UNITS[unit.unit]
        close_cause = _CLOSE_CAUSES[settled.close_cause]
        provenance = _PROVENANCES[settled.provenance]
        class_charges = [
            ClassCharge(_CLASSES[each.token_class], each.tokens, each.rate, each.amount) for each in settled.class_charges
        ]
    except KeyError:
        classes = ", ".join(each.token_class for each in settled.class_charges) or "none"
        raise CdrError(
            f"entry ({entry.sequence_number}, {entry.index}) has unit {unit.unit}, close_cause {settled.close_cause}, provenance "
            f"{settled.provenance} and charges of the classes {classes}, and this code has no word for one of them: run the "
            "release that knows it"
        ) from None
    return Cdr(
        record_number,
        entry.part_id,
        entry.sequence_number,
        entry.index,
        settled.charging_id,
        settled.record_sequence_number,
        entry.account_id,
        settled.member_id,
        settled.key_id,
        settled.model_id,
        settled.offering_id,
        settled.tariff_id,
        settled.tariff_version,
        unit_word,
        unit.currency,
        _usage(settled.usage),
        class_charges,
        settled.charged_amount,
        [Debit(each.bucket_id, each.amount) for each in settled.debits],
        settled.debt_amount,
        close_cause,
        provenance,
        [
            VendorAttempt(each.vendor_id, each.vendor_model_id, each.outcome, each.http_status, each.duration_ms)
            for each in settled.attempts
        ],
        rfc3339(settled.create_time_us),
        rfc3339(entry.time_us),
        settled.absorbed_amount,
        _counts(settled.unpaid) if settled.HasField("unpaid") else {},
        settled.run_label,
    )


def _usage(usage: pb.TokenUsage) -> dict[str, int]:
    counts = dict(zip(_FIRST_CLASSES, _first_counts(usage), strict=True))
    if _later_counts(usage) != _NO_LATER_COUNTS:
        counts.update(_counts(usage))
    return counts


def _counts(usage: pb.TokenUsage) -> dict[str, int]:
    """By class, in the order of charging; those that are 0 are left out."""
    # ListFields has the fields that are not 0 in the order of their numbers, which is that of the classes.
    return {field.name: count for field, count in usage.ListFields()}


def rfc3339(time_us: int) -> str:
    """A time in UTC with microseconds, for example "2026-01-01T00:00:42.000001Z"."""
    seconds, microseconds = divmod(time_us, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}Z"


# Keep the dates: CDRs that are made together share a few seconds, and writing dates would be a third of the work.
@lru_cache(maxsize=1_024)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
