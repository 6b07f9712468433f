"""`tokenline price`: the cost of a call on each model, as it would be charged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from services.cli.failures import CommandError
from services.cli.main import command_line
from services.cli.price import ListedTariff, PricedModel, PriceList, Wanted, answer_of
from tests.cli.processes import Up, up

TOKENS = {"input": "token", "output": "token"}


def row(above: int, input_rate: int, cached_rate: int, output_rate: int) -> dict[str, int]:
    first = {"input": input_rate, "cached_input": cached_rate, "cache_write": input_rate, "output": output_rate}
    return {"above_input_tokens": above, **first, "reasoning": output_rate}


def model(model_id: str, *tiers: dict[str, int], aliases: tuple[str, ...] = (), **fields: Any) -> PricedModel:
    known: dict[str, Any] = {"context_window": 10_000, "max_output_tokens": 1_000, "measures": TOKENS} | fields
    return PricedModel(id=model_id, aliases=aliases, prices={"list": {"tiers": list(tiers)} if tiers else None}, **known)


LIST = PriceList(
    tariffs=(ListedTariff("list", 4, "CURRENCY", "CNY"),),
    data=(
        model("tiered", row(-1, 2_000_000, 200_000, 8_000_000), row(3_000, 4_000_000, 400_000, 16_000_000)),
        model("uneven", row(-1, 1, 1, 1), aliases=("odd",)),
        model("unpriced"),
        model("short", row(-1, 1, 1, 1), context_window=3_000),
        model("brief", row(-1, 1, 1, 1), max_output_tokens=499),
        model("painter", row(-1, 0, 0, 0), measures={"input": "token", "output": "image"}),
    ),
)


def test_the_cheapest_goes_first_and_each_class_rounds_up_by_itself() -> None:
    told = answer_of(LIST, Wanted(input_tokens=3_000, cached_tokens=1_000, output_tokens=500))
    # 2,000 x 2 + 1,000 x 0.2 + 500 x 8 micro-yuan; and three classes of less than a micro-yuan each.
    assert told["data"] == [
        {
            "tariff_id": "list",
            "version": 4,
            "unit": "CURRENCY",
            "currency": "CNY",
            "prices": [{"model": "uneven", "amount": 3}, {"model": "tiered", "amount": 8_200}],
            "unpriced": ["unpriced"],
            "unfit": ["brief", "painter", "short"],
        }
    ]


def test_the_tier_is_that_of_the_whole_input() -> None:
    told = answer_of(LIST, Wanted(input_tokens=3_001, cached_tokens=1_000, output_tokens=500, model_ids=("tiered", "odd")))
    assert told["data"][0]["prices"] == [{"model": "uneven", "amount": 3}, {"model": "tiered", "amount": 2_001 * 4 + 400 + 8_000}]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(input_tokens=1, output_tokens=1, currency="EUR"), "no public tariff is in EUR; there are CNY"),
        (Wanted(input_tokens=1, output_tokens=1, model_ids=("none",)), "no model of the price list is named 'none'"),
    ],
)
def test_what_is_not_in_the_list_is_said(wanted: Wanted, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        answer_of(LIST, wanted)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("data")) as running:
        yield running


def price(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(command_line, ["price", *map(str, arguments)])


def test_a_running_systems_prices(system: Up) -> None:
    call = ("--input", "3000", "--cached", "1000", "--output", "500", "--currency", "CNY")
    done = price(*call, "--data-dir", system.data_dir, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["amounts_in"], [each["tariff_id"] for each in told["data"]]) == ("micro_units", ["list-price-cny"])
    amounts = {each["model"]: each["amount"] for each in told["data"][0]["prices"]}
    # 2,000 x 2 + 1,000 x 0.4 + 500 x 12 yuan a million.
    assert amounts["qwen3.6-plus"] == 4_000 + 400 + 6_000
    assert list(amounts.values()) == sorted(amounts.values())
    assert "deepseek-v4-flash" in told["data"][0]["unpriced"]
    shown = price(*call, "--model", "qwen3.6-plus", "--model", "deepseek-v4-flash", "--url", system.demo.base_url)
    assert shown.exit_code == 0, shown.output
    assert "0.0104" in shown.output
    assert "Without a price here, and so not sold by this tariff: deepseek-v4-flash." in shown.output


def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path) -> None:
    more = price("--input", 1, "--cached", 2, "--output", 1, "--data-dir", tmp_path)
    assert "--cached 2 is more than --input 1, of which it is a part" in more.output
    none = price("--input", 1, "--output", 1, "--data-dir", tmp_path)
    assert "no system is ready in" in none.output
    nobody = price("--input", 1, "--output", 1, "--url", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9/v1/prices cannot be reached" in nobody.output
    scheme = price("--input", 1, "--output", 1, "--url", "127.0.0.1:9")
    assert "it should begin with http:// or https://" in scheme.output
    assert {each.exit_code for each in (more, none, nobody, scheme)} == {2}
