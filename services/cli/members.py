"""`tokenline member`: members of an account, their invitations and their caps."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from services.cli.amounts import AmountType, format_amount
from services.cli.client import System, find_system, given
from services.cli.limits import limit_of
from services.cli.printing import common_options, fields_of, print_amounts, print_answer, table

_CAP: Final = "cap"
_MICRO: Final = 1_000_000


@click.group("member")
def member_group() -> None:
    """Add, invite, list and cap members of an account."""


@member_group.command("create")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account it draws from.")
@click.option("--name", "display_name", required=True, metavar="NAME", help="What people call it.")
@click.option("--idempotency-key", metavar="K", help="Makes a repeat harmless: the same key names the same member.")
@common_options
def create_member(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Add a member; `tokenline key create --member` gives it a key."""
    member = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/members", given(**wanted))
    print_answer(member, output, lambda: fields_of(member))


@member_group.command("list")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account of the members.")
@common_options
def list_members(account_id: str, data_dir: Path | None, output: str) -> None:
    """List an account's members, oldest first."""
    members = find_system(data_dir).ask("GET", f"/accounts/{quote(account_id, safe='')}/members")
    columns = ("member_id", "display_name", "created_at")
    rows = ([member[column] for column in columns] for member in members["data"])
    print_answer(members, output, lambda: [table("Members", columns, rows)])


@member_group.command("invite")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account to which it invites.")
@click.option("--valid-days", "invitation_days", type=click.IntRange(1, 365), metavar="N", help="How long. Default: 7.")
@click.option("--idempotency-key", metavar="K", help="Keeps a repeat from making a second one.")
@common_options
def invite_member(account_id: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Make the code of an invitation, which makes one member; it is shown this once."""
    made = find_system(data_dir).ask("POST", f"/accounts/{quote(account_id, safe='')}/invitations", given(**wanted))
    print_answer(made, output, lambda: fields_of(made))


@member_group.command("join")
@click.argument("code", metavar="CODE")
@click.option("--name", "display_name", required=True, metavar="NAME", help="What people call the member.")
@click.option("--idempotency-key", required=True, metavar="K", help="Makes a repeat harmless: it names the same member.")
@common_options
def join_account(code: str, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Make the member of an invitation; a code makes one."""
    member = find_system(data_dir).ask("POST", "/invitations/accept", {"code": code, **wanted})
    print_answer(member, output, lambda: fields_of(member))


@member_group.command("cap")
@click.argument("member_id", metavar="MEMBER_ID")
@click.option("--account", "account_id", required=True, metavar="ID", help="The member's account.")
@click.option("--amount", type=AmountType(), metavar="A", help="What it may use at most, in whole units.")
@click.option("--unit", type=click.Choice(["TOKEN", "POINT", "CURRENCY"]), help="Unit of the amount.")
@click.option("--currency", metavar="ISO", help="ISO 4217 code, like CNY; exactly with --unit CURRENCY.")
@click.option("--every", type=click.Choice(["day", "week", "month"]), help="Of the calendar. Default: once for all.")
@click.option("--remove", is_flag=True, help="Take the cap away.")
@common_options
def cap_member(member_id: str, account_id: str, data_dir: Path | None, output: str, *, remove: bool, **cap: Any) -> None:
    """Let a member use at most an amount; its other limits stay as they are."""
    amount, unit, every = cap["amount"], cap["unit"], cap["every"]
    if remove == (amount is not None) or (amount is None) != (unit is None):
        raise click.UsageError("give --amount with its --unit, or --remove")
    system, subject = find_system(data_dir), f"member:{member_id}"
    limits, valid_until = _limits_of(system, account_id, subject)
    told = {"member_id": member_id, "cap": "none"}
    if not remove:
        window = {"calendar": every} if every else None
        usage = Decimal(amount) / _MICRO
        written = given(limit_id=_CAP, usage=usage, unit=unit, currency=cap["currency"], window=window)
        limits.append(limit_of(written, subject, "the cap"))
        told |= {"cap": f"{format_amount(amount)} {cap['currency'] or unit}", "every": every or "once for all"}
    wanted = given(subject=subject, limits=limits, valid_until=valid_until)
    there = system.ask("PUT", f"/accounts/{quote(account_id, safe='')}/limits", wanted)
    print_amounts(there, output, lambda: fields_of(told))


def _limits_of(system: System, account_id: str, subject: str) -> tuple[list[dict[str, Any]], str | None]:
    """The subject's limits but its cap, and the end of its time."""
    account = system.ask("GET", f"/accounts/{quote(account_id, safe='')}")
    for limits in account["limits"]:
        if limits["subject"] == subject:
            return [each for each in limits["limits"] if each["limit_id"] != _CAP], limits["valid_until"]
    return [], None
