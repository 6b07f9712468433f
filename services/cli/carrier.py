"""`tokenline carrier`: the phone bill, as the operator's carrier billing is asked for it."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from services.cli.amounts import format_in_unit
from services.cli.client import find_system, given
from services.cli.printing import common_options, fields_of, print_answer, table, text_of

# The carrier may take its time with a code.
_CODE_TIMEOUT_S: Final = 70.0
_COLUMNS: Final = ("demand_id", "kind", "account_id", "amount", "state", "payment_id", "order_id", "reason")


@click.group("carrier")
def carrier_group() -> None:
    """Show what the phone bill is asked to say, and tell accounts' lines."""


@carrier_group.command("list")
@click.option(
    "--state", "states", metavar="S,S", help="States, with commas between. Default: all that is not ended well; of an account all."
)
@click.option("--account", "account_id", metavar="ID", help="Of this account alone, and what of it is not asked for yet.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, metavar="N", help="At most this many. Default: 100.")
@common_options
def list_demands(*, states: str | None, account_id: str | None, limit: int, data_dir: Path | None, output: str) -> None:
    """List payments and refunds, the latest first: what waits and what failed, or those of an account."""
    query = urlencode(given(states=states, account_id=account_id, limit=limit))
    bill = find_system(data_dir).ask("GET", f"/phone-bill?{query}")
    print_answer(bill, output, lambda: _tables(bill, account_id))


def _tables(bill: dict[str, Any], account_id: str | None) -> list[Any]:
    tables = []
    if not bill["carrier"]:
        tables.append(text_of("billing has no carrier in its config: nothing is asked for"))
    if account_id:
        tables += fields_of({"line": bill["phone_number"] or "none is told; `tokenline carrier line` tells it"})
    rows = [
        [str(demand[column] or "") for column in _COLUMNS]
        for demand in ({**each, "amount": format_in_unit(each["amount"], {**each, "unit": "CURRENCY"})} for each in bill["data"])
    ]
    if rows:
        tables.append(table("Phone bill", _COLUMNS, rows, right=("amount",)))
    else:
        tables.append(text_of("no payment or refund is in such a state"))
    for use in bill["not_asked_for"]:
        amount = format_in_unit(use["amount"], {**use, "unit": "CURRENCY"})
        tables.append(text_of(f"use of credit lines that is added up, and not asked for yet: {amount}"))
    return tables


@carrier_group.command("line")
@click.argument("account_id", metavar="ACCOUNT")
@click.argument("phone_number", metavar="NUMBER", required=False)
@click.option("--none", "is_none", is_flag=True, help="On no line any more.")
@common_options
def set_line(*, account_id: str, phone_number: str | None, is_none: bool, data_dir: Path | None, output: str) -> None:
    """Say on which line an account is billed: a phone NUMBER like +8613800000001. What waits for it goes on."""
    if (phone_number is None) != is_none:
        raise click.UsageError("give a phone number like +8613800000001, or --none")
    path = f"/accounts/{quote(account_id, safe='')}/line"
    told = find_system(data_dir).ask("PUT", path, {"phone_number": phone_number})
    print_answer(told, output, lambda: fields_of(told))


@carrier_group.command("retry")
@click.argument("demand_id", metavar="DEMAND")
@common_options
def retry(*, demand_id: str, data_dir: Path | None, output: str) -> None:
    """Ask the carrier again for a denied payment of goods that were delivered on credit, or a denied refund, under a new name."""
    _print(find_system(data_dir).ask("POST", f"/phone-bill/{quote(demand_id, safe='')}/retry", {}), output)


@carrier_group.command("validate")
@click.argument("demand_id", metavar="PAYMENT")
@click.argument("code", metavar="CODE")
@common_options
def validate(*, demand_id: str, code: str, data_dir: Path | None, output: str) -> None:
    """Show the carrier the CODE that it sent to the line of a payment that is pending_validation."""
    path = f"/phone-bill/{quote(demand_id, safe='')}/code"
    _print(find_system(data_dir).ask("POST", path, {"line_code": code}, timeout_s=_CODE_TIMEOUT_S), output)


def _print(demand: dict[str, Any], output: str) -> None:
    told = {**demand, "amount": format_in_unit(demand["amount"], {**demand, "unit": "CURRENCY"})}
    print_answer(demand, output, lambda: fields_of(told))
