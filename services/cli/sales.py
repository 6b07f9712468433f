"""`tokenline order|subscription|refusal`, and what `tokenline account` does with limits, transfers and corrections."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from services.cli.amounts import AmountType, format_amount, format_in_unit, unit_name
from services.cli.client import find_system, given
from services.cli.explain import refusal_tables
from services.cli.failures import CommandFailed
from services.cli.limits import limits_table, read_limits
from services.cli.printing import common_options, fields_of, print_amounts, print_answer, table, text_of
from services.cli.statements import order_receipt

_PAYMENT: Final = click.Choice(["prepaid", "phone_bill", "external"])
_REPEATABLE: Final = "Makes a repeat harmless."
_IDENTITY: Final = click.option(
    "--identity",
    metavar="KIND:NUMBER",
    help="Whose it is, where the offering is sold once to a person or company: phone:+86..., company:NUMBER or person:NUMBER.",
)


def _path(account_id: str, *parts: str) -> str:
    return "/".join(["/accounts", quote(account_id, safe=""), *(quote(part, safe="") for part in parts)])


def _in_whole_units(answer: dict[str, Any], *amounts: str) -> list[Any]:
    """A line for each field, amounts in whole units of the answer's unit, which has no line of its own."""
    told = {**answer, **{field: format_in_unit(answer[field], answer) for field in amounts}}
    if returned := answer.get("returned"):
        told["returned"] = format_in_unit(returned["amount"], returned)
    return fields_of({field: value for field, value in told.items() if field not in ("unit", "currency")})


# Orders


@click.group("order")
def order_group() -> None:
    """List, pay and cancel orders, and show receipts."""


order_group.add_command(order_receipt)


@click.command("order")
@click.argument("offering_id", metavar="OFFERING")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account that buys.")
@click.option("--payment", "payment_method", type=_PAYMENT, help="How its price is paid; leave it out where nothing is to be paid.")
@_IDENTITY
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def place_order(*, account_id: str, data_dir: Path | None, output: str, **wanted: str | None) -> None:
    """Order a pack or a subscription. What is paid outside waits for `order pay`."""
    order = find_system(data_dir).ask("POST", _path(account_id, "orders"), given(**wanted))
    print_amounts(order, output, lambda: _in_whole_units(order, "amount"))


@click.command("free")
@click.argument("offering_id", metavar="OFFERING")
@click.option("--identity", required=True, metavar="IDENTITY", help="As the order named it, like phone:+8613800138000.")
@common_options
def free_identity(*, offering_id: str, identity: str, data_dir: Path | None, output: str) -> None:
    """Free an identity that an offering was ordered for by mistake. Ends with 1 where something was granted for it."""
    freed = find_system(data_dir).ask("POST", "/identities/free", {"offering_id": offering_id, "identity": identity})
    print_answer(freed, output, lambda: fields_of(freed))


@order_group.command("pay")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The order's account.")
@click.option("--reference", required=True, metavar="R", help="The payer's own reference.")
@common_options
def pay_order(*, order_id: str, account_id: str, reference: str, data_dir: Path | None, output: str) -> None:
    """Confirm that an order was paid outside; it is carried out."""
    order = find_system(data_dir).ask("POST", _path(account_id, "orders", order_id, "payment"), {"payment_reference": reference})
    print_amounts(order, output, lambda: _in_whole_units(order, "amount"))


@order_group.command("cancel")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The order's account.")
@click.option("--reason", required=True, metavar="WHY", help="Why it is given up.")
@common_options
def cancel_order(*, order_id: str, account_id: str, reason: str, data_dir: Path | None, output: str) -> None:
    """Give up an order that waits for its payment."""
    order = find_system(data_dir).ask("DELETE", _path(account_id, "orders", order_id), {"reason": reason})
    print_amounts(order, output, lambda: _in_whole_units(order, "amount"))


@order_group.command("refund")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The order's account.")
@click.option("--reason", required=True, metavar="WHY", help="Why.")
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def refund_order(*, order_id: str, account_id: str, data_dir: Path | None, output: str, **wanted: str) -> None:
    """End a pack, and give back the worth of what is left of it, the way it was paid."""
    _refund(_path(account_id, "orders", order_id, "refund"), wanted, data_dir, output)


def _refund(path: str, wanted: dict[str, str], data_dir: Path | None, output: str) -> None:
    returned = find_system(data_dir).ask("POST", path, wanted)
    print_amounts(returned, output, lambda: _in_whole_units(returned, "amount", "outside_amount"))


@order_group.command("list")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account of the orders.")
@common_options
def list_orders(account_id: str, data_dir: Path | None, output: str) -> None:
    """List an account's orders; one is told for 90 days after the end of what it made."""
    orders = find_system(data_dir).ask("GET", _path(account_id, "orders"))
    columns = ("order_id", "offering_id", "state", "payment_method", "amount", "expires_at", "subscription_id", "remark")
    told = ({**order, "amount": format_in_unit(order["amount"], order)} for order in orders["data"])
    rows = ([order[column] for column in columns] for order in told)
    print_answer(orders, output, lambda: [table("Orders", columns, rows, right=("amount",))])


@order_group.command("show")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The order's account.")
@common_options
def show_order(order_id: str, account_id: str, data_dir: Path | None, output: str) -> None:
    """Show an order as it stands; `order receipt` shows what was paid for it."""
    orders = find_system(data_dir).ask("GET", _path(account_id, "orders"))["data"]
    order = next((each for each in orders if each["order_id"] == order_id), None)
    if order is None:
        raise CommandFailed(
            f"account {account_id} has no order {order_id}; `tokenline order list --account {account_id}` lists them"
        )
    print_amounts(order, output, lambda: _in_whole_units(order, "amount"))


# Subscriptions


@click.group("subscription")
def subscription_group() -> None:
    """Change and end subscriptions."""


@subscription_group.command("change")
@click.argument("subscription_id", metavar="SUBSCRIPTION_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The subscription's account.")
@click.option("--offering", "offering_id", required=True, metavar="OFFERING", help="The offering to change to.")
@click.option("--payment", "payment_method", type=_PAYMENT, help="How its price is paid; leave it out where nothing is to be paid.")
@click.option("--at-once", is_flag=True, help="Now, and not from the next cycle on.")
@_IDENTITY
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def change_subscription(subscription_id: str, account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Put a subscription on another offering."""
    order = find_system(data_dir).ask("PUT", _path(account_id, "subscriptions", subscription_id), given(**wanted))
    print_amounts(order, output, lambda: _in_whole_units(order, "amount"))


@subscription_group.command("cancel")
@click.argument("subscription_id", metavar="SUBSCRIPTION_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The subscription's account.")
@click.option("--at-once", is_flag=True, help="Now, its allowances with it; else with its cycle.")
@common_options
def cancel_subscription(*, subscription_id: str, account_id: str, at_once: bool, data_dir: Path | None, output: str) -> None:
    """End a subscription."""
    path = _path(account_id, "subscriptions", subscription_id)
    ended = find_system(data_dir).ask("DELETE", path, {"at_once": at_once})
    print_answer(ended, output, lambda: fields_of(ended))


@subscription_group.command("refund")
@click.argument("subscription_id", metavar="SUBSCRIPTION_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The subscription's account.")
@click.option("--reason", required=True, metavar="WHY", help="Why.")
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def refund_subscription(*, subscription_id: str, account_id: str, data_dir: Path | None, output: str, **wanted: str) -> None:
    """End a subscription, and give back the worth of what is left of its cycle, the way it was paid."""
    _refund(_path(account_id, "subscriptions", subscription_id, "refund"), wanted, data_dir, output)


# Transfers, limits and corrections of an account


@click.command("transfer")
@click.argument("account_id", metavar="ID")
@click.option("--to", "to_account_id", required=True, metavar="ID", help="The account that receives it.")
@click.option("--bucket", "bucket_id", required=True, metavar="BUCKET_ID", help="A bucket that may be given away.")
@click.option("--amount", required=True, type=AmountType(), metavar="A", help="In whole units, with up to 6 decimal places.")
@click.option("--idempotency-key", required=True, metavar="K", help="Makes a repeat harmless: it says what became of the transfer.")
@common_options
def transfer_command(
    *, account_id: str, to_account_id: str, bucket_id: str, amount: int, idempotency_key: str, data_dir: Path | None, output: str
) -> None:
    """Give a part of a bucket to another account."""
    wanted = given(to_account_id=to_account_id, bucket_id=bucket_id, amount=amount, idempotency_key=idempotency_key)
    sent = find_system(data_dir).ask("POST", _path(account_id, "transfers"), wanted)
    print_answer(sent, output, lambda: fields_of(sent))


@click.command("limit")
@click.argument("account_id", metavar="ID")
@click.option("--subject", default="account", metavar="S", help='"account", "member:ID" or "key:ID". Default: account.')
@click.option(
    "--limits",
    "limits_json",
    required=True,
    metavar="LIST",
    help="A list as an offering's `limits` in the catalog, in whole units, as JSON or YAML; '[]' removes all.",
)
@click.option("--valid-until", metavar="TIME", help="No call begins for the subject from then on, like 2026-12-31T16:00:00Z.")
@common_options
def limit_command(
    *, account_id: str, subject: str, limits_json: str, valid_until: str | None, data_dir: Path | None, output: str
) -> None:
    """Put limits on an account, a member or a key, in place of those set before."""
    limits = read_limits(limits_json, subject)
    wanted = given(subject=subject, limits=limits, valid_until=valid_until)
    there = find_system(data_dir).ask("PUT", _path(account_id, "limits"), wanted)
    print_amounts(
        there, output, lambda: [limits_table([there])] if there["limits"] or there["valid_until"] else [text_of("no limits")]
    )


@click.command("refund")
@click.argument("account_id", metavar="ID")
@click.option("--charging-id", required=True, metavar="ID", help="The call that was charged.")
@click.option(
    "--sequence-number", required=True, type=click.IntRange(1), metavar="N", help="sequence_number of the record in its receipt."
)
@click.option(
    "--record",
    "record_sequence_number",
    default=1,
    type=click.IntRange(1),
    metavar="N",
    help="Its record_sequence_number there. Default: 1.",
)
@click.option("--amount", required=True, type=AmountType(), metavar="A", help="In whole units, at most what was charged.")
@click.option("--valid-days", required=True, type=click.IntRange(1, 36_500), metavar="N", help="How long it can be used.")
@click.option("--reason", required=True, metavar="WHY", help="Why.")
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def refund_command(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Give back a part of what a call was charged, as a new bucket."""
    bucket = find_system(data_dir).ask("POST", _path(account_id, "refunds"), wanted)
    amounts = ("granted", "remaining", "reserved", "consumed", "expired", "transferred", "repaid_amount")
    print_amounts(bucket, output, lambda: _in_whole_units(bucket, *amounts))


@click.command("reduce")
@click.argument("account_id", metavar="ID")
@click.option("--bucket", "bucket_id", required=True, metavar="BUCKET_ID", help="The bucket.")
@click.option("--amount", required=True, type=AmountType(), metavar="A", help="In whole units, at most what remains.")
@click.option("--reason", required=True, metavar="WHY", help="Why.")
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def reduce_command(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Take back a part of what remains in a bucket; it counts as expired."""
    reduced = find_system(data_dir).ask("POST", _path(account_id, "reductions"), wanted)
    buckets = find_system(data_dir).ask("GET", _path(account_id))["buckets"] if output == "table" else []
    unit = next((unit_name(bucket) for bucket in buckets if bucket["bucket_id"] == reduced["bucket_id"]), "")
    print_amounts(reduced, output, lambda: fields_of({**reduced, "amount": f"{format_amount(reduced['amount'])} {unit}"}))


@click.command("write-off")
@click.argument("account_id", metavar="ID")
@click.option("--unit", required=True, type=click.Choice(["TOKEN", "POINT", "CURRENCY"]), help="Unit of the debt.")
@click.option("--currency", metavar="ISO", help="ISO 4217 code, like USD; exactly with --unit CURRENCY.")
@click.option("--amount", required=True, type=AmountType(), metavar="A", help="In whole units, at most what is owed.")
@click.option("--reason", required=True, metavar="WHY", help="Why.")
@click.option("--idempotency-key", required=True, metavar="K", help=_REPEATABLE)
@common_options
def write_off_command(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Give up a debt, or a part of it."""
    given_up = find_system(data_dir).ask("POST", _path(account_id, "write-offs"), given(**wanted))
    print_amounts(given_up, output, lambda: _in_whole_units(given_up, "amount"))


@click.command("refusal")
@click.argument("charging_id", metavar="REQUEST_ID")
@common_options
def refusal_command(charging_id: str, data_dir: Path | None, output: str) -> None:
    """Say why a call was refused, by its x-request-id: the limit, the amount short, and what would help."""
    refusal = find_system(data_dir).ask("GET", f"/refusals/{quote(charging_id, safe='')}")
    print_answer(refusal, output, lambda: refusal_tables(refusal))
