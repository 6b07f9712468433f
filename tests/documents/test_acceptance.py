"""The page of what operators sell names offerings that are for sale and tests that are there, each branch's plans among them."""

import ast
import re
from pathlib import Path

from services.registry.catalog_folder import base_catalog_folder, load_catalog

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "acceptance.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| [0-9]+ ", line)]
# Two cities show how a region differs; nobody sells their plans.
EXAMPLES = {"beijing-campus-20m", "hongkong-starter-5m"}


def named(column: int) -> list[list[str]]:
    """What the cells of a column name, by row."""
    return [re.findall(r"`([^`]+)`", row[column]) for row in ROWS]


def offerings(folder: Path) -> set[str]:
    return {each.offering_id for each in load_catalog([base_catalog_folder(), folder]).offerings}


def test_both_tables_are_whole() -> None:
    assert [int(row[0]) for row in ROWS] == [*range(1, 17), *range(1, 9)]


def test_each_row_names_offerings_and_each_branchs_plan_stands_in_one() -> None:
    regions = [offerings(folder) for folder in (ROOT / "infra" / "regions").glob("*/catalog")]
    base = set.intersection(*regions)
    sold = {each for row in named(3) for each in row}
    assert all(named(3))
    assert sold <= set.union(*regions)
    assert set.union(*regions) - base - EXAMPLES <= sold


def test_each_row_names_tests_that_are_there() -> None:
    there = {
        node.name
        for folder in ("journeys", "clients")
        for file in (ROOT / "tests" / folder).glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for row, names in zip(ROWS, named(4), strict=True):
        assert names, row
        assert set(names) <= there, row
