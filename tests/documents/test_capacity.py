"""docs/capacity.md shows what the program prints; bad inputs are named."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.cli.capacity import Inputs, capacity_of
from services.cli.main import command_line
from services.runtime.config import read_yaml

DOCS = Path(__file__).parents[2] / "docs"


def printed(inputs: Path) -> str:
    done = CliRunner().invoke(command_line, ["capacity", "--inputs", str(inputs)])
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.splitlines()) + "\n"


def test_the_page_shows_what_is_printed() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```$", (DOCS / "capacity.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert shown == printed(DOCS / "capacity.yaml")


def test_it_follows_the_rule_and_grows_in_proportion(tmp_path: Path) -> None:
    text = (DOCS / "capacity.yaml").read_text(encoding="utf-8")
    once = capacity_of(read_yaml(DOCS / "capacity.yaml", Inputs))
    assert once.surge.calls_per_second == 10_000_000 * 0.05 / 10
    (tmp_path / "twice.yaml").write_text(text.replace("subscribers: 10000000", "subscribers: 20000000"), encoding="utf-8")
    twice = capacity_of(read_yaml(tmp_path / "twice.yaml", Inputs))
    assert twice.surge.calls_per_second == 2 * once.surge.calls_per_second
    assert twice.storage.kept_gib == pytest.approx(2 * once.storage.kept_gib, abs=1)
    assert twice.surge.accounting_processes - 1 == pytest.approx(2 * (once.surge.accounting_processes - 1), abs=1)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("active_percent: 5.0", "active_percent: 500", "active_percent must be above 0 and at most 100"),
        ("subscribers: 10000000", "subscribers: -1", "subscribers and calls_a_day_per_subscriber must be above 0"),
        ("edge_us_per_call: 251.0", "edge_us_per_call: 0", "every cost must be above 0: measure it"),
        ("days_kept: 92", "days_kept: 0", "days_kept must be 1 or above"),
        ("utilisation_percent: 50.0", "utilisation_percent: many", "utilisation_percent"),
        ("subscribers: 10000000", "customers: 1", "customers"),
    ],
)
def test_bad_inputs_are_named(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = (DOCS / "capacity.yaml").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "inputs.yaml").write_text(text.replace(before, after), encoding="utf-8")
    done = CliRunner().invoke(command_line, ["capacity", "--inputs", str(tmp_path / "inputs.yaml")])
    assert done.exit_code == 2
    assert said in done.output
