"""`tokenline acts`: administrative commands as the journal has them, with who gave them, what they changed and why."""

from collections.abc import Iterator
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
    print_amounts({"data": acts}, output, lambda: [table("Acts, amounts in whole units", _COLUMNS, map(_row, acts))])


def _row(entry: dict[str, Any]) -> list[str]:
    by = entry["actor"]
    return [
        _time(entry["time_us"]),
        entry["account_id"],
        f"{by['subject']} ({by['proof']}, {by['role']})",
        entry["fact"].replace("_", " "),
        ", ".join(_changes(entry)),
        entry.get("reason", ""),
    ]


def _changes(entry: dict[str, Any]) -> Iterator[str]:
    """The changes of an entry, field by field."""
    unit = entry.get("unit", {})
    named = unit.get("currency") or unit.get("unit", "").removeprefix("UNIT_")
    for field, value in entry.items():
        if field in _TOLD:
            continue
        if field == "limits":
            from services.cli.limits import limit_words

            yield from (f"{each['limit_id']}: {limit_words(each)}" for each in value)
        elif field in _AMOUNTS:
            yield f"{field} {format_amount(int(value))} {named}".rstrip()
        elif field.endswith("_us"):
            yield f"{field.removesuffix('_us').replace('_', ' ')} {_time(int(value))}"
        else:
            # Names of the contract, like PAYMENT_METHOD_EXTERNAL, without what the field says already.
            yield f"{field.replace('_', ' ')} {str(value).removeprefix(f'{field.upper()}_')}"


def _time(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us / 1_000_000, UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
