"""`tokenline catalog`: a change of the shelf is seen before it is made, asked for, kept and taken back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from services.cli.main import command_line
from services.registry.catalog_folder import base_catalog_folder
from services.runtime.config import parse_yaml
from tests.etcd_cluster import EtcdCluster
from tests.registry.catalogs import CATALOG, write

# A tariff version with one row: every other model of the price list would go off sale.
LIST_PRICES = base_catalog_folder() / "tariffs" / "list-price-usd.yaml"
ONE_ROW = """\
tariffs:
  - tariff_id: list-price-usd
    version: 6
    unit: CURRENCY
    currency: USD
    rates: [{model_id: qwen3.8-flash, input: 0.1, cached_input: 0.016, cache_write: 0.2, output: 0.47}]
"""
ADJUSTED = """\
price_adjustments:
  - adjustment_id: flash
    of_tariff_id: list-price-usd
    version: 3
    rates: [{model_id: qwen3.8-flash, input: 0.225, cached_input: 0.016, cache_write: 0.2, output: 0.47}]
"""
# A working day's morning in China: a list price with windows would have its peak there, whenever the test runs.
FORENOON = "2026-12-01T10:00:00+08:00"
OFFERING = "offerings:\n  - {offering_id: branch, display_name: Branch, tariff_id: flat, reservation_policy: worst_case}\n"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def tokenline(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command_line, ["catalog", *map(str, arguments)])


def answer(*arguments: str | Path) -> dict[str, Any]:
    done = tokenline(*arguments, "--output", "json")
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_file_that_takes_models_off_sale_does_not_pass_unnoticed(data_dir: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", ONE_ROW).parent
    (listed,) = parse_yaml(LIST_PRICES.read_text(encoding="utf-8"), dict, "list-price-usd.yaml")["tariffs"]
    leaving = len(listed["rates"]) - 1
    # An ID of two layers is one that the upper layer replaces, and is named.
    assert answer("validate", folder, "--data-dir", data_dir)["replaces"] == ["tariffs list-price-usd"]
    shown = tokenline("diff", folder, "--data-dir", data_dir)
    assert shown.exit_code == 0
    assert "Leaves the shelf at once" in shown.output
    assert f"In all: {leaving} models leave offerings, 1 price moves, 1 entry changes." in shown.output
    refused = tokenline("apply", folder, "--data-dir", data_dir, "--yes")
    assert refused.exit_code == 1
    assert "of the models on sale leave an offering, more than 10%: " in refused.output
    assert "Nothing was changed; if it is meant: --large-change" in refused.output
    assert not (data_dir / "catalog").exists()
    done = tokenline("apply", folder, "--data-dir", data_dir, "--yes", "--large-change")
    assert done.exit_code == 0, done.output
    assert (data_dir / "catalog" / "catalog.yaml").read_text(encoding="utf-8") == ONE_ROW


def test_a_price_is_changed_looked_up_and_taken_back(data_dir: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", ADJUSTED).parent
    told = answer("diff", folder, "--data-dir", data_dir)["shelf"]
    assert told["moments"][0]["moves"] == [
        {
            "tariff_id": "list-price-usd",
            "model_id": "qwen3.8-flash",
            "token_class": "input",
            "above_input_tokens": -1,
            "before": "0.15",
            "after": "0.225",
            "offering_ids": ["enterprise-1b", "metered-agents", "metered-usd", "personal-10m-overage"],
            "percent": "50.0",
        }
    ]
    # Nobody is there to be asked.
    asked = tokenline("apply", folder, "--data-dir", data_dir)
    assert (asked.exit_code, "look at the change above and give --yes" in asked.output) == (2, True)
    assert answer("validate", folder, "--data-dir", data_dir)["replaces"] == []
    applied = answer("apply", folder, "--data-dir", data_dir, "--yes")
    assert applied == {"number": 1, "layer": "catalog", "summary": "1 price moves, 1 entry changes"}
    again = tokenline("apply", folder, "--data-dir", data_dir, "--yes")
    assert (again.exit_code, "has these files already; nothing was changed" in again.output) == (1, True)

    explained = answer("explain", "metered-usd", "--model", "qwen3.8-flash", "--at", FORENOON, "--data-dir", data_dir)
    (price,) = explained["prices"]
    assert (price["tariff_id"], price["version"], price["rates"]["input"], price["unit"]) == ("list-price-usd", 7, "0.225", "USD")
    lines = LIST_PRICES.read_text(encoding="utf-8").splitlines()
    row = next(number for number, line in enumerate(lines, 1) if "{model_id: qwen3.8-flash" in line)
    assert [(each["file"], each["line"], each["part"]) for each in price["made_of"]] == [
        (str(LIST_PRICES), row, "version 4, row of 'qwen3.8-flash'"),
        (str(data_dir / "catalog" / "catalog.yaml"), 5, "+ version 3, row of 'qwen3.8-flash'"),
    ]

    back = answer("rollback", "1", "--data-dir", data_dir, "--yes")
    assert back == {"number": 2, "layer": "catalog", "summary": "1 price moves, 1 entry changes"}
    assert list((data_dir / "catalog").iterdir()) == []
    history = answer("history", "--data-dir", data_dir)["data"]
    assert [(each["number"], each["action"]) for each in history] == [(1, "apply"), (2, "rollback")]
    missing = tokenline("rollback", "7", "--data-dir", data_dir, "--yes")
    assert (missing.exit_code, "the history has no change 7; it has 1 to 2" in missing.output) == (2, True)


def test_an_offering_that_is_taken_out_is_told_with_what_becomes_of_those_who_have_it(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "catalog"
    write(folder, ADJUSTED, "prices.yaml")
    shop = write(tmp_path / "shop", ADJUSTED, "prices.yaml").parent
    write(folder, OFFERING.replace("tariff_id: flat", "tariff_id: token-flat"), "offerings.yaml")
    shown = tokenline("diff", shop, "--data-dir", data_dir)
    assert shown.exit_code == 0
    told = " ".join(shown.output.split())
    assert "What was bought of branch pays for no call from then on, and renews all the same." in told
    assert "leave it in the catalog with `withdrawn: true`" in told


def test_a_mistake_is_told_with_all_others_and_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", ADJUSTED.replace("input: 0.225", "input: -1").replace("version: 3", "version: 0")).parent
    for command in ("validate", "diff"):
        done = tokenline(command, folder, "--data-dir", data_dir)
        assert (done.exit_code, done.output.splitlines()) == (
            1,
            [
                f"Error: {folder}/catalog.yaml:4: price_adjustments[0].version: must be from 1 to 1000000; it is 0",
                f"{folder}/catalog.yaml:5: price_adjustments[0].rates[0].input: must not be negative; it is -1",
            ],
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"offerings: [", ": not valid YAML"),
        (b"\xff\xfe", "catalog.yaml: is not UTF-8 text"),
        (b"offerings: 7", "catalog.yaml:1: offerings: must be a list"),
        (b'vendors: [{vendor_id: x, display_name: "a\\0b"}]', "display_name: must not have control characters"),
    ],
)
def test_a_malformed_file_is_no_wrong_usage(data_dir: Path, tmp_path: Path, content: bytes, message: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "catalog.yaml").write_bytes(content)
    done = tokenline("validate", folder, "--data-dir", data_dir)
    assert (done.exit_code, message in done.output) == (1, True), done.output


PLAN = """\
languages: [zh, en]
offerings:
  - offering_id: owl
    display_name: {zh: 夜猫包, en: Night owl}
    tariff_id: token-flat
    overage_tariff_id: list-price-cny
    reservation_policy: worst_case
"""


def test_a_new_offering_is_told_in_a_line_and_explained_with_its_overage(data_dir: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", PLAN).parent
    shown = tokenline("diff", folder, "--data-dir", data_dir).output
    assert "New offerings at once" in shown
    assert "Comes onto the shelf" not in shown
    assert re.search(r"owl +384 +Baichuan-M2, .* and 378 more", shown)
    assert re.search(r"languages +zh, en", shown)
    assert "In all: 1 offering comes, 2 entries change." in shown
    answer("apply", folder, "--data-dir", data_dir, "--yes")
    prices = answer("explain", "owl", "--model", "qwen-flash", "--data-dir", data_dir)["prices"]
    assert [(each["tariff_id"], each["beyond_allowances"]) for each in prices] == [("token-flat", False), ("list-price-cny", True)]
    by_tariff = tokenline("explain", "list-price-cny", "--model", "qwen-flash", "--data-dir", data_dir).output
    assert "qwen-flash in owl, beyond its allowances: list-price-cny v1, per 1,000,000" in by_tariff


def test_a_price_of_a_window_is_explained_by_the_windows_row(data_dir: Path) -> None:
    lines = LIST_PRICES.read_text(encoding="utf-8").splitlines()
    own, off_peak = [number for number, line in enumerate(lines, 1) if "{model_id: deepseek-v4-flash," in line]
    for at, rate, version, made_by, line in (
        (FORENOON, "0.3", 4, "version 4", own),
        ("2026-12-01T12:30:00+08:00", "0.15", 5, "version 5, window 'deepseek-off-peak'", off_peak),
    ):
        (price,) = answer("explain", "metered-usd", "--model", "deepseek-v4-flash", "--at", at, "--data-dir", data_dir)["prices"]
        assert (price["version"], price["rates"]["input"]) == (version, rate)
        assert [(each["line"], each["part"]) for each in price["made_of"]] == [(line, f"{made_by}, row of 'deepseek-v4-flash'")]
    versions = answer("explain", "list-price-usd", "--data-dir", data_dir)["versions"]
    hours = "monday to friday 00:00 to 09:00, 12:00 to 14:00, 18:00 to 24:00; saturday, sunday, holiday 00:00 to 24:00"
    assert [(each["version"], each["hours"]) for each in versions] == [(4, None), (5, hours)]
    for tariff_id, hours in (("list-price-usd", "all others"), ("token-flat", "all")):
        assert re.search(rf"the beginning +{hours} +\d", tokenline("explain", tariff_id, "--data-dir", data_dir).output)


def test_explain_tells_of_what_is_not_there_and_of_times(data_dir: Path) -> None:
    done = tokenline("explain", "nothing", "--data-dir", data_dir)
    assert (done.exit_code, "nothing in the catalog has the ID 'nothing'" in done.output) == (2, True)
    done = tokenline("explain", "metered-usd", "--model", "nothing", "--data-dir", data_dir)
    assert (done.exit_code, "no model has the ID 'nothing'" in done.output) == (2, True)
    done = tokenline("explain", "metered-usd", "--at", "2027-01-01", "--data-dir", data_dir)
    assert (done.exit_code, "--at must be a time with its offset" in done.output) == (2, True)


def test_a_data_folder_must_be_there_and_has_one_layer(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", ADJUSTED).parent
    done = tokenline("apply", folder, "--data-dir", tmp_path / "none", "--yes")
    assert (done.exit_code, "is no data folder; `tokenline up` makes it" in done.output) == (2, True)
    done = tokenline("diff", folder, "--data-dir", tmp_path, "--layer", "branch")
    assert (done.exit_code, "a data folder has one layer, catalog" in done.output) == (2, True)


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


def test_layers_of_a_cell_are_those_in_its_etcd(etcd: EtcdCluster, tmp_path: Path) -> None:
    base = write(tmp_path / "base", CATALOG).parent
    config = tmp_path / "registry.yaml"
    config.write_text(
        f"listen_address: 127.0.0.1:0\ncatalog_folders: [{base}]\n"
        f"etcd:\n  endpoints: [{etcd.endpoints[0]}]\netcd_prefix: /{tmp_path.name}/\n"
    )
    folder = write(tmp_path / "layer", OFFERING).parent
    assert answer("apply", folder, "--config", config, "--yes")["layer"] == "branch"
    assert answer("list", "--config", config) == {"data": [{"layer": "branch", "files": ["catalog.yaml"]}], "broken": []}
    write(tmp_path / "layer", OFFERING.replace("branch", "other"))
    assert answer("apply", folder, "--layer", "other", "--config", config, "--yes")["number"] == 2
    named = tokenline("apply", folder, "--layer", "a/b", "--config", config)
    assert (named.exit_code, "--layer must be of letters, digits and -" in named.output) == (2, True)
    removed = tokenline("remove", "another", "--config", config, "--yes")
    assert (removed.exit_code, removed.output) == (2, "Error: no layer 'another' is published; there are: branch, other\n")
    # Both models leave the offering that goes.
    assert tokenline("remove", "branch", "--config", config, "--yes").exit_code == 1
    assert answer("remove", "branch", "--config", config, "--yes", "--large-change")["number"] == 3
    assert answer("rollback", "3", "--config", config, "--yes")["summary"] == "1 offering comes, 1 entry changes"
    config.write_text(f"listen_address: 127.0.0.1:0\ncatalog_folders: [{base}]\n")
    done = tokenline("list", "--config", config)
    assert (done.exit_code, "has no etcd; put the files into one of its catalog_folders instead" in done.output) == (2, True)


def test_a_price_list_that_moves_as_a_whole_needs_the_flag(data_dir: Path, tmp_path: Path) -> None:
    text = ADJUSTED[: ADJUSTED.index("    rates")] + "    factor: 1.1\n"
    folder = write(tmp_path / "shop", text).parent
    done = tokenline("apply", folder, "--data-dir", data_dir, "--yes")
    assert (done.exit_code, "of the prices move, more than 10%. Nothing was changed" in done.output) == (1, True)
