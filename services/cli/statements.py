"""`tokenline account statement`, `tokenline order receipt` and `tokenline vendor statement`."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import click

from services.cli.amounts import format_amount, format_in_unit, unit_name
from services.cli.client import find_system, given
from services.cli.journal import TimeType
from services.cli.printing import common_options, fields_of, print_answer, table, text_of

F = TypeVar("F", bound=Callable[..., Any])

# A month of a large account is added up in seconds.
_TIMEOUT_S: Final = 70.0
_SUMS: Final = ("usage", "charges", "charged", "balance", "credit_line", "phone_bill", "outside", "owed", "absorbed")
_FEES: Final = ("platform_fee", "compute_fee", "channel_fee")
_OF_CHARGES: Final = ("charged_at", "kind", "amount", "paid_by", "order_id", "subscription_id", "offering_id", "remark")


def _period_options(cycle_help: str) -> Callable[[F], F]:
    def options(function: F) -> F:
        cycle = click.option("--cycle", metavar="C", help=cycle_help)
        begin = click.option("--from", "from_us", type=TimeType(), metavar="TIME", help="Not before.")
        end = click.option("--until", "until_us", type=TimeType(), metavar="TIME", help="Before.")
        return cycle(begin(end(function)))

    return options


def _query(**fields: Any) -> str:
    return "?" + urlencode(given(**fields))


@click.command("statement")
@click.argument("account_id", metavar="ID")
@_period_options("A month in the cell's time zone like 2026-03, or a subscription's ID for its running cycle.")
@click.option(
    "--by", multiple=True, type=click.Choice(["model", "member", "key"]), help="Tells calls apart; may be repeated. Default: model."
)
@common_options
def statement_command(account_id: str, data_dir: Path | None, output: str, by: tuple[str, ...], **period: Any) -> None:
    """Say what an account was charged in a cycle: calls, prices, refunds and all else, added up by unit.

    Without a time it is the running cycle of the account's only subscription, else the month that runs. credit line: what the phone
    bill will say. owed: more than at the beginning. absorbed: paid by nobody, not in what was charged.
    """
    missing = [period["from_us"], period["until_us"]].count(None)
    if missing == 1 or (period["cycle"] is not None and not missing):
        raise click.UsageError(
            "give --cycle, a month like 2026-03 or a subscription's ID; or both --from and --until; "
            "or nothing for the cycle that runs"
        )
    path = f"/accounts/{quote(account_id, safe='')}/statement{_query(**period, by=','.join(by) or None)}"
    statement = find_system(data_dir).ask("GET", path, timeout_s=_TIMEOUT_S)
    print_answer(statement, output, lambda: statement_tables(statement))


def statement_tables(statement: Mapping[str, Any]) -> list[Any]:
    """A statement for people, amounts in whole units; names that nobody asked for are left out."""
    tables = fields_of({field: statement[field] for field in ("account_id", "from", "until")})
    # A column for each unit, because a row for each would be too wide for most terminals.
    totals = statement["totals"]
    if not totals:
        return [*tables, text_of("nothing was charged in that time")]
    units = [unit_name(total) for total in totals]
    sums = [["calls", *(total["calls"] for total in totals)]]
    sums += [[name.replace("_", " "), *(format_amount(total[name]) for total in totals)] for name in _SUMS]
    tables.append(table("Totals, in whole units", ("", *units), sums, right=units))
    names = [name for name in ("model_id", "member_id", "key_id") if any(line[name] for line in statement["usage"])]
    usage = (
        [
            *(line[name] or "" for name in names),
            line["paid_by"],
            line["calls"],
            format_in_unit(line["amount"], line),
        ]
        for line in statement["usage"]
    )
    tables.append(table("Calls", (*names, "paid by", "calls", "amount"), usage, right=("calls", "amount")))
    tables.append(charges_table(statement["charges"]))
    return tables


def charges_table(charges: Iterable[Mapping[str, Any]]) -> Any:
    """Charges that are no calls, for people."""
    rows = ({**charge, "amount": format_in_unit(charge["amount"], charge)} for charge in charges)
    return table("Charges", _OF_CHARGES, ([row[column] or "" for column in _OF_CHARGES] for row in rows), right=("amount",))


@click.command("receipt")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The order's account.")
@common_options
def order_receipt(*, order_id: str, account_id: str, data_dir: Path | None, output: str) -> None:
    """Show an order and what was paid for it."""
    path = f"/accounts/{quote(account_id, safe='')}/orders/{quote(order_id, safe='')}/receipt"
    receipt = find_system(data_dir).ask("GET", path)
    names = ("order_id", "placed_at", "offering_id", "subscription_id", "payment_method")
    told = {**{name: receipt[name] or "" for name in names}, "amount": format_in_unit(receipt["amount"], receipt)}
    print_answer(receipt, output, lambda: [*fields_of(told), charges_table(receipt["charges"])])


@click.group("vendor")
def vendor_group() -> None:
    """Say what a vendor is owed."""


@vendor_group.command("statement")
@click.argument("vendor_id", metavar="VENDOR")
@_period_options("A month in the cell's time zone like 2026-03.")
@common_options
def vendor_statement(vendor_id: str, data_dir: Path | None, output: str, **period: Any) -> None:
    """Say what a vendor is owed for the calls of a time, by its own models, at its wholesale tariffs.

    Fees that the operator keeps of it have columns, and the net amount is what the vendor gets. Without a time it is the month that
    runs.
    """
    path = f"/vendors/{quote(vendor_id, safe='')}/statement{_query(**period)}"
    statement = find_system(data_dir).ask("GET", path, timeout_s=_TIMEOUT_S)

    def tables() -> list[Any]:
        if not statement["lines"]:
            return [text_of(f"{vendor_id} is owed nothing for the calls of that time, or its models have no wholesale tariff")]
        # A column for each fee that is kept of any claim.
        fees = [fee for fee in _FEES if any(line[fee] for line in statement["lines"])]
        amounts = ["amount", *fees, *(["net_amount"] if fees else [])]
        rows = (
            [line["vendor_model_id"], line["calls"], *(format_in_unit(line[name], line) for name in amounts)]
            for line in statement["lines"]
        )
        columns = [name.replace("_", " ") for name in ("model", "calls", *amounts)]
        return [table(f"Owed to {vendor_id}", columns, rows, right=columns[1:])]

    print_answer(statement, output, tables)
