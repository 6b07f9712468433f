"""`tokenline acts`: administrative commands as the journal has them, with who gave them, what they changed and why."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from services.cli.amounts import format_amount
from services.cli.failures import expected_errors
from services.cli.journal import TimeType, entries_of
from services.cli.printing import common_options, print_amounts, table

# Fields of an entry that a column has, or that tell programs alone something.
_TOLD: Final = frozenset(
    {"part_id", "sequence_number", "index", "time_us", "account_id", "actor", "fact", "reason", "unit", "limit_count"}
    | {"idempotency_key", "priority", "source", "debits", "credits"}
)
# See `services.edge.api.admin.journal`.
_ANYBODY: Final = "*"
_AMOUNTS: Final = frozenset({"amount", "price"})
_COLUMNS: Final = ("time", "account_id", "actor", "act", "changed", "remark")


@click.command("acts")
@click.option("--account", "account_id", metavar="ID", help="Only of this account.")
@click.option("--actor", metavar="NAME", help="Only of whoever has this name, like administrator.")
@click.option("--from", "from_us", type=TimeType(), metavar="TIME", help="Not before.")
@click.option("--until", "until_us", type=TimeType(), metavar="TIME", help="Before.")
@common_options
def acts_command(
    *,
    account_id: str | None,
    actor: str | None,
    from_us: int | None,
    until_us: int | None,
    data_dir: Path | None,
    output: str,
) -> None:
    """Say who gave which administrative command, in the order of time: what it changed, and the remark (its reason).

    A command that makes several entries has a row for each. Those that were given before there were actors are in `tokenline
    journal` alone, as `by unknown`; keys and suspensions are not in the journal. Works on the data folder of a system that is
    down, too.
    """
    given = {"account_id": account_id, "actor": actor, "from_us": from_us, "until_us": until_us}
    wanted: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    with expected_errors():
        acts = sorted(entries_of({"actor": _ANYBODY, **wanted}, data_dir), key=lambda entry: entry["time_us"])
    units = _units(acts)
    print_amounts(
        {"data": acts}, output, lambda: [table("Acts, amounts in whole units", _COLUMNS, (_row(each, units) for each in acts))]
    )


def _row(entry: Mapping[str, Any], units: Mapping[str, str]) -> list[str]:
    by = entry["actor"]
    return [
        _time(entry["time_us"]),
        entry["account_id"],
        f"{by['subject']} ({by['proof']}, {by['role']})",
        entry["fact"].replace("_", " "),
        ", ".join(_changes(entry, units)),
        entry.get("reason", ""),
    ]


def _changes(entry: Mapping[str, Any], units: Mapping[str, str]) -> Iterator[str]:
    """The changes of an entry, or of a part of it, field by field."""
    unknown = "in the unit of the bucket" if "bucket_id" in entry else "in the offering's currency"
    named = _unit_of(entry) or units.get(_priced(entry)) or unknown
    for field, value in entry.items():
        if field in _TOLD:
            continue
        words = field.replace("_", " ")
        if field == "limits":
            from services.cli.limits import limit_words

            yield from (f"{each['limit_id']}: {limit_words(each)}" for each in value)
        elif isinstance(value, dict):
            yield from (f"{words} {each}" for each in _changes(value, units))
        elif isinstance(value, list):
            yield f"{words} {' and '.join(map(str, value))}"
        elif field in _AMOUNTS or field.endswith("_amount"):
            yield f"{words} {format_amount(int(value))} {named}"
        elif field.endswith("_us"):
            yield f"{words.removesuffix(' us')} {_time(int(value))}"
        else:
            # Names of the contract, like PAYMENT_METHOD_EXTERNAL, without what the field says already.
            yield f"{words} {str(value).removeprefix(f'{field.upper()}_')}"


def _units(acts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Units by the bucket or the subscription that they are of: entries that came later do not repeat them."""
    return {_priced(entry): _unit_of(entry) for entry in acts if _unit_of(entry)}


def _priced(entry: Mapping[str, Any]) -> str:
    return str(entry.get("bucket_id") or entry.get("subscription_id") or "")


def _unit_of(entry: Mapping[str, Any]) -> str:
    unit = entry.get("unit", {})
    return str(unit.get("currency") or unit.get("unit", "").removeprefix("UNIT_"))


def _time(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us / 1_000_000, UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
