"""Tariffs with windows: as an author writes them, as edge and accounting have them, and every mistake in one."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.accounting.rpc.catalog import charging_catalog
from services.edge.catalog import Snapshot
from services.registry.catalog_folder import CatalogReader, catalog_of, load_catalog
from services.registry.shelf import change_of
from services.runtime.config import ConfigError
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2

SHANGHAI = ZoneInfo("Asia/Shanghai")
FLAT = '      - {model_id: "*", input: 1000000, output: 1000000}\n'
WINDOWS = f"""{FLAT}\
      - {{model_id: small, input: 2000000, output: 2000000}}
    time_zone: Asia/Shanghai
    holidays: [2026-10-01]
    windows:
      - window_id: night
        version: 2
        hours:
          - {{days: [monday, tuesday, wednesday, thursday, friday], begin: "00:30", end: "08:30"}}
        rates: [{{model_id: small, input: 500000, output: 700000}}]
      - window_id: rest
        version: 3
        hours:
          - {{days: [saturday, sunday, holiday]}}
        rates: [{{model_id: small, input: 900000, output: 900000}}]
"""
TEXT = changed(FLAT, WINDOWS)
# 2026-09-28 is a Monday, 2026-10-01 a Thursday.
MOMENTS = {
    datetime(2026, 9, 28, 0, 29, tzinfo=SHANGHAI): (1, 2_000_000),
    datetime(2026, 9, 28, 0, 30, tzinfo=SHANGHAI): (2, 500_000),
    datetime(2026, 9, 28, 8, 30, tzinfo=SHANGHAI): (1, 2_000_000),
    datetime(2026, 10, 1, 3, tzinfo=SHANGHAI): (3, 900_000),
    datetime(2026, 10, 2, 3, tzinfo=SHANGHAI): (2, 500_000),
    datetime(2026, 10, 3, 20, tzinfo=SHANGHAI): (3, 900_000),
}


def load(folder: Path, text: str, adjustment: str = "") -> registry_pb2.Catalog:
    write(folder / "base", text)
    write(folder / "branch", adjustment)
    return load_catalog([folder / "base", folder / "branch"])


@pytest.mark.parametrize(("moment", "expected"), MOMENTS.items())
def test_the_list_and_the_charge_have_the_windows_rates(tmp_path: Path, moment: datetime, expected: tuple[int, int]) -> None:
    catalog = load(tmp_path, TEXT)
    now_us = int(moment.timestamp()) * 1_000_000
    offering = Snapshot(catalog, {}, "http://simulator", now_us).offering("default")
    assert offering is not None
    charged = charging_catalog(catalog, 1)
    price = charged.price("default", "", "TOKEN", "small", now_us)
    other = charged.price("default", "", "TOKEN", "large", now_us)
    assert price is not None
    assert other is not None
    version, rate = expected
    assert (offering.tariff_version, offering.prices["small"][0].rates["input"]) == (version, rate * 1_000_000)
    assert (price.version, price.tiers[0].rates[0]) == (version, rate * 1_000_000)
    # A row that the window leaves alone keeps its rates, and its records name the window all the same.
    assert (other.version, other.tiers[0].rates[0], offering.prices["large"][0].rates["input"]) == (version, 10**12, 10**12)


def test_list_and_charge_change_at_the_same_moments(tmp_path: Path) -> None:
    """From boundary to boundary through a fortnight with a holiday: both say the same time, and the same prices up to it."""
    catalog = load(tmp_path, TEXT)
    charged = charging_catalog(catalog, 1)
    now_us = int(datetime(2026, 9, 21, tzinfo=SHANGHAI).timestamp()) * 1_000_000
    seen = set()
    for _ in range(60):
        snapshot = Snapshot(catalog, {}, "http://simulator", now_us)
        offering = snapshot.offering("default")
        price = charged.price("default", "", "TOKEN", "small", now_us)
        assert offering is not None
        assert price is not None
        assert (snapshot.until_us, offering.tariff_version) == (charged.next_change_us(now_us), price.version)
        before = charged.price("default", "", "TOKEN", "small", snapshot.until_us - 1)
        assert before is not None
        assert before.version == price.version
        seen.add(price.version)
        now_us = snapshot.until_us
    assert seen == {1, 2, 3}


def test_an_adjustment_goes_through_the_windows(tmp_path: Path) -> None:
    half = "price_adjustments:\n  - {adjustment_id: half, of_tariff_id: flat, tariff_id: cheap, version: 1, factor: 0.5}\n"
    cheap = next(each for each in load(tmp_path, TEXT, half).tariffs if each.tariff_id == "cheap")
    assert [(each.version, each.model_rates[0].tiers[0].rates.input) for each in cheap.windows] == [
        (3, 250_000_000_000),
        (4, 450_000_000_000),
    ]
    # A row of its own holds at all hours.
    row = half.replace("factor: 0.5", "rates: [{model_id: small, input: 1, output: 1}]")
    cheap = next(each for each in load(tmp_path, TEXT, row).tariffs if each.tariff_id == "cheap")
    assert [(each.version, list(each.model_rates)) for each in cheap.windows] == [(3, []), (4, [])]
    # Versions that were in force before its time must not come again.
    late = half.replace("tariff_id: cheap, ", "effective_time: 2030-01-01T00:00:00Z, ")
    with pytest.raises(ConfigError, match="version: makes version 2, which must be above 3, the one before it in time: make it 3"):
        load(tmp_path, TEXT, late)
    assert load(tmp_path, TEXT, late.replace("version: 1", "version: 3")).tariffs[0].upcoming[0].version == 4


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ('end: "08:30"', 'end: "25:00"', "windows[0].hours[0].end",
         'must be an hour of the day from "00:00" to "24:00", in quotes; it is \'25:00\''),
        ('end: "08:30"', 'end: "8:30"', "windows[0].hours[0].end", "must be an hour of the day"),
        ('end: "08:30"', "end: 12:30", "windows[0].hours[0].end", "must be text; it is 750: put it in quotes"),
        ('end: "08:30"', 'end: "00:30"', "windows[0].hours[0].end",
         "must be later than begin, 00:30; for a window past midnight write one"),
        ("[monday, ", "[moonday, ", "windows[0].hours[0].days[0]", "must be monday or tuesday or"),
        ("[saturday, sunday, holiday]", "[]", "windows[1].hours[0].days", "must have at least one of monday, tuesday"),
        ("saturday, sunday", "friday, sunday", "windows[1].hours[0]",
         "overlaps the window 'night' on friday at 00:30; a moment has one price"),
        ("window_id: rest", "window_id: night", "windows[1].window_id", "'night' stands in this version already"),
        ("version: 3\n        hours", "version: 2\n        hours", "windows[1].version",
         "must be above 2, the version before it; it is 2"),
        ("{model_id: small, input: 500000", "{model_id: large, input: 500000", "windows[0].rates[0].model_id",
         "'large' has no row in rates, so that it would have no price at other hours"),
        ("input: 500000", "input: -5", "windows[0].rates[0].input", "must not be negative; it is -5"),
        ("time_zone: Asia/Shanghai", "time_zone: Beijing", "time_zone", "must be an IANA name like Asia/Shanghai"),
        ("    time_zone: Asia/Shanghai\n", "", "time_zone",
         "must be an IANA name like Asia/Shanghai, since windows are hours there"),
        ("    holidays: [2026-10-01]\n",
         "    holidays: [2026-10-01]\n    upcoming:\n      - version: 4\n        effective_time: 2030-01-01T00:00:00Z\n"
         "        rates: [{model_id: small, input: 1, output: 1}]\n"
         "        windows:\n          - window_id: late\n            version: 4\n            hours: [{days: [friday]}]\n"
         "            rates: [{model_id: small, input: 1, output: 1}]\n",
         "upcoming[0].windows[0].version", "must be above 4, the version before it; it is 4"),
        ("    holidays: [2026-10-01]\n",
         "    holidays: [2026-10-01]\n    upcoming:\n      - version: 3\n        effective_time: 2030-01-01T00:00:00Z\n"
         "        rates: [{model_id: small, input: 1, output: 1}]\n",
         "upcoming[0].version", "must be above 3, the version before it; it is 3"),
        ("[2026-10-01]", "[2026-10-01, 2026-10-01]", "holidays[1]", "2026-10-01 stands here already"),
        ("[2026-10-01]", "[2026-02-30]", "holidays[0]",
         "2026-02-30 is not in the calendar: day is out of range for month; correct it"),
        ("[2026-10-01]", "[National Day]", "holidays[0]", "must be a date like 2026-01-31; it is 'National Day'"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_file_line_field_and_remedy(tmp_path: Path, old: str, new: str, field: str, said: str) -> None:
    text = changed(old, new, TEXT)
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    told = str(caught.value)
    assert f": tariffs[0].{field}: {said}" in told
    assert told.startswith(f"{path}:")


def test_a_time_zone_without_windows_is_refused(tmp_path: Path) -> None:
    write(tmp_path, changed(FLAT, f"{FLAT}    time_zone: Asia/Shanghai\n"))
    with pytest.raises(ConfigError, match=r"tariffs\[0\].time_zone: goes with windows only; leave it out"):
        load_catalog([tmp_path])


def test_a_windows_version_stands_for_one_set_of_rates(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    # Other hours are no other rates.
    write(tmp_path, changed('end: "08:30"', 'end: "08:00"', TEXT))
    assert reader.read_if_changed() is not None
    dearer = changed("input: 900000", "input: 950000", TEXT)
    write(tmp_path, dearer)
    with pytest.raises(ConfigError) as caught:
        reader.read_if_changed()
    assert str(caught.value).startswith(
        f"{path}:{dearer[: dearer.index('version: 3')].count(chr(10)) + 1}: tariffs[0].windows[1].version: must"
    )


def test_a_change_of_a_windows_price_is_told_with_its_next_time() -> None:
    now = datetime(2026, 9, 28, 12, tzinfo=SHANGHAI)
    before, after = (catalog_of([((Path("x"), text),)]) for text in (TEXT, changed("input: 900000", "input: 950000", TEXT)))
    told = change_of(before, after, now)
    assert [(each.moment, [(move.model_id, move.percent) for move in each.moves]) for each in told.moments] == [
        (None, []),
        (datetime(2026, 9, 30, 16, tzinfo=UTC), [("small", told.moments[1].moves[0].percent)]),
    ]
    assert str(told.moments[1].moves[0].percent) == "5.6"
    assert CATALOG != TEXT
