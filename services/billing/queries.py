# ruff: noqa: S608  # the queries are made of this code's own names; values are parameters
"""Queries of billed items, in the SQL that both databases understand. Parameters are numbered from $1."""

from typing import Final

from services.billing.items import BilledItem, Kind, PaidBy
from services.billing.store import CREDIT_LINE, Grouping

_PLACE: Final = "part_id, sequence_number, entry_index, item_number"
_FIELDS: Final = ", ".join(BilledItem._fields)
# $1 account_id, $2 and $3 the period.
_OF_ACCOUNT: Final = "account_id = $1 AND time_us >= $2 AND time_us < $3"
# A bucket whose debits go on the phone bill is told from others by the item of its grant.
_PAID_BY: Final = (
    f"CASE WHEN paid_by = '{PaidBy.BUCKET}' AND bucket_id IN"
    f" (SELECT bucket_id FROM billed_item WHERE account_id = $1 AND kind = '{Kind.CREDIT_LINE}')"
    f" THEN '{CREDIT_LINE}' ELSE paid_by END"
)
_SUMS: Final = "CAST(sum(calls) AS bigint), CAST(sum(amount) AS bigint)"

# $1 part_id, $2 and $3 sequence numbers.
ITEMS: Final = (
    f"SELECT {_FIELDS} FROM billed_item WHERE part_id = $1 AND sequence_number >= $2 AND sequence_number <= $3 ORDER BY {_PLACE}"
)
# $1 order_id, $2 account_id.
ITEMS_OF_ORDER: Final = (
    f"SELECT {_FIELDS} FROM billed_item WHERE order_id = $1 AND order_id <> '' AND account_id = $2 ORDER BY {_PLACE}"
)
# $4: at most this many.
CHARGES: Final = (
    f"SELECT {', '.join(_PAID_BY if field == 'paid_by' else field for field in BilledItem._fields)} FROM billed_item"
    f" WHERE {_OF_ACCOUNT} AND kind NOT IN ('{Kind.USAGE}', '{Kind.WHOLESALE}', '{Kind.FEE}') ORDER BY {_PLACE} LIMIT $4"
)
# $1 vendor_id, $2 and $3 the period.
WHOLESALE: Final = (
    f"SELECT unit, currency, paid_by, '', '', '', vendor_model_id, {_SUMS} FROM billed_item"
    " WHERE vendor_id = $1 AND vendor_id <> '' AND time_us >= $2 AND time_us < $3 GROUP BY 1, 2, 3, 7"
)


def usage(grouping: Grouping) -> str:
    """Usage of an account in a period."""
    names = ", ".join(f"{name}_id" if wanted else "''" for name, wanted in grouping._asdict().items())
    return (
        f"SELECT unit, currency, {_PAID_BY}, {names}, '', {_SUMS} FROM billed_item"
        f" WHERE {_OF_ACCOUNT} AND kind = '{Kind.USAGE}' GROUP BY 1, 2, 3, 4, 5, 6"
    )
