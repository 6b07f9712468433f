"""The document on the catalog: its examples are layers that load, and do what the text says."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.edge.catalog import Snapshot
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from tests.registry.catalogs import write
from tokenline.registry.v1 import registry_pb2

TEXT = (Path(__file__).parents[2] / "docs/catalog.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def catalog(tmp_path: Path) -> registry_pb2.Catalog:
    for index, example in enumerate(EXAMPLES):
        write(tmp_path / str(index), example)
    return load_catalog([base_catalog_folder(), *(tmp_path / str(index) for index in range(len(EXAMPLES)))])


def prices(catalog: registry_pb2.Catalog, offering_id: str, moment: datetime) -> dict[str, tuple[int, int]]:
    """The rates of input and output of an offering's models at a moment, in micro-units."""
    offering = Snapshot(catalog, {}, "http://simulator", int(moment.timestamp()) * 1_000_000).offering(offering_id)
    assert offering is not None
    return {model_id: (tiers[0].rates["input"], tiers[0].rates["output"]) for model_id, tiers in offering.prices.items()}


def test_a_contract_follows_the_price_list_below_it(catalog: registry_pb2.Catalog) -> None:
    before = {
        "deepseek-v4-flash": (800_000, 1_600_000),
        "glm-4.5-air": (640_000, 1_600_000),
        "qwen-flash": (300_000, 2_000_000),
    }
    assert prices(catalog, "company-4711", datetime(2026, 12, 31, tzinfo=ZoneInfo("Asia/Shanghai"))) == before
    assert prices(catalog, "company-4711", NEW_YEAR) == before | {"deepseek-v4-flash": (640_000, 1_280_000)}


def test_versions_are_the_sums_that_the_text_says(catalog: registry_pb2.Catalog) -> None:
    tariffs = {each.tariff_id: (each.version, [later.version for later in each.upcoming]) for each in catalog.tariffs}
    assert tariffs["shop-cny"] == (2, [3])
    assert tariffs["shop-cny-4711"] == (3, [4])
    for said in ("`shop-cny` has version 2 here, 3 from 2027 on", "`shop-cny-4711` 3 and 4"):
        assert said in TEXT


@pytest.mark.parametrize(
    ("moment", "rates"),
    [
        ("2026-09-30 00:00", (1_000_000, 2_000_000)),
        ("2026-09-30 00:30", (500_000, 1_000_000)),
        ("2026-09-30 08:30", (1_000_000, 2_000_000)),
        ("2026-10-01 04:00", (750_000, 1_500_000)),
        ("2026-10-04 04:00", (750_000, 1_500_000)),
    ],
)
def test_windows_have_the_prices_that_the_text_says(catalog: registry_pb2.Catalog, moment: str, rates: tuple[int, int]) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert prices(catalog, "nights", at) == {"deepseek-v4-flash": rates, "qwen-flash": (400_000, 3_000_000)}
    assert next(each for each in catalog.vendors if each.vendor_id == "deepseek").priced_at == registry_pb2.PRICED_AT_END


def test_a_name_by_language_is_shown_as_the_text_says(catalog: registry_pb2.Catalog) -> None:
    name = next(each.display_name for each in catalog.offerings if each.offering_id == "by-use")
    assert name == "按量付费 / By use"
    assert f"It is shown as `{name}`." in TEXT
