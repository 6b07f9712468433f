"""`tokenline grant`: allowances that another system of the operator grants to accounts by its own IDs."""

from pathlib import Path
from typing import Any, Final

import click

from services.cli.amounts import format_in_unit
from services.cli.client import find_system, given
from services.cli.printing import common_options, fields_of, print_amounts, table

_EXTERNAL_ID: Final = click.option("--external-id", required=True, metavar="X", help="The account's ID in the operator's systems.")


@click.group("grant")
def grant_group() -> None:
    """Grant and end the allowances of a bundle."""


@grant_group.command("add")
@click.argument("offering_id", metavar="OFFERING")
@_EXTERNAL_ID
@click.option("--allowance", "allowance_id", metavar="ID", help="One of the offering's allowances. Default: all.")
@click.option("--valid-until", metavar="TIME", help="Like 2026-12-31T16:00:00Z. Default: the end of a cycle of the offering.")
@click.option("--idempotency-key", required=True, metavar="K", help="Makes a repeat harmless, and names the grant.")
@common_options
def add_grant(data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Grant the allowances of an offering without a price, until a time or the end of the cycle; a new key renews them."""
    granted = find_system(data_dir).ask("POST", "/grants", given(**wanted))
    columns = ("bucket_id", "amount", "valid_until")
    told = [{**bucket, "amount": format_in_unit(bucket["granted"], bucket)} for bucket in granted["buckets"]]
    rows = [[bucket[column] for column in columns] for bucket in told]
    told_of = {"account_id": granted["account_id"], "offering_id": granted["offering_id"]}
    print_amounts(granted, output, lambda: [*fields_of(told_of), table("Buckets", columns, rows, right=("amount",))])


@grant_group.command("end")
@_EXTERNAL_ID
@click.option("--idempotency-key", required=True, metavar="K", help="That of the grant.")
@common_options
def end_grant(data_dir: Path | None, output: str, **wanted: Any) -> None:
    """End what is left of a grant, now; what was used stays used. A repeat changes nothing."""
    ended = find_system(data_dir).ask("POST", "/grants/end", wanted)
    print_amounts(ended, output, lambda: fields_of({"account_id": ended["account_id"], "buckets ended": len(ended["expired"])}))
