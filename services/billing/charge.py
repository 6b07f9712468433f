"""The record of a charge that is no call, as one JSON line of a CDR file.

Like a CDR it depends on the journal and its record number alone. `record_type` tells it from a CDR, which has none.
"""

from typing import Final

import msgspec

from services.billing.cdr import rfc3339
from services.billing.items import OF_VENDORS, BilledItem, Kind

RECORD_TYPES: Final = tuple(kind.value for kind in Kind if kind not in (Kind.USAGE, *OF_VENDORS))


class ChargeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One record. `amount` is micro-units; what is given back, given up or repaid is negative.

    `record_number` counts from 1 without a gap in its partition, CDRs' and charges' together; `item_number` from 1 in its entry.
    `time` is RFC 3339 in UTC. `currency` is empty unless the unit is CURRENCY. Later fields are left out where they are empty.
    """

    record_number: int
    record_type: str
    part_id: int
    sequence_number: int
    index: int
    item_number: int
    account_id: str
    time: str
    unit: str
    currency: str
    amount: int
    paid_by: str
    bucket_id: str = ""
    charging_id: str = ""
    order_id: str = ""
    subscription_id: str = ""
    offering_id: str = ""
    # The payer's own reference, or the operator's reason.
    remark: str = ""


def charge_of(item: BilledItem) -> ChargeRecord:
    """The record of an item that is of no call."""
    return ChargeRecord(
        item.record_number,
        item.kind,
        item.part_id,
        item.sequence_number,
        item.entry_index,
        item.item_number,
        item.account_id,
        rfc3339(item.time_us),
        item.unit,
        item.currency,
        item.amount,
        item.paid_by,
        item.bucket_id,
        item.charging_id,
        item.order_id,
        item.subscription_id,
        item.offering_id,
        item.remark,
    )
