"""The page of the shelf is what the catalogs say."""

from pathlib import Path

from infra.shelf import PAGE, REGIONS, page
from services.registry.catalog_folder import base_catalog_folder, catalog_of, read_folders
from services.registry.offerings import Offering


def test_the_page_is_made_from_the_catalogs_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    rows = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert "| 59 CNY a month, no refund, once a month for each person or company | 50,000,000 TOKEN |" in rows["token-plan-50m"]
    assert (
        "| by use, once a month for each account | up to 1,000 CNY on the bill | list-price-usd |" in rows["vendor-metered-monthly"]
    )
    assert "周" not in rows["coding-plan"].partition("Coding plan")[2]
    assert "12,000,000 TOKEN in 5 hours, each account; 90,000,000 TOKEN a week, each account" in rows["coding-plan"]


def test_no_line_and_nothing_free_is_lent_by_each_further_order() -> None:
    offerings = [each for folder in [None, *sorted(REGIONS.glob("*/catalog"))] for each in sold_in(folder)]
    # A company's by contract, each purchase at its whole price.
    assert {each.offering_id for each in offerings if is_for_nothing(each) and each.once is None} == {
        "enterprise-1b",
        "enterprise-pool-5b",
    }


def sold_in(folder: Path | None) -> tuple[Offering, ...]:
    """The offerings of a branch; None: of the base catalog."""
    return catalog_of(read_folders([base_catalog_folder(), *([folder] if folder else [])])).offerings


def is_for_nothing(offering: Offering) -> bool:
    """Whether an order gives more to use, and no payment comes before."""
    return (
        bool(offering.allowances)
        and not offering.only_granted
        and (offering.price is None or any(each.postpaid for each in offering.allowances))
    )
