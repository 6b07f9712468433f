"""Lists of payments and refunds: which, in what order, and which page of them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from services.carrier_simulator.errors import CarrierError, invalid_argument

# A query that finds more is refused.
RECORDS_MAX: Final = 500
_PER_PAGE: Final = 10
_MICROSECOND: Final = 1_000_000

Names = Literal["payment", "refund"]


class Page(NamedTuple):
    """One page of a list, and the number of all that the query finds."""

    found: list[Any]
    total: int
    last_key: int


def page_of(records: Sequence[Any], names: Names, api: str, query: dict[str, list[str]]) -> Page:
    """The page that a query asks for; `records` are oldest first. Errors: `CarrierError` 400."""
    since_us = _time_us(query, f"{names}CreationDate.gte")
    until_us = _time_us(query, f"{names}CreationDate.lte")
    if since_us is not None and until_us is not None and since_us > until_us:
        raise CarrierError(400, f"{api}.INVALID_DATE_RANGE", "Client specified an invalid date range.")
    statuses = {word for value in query.get(f"{names}Status", ()) for word in value.split(",")}
    merchants = query.get("merchantIdentifier")
    found = [
        each
        for each in records
        if (since_us is None or each.created_us >= since_us)
        and (until_us is None or each.created_us <= until_us)
        and (not statuses or each.status in statuses)
        and (not merchants or _merchant_of(each, names) in merchants)
    ]
    order = query.get("order", ["desc"])[0]
    if order not in ("asc", "desc"):
        raise invalid_argument()
    if order == "desc":
        found.reverse()
    page, per_page = _number(query, "page", 1), _number(query, "perPage", _PER_PAGE)
    begin = (page - 1) * per_page
    if begin and begin >= len(found):
        raise CarrierError(400, "OUT_OF_RANGE", "Client specified an invalid range.")
    if len(found) > RECORDS_MAX and per_page > RECORDS_MAX:
        message = "Too many matching records found. Specify additional/suitable criteria to limit the number of records."
        raise CarrierError(400, f"{api}.TOO_MANY_MATCHING_RECORDS", message)
    on_page = found[begin : begin + per_page]
    return Page(on_page, len(found), begin + len(on_page))


def rfc3339(time_us: int) -> str:
    """A time as answers have it."""
    return datetime.fromtimestamp(time_us / _MICROSECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _merchant_of(each: Any, names: Names) -> str | None:
    amount = each.sent["amountTransaction"][f"{names}Amount"]
    merchant: str | None = amount.get("chargingMetaData", {}).get("merchantIdentifier")
    return merchant


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise invalid_argument()
    return int(text)


def _time_us(query: dict[str, list[str]], name: str) -> int | None:
    if name not in query:
        return None
    try:
        time = datetime.fromisoformat(query[name][0])
    except ValueError:
        raise invalid_argument() from None
    if time.tzinfo is None:
        raise invalid_argument()
    return round(time.timestamp() * _MICROSECOND)
