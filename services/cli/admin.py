"""`tokenline account|key|offering|model|audit|reconcile`: the operator's administration."""

import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import quote, urlencode

import click

from services.api_keys import SCOPES
from services.cli.amounts import AmountType, format_amount, format_in_unit, unit_name
from services.cli.client import find_system, given
from services.cli.limits import limits_table
from services.cli.printing import common_options, fields_of, outline, print_amounts, print_answer, table, text_of
from services.cli.sales import (
    free_identity,
    limit_command,
    place_order,
    reduce_command,
    refund_command,
    transfer_command,
    write_off_command,
)
from services.cli.statements import statement_command
from services.cli.stores_down import StoresDown, ask_system_down

Check = Literal["audit", "reconcile"]
CHECKS: Final[tuple[Check, ...]] = get_args(Check)

# Audit and reconciliation read the whole journal.
_WHOLE_STORE_TIMEOUT_S: Final = 600.0
_OF_SUBSCRIPTIONS: Final = (
    "subscription_id", "offering_id", "state", "payment_method", "cycle_number", "cycle_end", "next_offering_id", "grace_end",
)  # fmt: skip
_OF_TRANSFERS: Final = ("transfer_id", "to_account_id", "state", "remark", "amount")
_OF_ORDERS: Final = ("order_id", "offering_id", "state", "payment_method", "amount", "expires_at", "subscription_id", "remark")


# Accounts


@click.group("account")
def account_group() -> None:
    """Open, list, show, top up and suspend accounts."""


@account_group.command("create")
@click.option("--offering", metavar="ID", help="The offering it is on. Default: the cell's default one.")
@click.option("--external-id", metavar="ID", help="Its ID in the operator's systems; `account list` finds it.")
@click.option("--idempotency-key", metavar="K", help="Makes a repeat harmless: the same key names the same account.")
@common_options
def create_account(
    *, offering: str | None, external_id: str | None, idempotency_key: str | None, data_dir: Path | None, output: str
) -> None:
    """Open an account with its first member."""
    wanted = given(offering_id=offering, external_id=external_id, idempotency_key=idempotency_key)
    opened = find_system(data_dir).ask("POST", "/accounts", wanted)
    print_answer(opened, output, lambda: fields_of(_set_of(opened)))


@account_group.command("list")
@click.option("--external-id", metavar="ID", help="Only the account with this ID in the operator's systems.")
@click.option("--after", metavar="ID", help="Only accounts after this ID: the last of the page before.")
@click.option("--limit", type=click.IntRange(1, 1_000), metavar="N", help="At most this many. Default: 100.")
@common_options
def list_accounts(data_dir: Path | None, output: str, **wanted: Any) -> None:
    """List accounts in the order of their IDs, a page at a time."""
    accounts = find_system(data_dir).ask("GET", f"/accounts?{urlencode(given(**wanted))}")

    def tables() -> list[Any]:
        columns = ("account_id", "external_id", "members", "created_at")
        rows = ([account[column] for column in columns] for account in accounts["data"])
        more = [text_of(f"more: --after {accounts['next']}")] if accounts["next"] else []
        return [table("Accounts", columns, rows, right=("members",)), *more]

    print_answer(accounts, output, tables)


@account_group.command("name")
@click.argument("account_id", metavar="ID")
@click.option("--external-id", required=True, metavar="ID", help="Its ID in the operator's systems, in place of the one before.")
@common_options
def name_account(account_id: str, external_id: str, data_dir: Path | None, output: str) -> None:
    """Give an account the ID that the operator's systems know it by."""
    path = f"/accounts/{quote(account_id, safe='')}/external-id"
    named = find_system(data_dir).ask("PUT", path, {"external_id": external_id})
    print_answer(named, output, lambda: fields_of(named))


@account_group.command("show")
@click.argument("account_id", metavar="ID")
@common_options
def show_account(account_id: str, data_dir: Path | None, output: str) -> None:
    """Show an account: buckets, debt, open calls, subscriptions, orders, limits and their counts, gifts, what was absorbed."""
    account = find_system(data_dir).ask("GET", f"/accounts/{quote(account_id, safe='')}")
    print_amounts(account, output, lambda: account_tables(account))


@account_group.command("topup")
@click.argument("account_id", metavar="ID")
@click.option("--amount", required=True, type=AmountType(), metavar="A", help="In whole units, with up to 6 decimal places.")
@click.option("--unit", required=True, type=click.Choice(["TOKEN", "POINT", "CURRENCY"]), help="Unit of the amount.")
@click.option("--currency", metavar="ISO", help="ISO 4217 code, like USD; exactly with --unit CURRENCY.")
@click.option("--valid-days", required=True, type=click.IntRange(1, 36_500), metavar="N", help="How long it can be used.")
@click.option("--priority", default=0, type=click.IntRange(0, 1_000), metavar="P", help="Lower burns first. Default: 0.")
@click.option("--idempotency-key", required=True, metavar="K", help="Makes a repeat harmless: a key adds one bucket.")
@common_options
def topup_account(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Add a balance bucket to an account; it repays debt of its unit first."""
    if (wanted["currency"] is not None) != (wanted["unit"] == "CURRENCY"):
        raise click.UsageError("--currency goes with --unit CURRENCY, and only with it")
    bucket = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/buckets", given(**wanted))
    print_amounts(bucket, output, lambda: [bucket_table([bucket])])


@account_group.command("suspend")
@click.argument("account_id", metavar="ID")
@common_options
def suspend_account(account_id: str, data_dir: Path | None, output: str) -> None:
    """Let no key of an account pass, and end its calls; in force within a second."""
    suspended = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/suspend")
    print_answer(suspended, output, lambda: fields_of(_set_of(suspended)))


@account_group.command("resume")
@click.argument("account_id", metavar="ID")
@common_options
def resume_account(account_id: str, data_dir: Path | None, output: str) -> None:
    """Let an account's keys pass again, those that are not revoked."""
    resumed = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/resume")
    print_answer(resumed, output, lambda: fields_of(_set_of(resumed)))


for _command in (statement_command, transfer_command, limit_command, refund_command, reduce_command, write_off_command):
    account_group.add_command(_command)


# Keys


@click.group("key")
def key_group() -> None:
    """Issue, list and revoke API keys."""


@key_group.command("create")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account it draws from.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sorted(SCOPES)),
    help="More than calls: keys:mint lets it mint narrower keys.",
)
@click.option("--member", "member_id", metavar="MEMBER_ID", help="The member it is for. Default: the account's first.")
@common_options
def create_key(account_id: str, scopes: tuple[str, ...], member_id: str | None, data_dir: Path | None, output: str) -> None:
    """Issue an API key; it is shown this once."""
    wanted = given(scopes=scopes or None, member_id=member_id)
    key = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/keys", wanted)
    print_answer(key, output, lambda: fields_of({**key, "scopes": " ".join(key["scopes"])}))


@key_group.command("list")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account of the keys.")
@common_options
def list_keys(account_id: str, data_dir: Path | None, output: str) -> None:
    """List an account's API keys, oldest first."""
    keys = find_system(data_dir).ask("GET", f"/accounts/{quote(account_id, safe='')}/keys")
    columns = ("key_id", "member_id", "masked_key", "created_at", "revoked_at", "parent_key_id", "scopes", "ends_at")
    rows = ([" ".join(key[column]) if column == "scopes" else key[column] for column in columns] for key in keys["data"])
    print_answer(keys, output, lambda: [table("API keys", columns, rows)])


@key_group.command("revoke")
@click.argument("key_id", metavar="KEY_ID")
@common_options
def revoke_key(key_id: str, data_dir: Path | None, output: str) -> None:
    """Revoke an API key for good; in force within a second."""
    revoked = find_system(data_dir).ask("DELETE", f"/keys/{quote(key_id, safe='')}")
    print_answer(revoked, output, lambda: fields_of(revoked))


# The catalog


@click.group("offering")
def offering_group() -> None:
    """List and order offerings, and free identities."""


offering_group.add_command(place_order)
offering_group.add_command(free_identity)


@offering_group.command("list")
@common_options
def list_offerings(data_dir: Path | None, output: str) -> None:
    """List the offerings: those for sale, those that come with another product, and those that are no longer sold."""
    offerings = find_system(data_dir).ask("GET", "/offerings")

    def row(offering: dict[str, Any]) -> list[Any]:
        price = offering["price"]
        cycle = f" a {cycle}" if (cycle := offering["cycle"]) else ""
        return [
            offering["offering_id"] + "".join(f" ({word})" for field, word in _REMARKS.items() if offering[field]),
            f"{format_amount(price['amount'])} {price['currency']}{cycle}" if price else "",
            ", ".join(_allowance(each) for each in offering["allowances"]),
            f"{unit_name(offering)} by {offering['tariff_id']} v{offering['tariff_version']}",
            offering["models"],
        ]

    columns = ("offering", "price", "allowances", "metered in", "models")
    print_answer(offerings, output, lambda: [table("Offerings", columns, map(row, offerings["data"]), right=("models",))])


def _allowance(allowance: dict[str, Any]) -> str:
    told = format_in_unit(allowance["amount"], allowance)
    return f"credit of {told}" if allowance["postpaid"] else told


@offering_group.command("show")
@click.argument("offering_id", metavar="OFFERING")
@common_options
def show_offering(offering_id: str, data_dir: Path | None, output: str) -> None:
    """Show all that an offering promises: its price, cycle, allowances, limits and models."""
    offering = find_system(data_dir).ask("GET", f"/offerings/{quote(offering_id, safe='')}")
    print_answer(offering, output, lambda: [text_of(line) for line in outline(in_words_of_catalogs(in_whole_units(offering)))])


@click.group("model")
def model_group() -> None:
    """List models."""


@model_group.command("list")
@common_options
def list_models(data_dir: Path | None, output: str) -> None:
    """List the models of the catalog and the routes to them."""
    models = find_system(data_dir).ask("GET", "/models")

    def row(model: dict[str, Any]) -> list[Any]:
        routes = ", ".join(f"{route['vendor_id']}/{route['vendor_model_id']}" for route in model["routes"])
        return [model["model_id"], model["owned_by"], model["context_window_tokens"], model["max_output_tokens"], routes]

    columns = ("model", "owned by", "context", "max output", "routes")
    print_answer(models, output, lambda: [table("Models", columns, map(row, models["data"]), right=("context", "max output"))])


# The whole store


@click.command("audit")
@common_options
def audit_command(data_dir: Path | None, output: str) -> None:
    """Check conservation over the whole store, from the journal alone. Ends with 1 on a breach.

    absorbed: what was rated and nobody paid, the operator's loss, in each unit.

    Works on the data folder of a system that is down, too.
    """
    _check("audit", "breaches", data_dir, output)


@click.command("reconcile")
@click.option("--write-missing", is_flag=True, help="First write CDR files that are missing anew from the journal.")
@common_options
def reconcile_command(*, write_missing: bool, data_dir: Path | None, output: str) -> None:
    """Check that journal, CDR files, receipt index and billed items tell the same. Ends with 1 on a difference.

    charges: records of prices, refunds and whatever else is charged without a call.

    Works on the data folder of a system that is down, too.
    """
    _check("reconcile", "differences", data_dir, output, write_missing=write_missing)


def _check(what: Check, list_field: str, data_dir: Path | None, output: str, *, write_missing: bool = False) -> None:
    report = check_of_system_down(what, data_dir, write_missing=write_missing)
    if report is None:
        body = {"write_missing": True} if write_missing else {}
        report = find_system(data_dir).ask("POST", f"/{what}", body, _WHOLE_STORE_TIMEOUT_S)
    found = report
    print_answer(found, output, lambda: check_tables(what, list_field, found))
    sys.exit(1 if found[list_field] else 0)


def check_tables(what: str, list_field: str, report: dict[str, Any]) -> list[Any]:
    """A report for people: what was looked at, amounts in whole units, then each sentence of `list_field`."""
    numbers = {field: value for field, value in report.items() if isinstance(value, int)}
    counts = [[field.replace("_", " "), f"{value:,}"] for field, value in numbers.items()]
    for field in ("in_transit", "absorbed"):
        if field in report:
            name = field.replace("_", " ")
            counts += [[name, format_in_unit(each["amount"], each)] for each in report[field]] or [[name, "0"]]
    wrong = report[list_field]
    counts.append([list_field, f"{len(wrong):,}"])
    return [table(what.capitalize(), ("", "count"), counts, right=("count",)), *map(text_of, wrong)]


def check_of_system_down(what: Check, data_dir: Path | None, *, write_missing: bool) -> dict[str, Any] | None:
    """The report on the data folder of a system that is down; None when there is no such folder, or a process uses it."""

    async def audit(stores: StoresDown) -> dict[str, Any]:
        from services.edge.api.account_json import audit_json
        from services.runtime.clients import answer
        from tokenline.accounting.v1 import accounting_pb2

        return audit_json(await answer(stores.accounting.Audit(accounting_pb2.AuditRequest(), timeout=_WHOLE_STORE_TIMEOUT_S)))

    async def reconcile(stores: StoresDown) -> dict[str, Any]:
        from services.runtime.clients import answer
        from tokenline.billing.v1 import billing_pb2

        billing = await stores.billing()
        comparing = billing_pb2.ReconcileRequest(write_missing=write_missing)
        reconciled = await answer(billing.Reconcile(comparing, timeout=_WHOLE_STORE_TIMEOUT_S))
        return {
            "entries": reconciled.entries,
            "cdrs": reconciled.cdrs,
            "charges": reconciled.charges,
            "files": reconciled.files,
            "differences": list(reconciled.differences),
        }

    return ask_system_down(data_dir, audit if what == "audit" else reconcile)


def bucket_table(buckets: Iterable[dict[str, Any]]) -> Any:
    """Balance buckets for people."""
    amounts = ("granted", "remaining", "reserved", "consumed", "expired", "transferred")
    rows = (
        [
            bucket["bucket_id"],
            unit_name(bucket),
            *(format_amount(bucket[field]) for field in amounts),
            bucket["valid_until"],
            bucket["priority"],
        ]
        for bucket in buckets
    )
    columns = ("bucket_id", "unit", *amounts, "valid_until", "priority")
    return table("Balance buckets, in whole units", columns, rows, right=(*amounts, "priority"))


# Amounts of an offering, in micro-units.
# Remarks on an offering, by the field that is true.
_REMARKS: Final = {"default": "default", "withdrawn": "no longer sold", "only_granted": "only granted"}
_OFFERED: Final = ("amount", "rollover_cap")


def in_whole_units(offered: Any) -> Any:
    """An offering with its amounts in whole units of the unit that stands beside them; nothing that it does not say."""
    if isinstance(offered, dict):
        return {
            name: format_amount(int(value)) if name in _OFFERED else in_whole_units(value)
            for name, value in offered.items()
            if name != "amounts_in"
        }
    return [in_whole_units(each) for each in offered] if isinstance(offered, list) else offered


def in_words_of_catalogs(offered: Any) -> Any:
    """An offering with the words of catalog files, like month, in place of the contract's, like PERIOD_MONTH."""
    if isinstance(offered, dict):
        return {name: in_words_of_catalogs(value) for name, value in offered.items()}
    if isinstance(offered, list):
        return [in_words_of_catalogs(each) for each in offered]
    return _words_of_catalogs().get(offered, offered) if isinstance(offered, str) else offered


@cache
def _words_of_catalogs() -> dict[str, str]:
    from tokenline.registry.v1 import registry_pb2

    words = {}
    for enum in registry_pb2.DESCRIPTOR.enum_types_by_name.values():
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
        for name in enum.values_by_name:
            word = name.removeprefix(prefix)
            words[name] = word if enum.name == "Unit" else word.lower()
    return words


def _set_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The fields of an answer that are set."""
    return {field: value for field, value in answer.items() if value is not None}


def account_tables(account: dict[str, Any]) -> list[Any]:
    """An account for people, amounts in whole units."""
    identity = _set_of({field: account[field] for field in ("account_id", "offering_id", "created_at", "suspended_at")})
    tables = [*fields_of(identity), bucket_table(account["buckets"])]
    if account["debt"]:
        amounts = ("incurred", "repaid", "written_off", "outstanding")
        rows = ([unit_name(debt), *(format_amount(debt[field]) for field in amounts)] for debt in account["debt"])
        tables.append(table("Debt, in whole units", ("unit", *amounts), rows, right=amounts))
    if account["absorbed"]:
        losses = ([unit_name(loss), format_amount(loss["amount"])] for loss in account["absorbed"])
        tables.append(table("Absorbed, in whole units", ("unit", "amount"), losses, right=("amount",)))
    if account["sessions"]:
        buckets = {bucket["bucket_id"]: bucket for bucket in account["buckets"]}
        columns = ("charging_id", "model_id", "key_id", "hold", "output_tokens_granted", "created_at", "sweep_at")

        def row(session: dict[str, Any]) -> list[Any]:
            parts = ((part["bucket_id"], part["amount"]) for part in session["hold"])
            hold = ", ".join(f"{format_in_unit(amount, buckets[bucket_id])} of {bucket_id}" for bucket_id, amount in parts)
            return [hold if column == "hold" else session[column] for column in columns]

        tables.append(table("Open sessions", columns, map(row, account["sessions"]), right=("output_tokens_granted",)))
    if account["subscriptions"]:
        sold = ([each[column] for column in _OF_SUBSCRIPTIONS] for each in account["subscriptions"])
        tables.append(table("Subscriptions", _OF_SUBSCRIPTIONS, sold))
    if account["limits"]:
        tables.append(limits_table(account["limits"]))
    if account["counters"]:
        tables.append(_counters_table(account["counters"]))
    if account["transfers"]:
        sent = ({**each, "amount": format_amount(each["amount"])} for each in account["transfers"])
        buckets = {bucket["bucket_id"]: unit_name(bucket) for bucket in account["buckets"]}
        gifts = ([*(each[column] for column in _OF_TRANSFERS), buckets.get(each["bucket_id"], "")] for each in sent)
        tables.append(table("Given away, in whole units", (*_OF_TRANSFERS, "unit"), gifts, right=("amount",)))
    if account["orders"]:
        orders = ({**each, "amount": format_in_unit(each["amount"], each)} for each in account["orders"])
        tables.append(table("Orders", _OF_ORDERS, ([each[column] for column in _OF_ORDERS] for each in orders), right=("amount",)))
    return tables


def _counters_table(counters: Iterable[dict[str, Any]]) -> Any:
    def row(counter: dict[str, Any]) -> list[Any]:
        # One without a unit counts the calls that are open.
        in_units = counter["unit"] is not None
        used = format_in_unit(counter["used"], counter) if in_units else ""
        held = format_in_unit(counter["reserved"], counter) if in_units else f"{counter['reserved']:,} calls"
        return [counter["counter_id"], used, held, counter["window_start"], counter["window_end"]]

    return table("Counted by limits", ("limit", "used", "held", "from", "until"), map(row, counters), right=("used", "held"))
