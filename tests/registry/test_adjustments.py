"""Adjustments of prices: a row over a tariff, a contract's factor, from a time on; and the refusal of every mistake in one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.registry.catalog_folder import CatalogReader, load_catalog
from services.runtime.config import ConfigError
from tests.registry.catalogs import CATALOG, changed, write
from tests.registry.test_catalog_folder import rates
from tokenline.registry.v1 import registry_pb2

ROW = (
    "price_adjustments:\n"
    "  - {adjustment_id: branch, of_tariff_id: usd, version: 1, rates: [{model_id: large, input: 1, output: 2}]}\n"
)
CONTRACT = """\
price_adjustments:
  - adjustment_id: contract
    of_tariff_id: usd
    tariff_id: usd-contract
    version: 10
    factor: 0.8
    rates:
      - {model_id: large, input: 1, output: 2}
    source: The contract of 2026-11-01.
"""

ROWS = "    factor: 0.8\n    rates:\n      - {model_id: large, input: 1, output: 2}\n"


def tariff(folder: Path, tariff_id: str, *layers: str) -> registry_pb2.Tariff:
    """The tariff of a catalog made of these layers over the base."""
    write(folder / "base", CATALOG)
    for number, text in enumerate(layers):
        write(folder / str(number), text)
    catalog = load_catalog([folder / "base", *(folder / str(number) for number in range(len(layers)))])
    return next(each for each in catalog.tariffs if each.tariff_id == tariff_id)


def test_a_layer_adds_one_row_to_a_tariff_and_leaves_the_others(tmp_path: Path) -> None:
    usd = tariff(tmp_path, "usd", ROW)
    assert usd.version == 3 + 1
    large, small = usd.model_rates
    assert [rates(tier) for tier in large.tiers] == [(-1, 1_000_000, 1_000_000, 1_000_000, 2_000_000, 2_000_000)]
    assert [rates(tier)[:2] for tier in small.tiers] == [(-1, 280_000), (100, 500_000), (200, 600_000)]
    assert usd.source == "Acme's price list of 2026-01-02."


def test_a_row_takes_the_place_of_the_tariffs_own(tmp_path: Path) -> None:
    (small,) = tariff(tmp_path, "usd", ROW.replace("large", "small")).model_rates
    assert [rates(tier) for tier in small.tiers] == [(-1, 1_000_000, 1_000_000, 1_000_000, 2_000_000, 2_000_000)]


def test_a_contract_is_a_tariff_of_its_own_made_by_a_factor(tmp_path: Path) -> None:
    made = tariff(tmp_path, "usd-contract", CONTRACT)
    assert (made.version, made.unit, made.currency) == (13, registry_pb2.UNIT_CURRENCY, "USD")
    assert made.source == "The contract of 2026-11-01."
    large, small = made.model_rates
    assert rates(large.tiers[0])[1] == 1_000_000
    # 0.0028 x 0.8 is 0.00224; 0.42 x 0.8 is 0.336.
    assert [rates(tier) for tier in small.tiers] == [
        (-1, 224_000, 2_240, 224_000, 336_000, 336_000),
        (100, 400_000, 400_000, 400_000, 800_000, 800_000),
        (200, 480_000, 480_000, 480_000, 1_600_000, 2_400_000),
    ]
    assert tariff(tmp_path, "usd", CONTRACT).version == 3


def test_a_rate_that_a_factor_makes_rounds_up(tmp_path: Path) -> None:
    made = tariff(tmp_path, "usd-contract", CONTRACT.replace("0.8", "0.333333"))
    # 0.0028 x 0.333333 is 0.0009333324.
    assert rates(made.model_rates[1].tiers[0])[2] == 934


def test_an_adjustment_holds_for_later_versions_of_the_tariff_and_from_its_own_time_on(tmp_path: Path) -> None:
    version = "{version: 7, effective_time: 2031-01-01T00:00:00Z, rates: [{model_id: small, input: 9, output: 9}]}"
    later = f"    upcoming:\n      - {version}\n"
    text = changed("offerings:\n", f"{later}offerings:\n")
    write(tmp_path / "a", text)
    write(tmp_path / "b", ROW.replace("version: 1", "version: 1, effective_time: 2030-06-01T00:00:00+08:00"))
    usd = next(each for each in load_catalog([tmp_path / "a", tmp_path / "b"]).tariffs if each.tariff_id == "usd")
    assert (usd.version, [row.model_id for row in usd.model_rates]) == (3, ["small"])
    assert [
        (each.version, each.effective_time.ToDatetime(UTC), [(row.model_id, row.tiers[0].rates.input) for row in each.model_rates])
        for each in usd.upcoming
    ] == [
        (4, datetime(2030, 5, 31, 16, tzinfo=UTC), [("large", 1_000_000), ("small", 280_000)]),
        (8, datetime(2031, 1, 1, tzinfo=UTC), [("large", 1_000_000), ("small", 9_000_000)]),
    ]


def test_adjustments_stand_on_one_another(tmp_path: Path) -> None:
    chain = CONTRACT + "  - {adjustment_id: half, of_tariff_id: usd-contract, tariff_id: usd-half, version: 1, factor: 0.5}\n"
    chain += "  - {adjustment_id: more, of_tariff_id: usd-contract, version: 1, factor: 2}\n"
    half = tariff(tmp_path, "usd-half", chain)
    # The contract's 0.8, doubled where it is, halved in the tariff made of it.
    assert (half.version, rates(half.model_rates[1].tiers[0])[1]) == (3 + 10 + 1 + 1, 224_000)
    assert rates(half.model_rates[0].tiers[0])[1] == 1_000_000


def test_an_offering_is_sold_by_what_an_adjustment_made(tmp_path: Path) -> None:
    write(tmp_path / "base", changed("tariff_id: usd\n    model_ids: [small]", "tariff_id: usd-contract\n    model_ids: [large]"))
    write(tmp_path / "branch", CONTRACT)
    offering = load_catalog([tmp_path / "base", tmp_path / "branch"]).offerings[1]
    assert (offering.tariff_id, list(offering.model_ids)) == ("usd-contract", ["large"])


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("of_tariff_id: usd\n", "of_tariff_id: us\n", "of_tariff_id", "no tariff has the ID 'us'; known are: flat, usd"),
        ("tariff_id: usd-contract", "tariff_id: flat", "tariff_id", "'flat' is a tariff already: leave it out to change that one"),
        ("version: 10", "version: 0", "version", "must be from 1 to 1000000; it is 0"),
        ("factor: 0.8", "factor: 0", "factor", "must be above 0 and at most 100; it is 0"),
        ("factor: 0.8", "factor: 100.1", "factor", "must be above 0 and at most 100; it is 100.1"),
        ("factor: 0.8", "factor: -1", "factor", "must not be negative; it is -1"),
        ("factor: 0.8", "factor: 1.0e+300", "factor", "must be at most 9223372036854.775807, so that it fits"),
        ("factor: 0.8", "factor: .inf", "factor", "must be a finite number; it is Infinity"),
        ("factor: 0.8", "factor: .nan", "factor", "must be a finite number; it is NaN"),
        ("factor: 0.8", "effective_time: 2030-01-01T00:00:00", "effective_time", "must carry an offset, like 2030"),
        ("factor: 0.8", "effective_time: 9999-12-31T00:00:00Z", "effective_time", "must be in the years 1970 to 8999; it is 9999"),
        ("factor: 0.8", "effective_time: 0001-01-01T00:00:00+14:00", "effective_time", "must be in the years 1970 to 8999; it is"),
        ("model_id: large", "model_id: larger", "rates[0].model_id", "no model has the ID 'larger'; known are: large, small"),
        ("input: 1,", "input: -1,", "rates[0].input", "must not be negative; it is -1"),
        (ROWS, "", "rates", "must have at least one row, or give a factor"),
        ("of_tariff_id: usd\n", "of_tariff_id: usd-contract\n", "of_tariff_id", "leads back to itself, by 'usd-contract' of"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_file_line_field_and_remedy(tmp_path: Path, old: str, new: str, field: str, said: str) -> None:
    write(tmp_path / "base", CATALOG)
    text = changed(old, new, CONTRACT)
    path = write(tmp_path / "branch", text)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    told = str(caught.value)
    assert f": price_adjustments[0].{field}: {said}" in told
    name = field.rpartition(".")[2]
    lines = [number for number, line in enumerate(text.splitlines(), 1) if f"{name}:" in line] or [2]
    assert any(told.startswith(f"{path}:{number}: ") for number in lines)


def test_a_circle_of_adjustments_is_refused(tmp_path: Path) -> None:
    text = (
        "price_adjustments:\n"
        "  - {adjustment_id: a, of_tariff_id: second, tariff_id: first, version: 1, factor: 2}\n"
        "  - {adjustment_id: b, of_tariff_id: first, tariff_id: second, version: 1, factor: 2}\n"
    )
    with pytest.raises(ConfigError, match=r"leads back to itself, by 'first' of 'second' of 'first'; begin with a tariff"):
        tariff(tmp_path, "first", text)


@pytest.mark.parametrize("count", [4, 20])
def test_a_factor_that_makes_an_impossible_rate_is_refused(tmp_path: Path, count: int) -> None:
    # The flat tariff has 1,000,000 a million tokens; a hundred times that, four times over, does not fit. Twenty times over
    # would be more digits than a decimal keeps.
    rows = "".join(f"  - {{adjustment_id: a{n}, of_tariff_id: flat, version: 1, factor: 100}}\n" for n in range(count))
    with pytest.raises(ConfigError, match=r"factor: makes a wrong rate, input of '\*': it must be at most"):
        tariff(tmp_path, "flat", f"price_adjustments:\n{rows}")


@pytest.mark.parametrize(
    ("rate", "said"), [(".inf", "must be a finite number"), ("1.0e+30", "must be at most 9223372036854.775807")]
)
def test_a_wrong_rate_below_a_factor_is_told_where_it_stands(tmp_path: Path, rate: str, said: str) -> None:
    write(tmp_path / "base", changed("input: 0.28\n", f"input: {rate}\n"))
    write(tmp_path / "branch", CONTRACT)
    with pytest.raises(ConfigError, match=rf"tariffs\[1\]\.rates\[0\]\.input: {said}"):
        load_catalog([tmp_path / "base", tmp_path / "branch"])


def test_one_version_stands_for_one_set_of_adjusted_rates(tmp_path: Path) -> None:
    write(tmp_path / "base", CATALOG)
    path = write(tmp_path / "branch", ROW)
    reader = CatalogReader([tmp_path / "base", tmp_path / "branch"])
    reader.read_if_changed()
    dearer = ROW.replace("input: 1,", "input: 1.5,")
    write(tmp_path / "branch", dearer)
    with pytest.raises(ConfigError) as caught:
        reader.read_if_changed()
    assert str(caught.value) == (
        f"{path}:2: price_adjustments[0].version: must change: 'usd' would have version 4 again, with other rates; make it 2"
    )
    write(tmp_path / "branch", dearer.replace("version: 1", "version: 2"))
    catalog = reader.read_if_changed()
    assert catalog is not None
    assert [each.version for each in catalog.tariffs] == [1, 5]
