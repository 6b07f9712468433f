"""The shelf of the base catalog and of every branch, as a page; `python -m infra.shelf` writes it into docs."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

from services.registry.catalog import Catalog
from services.registry.catalog_folder import base_catalog_folder, catalog_of, read_folders
from services.registry.offerings import Allowance, Limit, Offering

ROOT: Final = Path(__file__).parents[1]
REGIONS: Final = ROOT / "infra" / "regions"
PAGE: Final = ROOT / "docs" / "offerings.md"

_HEAD: Final = """\
# The shelf
Generated from the catalogs (`make generate`): the base catalog, which every system has, and the branches of `infra/regions`,
each a folder that lies over it. Files say where plans come from, and what of them is ours. `tokenline catalog diff FOLDER` shows
what a folder would change, `tokenline catalog apply` puts it in force. See also [all fields](catalog-fields.md), the
[charging rules](charging.md), and [what operators sell, and the test of each](acceptance.md).
"""
_COLUMNS: Final = ("offering", "name", "price", "grants", "tariff", "models", "limits")


def page() -> str:
    """The page."""
    base = catalog_of(read_folders([base_catalog_folder()]))
    known = {each.offering_id for each in base.offerings}
    parts = [_HEAD, *_section("Base catalog", base.offerings, base)]
    for folder in sorted(REGIONS.glob("*/catalog")):
        catalog = catalog_of(read_folders([base_catalog_folder(), folder]))
        own = [each for each in catalog.offerings if each.offering_id not in known]
        parts += _section(f"`{folder.parent.name}`", own, catalog)
    return "\n".join(parts) + "\n"


def _section(title: str, offerings: Iterable[Offering], catalog: Catalog) -> list[str]:
    rows = [_row(each, catalog) for each in offerings]
    return [f"\n## {title}", f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}", *rows]


def _row(offering: Offering, catalog: Catalog) -> str:
    if offering.price is not None:
        price = f"{_number(offering.price.amount)} {offering.price.currency}"
    else:
        price = "free" if any(not each.postpaid for each in offering.allowances) else "by use"
    if offering.price is not None and offering.cycle is not None:
        price += (
            f" a {offering.cycle.period}" if offering.cycle.count == 1 else f" for {offering.cycle.count} {offering.cycle.period}s"
        )
    if not offering.refundable:
        price += ", no refund"
    if offering.once is not None:
        who = {"account": "account", "identity": "person or company"}[offering.once.per]
        price += f", once {f'a {offering.once.period} ' if offering.once.period else ''}for each {who}"
    if offering.only_granted:
        price += ", with another product"
    if offering.withdrawn:
        price += ", no longer sold"
    tariff = offering.tariff_id + (f", then {offering.overage_tariff_id}" if offering.overage_tariff_id else "")
    cells = (
        f"`{offering.offering_id}`",
        _name(offering.display_name),
        price,
        "; ".join(map(_grant, offering.allowances)),
        tariff,
        str(len(offering.model_ids) or _priced(offering.tariff_id, catalog)),
        "; ".join(map(_limit, offering.limits)),
    )
    return f"| {' | '.join(cells)} |"


def _name(name: str | dict[str, str]) -> str:
    return name if isinstance(name, str) else " / ".join(name.values())


def _grant(allowance: Allowance) -> str:
    what = f"{_number(allowance.amount)} {allowance.currency or allowance.unit}"
    if allowance.postpaid:
        what = f"up to {what} on the bill"
    if allowance.valid_days:
        what += f" for {allowance.valid_days} days"
    if allowance.rollover_cap:
        what += f", {_number(allowance.rollover_cap)} of it rolls over"
    return what + (f" for {allowance.model_group}" if allowance.model_group else "")


def _limit(limit: Limit) -> str:
    if limit.requests_per_minute:
        what = f"{limit.requests_per_minute} calls a minute"
    elif limit.tokens_per_minute:
        what = f"{limit.tokens_per_minute} tokens a minute"
    elif limit.concurrent_sessions:
        what = f"{limit.concurrent_sessions} calls at once"
    else:
        assert limit.usage is not None
        window = (
            ""
            if limit.window is None
            else f" in {limit.window.hours} hours"
            if limit.window.hours
            else f" a {limit.window.calendar}"
        )
        what = f"{_number(limit.usage)} {limit.currency or limit.unit}{window}"
    return f"{what}, each {limit.per}"


def _priced(tariff_id: str, catalog: Catalog) -> int:
    """How many models a tariff has prices for."""
    (tariff,) = (each for each in catalog.tariffs if each.tariff_id == tariff_id)
    own = {row.model_id for row in tariff.rates}
    return len(catalog.models) if "*" in own else len(own)


def _number(amount: Decimal | float) -> str:
    return f"{Decimal(str(amount)).normalize():,f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
